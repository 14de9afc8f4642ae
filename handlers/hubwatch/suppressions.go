package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/table"
)

// newSuppressions returns the verbs about suppressions.
func newSuppressions(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:   "suppressions",
		Short: "Say which alerts nobody is told of, and look after these rules",
		Long: `A suppression is a rule for alerts that nobody needs to hear of, like those of
a deployment pipeline. An occurrence that falls under a suppression is kept and
counted all the same: "hubwatch alerts list" leaves it out. An alert that also
happens outside of the suppression becomes active.

A suppression has a reason, an owner and an end, and is never deleted. The app
reads the suppressions every 30 seconds. If it cannot, it suppresses nothing.`,
		Example: `  hubwatch suppressions list
  hubwatch suppressions add --type CertificateAdded --hub contoso-hub \
    --actor pipeline@contoso.example --for 90d \
    --reason "rotation every night" --owner team-pki@contoso.example`,
	}, newSuppressionsAdd(o), newSuppressionsPreview(o), newSuppressionsList(o), newSuppressionsShow(o), newSuppressionsEnd(o))
}

// lookBack is how far back the verbs look for alerts that a suppression hides.
const lookBack = 30 * 24 * time.Hour

// conditionFlags are the flags with the conditions of a suppression.
type conditionFlags struct {
	alertType, hub, entity, actor string
	entityType                    choice
	addresses                     rangeFlag
}

// add gives a verb the flags.
func (f *conditionFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.alertType, "type", "", "alert `type`, or the name of the detector (default any)")
	flags.StringVar(&f.hub, "hub", "", "`name` of the IoT hub (default any)")
	flags.StringVar(&f.entity, "entity", "", "`name` of the certificate, setting, device or module, or its beginning and a * (default any)")
	f.entityType = choice{name: "entity-type"}
	for _, kind := range alert.EntityTypes {
		f.entityType.words = append(f.entityType.words, string(kind))
	}
	addChoice(command, &f.entityType, "", "IoTHub, Certificate, DiagnosticSetting, Device or Module (default any)")
	flags.StringVar(&f.actor, "actor", "", "`name` of who does it, as the alert has it (default anybody)")
	flags.Var(&f.addresses, "address", "address, or range like 203.0.113.0/24, that it comes from; one that Azure masks is in no range (default any)")
	types := make([]string, len(detector.All))
	for i, d := range detector.All {
		types[i] = d.Name
	}
	if err := command.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(types, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
}

// suppression returns a suppression with these conditions alone.
func (f *conditionFlags) suppression(detectors []detector.Detector) alert.Suppression {
	return alert.Suppression{
		AlertType: alertType(detectors, f.alertType), Hub: f.hub, EntityType: alert.EntityType(f.entityType.word), Entity: f.entity,
		Actor: f.actor, Addresses: f.addresses.prefix,
	}
}

// rangeFlag is a flag that takes an address or a range.
type rangeFlag struct{ prefix netip.Prefix }

// Set implements pflag.Value.
func (f *rangeFlag) Set(s string) (err error) {
	f.prefix, err = alert.ParseAddresses(s)
	return err
}

// String implements pflag.Value.
func (f *rangeFlag) String() string {
	if !f.prefix.IsValid() {
		return ""
	}
	return f.prefix.String()
}

// Type implements pflag.Value.
func (f *rangeFlag) Type() string { return "range" }

// knownType returns an error if no detector has the type of a suppression: it is
// probably misspelled, and would match nothing.
func knownType(detectors []detector.Detector, s alert.Suppression) error {
	var names []string
	for _, d := range detectors {
		if s.AlertType == "" || strings.EqualFold(s.AlertType, d.AlertType) {
			return nil
		}
		names = append(names, d.Name)
	}
	return fmt.Errorf("--type: there is no alert type %q: want one of %s", s.AlertType, strings.Join(names, ", "))
}

// conditionsOf says in one line what a suppression matches. It is not printable yet.
func conditionsOf(s alert.Suppression) string {
	var parts []string
	add := func(what, value string) {
		if value != "" {
			parts = append(parts, what+" "+value)
		}
	}
	name := s.AlertType
	for _, d := range detector.All {
		if strings.EqualFold(d.AlertType, s.AlertType) {
			name = d.Name
		}
	}
	add("type", name)
	add("hub", s.Hub)
	add("kind", string(s.EntityType))
	add("entity", s.Entity)
	add("actor", s.Actor)
	if s.Addresses.IsValid() {
		add("from", s.Addresses.String())
	}
	return strings.Join(parts, ", ")
}

// stateOf says whether a suppression matches what happens now.
func stateOf(s alert.Suppression, now time.Time) string {
	switch {
	case !s.Ended.IsZero() && !s.Ended.After(now) && s.Ended.Before(s.Expires):
		return "ended"
	case !s.Expires.After(now):
		return "expired"
	case s.Starts.After(now):
		return "later"
	}
	return "active"
}

// hiding counts alerts that suppressions hide.
type hiding struct{ alerts, occurrences int }

// hiddenBy returns what each suppression hides, by its id: the alerts of the last 30
// days of which all occurrences fall under suppressions.
func hiddenBy(ctx context.Context, reader alert.Reader, now time.Time) (map[string]hiding, error) {
	hidden := map[string]hiding{}
	for a, err := range reader.List(ctx, alert.Query{Since: now.Add(-lookBack), Suppressed: true}) {
		if errors.Is(err, table.ErrAbsent) {
			break // no alert was ever raised
		}
		if err != nil {
			return nil, err
		}
		h := hidden[a.SuppressedBy]
		hidden[a.SuppressedBy] = hiding{h.alerts + 1, h.occurrences + a.Occurrences}
	}
	return hidden, nil
}

