package host

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Progress returns which partition of an event hub the messages of the invocation came
// from, and when the last of them was enqueued. ok is false if the host does not say so. It
// reads all of the request, so a caller asks seldom.
//
// The host gives both as metadata of an Event Hubs trigger
// (https://learn.microsoft.com/azure/azure-functions/functions-bindings-event-hubs-trigger#event-metadata).
// For a custom handler the array is a text that holds it (Azure/azure-functions-host,
// ScriptInvocationContextExtensions).
func (in Invocation) Progress() (partition string, enqueued time.Time, ok bool) {
	var request struct {
		Metadata struct {
			PartitionContext     struct{ PartitionId string }
			EnqueuedTimeUtcArray jsontext.Value
		}
	}
	lenient := []json.Options{jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)}
	if json.Unmarshal(in.request, &request, lenient...) != nil {
		return "", time.Time{}, false
	}
	times := request.Metadata.EnqueuedTimeUtcArray
	if times.Kind() == '"' {
		text, err := jsontext.AppendUnquote(nil, times)
		if err != nil {
			return "", time.Time{}, false
		}
		times = text
	}
	var list []time.Time
	partition = request.Metadata.PartitionContext.PartitionId
	if json.Unmarshal(times, &list) != nil || len(list) == 0 || partition == "" {
		return "", time.Time{}, false
	}
	return partition, list[len(list)-1], true
}
