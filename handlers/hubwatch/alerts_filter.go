package main

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/fleet"
)

// alertFilter says which alerts a verb is about. Its flags are the same for all verbs.
type alertFilter struct {
	asked                alert.Query
	severity, entityType *choice
	names                []string // of the flags that add gave to a verb
}

// newAlertFilter returns a filter for all alerts.
func newAlertFilter() *alertFilter {
	return &alertFilter{
		severity:   &choice{name: "severity", words: []string{string(alert.High), string(alert.Medium), string(alert.Low), string(alert.Informational)}},
		entityType: &choice{name: "entity-type", words: kindWords()},
	}
}

// add gives a verb the flags about what alerts are about.
func (f *alertFilter) add(command *cobra.Command) {
	flags := command.Flags()
	f.addHubAndType(command)
	addChoice(command, f.severity, "", "High, Medium, Low or Informational")
	flags.StringVar(&f.asked.Entity, "entity", "", "`name` of the certificate, setting, device or module")
	addChoice(command, f.entityType, "", "IoTHub, Certificate, DiagnosticSetting, Device, Module, Caller, Address, Resource or Path")
	flags.StringVar(&f.asked.Actor, "actor", "", "`name` of who did it")
	flags.Var(&addressFlag{prefix: &f.asked.Address}, "address", "IP `address` or range that the alert was seen from")
	f.addSuppressed(command)
	f.names = append(f.names, "severity", "entity", "entity-type", "actor", "address")
}

// addHubAndType gives a verb the flags --hub and --type.
func (f *alertFilter) addHubAndType(command *cobra.Command) {
	command.Flags().StringVar(&f.asked.Hub, "hub", "", "`name` of the IoT hub")
	command.Flags().StringVar(&f.asked.Type, "type", "", "alert `type`, or the name of the detector as the table shows it")
	var types []string
	for _, d := range app.Detectors() {
		types = append(types, d.Name)
	}
	register(command, "type", types)
	f.names = append(f.names, "hub", "type")
}

// addSuppressed gives a verb the flag --suppressed.
func (f *alertFilter) addSuppressed(command *cobra.Command) {
	command.Flags().BoolVar(&f.asked.Suppressed, "suppressed", false, "the alerts that a suppression hides, instead of the others")
	f.names = append(f.names, "suppressed")
}

// addStatus gives a verb a flag about statuses.
func (f *alertFilter) addStatus(command *cobra.Command, name, usage string) {
	command.Flags().Var(&statusesFlag{statuses: &f.asked.Statuses}, name, usage)
	register(command, name, alert.StatusWords())
	f.names = append(f.names, name)
}

// addTimes gives a verb the flags --since and --until.
func (f *alertFilter) addTimes(command *cobra.Command, now func() time.Time) {
	flags := command.Flags()
	flags.Var(&moment{now: now, time: &f.asked.Since}, "since", "the last occurrence was then or later")
	flags.Var(&moment{now: now, time: &f.asked.Until, end: true}, "until", "the last occurrence was then or earlier")
	f.names = append(f.names, "since", "until")
}

// register lets a flag be completed with words.
func register(command *cobra.Command, flag string, words []string) {
	if err := command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag, or it has words already
	}
}

// given returns the names of the flags of the filter that were given to a verb.
func (f *alertFilter) given(command *cobra.Command) []string {
	var names []string
	for _, name := range f.names {
		if command.Flags().Changed(name) {
			names = append(names, "--"+name)
		}
	}
	return names
}

// check returns what is wrong with the flags together.
func (f *alertFilter) check() error {
	if !f.asked.Until.IsZero() && f.asked.Until.Before(f.asked.Since) {
		return errors.New("--until: want a time after --since")
	}
	return nil
}

// query returns what to ask the store for.
func (f *alertFilter) query(detectors []detector.Detector) alert.Query {
	q := f.asked
	q.Type = alertType(detectors, q.Type)
	q.Severity = alert.Severity(f.severity.word)
	q.EntityType = alert.EntityType(f.entityType.word)
	return q
}

// alertType returns the alert type of the detector with this name. If there is no
// such detector, it returns name.
func alertType(detectors []detector.Detector, name string) string {
	if d, ok := fleet.Named(detectors, name); ok {
		return d.AlertType
	}
	return name
}

// statusesFlag is a flag that takes statuses, separated by commas. It adds to those
// that it has taken before.
type statusesFlag struct {
	statuses *[]alert.Status
	text     string
}

// Set implements pflag.Value.
func (f *statusesFlag) Set(s string) error {
	found, err := alert.ParseStatuses(s)
	if err != nil {
		return err
	}
	for _, status := range found {
		if !slices.Contains(*f.statuses, status) {
			*f.statuses = append(*f.statuses, status)
		}
	}
	f.text = s
	return nil
}

// String implements pflag.Value.
func (f *statusesFlag) String() string { return f.text }

// Type implements pflag.Value.
func (f *statusesFlag) Type() string { return "status" }

// addressFlag is a flag that takes an IP address or a range of addresses.
type addressFlag struct {
	prefix *netip.Prefix
	text   string
}

// Set implements pflag.Value.
func (f *addressFlag) Set(s string) error {
	prefix, err := alert.ParseAddresses(s)
	if err != nil {
		return err
	}
	*f.prefix, f.text = prefix, s
	return nil
}

// String implements pflag.Value.
func (f *addressFlag) String() string { return f.text }

// Type implements pflag.Value.
func (f *addressFlag) Type() string { return "address" }
