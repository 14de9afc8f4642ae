package eventgrid

import (
	"fmt"

	"hubwatch/handlers/local/netjson"
)

// PublishRequest returns the body of a request with events, which must be of one
// schema, and its content type (Azure/azure-sdk-for-net,
// EventGridAsyncCollector.FlushAsync).
func PublishRequest(events [][]byte) (body []byte, contentType string, err error) {
	contentType = "application/json"
	list := make([][]byte, len(events))
	var cloud bool
	for i, raw := range events {
		event, err := parsePublishedEvent(raw)
		if err != nil {
			return nil, "", fmt.Errorf("event %d: %w", i, err)
		}
		if i == 0 {
			cloud = event.cloud
		}
		if event.cloud != cloud {
			return nil, "", fmt.Errorf("event %d is not of the schema of the first", i)
		}
		if list[i], err = netjson.Rewrite(raw, cloud); err != nil {
			return nil, "", fmt.Errorf("event %d: %w", i, err)
		}
	}
	if cloud {
		contentType = "application/cloudevents-batch+json; charset=utf-8"
	}
	return netjson.AppendArray(nil, list), contentType, nil
}
