package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
	"hubwatch/handlers/fleet"
)

// deviceDays is how many days "devices show" looks back.
const deviceDays = 90

// newDevices returns the verbs about devices.
func newDevices(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:     "devices",
		Short:   "Show what is known of one device",
		Example: `  hubwatch devices show plant-hub valve-7`,
	}, newDevicesShow(o))
}

// newDevicesShow returns the verb that shows one device.
func newDevicesShow(o *operator) *cobra.Command {
	var since time.Time
	output := &choice{name: "output", words: []string{"text", "json"}, word: "text"}
	command := &cobra.Command{
		Use:   "show <hub> <device>",
		Short: "Show all alerts of one device and its modules",
		Long: `show shows all alerts of a device and its modules of the last 90 days, the
newest first, open or closed, and from which address the device was seen last.
Alerts that a suppression hides are among them. Letter case matters in the id of
a device, as it does in IoT Hub.

In JSON it is an object with hubName, deviceId, lastActorIpAddress if that is
known, and alerts, an array as "hubwatch alerts list -o json" has it.`,
		Example: `  hubwatch devices show plant-hub valve-7
  hubwatch devices show plant-hub valve-7 --since 365d -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("want a hub and a device, have %d arguments", len(args))
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			if args[0] == "" || args[1] == "" {
				return &usageError{command, errors.New("want the name of a hub and the id of a device")}
			}
			a, err := o.open()
			if err != nil {
				return err
			}
			if since.IsZero() {
				since = o.now().AddDate(0, 0, -deviceDays)
			}
			d, err := fleet.FindDevice(command.Context(), a.Alerts, args[0], args[1], since)
			if err != nil {
				return err
			}
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, fleet.NewDeviceDocument(d))
			}
			if len(d.Alerts) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), printable(noAlerts(d)))
				return nil
			}
			return writeDevice(w, width(w), d)
		},
	}
	command.Flags().Var(&moment{now: o.now, time: &since}, "since", "alerts whose last occurrence was then or later (default 90d)")
	addChoice(command, output, "o", "text or json")
	return command
}

// noAlerts says that there are no alerts.
func noAlerts(d fleet.Device) string {
	text := fmt.Sprintf("There is no alert about the device %s of %s since %s.", d.ID, d.Hub, second(d.Since))
	if d.Similar != "" {
		text += fmt.Sprintf(" There are some about %s: letter case matters.", d.Similar)
	}
	return text
}

// writeDevice writes a device for people, in lines of at most width characters.
func writeDevice(w io.Writer, width int, d fleet.Device) error {
	open := 0
	for _, a := range d.Alerts {
		if !a.Status.Closed() {
			open++
		}
	}
	head := fmt.Sprintf("Device %s of %s: %s since %s, %d open.", d.ID, d.Hub, plural(len(d.Alerts), "alert"), d.Since.UTC().Format(time.DateOnly), open)
	if address, at := d.Address(); address != "" {
		head += fmt.Sprintf(" Its last address is %s, at %s.", address, second(at))
	}
	fmt.Fprintf(w, "%s\n\n", wrap(printable(head), width, ""))
	g := grid{
		columns: []column{
			{title: "DAY", whole: true}, {title: "ALERT"}, {title: "N", right: true, whole: true}, {title: "STATUS", whole: true, color: statusColor},
			{title: "MODULE"}, {title: "REFERENCE", whole: true}, {title: "ADDRESS"},
		},
		below: 5,
	}
	for _, a := range d.Alerts {
		_, module, _ := strings.Cut(a.Entity.Name, "/")
		if a.Entity.Type != alert.Module {
			module = ""
		}
		status := string(a.Status)
		if a.SuppressedBy != "" {
			status = "hidden"
		}
		row := []string{a.Ref().Day.Format(time.DateOnly), cmp.Or(a.Detector, a.Type), strconv.Itoa(a.Occurrences), status, module, a.Ref().String(), cmp.Or(a.LastActorIPAddress, a.ActorIPAddress)}
		for i, cell := range row {
			row[i] = printable(cell)
		}
		g.rows = append(g.rows, row)
	}
	return g.write(w, width)
}
