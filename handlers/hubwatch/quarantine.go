package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/table"
)

// quarantine shows what could not be judged, and has it judged again, in the
// tables that the settings of the handler name.
func quarantine(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer, _ *slog.Logger) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: quarantine: want list, show or redrive", errUsage)
	}
	verb := args[0]
	o, err := quarantineOptions(verb, args[1:])
	if err != nil {
		return fmt.Errorf("%w: quarantine %s: %w", errUsage, verb, err)
	}
	store, err := table.Open(tableSettings(getenv))
	if err != nil {
		return err
	}
	switch verb {
	case "list":
		return listQuarantine(ctx, store, o.all, stdout)
	case "show":
		return showQuarantined(ctx, store, o.id, stdout)
	default:
		detectors, err := detectors(getenv)
		if err != nil {
			return err
		}
		return redriveQuarantine(ctx, store, detectors, o, stdout)
	}
}

// quarantineArgs are the arguments of a verb of the quarantine.
type quarantineArgs struct {
	id     string // of one event, or its beginning; "" if none is named
	all    bool   // list: redriven events too; redrive: all that are not
	dryRun bool   // write nothing
	delete bool   // delete what is judged instead of marking it
}

// quarantineOptions reads the arguments of a verb. Flags may stand before the id
// and after it.
func quarantineOptions(verb string, args []string) (o quarantineArgs, err error) {
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	switch verb {
	case "list":
		flags.BoolVar(&o.all, "all", false, "")
	case "show":
	case "redrive":
		flags.BoolVar(&o.all, "all", false, "")
		flags.BoolVar(&o.dryRun, "dry-run", false, "")
		flags.BoolVar(&o.delete, "delete", false, "")
	default:
		return o, errors.New("want list, show or redrive")
	}
	var ids []string
	for rest := args; ; {
		if err := flags.Parse(rest); err != nil {
			return o, err
		}
		if rest = flags.Args(); len(rest) == 0 {
			break
		}
		ids, rest = append(ids, rest[0]), rest[1:]
	}
	switch {
	case verb == "list" && len(ids) > 0:
		return o, fmt.Errorf("want no id, have %q", ids)
	case verb == "show" && len(ids) != 1:
		return o, errors.New("want one id")
	case verb == "redrive" && (len(ids) != 1) != o.all:
		return o, errors.New("want one id, or --all")
	}
	if len(ids) == 1 {
		if o.id = strings.ToLower(ids[0]); !quarantineID.MatchString(o.id) {
			return o, fmt.Errorf("want an id as list shows it, or its beginning, have %q", ids[0])
		}
	}
	return o, nil
}

// quarantineID is the form of an id, or of its beginning.
var quarantineID = regexp.MustCompile(`^[0-9a-f]{1,32}$`)

// listQuarantine prints what is in the quarantine, a line for each event: what
// waits, or with all also what has been redriven.
func listQuarantine(ctx context.Context, store *table.Store, all bool, stdout io.Writer) error {
	list := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(list, "ID\tQUARANTINED\tFUNCTION\tEVENT\tBYTES\tREDRIVEN\tREASON")
	waiting, redriven := 0, 0
	for held, err := range store.Quarantined(ctx, "") {
		if err != nil {
			return err
		}
		at := "-"
		if held.RedrivenAt.IsZero() {
			waiting++
		} else {
			redriven++
			if !all {
				continue
			}
			at = second(held.RedrivenAt)
		}
		fmt.Fprintf(list, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", held.ID, second(held.QuarantinedAt), printable(held.Function, 40),
			printable(held.EventID, 40), held.Size, at, printable(held.Reason, 100))
	}
	if waiting+redriven > 0 {
		if err := list.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(stdout)
	}
	fmt.Fprintf(stdout, "%s waiting, %d redriven.\n", plural(waiting, "event"), redriven)
	return nil
}

