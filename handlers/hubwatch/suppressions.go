package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
)

// newSuppressions returns the verbs about suppressions.
func newSuppressions(o *operator) *cobra.Command {
	return group(&cobra.Command{
		Use:   "suppressions",
		Short: "Say which alerts nobody is told of",
		Long: `A suppression is a rule for alerts that nobody needs to hear of, like those of
a deployment pipeline. What falls under a suppression is kept and counted all
the same, but nobody is told. "hubwatch alerts list" leaves it out, and shows it
with --suppressed. If the same alert happens outside of the suppression as well,
it is in the list again.

A suppression has a reason, an owner and an end, and is never deleted. The app
knows a new one within 30 seconds. If it cannot read them, it hides nothing.`,
		Example: `  hubwatch suppressions list
  hubwatch suppressions add --type CertificateAdded --hub contoso-hub \
    --actor pipeline@contoso.example --for 90d \
    --reason "rotation every night" --owner team-pki@contoso.example`,
	}, newSuppressionsAdd(o), newSuppressionsPreview(o), newSuppressionsList(o), newSuppressionsShow(o), newSuppressionsRemove(o))
}

// lookBack is how far back the verbs look for alerts that a suppression hides.
const lookBack = 30 * 24 * time.Hour

// conditionFlags are the flags with the conditions of a suppression.
type conditionFlags struct {
	alertType, hub, entity, actor string
	entityType                    choice
	addresses                     netip.Prefix
}

// add gives a verb the flags.
func (f *conditionFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.alertType, "type", "", "alert `type`, or the name of the detector (default any)")
	flags.StringVar(&f.hub, "hub", "", "`name` of the IoT hub (default any)")
	flags.StringVar(&f.entity, "entity", "", "`name` of the certificate, setting, device or module, or its beginning and a * (default any)")
	f.entityType = choice{name: "entity-type", words: kindWords()}
	addChoice(command, &f.entityType, "", "IoTHub, Certificate, DiagnosticSetting, Device, Module, Caller, Address, Resource or Path (default any)")
	flags.StringVar(&f.actor, "actor", "", "`name` of who does it, as the alert has it (default anybody)")
	flags.Var(&addressFlag{prefix: &f.addresses}, "address", "IP address or range that it comes from; one that Azure masks is in no range (default any)")
	var types []string
	for _, d := range app.Detectors() {
		types = append(types, d.Name)
	}
	register(command, "type", types)
}

// kindWords returns the kinds of entity as the words of a flag.
func kindWords() []string {
	var words []string
	for _, kind := range alert.EntityTypes {
		words = append(words, string(kind))
	}
	return words
}

// suppression returns a suppression with these conditions alone.
func (f *conditionFlags) suppression(detectors []detector.Detector) alert.Suppression {
	return alert.Suppression{
		AlertType: alertType(detectors, f.alertType), Hub: f.hub, EntityType: alert.EntityType(f.entityType.word), Entity: f.entity,
		Actor: f.actor, Addresses: f.addresses,
	}
}

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
	for _, d := range app.Detectors() {
		if strings.EqualFold(d.AlertType, s.AlertType) {
			name = d.Name
		}
	}
	add("type", name)
	add("hub", s.Hub)
	add("entity type", string(s.EntityType))
	add("entity", s.Entity)
	add("actor", s.Actor)
	if s.Addresses.IsValid() {
		add("from", s.Addresses.String())
	}
	return strings.Join(parts, ", ")
}

// hiding counts alerts that suppressions hide.
type hiding struct{ alerts, occurrences int }

// add counts one alert more.
func (h hiding) add(a alert.Alert) hiding { return hiding{h.alerts + 1, h.occurrences + a.Occurrences} }

// lately returns the alerts of the last 30 days: those that suppressions hide, or the
// others. If no alert was ever raised, there are none.
func lately(ctx context.Context, reader alert.Reader, q alert.Query, now time.Time) ([]alert.Alert, error) {
	q.Since = now.Add(-lookBack)
	alerts, _, err := list(ctx, reader, q, 0)
	if errors.Is(err, alert.ErrAbsent) {
		return nil, nil
	}
	return alerts, err
}

// hiddenBy returns what each suppression hides, by its id: the alerts of the last 30
// days of which all occurrences fall under suppressions.
func hiddenBy(ctx context.Context, reader alert.Reader, now time.Time) (map[string]hiding, error) {
	alerts, err := lately(ctx, reader, alert.Query{Suppressed: true}, now)
	hidden := map[string]hiding{}
	for _, a := range alerts {
		hidden[a.SuppressedBy] = hidden[a.SuppressedBy].add(a)
	}
	return hidden, err
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
		alerts, err := lately(ctx, reader, alert.Query{Hub: s.Hub, Type: s.AlertType, Suppressed: suppressed}, now)
		if err != nil {
			return f, err
		}
		for _, a := range alerts {
			switch {
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
	if len(f.alerts) == 0 && f.already == 0 {
		text = "In the last 30 days it would have hidden nothing. See whether the conditions are what the alerts have."
	}
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
	return alert.Suppression{}, &ambiguousError{fmt.Sprintf("several suppressions have an id that begins with %s: %s", id, strings.Join(ids, ", "))}
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
