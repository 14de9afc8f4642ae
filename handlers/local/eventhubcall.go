package local

import (
	"cmp"
	"fmt"
	"time"
)

// netDateTime is Json.NET's form of a time of no zone: the trigger takes the
// DateTime of a DateTimeOffset, which has lost it.
const netDateTime = "2006-01-02T15:04:05.9999999"

// Where the event hub is said to be in PartitionContext.
const (
	eventHubNamespace    = "local.servicebus.windows.net"
	defaultConsumerGroup = "$Default"
)

// eventHubCall lays out an invocation for messages of a partition
// (Azure/azure-sdk-for-net, EventHubTriggerBindingStrategy.GetBindingData).
// With cardinality many Data is a string that holds an array of strings, and each
// array in Metadata a string that holds it, because the host stringifies what is
// no object (Azure/azure-functions-host, ScriptInvocationContextExtensions). With
// cardinality one, for which there is one message, Data is a string encoded
// twice; the members of a message that is a JSON object do not become Metadata
// here. Bytes that are not UTF-8 become replacement characters.
func eventHubCall(target function, partition int, batch []message) call {
	context := appendObject(nil, []member{
		{"IsCheckpointingAfterInvocation", []byte("true")},
		{"FullyQualifiedNamespace", appendText(nil, eventHubNamespace)},
		{"EventHubName", appendText(nil, target.trigger.EventHubName)},
		{"ConsumerGroup", appendText(nil, cmp.Or(target.trigger.ConsumerGroup, defaultConsumerGroup))},
		{"PartitionId", appendText(nil, fmt.Sprint(partition))},
	})
	metadata := []member{{"TriggerPartitionContext", context}, {"PartitionContext", context}}
	if !target.many() {
		for _, p := range batch[0].properties() {
			switch {
			case string(p.value) == "null": // is not sent
			case p.name == "EnqueuedTimeUtc": // loses its fraction
				p.value = appendText(nil, batch[0].enqueued.Truncate(time.Second).Format(netDateTime))
				metadata = append(metadata, p)
			case p.value[0] == '{':
				metadata = append(metadata, p)
			default:
				metadata = append(metadata, member{p.name, stringified(p.value)})
			}
		}
		text := appendText(nil, string(batch[0].body))
		return call{function: target, data: stringified(text), metadata: metadata}
	}
	bodies := make([][]byte, len(batch))
	columns := map[string][][]byte{}
	for i, m := range batch {
		bodies[i] = appendText(nil, string(m.body))
		for _, p := range m.properties() {
			columns[p.name] = append(columns[p.name], p.value)
		}
	}
	for _, p := range batch[0].properties() {
		metadata = append(metadata, member{p.name + "Array", stringified(appendArray(nil, columns[p.name]))})
	}
	return call{function: target, data: stringified(appendArray(nil, bodies)), metadata: metadata}
}

// properties returns what the trigger says of a message, in its order.
func (m message) properties() []member {
	key := []byte("null") // Azure Monitor sets none
	offset := fmt.Append(nil, m.offset)
	text := appendText(nil, string(offset))
	sequence := fmt.Append(nil, m.sequence)
	enqueued := appendText(nil, m.enqueued.Format(netDateTime))
	return []member{
		{"PartitionKey", key},
		{"Offset", text},
		{"OffsetString", text},
		{"SequenceNumber", sequence},
		{"EnqueuedTimeUtc", enqueued},
		{"Properties", []byte("{}")},
		{"SystemProperties", appendObject(nil, []member{
			{"SequenceNumber", sequence}, {"Offset", offset}, {"OffsetString", text},
			{"PartitionKey", key}, {"EnqueuedTimeUtc", enqueued},
		})},
	}
}
