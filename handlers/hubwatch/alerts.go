package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

// newAlerts returns the verbs about alerts.
func newAlerts(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:   "alerts",
		Short: "List, show, watch and close alerts",
		Example: `  hubwatch alerts list --severity medium --status open
  hubwatch alerts show plant-hub/2026-02-01/41d31d3b-1f3f-8d41-9f1b-4a8d1c2b3e4f
  hubwatch alerts set 41d31d3b --status resolved --reason "was planned"`,
	}, newAlertsList(o), newAlertsShow(o), newAlertsSet(o), newAlertsNote(o), newAlertsHistory(o), newAlertsCount(o), newAlertsWatch(o), newAlertsReindex(o))
}

// choice is a flag that takes one of several words, in any case, with or without
// hyphens.
type choice struct {
	name  string
	words []string
	word  string // the one that was chosen
}

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	for _, word := range c.words {
		if plainly(word) == plainly(s) {
			c.word = word
			return nil
		}
	}
	last := len(c.words) - 1
	return fmt.Errorf("want %s or %s", strings.Join(c.words[:last], ", "), c.words[last])
}

// plainly returns a word as choices compare it: in-progress and InProgress are one.
func plainly(word string) string { return strings.ToLower(strings.ReplaceAll(word, "-", "")) }

// String implements pflag.Value.
func (c *choice) String() string { return c.word }

// Type implements pflag.Value.
func (c *choice) Type() string { return c.name }

// addChoice adds a flag that takes one of c's words, and completes them.
func addChoice(command *cobra.Command, c *choice, short, usage string) {
	command.Flags().VarP(c, c.name, short, usage)
	complete := cobra.FixedCompletions(c.words, cobra.ShellCompDirectiveNoFileComp)
	if err := command.RegisterFlagCompletionFunc(c.name, complete); err != nil {
		panic(err) // there are two flags of this name
	}
}

// field is a member of an alert as JSON and CSV have it: a string, an int, a bool, a
// time.Time, a []string or a map[string]string.
type field struct {
	name  string
	value any
}

// fields returns an alert as programs read it. The names are the names of the
// columns of its row, in camel case.
func fields(a alert.Alert) []field {
	return []field{
		{"systemAlertId", a.ID},
		{"alertType", a.Type},
		{"alertDisplayName", a.DisplayName},
		{"severity", string(a.Severity)},
		{"confidence", string(a.Confidence)},
		{"description", a.Message},
		{"remediationSteps", steps(a)},
		{"compromisedEntity", a.Entity.Name},
		{"entityType", string(a.Entity.Type)},
		{"hubName", a.Hub.Name},
		{"resourceId", a.Hub.ResourceID},
		{"subscriptionId", a.Hub.SubscriptionID},
		{"actor", a.Actor},
		{"actorIpAddress", a.ActorIPAddress},
		{"lastActorIpAddress", a.LastActorIPAddress},
		{"actorIpAddresses", a.ActorIPAddresses},
		{"moreActorIpAddresses", a.MoreActorIPAddresses},
		{"correlationId", a.CorrelationID},
		{"startTimeUtc", a.Start.UTC()},
		{"endTimeUtc", a.End.UTC()},
		{"timeGeneratedUtc", a.Generated.UTC()},
		{"status", string(a.Status)},
		{"occurrences", a.Occurrences},
		{"extendedProperties", a.Properties},
		{"detector", a.Detector},
		{"reference", a.Ref().String()},
	}
}

// stepNumber matches the number before each step of a remediation.
var stepNumber = regexp.MustCompile(`^\d+\. `)

// steps returns the steps of an alert's remediation, without numbers.
func steps(a alert.Alert) []string {
	list := []string{}
	for line := range strings.Lines(a.Remediation) {
		list = append(list, stepNumber.ReplaceAllString(strings.TrimRight(line, "\n"), ""))
	}
	return list
}

// writeJSON writes a value as JSON that is fit for a terminal.
func writeJSON(w io.Writer, value any) error {
	text, err := json.Marshal(value, json.Deterministic(true), jsontext.WithIndent("  "),
		json.WithMarshalers(json.MarshalToFunc(marshalFields)))
	if err != nil {
		return fmt.Errorf("json: %w", err)
	}
	_, err = w.Write(append([]byte(secret.VisibleJSON(string(text))), '\n'))
	return err
}

// marshalFields writes fields as an object, in their order.
func marshalFields(e *jsontext.Encoder, fields []field) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, f := range fields {
		if err := e.WriteToken(jsontext.String(f.name)); err != nil {
			return err
		}
		if err := json.MarshalEncode(e, f.value); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

// writeCSV writes alerts as CSV (RFC 4180) with a header.
func writeCSV(w io.Writer, alerts []alert.Alert) error {
	c := csv.NewWriter(w)
	var names []string
	for _, f := range fields(alert.Alert{}) {
		names = append(names, f.name)
	}
	if err := c.Write(names); err != nil {
		return err
	}
	for _, a := range alerts {
		var cells []string
		for _, f := range fields(a) {
			text, err := f.text()
			if err != nil {
				return err
			}
			cells = append(cells, csvCell(text))
		}
		if err := c.Write(cells); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// text returns the value in one cell.
func (f field) text() (string, error) {
	switch value := f.value.(type) {
	case string:
		return value, nil
	case int:
		return strconv.Itoa(value), nil
	case time.Time:
		return value.Format(time.RFC3339Nano), nil
	case bool:
		return strconv.FormatBool(value), nil
	case []string:
		return strings.Join(value, "\n"), nil
	default:
		text, err := json.Marshal(value, json.Deterministic(true))
		if err != nil {
			return "", fmt.Errorf("csv: %s: %w", f.name, err)
		}
		return string(text), nil
	}
}

// csvCell makes a text safe for a cell. A spreadsheet reads a cell that begins
// with one of some characters as a formula, so csvCell puts a quote before these
// characters (https://owasp.org/www-community/attacks/CSV_Injection). Hidden
// characters other than line ends are escaped as in JSON.
func csvCell(text string) string {
	formula := text != "" && strings.ContainsRune("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20", []rune(text)[0])
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	text = strings.Join(lines, "\n")
	if formula {
		text = "'" + text
	}
	return text
}
