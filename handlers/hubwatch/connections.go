package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/app"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/table"
	"hubwatch/handlers/verdict"
)

// connectionDays is how many days connections looks back.
const connectionDays = 7

// newConnections returns the verb that shows what the Connections log says beside alerts.
func newConnections(o *operator) *cobra.Command {
	var since time.Time
	var hub, account string
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "connections",
		Short: "Show renewals, refused connections, and unknown sentences",
		Long: `connections shows what the Connections log of each IoT hub says beside alerts,
by UTC day.

RENEWALS are sessions that ended because a token had expired, and that the
device took up again in time. They are no alert. ELSEWHERE are the sessions that
were taken up in time from another network. They are among the renewals, unless
the setting RenewalAddress is network, which makes each of them an alert.

REFUSED are connections that the hub refused, by cause. What is an alert is
"hubwatch alerts list"; here all are counted, also those that are one storm.

A sentence that hubwatch does not know is the reason of a failed connection that
no rule explains, so it is no alert either, unless very many devices have it.
docs/connections-log.md says how to add one.

All of it is in the account of the state, which is not that of the alerts. Name
it with --state-account if --account is used.

In JSON it is an array of objects with hubName, day, renewals, elsewhere,
refused, which has the number of each cause, and unknown, which has that of each
sentence.`,
		Example: `  hubwatch connections --hub contoso-hub --since 7d`,
		Args:    none,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := o.config()
			if err != nil {
				return err
			}
			if err := o.stateIn(&c, account); err != nil {
				if o.account != "" {
					return &usageError{command, err}
				}
				return err
			}
			a, err := c.Open()
			if err != nil {
				return err
			}
			usual := since.IsZero()
			if usual {
				since = o.now().AddDate(0, 0, -connectionDays)
			}
			hubs := []string{hub}
			if hub == "" {
				heard, err := a.Alerts.LastHeard(command.Context())
				if err != nil {
					return err
				}
				hubs = fleet.LoggedHubs(heard)
			}
			days, err := fleet.Connections(command.Context(), a.State, hubs, since, o.now())
			if err != nil {
				return err
			}
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, export.Each(days, fleet.NewConnectionsDocument))
			}
			if len(days) == 0 {
				when := "these days"
				if usual {
					when = fmt.Sprintf("the last %d days: see --since", connectionDays)
				}
				fmt.Fprintf(command.ErrOrStderr(), "Nothing is known of %s.\n", when)
				return nil
			}
			if err := connectionGrid(days).write(w, width(w)); err != nil {
				return err
			}
			for _, part := range []struct {
				title string
				grid
			}{{"Refused connections, by cause:", causeGrid(days)}, {"Sentences that hubwatch does not know:", sentenceGrid(days)}} {
				if len(part.rows) == 0 {
					continue
				}
				fmt.Fprintf(w, "\n%s\n", part.title)
				if err := part.write(w, width(w)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	command.Flags().Var(&moment{now: o.now, time: &since}, "since", "that day and later (default 7d)")
	command.Flags().StringVar(&hub, "hub", "", "the `name` of a hub, instead of all that were heard of")
	addStateAccount(command, &account)
	addChoice(command, output, "o", "table or json")
	return command
}

// addStateAccount adds the flag that names the account of the state.
func addStateAccount(command *cobra.Command, account *string) {
	command.Flags().Var(&accountFlag{account}, "state-account", "storage account with the state: its `name` or its table endpoint")
}

// stateIn sets the account of the state to the one that is named, if any. The error says
// why there is none.
func (o *operator) stateIn(c *app.Config, account string) error {
	switch {
	case account != "":
		c.State = table.Settings{ServiceURI: account, SignedIn: true}
		return nil
	case o.account != "":
		return errors.New("--account: want --state-account as well")
	}
	return c.Stateless()
}

// connectionGrid returns the figures of days as a table for people.
func connectionGrid(days []verdict.Figures) grid {
	g := grid{columns: []column{
		{title: "HUB"}, {title: "DAY (UTC)", whole: true},
		{title: "RENEWALS", right: true, whole: true}, {title: "ELSEWHERE", right: true, whole: true}, {title: "REFUSED", right: true, whole: true}, {title: "UNKNOWN", right: true, whole: true},
	}}
	for _, f := range days {
		refused, unknown := 0, 0
		for _, n := range f.Refused {
			refused += n
		}
		for _, n := range f.Unknown {
			unknown += n
		}
		g.rows = append(g.rows, []string{printable(f.Hub), f.Day.Format(time.DateOnly), strconv.Itoa(f.Renewed), strconv.Itoa(f.Elsewhere), strconv.Itoa(refused), strconv.Itoa(unknown)})
	}
	return g
}

// causeGrid returns how many connections of days were refused, by cause.
func causeGrid(days []verdict.Figures) grid {
	refused := fleet.Refused(days)
	g := grid{columns: []column{{title: "TIMES", right: true, whole: true}, {title: "CAUSE"}}}
	for _, c := range fleet.Causes {
		if n := refused[c.Cause]; n > 0 {
			g.rows = append(g.rows, []string{strconv.Itoa(n), c.Title})
		}
	}
	return g
}

// sentenceGrid returns the sentences of days that no rule knows, the most frequent first.
func sentenceGrid(days []verdict.Figures) grid {
	g := grid{columns: []column{{title: "TIMES", right: true, whole: true}, {title: "SENTENCE"}}}
	for _, s := range fleet.Sentences(days) {
		g.rows = append(g.rows, []string{strconv.Itoa(s.N), printable(s.Text)})
	}
	return g
}
