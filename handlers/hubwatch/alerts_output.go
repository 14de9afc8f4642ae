package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
)

// alertOutput is how a verb writes alerts: the flag --output, and --csv-raw if csv
// is one of its words.
type alertOutput struct {
	choice
	csvRaw bool
}

// addAlertOutput adds the flags of alertOutput. The first word is the default.
func addAlertOutput(command *cobra.Command, words ...string) *alertOutput {
	o := &alertOutput{choice: choice{name: "output", words: words, word: words[0]}}
	addChoice(command, &o.choice, "o", anyOf(words))
	return o
}

// addCSVRaw adds the flag --csv-raw.
func (o *alertOutput) addCSVRaw(command *cobra.Command) {
	command.Flags().BoolVar(&o.csvRaw, "csv-raw", false, "with -o csv: leave cells that a spreadsheet would take for a formula as they are")
}

// check returns an error if the flags contradict each other.
func (o *alertOutput) check() error {
	if o.csvRaw && o.word != "csv" {
		return errors.New("--csv-raw: want -o csv too")
	}
	return nil
}

// write writes a list of alerts for people, or for programs. Lists of documents are
// arrays, also empty ones, except that jsonl writes a document a line. source is that
// of CloudEvents.
func (o *alertOutput) write(w io.Writer, source string, alerts []alert.Alert) error {
	switch o.word {
	case "table":
		if len(alerts) == 0 {
			return nil
		}
		return alertGrid(alerts).write(w, width(w))
	case "json":
		return export.WriteJSON(w, export.Each(alerts, export.NewAlert))
	case "jsonl":
		return export.WriteLines(w, export.Each(alerts, export.NewAlert))
	case "csv":
		return export.WriteCSV(w, alerts, o.csvRaw)
	case "ocsf":
		return export.WriteJSON(w, export.Each(alerts, func(a alert.Alert) export.DetectionFinding { return export.NewDetectionFinding(a, nil) }))
	case "cloudevents":
		return export.WriteJSON(w, export.Each(alerts, func(a alert.Alert) export.CloudEvent { return export.NewCloudEvent(a, source) }))
	case "securityalert":
		rows := make([]export.SecurityAlert, len(alerts))
		for i, a := range alerts {
			var err error
			if rows[i], err = export.NewSecurityAlert(export.NewAlert(a)); err != nil {
				return err
			}
		}
		return export.WriteJSON(w, rows)
	}
	return fmt.Errorf("there is no format %q", o.word)
}

// writeOne writes one alert. source is that of CloudEvents, and the text has commands
// for shell.
func (o *alertOutput) writeOne(w io.Writer, source, shell string, a fleet.Whole) error {
	switch o.word {
	case "text":
		return writeAlert(w, width(w), a, shell)
	case "json":
		return export.WriteJSON(w, a.Document())
	case "ocsf":
		return export.WriteJSON(w, export.NewDetectionFinding(a.Alert, a.Evidence))
	case "cloudevents":
		return export.WriteJSON(w, export.NewCloudEvent(a.Alert, source))
	}
	return fmt.Errorf("there is no format %q", o.word)
}

// source returns the source of the CloudEvents about the alerts in the table of the
// settings.
func (o *operator) source() (string, error) {
	c, err := o.config()
	return c.Source(), err
}
