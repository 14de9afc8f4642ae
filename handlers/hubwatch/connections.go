package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/table"
	"hubwatch/handlers/verdict"
)

// newConnections returns the verb that shows what the Connections log says beside alerts.
func newConnections(o *operator) *cobra.Command {
	var since time.Time
	var hub, account string
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "connections",
		Short: "Show what is silent: renewals, and sentences that are not known",
		Long: `connections shows what the Connections log of each IoT hub says beside alerts,
by UTC day.

RENEWALS are sessions that ended because a token had expired, and that the
device took up again in time. They are no alert.

A sentence that hubwatch does not know is the reason of a failed connection that
no rule explains, so it is no alert either. docs/connections-log.md says how to
add one.

Both are in the account of the state, which is not that of the alerts. Name it
with --state-account if --account is used.

In JSON it is an array of objects with hubName, day, renewals and unknown, which
has the number of each sentence.`,
		Example: `  hubwatch connections --hub contoso-hub --since 7d`,
		Args:    none,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := o.config()
			if err != nil {
				return err
			}
			switch {
			case account != "":
				c.State = table.Settings{ServiceURI: account, SignedIn: true}
			case o.account != "":
				return &usageError{command, fmt.Errorf("--account: want --state-account as well")}
			default:
				if err := c.Stateless(); err != nil {
					return err
				}
			}
			a, err := c.Open()
			if err != nil {
				return err
			}
			if since.IsZero() {
				since = o.now().AddDate(0, 0, -7)
			}
			hubs := []string{hub}
			if hub == "" {
				heard, err := a.Alerts.LastHeard(command.Context())
				if err != nil {
					return err
				}
				hubs = nil
				for _, h := range heard {
					hubs = append(hubs, alert.Hub{Name: h.Hub}.Key())
				}
				slices.Sort(hubs)
				hubs = slices.Compact(hubs)
			}
			days := []verdict.Figures{}
			for _, name := range hubs {
				more, err := a.State.Days(command.Context(), name, since, o.now())
				if err != nil {
					return err
				}
				days = append(days, more...)
			}
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, export.Each(days, newConnectionDay))
			}
			if len(days) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), "Nothing is known of these days.")
				return nil
			}
			if err := connectionGrid(days).write(w, width(w)); err != nil {
				return err
			}
			if g := sentenceGrid(days); len(g.rows) > 0 {
				fmt.Fprintln(w, "\nSentences that hubwatch does not know:")
				return g.write(w, width(w))
			}
			return nil
		},
	}
	command.Flags().Var(&moment{now: o.now, time: &since}, "since", "that day and later (default 7d)")
	command.Flags().StringVar(&hub, "hub", "", "the `name` of a hub, instead of all that were heard of")
	command.Flags().Var(&accountFlag{&account}, "state-account", "storage account with the state: its `name` or its table endpoint")
	addChoice(command, output, "o", "table or json")
	return command
}

// connectionDay is what the verb prints as JSON of a hub and day.
type connectionDay struct {
	HubName  string         `json:"hubName"`
	Day      string         `json:"day"`
	Renewals int            `json:"renewals"`
	Unknown  map[string]int `json:"unknown"`
}

func newConnectionDay(f verdict.Figures) connectionDay {
	return connectionDay{f.Hub, f.Day.Format(time.DateOnly), f.Renewed, f.Unknown}
}

// connectionGrid returns the figures of days as a table for people.
func connectionGrid(days []verdict.Figures) grid {
	g := grid{columns: []column{{title: "HUB"}, {title: "DAY (UTC)", whole: true}, {title: "RENEWALS", right: true, whole: true}, {title: "UNKNOWN", right: true, whole: true}}}
	for _, f := range days {
		unknown := 0
		for _, n := range f.Unknown {
			unknown += n
		}
		g.rows = append(g.rows, []string{printable(f.Hub), f.Day.Format(time.DateOnly), strconv.Itoa(f.Renewed), strconv.Itoa(unknown)})
	}
	return g
}

// sentenceGrid returns the sentences of days that no rule knows, the most frequent first.
func sentenceGrid(days []verdict.Figures) grid {
	all := map[string]int{}
	for _, f := range days {
		for s, n := range f.Unknown {
			all[s] += n
		}
	}
	g := grid{columns: []column{{title: "TIMES", right: true, whole: true}, {title: "SENTENCE"}}}
	for _, s := range slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(all[b]-all[a], cmp.Compare(a, b)) }) {
		g.rows = append(g.rows, []string{strconv.Itoa(all[s]), printable(s)})
	}
	return g
}