// showQuarantined prints all there is of one event.
func showQuarantined(ctx context.Context, store *table.Store, id string, stdout io.Writer) error {
	held, err := findQuarantined(ctx, store, id)
	if err == nil {
		held, err = store.Whole(ctx, held)
	}
	if err != nil {
		return err
	}
	redriven := "no"
	if !held.RedrivenAt.IsZero() {
		redriven = second(held.RedrivenAt) + ": " + held.Outcome
	}
	columns := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"Id", held.ID}, {"Function", held.Function}, {"Event", held.EventID}, {"Quarantined", second(held.QuarantinedAt)},
		{"Reason", held.Reason}, {"Redriven", redriven}, {"Came as", fmt.Sprintf("%d bytes, SHA-256 %s", held.Size, held.BodySha256)},
	} {
		fmt.Fprintf(columns, "%s\t%s\n", line[0], printable(line[1], 4000))
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	if isRedacted(held) {
		fmt.Fprintln(stdout, "\nThis is not what came byte by byte: secrets have been taken out of it.")
	}
	body := jsontext.Value(held.Body)
	if body.IsValid() {
		if err := body.Indent(); err != nil {
			return fmt.Errorf("body: %w", err)
		}
	}
	fmt.Fprintln(stdout)
	for line := range strings.Lines(string(body)) {
		fmt.Fprintln(stdout, printable(line, len(line)))
	}
	return nil
}

// findQuarantined returns the event whose id begins with id, without its body.
func findQuarantined(ctx context.Context, store *table.Store, id string) (found table.Held, err error) {
	for held, err := range store.Quarantined(ctx, id) {
		if err != nil {
			return table.Held{}, err
		}
		if found.ID != "" {
			return table.Held{}, fmt.Errorf("several events in the quarantine have an id that begins with %s", id)
		}
		found = held
	}
	if found.ID == "" {
		return found, fmt.Errorf("no event in the quarantine has an id that begins with %s", id)
	}
	return found, nil
}

// redriveQuarantine has events judged again and prints what becomes of each. It
// returns an error if one of them cannot be judged still, and at the first event
// whose alert is not stored.
func redriveQuarantine(ctx context.Context, store *table.Store, detectors []detector.Detector, o quarantineArgs, stdout io.Writer) (err error) {
	var events []table.Held
	if !o.all {
		held, err := findQuarantined(ctx, store, o.id)
		if err != nil {
			return err
		}
		events = append(events, held)
	} else {
		for held, err := range store.Quarantined(ctx, "") {
			if err != nil {
				return err
			}
			if held.RedrivenAt.IsZero() {
				events = append(events, held)
			}
		}
	}

	list := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	defer func() { err = errors.Join(err, list.Flush()) }()
	r := newRedriver(store, detectors, o.dryRun)
	left := 0
	for _, held := range events {
		held, err := store.Whole(ctx, held)
		if errors.Is(err, table.ErrChanged) {
			continue // deleted by somebody else since the list was read
		}
		if err != nil {
			return err
		}
		verdict, err := r.judge(ctx, held)
		if err != nil {
			return fmt.Errorf("event %s: %w", held.ID, err)
		}
		outcome := verdict.String()
		switch {
		case len(verdict.reasons) > 0:
			left++
		case o.dryRun:
		case o.delete:
			err = store.Delete(ctx, held)
		default:
			err = store.Redriven(ctx, held, outcome)
		}
		if errors.Is(err, table.ErrChanged) {
			outcome += ", and somebody else has marked or deleted it meanwhile"
		} else if err != nil {
			return err
		}
		fmt.Fprintf(list, "%s\t%s\t%s\n", held.ID, printable(held.Function, 40), printable(outcome, 500))
		for _, a := range verdict.alerts {
			fmt.Fprintf(list, "\t\t%s alert %s: %s\n", a.Severity, a.ID, a.DisplayName)
		}
	}
	judged := len(events) - left
	switch {
	case o.dryRun:
		fmt.Fprintf(list, "%s would be judged. Nothing was written.\n", plural(judged, "event"))
	case o.delete:
		fmt.Fprintf(list, "%s judged and deleted.\n", plural(judged, "event"))
	default:
		fmt.Fprintf(list, "%s judged.\n", plural(judged, "event"))
	}
	if left > 0 {
		return fmt.Errorf("cannot be judged still: %d of %s, left in the quarantine", left, plural(len(events), "event"))
	}
	return nil
}

// redriver judges quarantined events as the handler would: with its functions,
// and for the messages of the relay with what lies behind it.
type redriver struct {
	functions map[string]host.Function
	detectors []detector.Detector
	store     *redriveStore
}

func newRedriver(store alert.Store, detectors []detector.Detector, dryRun bool) *redriver {
	s := &redriveStore{Store: store, dryRun: dryRun}
	return &redriver{functions(detectors, s), detectors, s}
}

