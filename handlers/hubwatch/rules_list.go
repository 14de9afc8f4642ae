package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/custom"
	"hubwatch/handlers/export"
	"hubwatch/handlers/table"
)

// listedRule is a custom alert in the JSON of the list.
type listedRule struct {
	Name        string `json:"name"`
	Enabled     bool   `json:"enabled"`
	AlertType   string `json:"alertType"`
	Severity    string `json:"severity"`
	Source      string `json:"source"`
	Title       string `json:"title"`
	Owner       string `json:"owner,omitzero"`
	Quarantined *int   `json:"quarantined,omitzero"` // nil if nobody asked
}

// newRulesList returns the verb that lists custom alerts.
func newRulesList(o *operator, files *ruleFiles) *cobra.Command {
	var quarantined bool
	output := &choice{name: "output", words: []string{"table", "json"}, word: "table"}
	command := &cobra.Command{
		Use:   "list",
		Short: "List the custom alerts, and which are enabled",
		Long: `list lists the custom alerts of the repository. If --account, --local or the
settings name a storage account, it also reads the quarantine there: how many
events each of them could not judge, that have not been judged since. It names
those that have raised no alert since then, and those that could not judge ten
or more in the last 24 hours: their condition may not fit their events. Events
in which an alert finds nothing are stored nowhere, so that is all that can be
told. "hubwatch quarantine list --function <name>" has the reasons.

With --quarantine it is an error if the quarantine cannot be read.

In JSON it is an array of objects with name, enabled, alertType, severity,
source, title, owner and quarantined. It ends with 2 if a file has a mistake.`,
		Example: `  hubwatch rules list
  hubwatch rules list --account contosostorage`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			alerts, err := files.load()
			wrong, err := files.writeMistakes(command.ErrOrStderr(), err, nil)
			if err != nil {
				return err
			}
			var held map[string]table.Backlog
			switch {
			case quarantined:
				if held, err = o.backlogs(command.Context(), alerts); err != nil {
					return err
				}
			case o.configured():
				ctx, cancel := context.WithTimeout(command.Context(), patience)
				defer cancel()
				if held, err = o.backlogs(ctx, alerts); err != nil {
					complain(command.ErrOrStderr(), fmt.Errorf("rules list: the quarantine was not read: %w", o.advised(err)))
				}
			case slices.ContainsFunc(alerts, func(a custom.Alert) bool { return a.Enabled }):
				fmt.Fprintln(command.ErrOrStderr(), "Add --account <name> to see which of them cannot judge their events.")
			}
			list := listRules(alerts, held)
			w := command.OutOrStdout()
			switch {
			case output.word == "json":
				err = export.WriteJSON(w, list)
			case len(list) == 0 && wrong == 0:
				fmt.Fprintf(command.ErrOrStderr(), "There are no custom alerts in %s.\n", printable(files.folder))
			default:
				err = ruleGrid(list).write(w, width(w))
			}
			writeMisfits(command.ErrOrStderr(), width(command.ErrOrStderr()), alerts, held)
			if err == nil && wrong > 0 {
				err = said(exitUsage)
			}
			return err
		},
	}
	command.Flags().BoolVar(&quarantined, "quarantine", false, "say how many events each could not judge, or fail")
	addChoice(command, output, "o", "table or json")
	return command
}

// mostHeld is how many rows of the quarantine the list reads at most.
const mostHeld = 100_000

// patience is how long the list waits for a quarantine that nobody asked for.
const patience = 10 * time.Second

// configured reports whether a flag or a setting names a storage account.
func (o *operator) configured() bool {
	return o.local || o.account != "" || slices.ContainsFunc([]string{storageSetting, storageSetting + "__tableServiceUri", storageSetting + "__serviceUri"}, func(name string) bool { return o.getenv(name) != "" })
}

// backlogs returns what waits in the quarantine, by the name of the function in lower case, and
// whether the custom alerts have raised any since.
func (o *operator) backlogs(ctx context.Context, alerts []custom.Alert) (map[string]table.Backlog, error) {
	a, err := o.open()
	if err != nil {
		return nil, err
	}
	list, _, err := a.Quarantine.Backlogs(ctx, o.now(), mostHeld)
	if err != nil {
		return nil, err
	}
	if err := a.Alerts.Know(ctx, list, o.now(), func(function string) string {
		if i := slices.IndexFunc(alerts, func(a custom.Alert) bool { return strings.EqualFold(a.Name, function) }); i >= 0 {
			return alerts[i].AlertType
		}
		return ""
	}); err != nil {
		return nil, err
	}
	byName := map[string]table.Backlog{}
	for _, b := range list {
		byName[strings.ToLower(b.Function)] = b
	}
	return byName, nil
}

// writeMisfits says which alerts may not fit their events.
func writeMisfits(w io.Writer, width int, alerts []custom.Alert, held map[string]table.Backlog) {
	for _, a := range alerts {
		if text := held[strings.ToLower(a.Name)].Misfit(true); text != "" {
			fmt.Fprintf(w, "%s\nThe reasons:\n  hubwatch quarantine list --function %s\n", wrap(printable(text), width, ""), a.Name)
		}
	}
}

// listRules returns alerts as the list has them. held is nil if nobody asked.
func listRules(alerts []custom.Alert, held map[string]table.Backlog) []listedRule {
	list := []listedRule{}
	for _, a := range alerts {
		r := listedRule{Name: a.Name, Enabled: a.Enabled, AlertType: a.AlertType, Severity: string(a.Severity), Source: string(a.On.Source), Title: a.Title, Owner: a.Owner}
		if held != nil {
			n := held[strings.ToLower(a.Name)].Waiting
			r.Quarantined = &n
		}
		list = append(list, r)
	}
	return list
}

// ruleGrid returns the list as a table for people.
func ruleGrid(list []listedRule) grid {
	g := grid{columns: []column{{title: "NAME", whole: true}, {title: "STATE", whole: true}, {title: "SEVERITY", whole: true}, {title: "SOURCE", whole: true}, {title: "TITLE"}}, below: 4}
	asked := len(list) > 0 && list[0].Quarantined != nil
	if asked {
		g.columns = append(g.columns[:4:4], column{title: "QUARANTINED", right: true, whole: true}, g.columns[4])
		g.below = 5
	}
	for _, r := range list {
		state := "off"
		if r.Enabled {
			state = "on"
		}
		row := []string{r.Name, state, r.Severity, r.Source}
		if asked {
			row = append(row, fmt.Sprint(*r.Quarantined))
		}
		g.rows = append(g.rows, append(row, printable(r.Title)))
	}
	return g
}
