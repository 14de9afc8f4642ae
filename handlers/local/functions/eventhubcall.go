package functions

import (
	"cmp"
	"fmt"
	"time"

	"hubwatch/handlers/local/netjson"
)

// The event hub that PartitionContext names.
const (
	eventHubNamespace    = "local.servicebus.windows.net"
	defaultConsumerGroup = "$Default"
)

// eventHubCall lays out an invocation for messages of a partition
// (Azure/azure-sdk-for-net, EventHubTriggerBindingStrategy.GetBindingData). With
// cardinality many Data is a string that holds an array of strings, and each
// array in Metadata a string that holds it, because the host makes a string of
// everything that is not an object (Azure/azure-functions-host,
// ScriptInvocationContextExtensions). With cardinality one, for which there is
// one message, Data is a string encoded twice; the members of a message that is a
// JSON object do not become Metadata here. Bytes that are not UTF-8 become
// replacement characters.
func eventHubCall(target function, partition int, batch []message) call {
	context := netjson.AppendObject(nil, []netjson.Member{
		{Name: "IsCheckpointingAfterInvocation", Value: []byte("true")},
		{Name: "FullyQualifiedNamespace", Value: netjson.AppendText(nil, eventHubNamespace)},
		{Name: "EventHubName", Value: netjson.AppendText(nil, target.trigger.EventHubName)},
		{Name: "ConsumerGroup", Value: netjson.AppendText(nil, cmp.Or(target.trigger.ConsumerGroup, defaultConsumerGroup))},
		{Name: "PartitionId", Value: netjson.AppendText(nil, fmt.Sprint(partition))},
	})
	metadata := []netjson.Member{{Name: "TriggerPartitionContext", Value: context}, {Name: "PartitionContext", Value: context}}
	if !target.many() {
		for _, p := range batch[0].properties() {
			switch {
			case string(p.Value) == "null": // is not sent
			case p.Name == "EnqueuedTimeUtc": // loses its fraction
				p.Value = netjson.AppendText(nil, batch[0].enqueued.Truncate(time.Second).Format(netjson.DateTime))
				metadata = append(metadata, p)
			case p.Value[0] == '{':
				metadata = append(metadata, p)
			default:
				metadata = append(metadata, netjson.Member{Name: p.Name, Value: netjson.Stringified(p.Value)})
			}
		}
		text := netjson.AppendText(nil, string(batch[0].body))
		return call{function: target, data: netjson.Stringified(text), metadata: metadata}
	}
	bodies := make([][]byte, len(batch))
	columns := map[string][][]byte{}
	for i, m := range batch {
		bodies[i] = netjson.AppendText(nil, string(m.body))
		for _, p := range m.properties() {
			columns[p.Name] = append(columns[p.Name], p.Value)
		}
	}
	for _, p := range batch[0].properties() {
		metadata = append(metadata, netjson.Member{Name: p.Name + "Array", Value: netjson.Stringified(netjson.AppendArray(nil, columns[p.Name]))})
	}
	return call{function: target, data: netjson.Stringified(netjson.AppendArray(nil, bodies)), metadata: metadata}
}

// properties returns the properties of a message, in the order of the trigger.
func (m message) properties() []netjson.Member {
	key := []byte("null") // Azure Monitor sets none
	offset := fmt.Append(nil, m.offset)
	text := netjson.AppendText(nil, string(offset))
	sequence := fmt.Append(nil, m.sequence)
	enqueued := netjson.AppendText(nil, m.enqueued.Format(netjson.DateTime))
	return []netjson.Member{
		{Name: "PartitionKey", Value: key},
		{Name: "Offset", Value: text},
		{Name: "OffsetString", Value: text},
		{Name: "SequenceNumber", Value: sequence},
		{Name: "EnqueuedTimeUtc", Value: enqueued},
		{Name: "Properties", Value: []byte("{}")},
		{Name: "SystemProperties", Value: netjson.AppendObject(nil, []netjson.Member{
			{Name: "SequenceNumber", Value: sequence}, {Name: "Offset", Value: offset}, {Name: "OffsetString", Value: text},
			{Name: "PartitionKey", Value: key}, {Name: "EnqueuedTimeUtc", Value: enqueued},
		})},
	}
}