// redriveStore is the store that functions are given for redriving. What is
// quarantined again is there already.
type redriveStore struct {
	alert.Store
	dryRun  bool
	alerts  []alert.Occurrence // that were stored, or would have been
	reasons []string           // for quarantining again
}

// Put implements alert.Store.
func (s *redriveStore) Put(ctx context.Context, alerts ...alert.Occurrence) error {
	if !s.dryRun {
		if err := s.Store.Put(ctx, alerts...); err != nil {
			return err
		}
	}
	s.alerts = append(s.alerts, alerts...)
	return nil
}

// Quarantine implements alert.Store.
func (s *redriveStore) Quarantine(_ context.Context, q alert.Quarantined) error {
	s.reasons = append(s.reasons, q.Reason)
	return nil
}

// verdict is what became of a quarantined event.
type verdict struct {
	alerts    []alert.Occurrence
	unmatched int
	reasons   []string // why it, or a part of it, cannot be judged still
}

// String says what became of an event in a few words.
func (v verdict) String() string {
	switch {
	case len(v.reasons) > 0:
		return "cannot be judged still: " + v.reasons[0]
	case len(v.alerts) > 0:
		return plural(len(v.alerts), "alert")
	case v.unmatched > 0:
		return "not for this function"
	default:
		return "nothing found"
	}
}

// judge has an event judged. Its error means that an alert is not stored, and
// that it may be tried again.
func (r *redriver) judge(ctx context.Context, held table.Held) (v verdict, err error) {
	r.store.alerts, r.store.reasons = nil, nil
	if held.Function == host.RelayName {
		err = r.relay(ctx, held, &v)
	} else {
		err = r.call(ctx, held, held.Function, held.Body, &v)
	}
	v.alerts, v.reasons = r.store.alerts, append(v.reasons, r.store.reasons...)
	return v, err
}

// call invokes a function as the host does, and adds what it did not judge to v.
func (r *redriver) call(ctx context.Context, held table.Held, name string, data jsontext.Value, v *verdict) error {
	function, ok := r.functions[name]
	if !ok {
		v.reasons = append(v.reasons, "there is no function "+name)
		return nil
	}
	out, err := function(ctx, host.Invocation{Function: name, ID: "redrive of " + held.ID, Data: data})
	v.unmatched += out.Unmatched
	return err
}

// relay has a message of resource logs judged, or a part of one. There is no host
// here to publish what the relay makes of it, and no need for one: where the
// custom topic leads is known, and each event goes to the functions whose filter
// it passes. Other subscribers of the topic do not hear of it.
func (r *redriver) relay(ctx context.Context, held table.Held, v *verdict) error {
	events := relayedEvents(held.Body)
	if events == nil {
		// An error says that some characters are no Unicode; they are replaced.
		message, _ := jsontext.AppendQuote(nil, held.Body)
		message = append(append([]byte{'['}, message...), ']')
		out, err := r.functions[host.RelayName](ctx, host.Invocation{Function: host.RelayName, ID: "redrive of " + held.ID, Data: message})
		if err != nil {
			return err
		}
		for _, name := range host.RelayOutputs {
			events = append(events, relayedEvents(out.Outputs[name])...)
		}
	}
	for _, raw := range events {
		e, err := event.Decode(raw)
		if err != nil {
			return err // relayedEvents has decoded it
		}
		for _, d := range r.detectors {
			if ok, err := d.On.Matches(e); err == nil && !ok {
				continue // Event Grid's filter
			}
			if err := r.call(ctx, held, d.Name, raw, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// relayedEvents returns the events in data, an array of events of the relay, which
// is what it gives the host to publish, and what it quarantines if that is too
// much. It returns nil if data is anything else.
func relayedEvents(data jsontext.Value) (events []jsontext.Value) {
	if json.Unmarshal(data, &events) != nil {
		return nil
	}
	for _, raw := range events {
		if e, err := event.Decode(raw); err != nil || e.Type != connection.Failed {
			return nil
		}
	}
	return events
}

// isRedacted reports whether the body is not what came.
func isRedacted(held table.Held) bool {
	sum := sha256.Sum256(held.Body)
	return hex.EncodeToString(sum[:]) != held.BodySha256
}

// printable makes a foreign string fit for a terminal: without control
// characters, which could make it show anything, and of at most most bytes.
func printable(s string, most int) string {
	s = strings.TrimRight(s, "\r\n")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// second writes a time to the second.
func second(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// plural returns a number and a noun.
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}
