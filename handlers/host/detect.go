package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// Detect returns the function that runs one detector on the events it is
// invoked with and puts its alerts into store. An event that can never be
// judged is quarantined; one that the detector is not for is noted, since then
// the deployed filter and the code differ.
func Detect(d detector.Detector, store alert.Store) Function {
	return func(ctx context.Context, in Invocation) (Outcome, error) {
		events, err := split(in.Data)
		if err != nil {
			out := Outcome{Events: 1}
			return out, out.quarantine(ctx, store, in, "", in.Data, fmt.Errorf("binding %s: %w", Binding, err))
		}
		out := Outcome{Events: len(events)}
		for _, raw := range events {
			if err := out.detect(ctx, d, store, in, raw); err != nil {
				return out, err
			}
		}
		return out, nil
	}
}

// detect judges one event and stores what was found. It returns an error if
// that has to be tried again.
func (out *Outcome) detect(ctx context.Context, d detector.Detector, store alert.Store, in Invocation, raw jsontext.Value) error {
	e, err := event.Decode(raw)
	if out.EventID == "" {
		out.EventID = e.ID
	}
	if err != nil {
		return out.quarantine(ctx, store, in, e.ID, raw, err)
	}
	matches, err := d.On.Matches(e)
	if err != nil {
		return out.quarantine(ctx, store, in, e.ID, raw, err)
	}
	if !matches {
		out.Unmatched++
		out.Notes = append(out.Notes, fmt.Sprintf("event %s of type %s is not for this function: the deployed filter and the code differ", e.ID, e.Type))
		return nil
	}
	alerts, err := d.Judge(e)
	if err != nil {
		return out.quarantine(ctx, store, in, e.ID, raw, err)
	}
	err = store.Put(ctx, alerts...)
	if errors.Is(err, alert.ErrRejected) {
		return out.quarantine(ctx, store, in, e.ID, raw, err)
	}
	if err != nil {
		return err
	}
	out.Findings += len(alerts)
	for _, a := range alerts {
		out.Notes = append(out.Notes, fmt.Sprintf("%s alert %s: %s", a.Severity, a.ID, a.DisplayName))
	}
	return nil
}

// quarantine keeps an event that can never be judged, because of reason.
func (out *Outcome) quarantine(ctx context.Context, store alert.Store, in Invocation, eventID string, raw jsontext.Value, reason error) error {
	q := alert.Quarantined{Function: in.Function, EventID: eventID, Reason: reason.Error(), Body: raw, Size: int64(len(raw))}
	if err := store.Quarantine(ctx, q); err != nil {
		return err
	}
	out.Quarantined++
	out.Notes = append(out.Notes, "quarantined: "+reason.Error())
	return nil
}
