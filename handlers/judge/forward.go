package judge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/relay"
)

// Wanted returns which log records are forwarded for detectors: those of the categories of
// their event types (event.LogType), of their operations.
func Wanted(detectors []detector.Detector) relay.Wanted {
	want := relay.Wanted{}
	for _, d := range detectors {
		for _, of := range d.On.EventTypes {
			category, ok := event.LogCategory(of)
			if !ok {
				continue
			}
			operations, known := want[category]
			switch {
			case d.On.Operations == nil:
				want[category] = nil
				continue
			case known && operations == nil:
				continue // All are wanted already.
			case !known:
				operations = map[string]bool{}
				want[category] = operations
			}
			for _, operation := range d.On.Operations {
				operations[strings.ToLower(operation)] = true
			}
		}
	}
	return want
}

// forward publishes the log records that are wanted. What can never be published is
// quarantined, except records that are told already. The error means that the batch has to
// be relayed again. What is published then comes twice to its functions, which recognize
// each record by its ID.
func (j Judge) forward(ctx context.Context, out *host.Outcome, in host.Invocation, messages [][]byte, told []relay.Unreadable) error {
	forwarded := relay.Forward(messages, j.Logs.Wanted)
	for category, hubs := range forwarded.Heard {
		j.hearAll(ctx, out, alert.LogSource(category), hubs)
	}
	for category, n := range forwarded.Records {
		out.Counts["forwarded: "+category] = n
	}
	for _, u := range forwarded.Unreadable {
		if slices.ContainsFunc(told, func(t relay.Unreadable) bool {
			return t.Message == u.Message && (bytes.Equal(t.Raw, u.Raw) || bytes.Equal(t.Raw, messages[u.Message]))
		}) {
			continue
		}
		if err := j.quarantine(ctx, out, in, "", u.Raw, u.Err); err != nil {
			return err
		}
	}
	if len(forwarded.Events) == 0 {
		return nil
	}
	events := make([][]byte, len(forwarded.Events))
	for i, e := range forwarded.Events {
		events[i] = e
	}
	refused, err := j.Logs.Topic.Publish(ctx, events)
	for i, reason := range refused {
		if err := j.quarantine(ctx, out, in, "", events[i], fmt.Errorf("cannot be published: %w", reason)); err != nil {
			return err
		}
	}
	return err
}
