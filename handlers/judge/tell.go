package judge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// Telling tells of raisings by events of a topic, from which Notify, Sentinel and whoever
// subscribes hear of them. It is an alert.Teller.
type Telling struct {
	Topic  Topic
	Source string // of the events, see export.CloudEventSource
}

// eventMemory is the memory of events, to use again, if that is not more than mostKept.
var eventMemory = sync.Pool{New: func() any { return new([]byte) }}

const mostKept = 64 << 10

// Tell implements alert.Teller. The id of an event is that of its raising, so a subscriber
// knows an event that it has already had.
func (t Telling) Tell(ctx context.Context, raisings ...*alert.Raising) error {
	memory := eventMemory.Get().(*[]byte)
	defer eventMemory.Put(memory)
	b := (*memory)[:0]
	events := make([][]byte, len(raisings))
	for i, r := range raisings {
		start := len(b)
		var err error
		if b, err = export.NewRaising(*r, t.Source).AppendJSON(b); err != nil {
			return fmt.Errorf("alert %s: %w", r.Alert.ID, err)
		}
		events[i] = b[start:len(b):len(b)]
	}
	if cap(b) <= mostKept {
		*memory = b
	}
	refused, err := t.Topic.Publish(ctx, events)
	for i := range events {
		if refused[i] != nil {
			err = errors.Join(err, fmt.Errorf("alert %s: %w", raisings[i].Alert.ID, refused[i]))
		}
	}
	if err != nil {
		return fmt.Errorf("recorded, and nobody is told: %w", err)
	}
	return nil
}
