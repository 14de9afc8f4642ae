package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/relay"
)

// RelayName is the name of the function that relays resource logs.
const RelayName = "RelayResourceLogs"

// RelayOutputs are the output bindings of the relay, all to the same topic. The
// host publishes what is in one binding with one request
// (Azure/azure-sdk-for-net, EventGridAsyncCollector.FlushAsync), and a topic takes
// 1 MB in a request (https://learn.microsoft.com/azure/event-grid/quotas-limits).
// An Event Hubs message has 1 MB at most, its events are not much more than twice
// as long, and host.json gives the relay one message at a time: so four are enough.
var RelayOutputs = []string{"connectionEvents1", "connectionEvents2", "connectionEvents3", "connectionEvents4"}

const (
	// maxPublish is what goes into one output binding: 1 MB with some room.
	maxPublish = 1_000_000
	// maxPieces is how many broken pieces of one message are quarantined one by
	// one. Beyond it the message is quarantined whole, so that a message of
	// nothing else cannot take longer than an invocation may.
	maxPieces = 8
)

// Relay returns the function that makes an event of every failed connection in
// the messages it is invoked with, for the host to publish. What cannot be read
// is quarantined in store.
func Relay(store alert.Store) Function {
	return func(ctx context.Context, in Invocation) (Outcome, error) {
		messages, err := messages(in.Data)
		if err != nil {
			out := Outcome{Events: 1}
			return out, out.quarantine(ctx, store, in, "", in.Data, err)
		}
		out := Outcome{Events: len(messages), Counts: map[string]int{}}
		result := relay.Relay(messages)
		for cause, n := range result.Relayed {
			out.Counts[string(cause)] = n
		}
		for reason, n := range result.PassedOver {
			out.Counts["passed over: "+string(reason)] = n
		}
		if result.Repeated > 0 {
			out.Counts["repeated"] = result.Repeated
		}
		broken := map[int][]relay.Unreadable{}
		for _, u := range result.Unreadable {
			broken[u.Message] = append(broken[u.Message], u)
		}
		for _, i := range slices.Sorted(maps.Keys(broken)) {
			if pieces := broken[i]; len(pieces) > maxPieces {
				err := fmt.Errorf("%d records of a message cannot be read, the first: %w", len(pieces), pieces[0].Err)
				if err := out.quarantine(ctx, store, in, "", messages[i], err); err != nil {
					return out, err
				}
				continue
			}
			for _, u := range broken[i] {
				if err := out.quarantine(ctx, store, in, "", u.Raw, u.Err); err != nil {
					return out, err
				}
			}
		}
		out.Outputs, err = distribute(result.Events)
		return out, err
	}
}

// messages returns the messages of an Event Hubs trigger with cardinality many:
// an array of strings, which comes as a string that holds it
// (Azure/azure-functions-host, ScriptInvocationContextExtensions). A message that
// the host has decoded is taken too.
func messages(data jsontext.Value) ([][]byte, error) {
	elements, err := split(data)
	if err != nil {
		return nil, err
	}
	list := make([][]byte, len(elements))
	for i, e := range elements {
		list[i] = e
		if e.Kind() == '"' {
			if list[i], err = jsontext.AppendUnquote(nil, e); err != nil && !errors.As(err, new(*jsontext.SyntacticError)) {
				return nil, err
			}
		}
	}
	return list, nil
}

// distribute puts events into output bindings, in order, each as full as a topic
// takes it. An error means that the batch is too large; the host then tries it
// again and again, and loses nothing.
func distribute(events []jsontext.Value) (map[string]jsontext.Value, error) {
	outputs := map[string]jsontext.Value{}
	for _, name := range RelayOutputs {
		list := []byte{'['}
		n := 0
		for ; n < len(events) && (n == 0 || len(list)+len(events[n])+2 <= maxPublish); n++ {
			if n > 0 {
				list = append(list, ',')
			}
			list = append(list, events[n]...)
		}
		if events = events[n:]; n > 0 {
			outputs[name] = append(list, ']')
		}
	}
	if len(events) > 0 {
		return nil, fmt.Errorf("%d events are more than %d output bindings take: lower maxEventBatchSize in host.json", len(events), len(RelayOutputs))
	}
	return outputs, nil
}
