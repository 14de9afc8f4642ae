package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
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
			d, err := findDevice(command.Context(), a.Alerts, args[0], args[1], since)
			if err != nil {
				return err
			}
			w := command.OutOrStdout()
			if output.word == "json" {
				return export.WriteJSON(w, d.document())
			}
			if len(d.alerts) == 0 {
				fmt.Fprintln(command.ErrOrStderr(), printable(d.none()))
				return nil
			}
			return d.write(w, width(w))
		},
	}
	command.Flags().Var(&moment{now: o.now, time: &since}, "since", "alerts whose last occurrence was then or later (default 90d)")
	addChoice(command, output, "o", "text or json")
	return command
}

// device is what is known of one device.
type device struct {
	hub, id string
	since   time.Time
	alerts  []alert.Alert // of the device and its modules, the newest first
	similar string        // the id of a device with alerts that differs in letter case alone, if alerts is empty
}

// findDevice returns what is known of a device. One list of the hub is enough, because
// the store reads all alerts of a day to find those of one entity.
func findDevice(ctx context.Context, reader alert.Reader, hub, id string, since time.Time) (device, error) {
	d := device{hub: hub, id: id, since: since}
	for _, suppressed := range []bool{false, true} {
		for a, err := range reader.List(ctx, alert.Query{Hub: hub, Since: since, Suppressed: suppressed}) {
			if err != nil {
				return device{}, err
			}
			name := a.Entity.Name
			switch a.Entity.Type {
			case alert.Device:
			case alert.Module:
				name, _, _ = strings.Cut(name, "/")
			default:
				continue
			}
			switch {
			case name == id:
				d.alerts = append(d.alerts, a)
			case strings.EqualFold(name, id):
				d.similar = name
			}
		}
	}
	slices.SortStableFunc(d.alerts, func(a, b alert.Alert) int { return b.End.Compare(a.End) })
	return d, nil
}

// none says that there are no alerts.
func (d device) none() string {
	text := fmt.Sprintf("There is no alert about the device %s of %s since %s.", d.id, d.hub, second(d.since))
	if d.similar != "" {
		text += fmt.Sprintf(" There are some about %s: letter case matters.", d.similar)
	}
	return text
}

// address returns from where the device was seen last, and when. It returns "" if no
// alert has an address.
func (d device) address() (string, time.Time) {
	for _, a := range d.alerts {
		if address := cmp.Or(a.LastActorIPAddress, a.ActorIPAddress); address != "" {
			return address, a.End
		}
	}
	return "", time.Time{}
}

// deviceDocument is a device as programs read it.
type deviceDocument struct {
	HubName            string         `json:"hubName"`
	DeviceID           string         `json:"deviceId"`
	LastActorIPAddress string         `json:"lastActorIpAddress,omitzero"`
	Alerts             []export.Alert `json:"alerts"`
}

// document returns a device as programs read it.
func (d device) document() deviceDocument {
	address, _ := d.address()
	return deviceDocument{d.hub, d.id, address, export.Each(d.alerts, export.NewAlert)}
}

// write writes a device for people, in lines of at most width characters.
func (d device) write(w io.Writer, width int) error {
	open := 0
	for _, a := range d.alerts {
		if !a.Status.Closed() {
			open++
		}
	}
	head := fmt.Sprintf("Device %s of %s: %s since %s, %d open.", d.id, d.hub, plural(len(d.alerts), "alert"), d.since.UTC().Format(time.DateOnly), open)
	if address, at := d.address(); address != "" {
		head += fmt.Sprintf(" Its last address is %s, at %s.", address, second(at))
	}
	fmt.Fprintf(w, "%s\n\n", wrap(printable(head), width, ""))
	g := grid{
		columns: []column{
			{title: "DAY", whole: true}, {title: "CAUSE"}, {title: "N", right: true, whole: true}, {title: "STATUS", whole: true, color: statusColor},
			{title: "MODULE"}, {title: "REFERENCE", whole: true}, {title: "ADDRESS"},
		},
		below: 5,
	}
	for _, a := range d.alerts {
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