// foreseen is what a suppression would have hidden.
type foreseen struct {
	alerts      []alert.Alert // those that are not hidden already, the newest first
	occurrences int           // of these
	already     int           // alerts that other suppressions hide
}

// foresee looks at the alerts of the last 30 days for those that a suppression would
// have hidden, if it had been there.
func foresee(ctx context.Context, reader alert.Reader, s alert.Suppression, now time.Time) (f foreseen, err error) {
	for _, suppressed := range []bool{false, true} {
		q := alert.Query{Hub: s.Hub, Type: s.AlertType, Since: now.Add(-lookBack), Suppressed: suppressed}
		for a, err := range reader.List(ctx, q) {
			switch {
			case errors.Is(err, table.ErrAbsent):
				return f, nil // no alert was ever raised
			case err != nil:
				return f, err
			case !s.MatchesAlert(a):
			case suppressed:
				f.already++
			default:
				f.alerts = append(f.alerts, a)
				f.occurrences += a.Occurrences
			}
		}
	}
	return f, nil
}

// mostForeseen is how many alerts a preview shows.
const mostForeseen = 20

// write writes what a suppression would have hidden.
func (f foreseen) write(w io.Writer) error {
	if len(f.alerts) > 0 {
		if err := alertGrid(f.alerts[:min(len(f.alerts), mostForeseen)]).write(w, width(w)); err != nil {
			return err
		}
		if more := len(f.alerts) - mostForeseen; more > 0 {
			fmt.Fprintf(w, "and %d more\n", more)
		}
		fmt.Fprintln(w)
	}
	already := ""
	if f.already > 0 {
		already = fmt.Sprintf(" Other suppressions hide %d more.", f.already)
	}
	text := fmt.Sprintf("In the last 30 days it would have hidden %s (%s).%s", plural(len(f.alerts), "alert"), plural(f.occurrences, "occurrence"), already)
	_, err := fmt.Fprintln(w, wrap(text, cmp.Or(width(w), helpWidth), ""))
	return err
}

// suppressionID is the form of the beginning of an id as people type it.
var suppressionID = regexp.MustCompile(`^[0-9A-Za-z._-]{1,100}$`)

// findSuppression returns the suppression whose id begins with id.
func findSuppression(ctx context.Context, store alert.Suppressions, id string) (alert.Suppression, error) {
	all, _, err := store.List(ctx, time.Time{})
	if err != nil {
		return alert.Suppression{}, err
	}
	var found []alert.Suppression
	for _, s := range all {
		switch {
		case strings.EqualFold(s.ID, id):
			return s, nil
		case strings.HasPrefix(strings.ToLower(s.ID), strings.ToLower(id)):
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return alert.Suppression{}, fmt.Errorf("suppression %s: %w", id, alert.ErrNoSuppression)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, s := range found {
		ids[i] = s.ID
	}
	return alert.Suppression{}, fmt.Errorf("several suppressions have an id that begins with %s: %s", id, strings.Join(ids, ", "))
}

// oneSuppression is for verbs about one suppression.
func oneSuppression(command *cobra.Command, args []string) error {
	if err := one("id")(command, args); err != nil {
		return err
	}
	if !suppressionID.MatchString(args[0]) {
		return fmt.Errorf("want an id as list shows it, or its beginning, have %q", args[0])
	}
	return nil
}

// warnOfBroken says which rows of the table are not suppressions.
func warnOfBroken(w io.Writer, broken []error) {
	for _, err := range broken {
		complain(w, fmt.Errorf("not a suppression, and so it suppresses nothing: %w", err))
	}
}

// localPerson is the user of this computer.
func (o *operator) localPerson() alert.Person {
	name := cmp.Or(o.getenv("USER"), o.getenv("USERNAME"))
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	return alert.Person{Name: "local:" + name}
}

// suppressionFields returns a suppression as programs read it. What it does not have is
// null.
func suppressionFields(s alert.Suppression, state string, hidden *hiding) []field {
	text := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	at := func(t time.Time) any {
		if t.IsZero() {
			return nil
		}
		return t.UTC()
	}
	addresses := ""
	if s.Addresses.IsValid() {
		addresses = s.Addresses.String()
	}
	fields := []field{
		{"id", s.ID}, {"state", state}, {"reason", s.Reason}, {"owner", s.Owner},
		{"createdBy", text(s.CreatedBy.Name)}, {"createdByObjectId", text(s.CreatedBy.ObjectID)}, {"createdUtc", at(s.Created)},
		{"startsUtc", at(s.Starts)}, {"expiresUtc", at(s.Expires)},
		{"alertType", text(s.AlertType)}, {"hubName", text(s.Hub)}, {"entityType", text(string(s.EntityType))}, {"entity", text(s.Entity)},
		{"actor", text(s.Actor)}, {"addressRange", text(addresses)},
		{"endedBy", text(s.EndedBy.Name)}, {"endedByObjectId", text(s.EndedBy.ObjectID)}, {"endedUtc", at(s.Ended)},
	}
	if hidden != nil {
		fields = append(fields, field{"hiddenAlerts30Days", hidden.alerts}, field{"hiddenOccurrences30Days", hidden.occurrences})
	}
	return fields
}

// opened opens the app, and is done in each verb of this group.
func (o *operator) opened() (*app.App, time.Time, error) {
	a, err := o.open()
	return a, o.now().UTC().Truncate(time.Second), err
}
