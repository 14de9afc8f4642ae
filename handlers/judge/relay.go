package judge

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/host"
	"hubwatch/handlers/relay"
)

// RelayName is the name of the function that relays resource logs.
const RelayName = "RelayResourceLogs"

// RelayOutputs are the output bindings of the relay, all to the same topic. The
// host publishes what is in one binding with one request
// (Azure/azure-sdk-for-net, EventGridAsyncCollector.FlushAsync), and a topic takes
// 1 MB in a request (https://learn.microsoft.com/azure/event-grid/quotas-limits).
// An Event Hubs message has 1 MB at most, and host.json gives the relay one
// message at a time. Its events are two to three times as long in all but the
// oddest cases, which distribute has an answer for.
var RelayOutputs = []string{
	"connectionEvents1", "connectionEvents2", "connectionEvents3", "connectionEvents4",
	"connectionEvents5", "connectionEvents6", "connectionEvents7", "connectionEvents8",
}

// maxPublish is what goes into one output binding: 1 MB with some room.
const maxPublish = 1_000_000

// Relay is the work of the function that makes an event of every failed connection
// in the messages that it is invoked with, for the host to publish. What cannot be
// read is quarantined.
func (j Judge) Relay(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	messages, err := messages(in.Data)
	if err != nil {
		out := host.Outcome{Events: 1}
		err := j.quarantine(ctx, &out, in, "", in.Data, err)
		return out, err
	}
	out := host.Outcome{Events: len(messages), Counts: map[string]int{}}
	result := relay.Relay(messages)
	for cause, n := range result.Relayed {
		out.Counts[string(cause)] = n
	}
	for reason, n := range result.PassedOver {
		out.Counts["passed over: "+string(reason)] = n
	}
	for sentence, n := range result.Unknown {
		out.Counts["unknown sentence: "+sentence] = n
	}
	if result.Repeated > 0 {
		out.Counts["repeated"] = result.Repeated
	}
	for _, u := range result.Unreadable {
		if err := j.quarantine(ctx, &out, in, "", u.Raw, u.Err); err != nil {
			return out, err
		}
	}
	legible, illegible, reason := read(result.Events)
	if len(illegible) > 0 {
		err := fmt.Errorf("the Functions host cannot read %d events, the first because of %w", len(illegible), reason)
		if err := j.quarantine(ctx, &out, in, "", array(illegible), err); err != nil {
			return out, err
		}
	}
	outputs, left := distribute(legible)
	if len(left) > 0 {
		err := fmt.Errorf("%d events are more than %d output bindings take", len(left), len(RelayOutputs))
		if err := j.quarantine(ctx, &out, in, "", array(left), err); err != nil {
			return out, err
		}
	}
	j.hear(ctx, &out, alert.Connections, result.Heard)
	out.Outputs = outputs
	return out, nil
}

// read tells the events that the Functions host can read from those that it cannot,
// with what is wrong with the first of these. The host would have the batch of such an
// event come again for ever.
func read(events []jsontext.Value) (legible, illegible []jsontext.Value, reason error) {
	for _, e := range events {
		if err := host.Legible(e); err != nil {
			if len(illegible) == 0 {
				reason = err
			}
			illegible = append(illegible, e)
		} else {
			legible = append(legible, e)
		}
	}
	return legible, illegible, reason
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

// distribute puts events into output bindings, in order, and fills each binding as
// far as a topic takes it. It returns the events that do not fit. If they were
// published, the topic would refuse the batch. The host would then try the batch again
// without end, and all later messages would wait.
func distribute(events []jsontext.Value) (outputs map[string]jsontext.Value, left []jsontext.Value) {
	outputs = map[string]jsontext.Value{}
	for _, name := range RelayOutputs {
		n := 0
		for size := 2; n < len(events); n++ {
			if size += publishedLength(events[n]) + 1; size > maxPublish {
				break
			}
		}
		if n > 0 {
			outputs[name] = array(events[:n])
		}
		events = events[n:]
	}
	return outputs, events
}

// publishedLength returns how long an event is at most when the host publishes it.
// The host writes all but the plainest characters as \u and four digits, and may add
// a traceparent (Azure/azure-sdk-for-net, EventGridPublisherClient;
// https://learn.microsoft.com/dotnet/standard/serialization/system-text-json/character-encoding).
func publishedLength(e jsontext.Value) int {
	const traceparent = 80
	n := len(e) + traceparent
	quoted := false
	for i := 0; i < len(e); i++ {
		switch c := e[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted:
		case c == '\\':
			if i++; e[i] == '"' {
				n += 4
			}
		case c == '\'' || c == '&' || c == '+' || c == '<' || c == '>' || c == '`' || c == 0x7f:
			n += 5
		case c >= 0xf0: // the first of four bytes, which become two units of UTF-16
			n += 12 - 4
		case c >= 0xe0:
			n += 6 - 3
		case c >= 0xc0:
			n += 6 - 2
		}
	}
	return n
}

// array returns a JSON array.
func array(elements []jsontext.Value) jsontext.Value {
	b := []byte{'['}
	for i, e := range elements {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e...)
	}
	return append(b, ']')
}
