package functions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/netjson"
)

// publish publishes the outputs of an invocation. Every Event Grid output binding
// that has a value publishes it with one request. The requests run at the same
// time. If one fails, the others are still published (Azure/azure-functions-host,
// WorkerFunctionInvoker.BindOutputsAsync). publish does not repeat a request, as
// the Azure SDK would. It logs values for names that are not output bindings.
func (h *Host) publish(ctx context.Context, c call, outputs map[string]jsontext.Value) error {
	bindings := slices.DeleteFunc(slices.Clone(c.function.outputs), func(b binding) bool { return !b.is(eventGridOutput) })
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if !slices.ContainsFunc(c.function.outputs, func(b binding) bool { return b.Name == name }) {
			h.logger.Warn("output ignored: the function has no such output binding",
				"output", name, "function", c.function.name, "invocationId", c.id)
		}
	}
	errs := make([]error, len(bindings))
	var group sync.WaitGroup
	for i, b := range bindings {
		value, ok := outputs[b.Name]
		if !ok {
			continue
		}
		group.Go(func() {
			if err := h.publishOutput(ctx, b, value); err != nil {
				errs[i] = fmt.Errorf("output %s: %w", b.Name, err)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// publishOutput sends the events of one binding to its topic. Nothing is sent if
// there are none.
func (h *Host) publishOutput(ctx context.Context, b binding, value jsontext.Value) error {
	events, err := outputEvents(value)
	if err != nil || len(events) == 0 {
		return err
	}
	endpoint, ok := h.topics[b.Connection]
	if !ok {
		return fmt.Errorf("there is no topic for the connection %q", b.Connection)
	}
	body, contentType, err := eventgrid.PublishRequest(events)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	response, err := h.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	reason, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the topic answered %s to %d events in %d bytes: %s", response.Status, len(events), len(body), reason)
	}
	return nil
}

// outputEvents returns the events in an output value: an array or a single one,
// each of them an object or a string that holds it, or a string that holds all
// of that. The JSON null has none.
func outputEvents(value jsontext.Value) ([][]byte, error) {
	text, err := unquoted(value)
	if err != nil {
		return nil, err
	}
	elements := [][]byte{text}
	switch jsontext.Value(text).Kind() {
	case 'n':
		return nil, nil
	case '[':
		if elements, err = netjson.SplitArray(text); err != nil {
			return nil, err
		}
	}
	for i, element := range elements {
		if elements[i], err = unquoted(element); err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		if kind := jsontext.Value(elements[i]).Kind(); kind != '{' {
			return nil, fmt.Errorf("event %d is %v, not an object", i, kind)
		}
	}
	return elements, nil
}

// unquoted returns the text of a JSON string, and any other value as it is.
func unquoted(value []byte) ([]byte, error) {
	if jsontext.Value(value).Kind() != '"' {
		return value, nil
	}
	token, err := netjson.NewDecoder(value).ReadToken()
	if err != nil {
		return nil, err
	}
	return []byte(token.String()), nil
}
