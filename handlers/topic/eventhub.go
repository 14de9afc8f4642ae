package topic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"hubwatch/handlers/reach"
	"hubwatch/handlers/version"
)

// EventHub is an event hub to which single messages are sent over HTTPS. The client of the SDK
// speaks AMQP, and would make the handler larger for one message an hour
// (https://learn.microsoft.com/rest/api/eventhub/send-event).
type EventHub struct {
	pipeline runtime.Pipeline
	endpoint string
}

// CheckEventHub returns an error unless s is the address for messages of an event hub to which
// a token may be sent: https, with a path that ends with /messages. An event hub of this machine
// may have http. It gets no token.
func CheckEventHub(s string) error {
	if err := checkAddress(s, "of the event hub, with /<event hub>/messages"); err != nil {
		return err
	}
	if !strings.HasSuffix(strings.ToLower(s), "/messages") {
		return errors.New("want the address of the event hub, with /messages at its end")
	}
	return nil
}

// eventHubScope is what a token for Event Hubs is for, in every cloud
// (https://learn.microsoft.com/rest/api/eventhub/get-azure-active-directory-token).
const eventHubScope = "https://eventhubs.azure.net/.default"

// OpenEventHub returns the event hub at an endpoint, which CheckEventHub accepts. It does not
// connect. An event hub of this machine gets no token of credential, which may be nil for it.
func OpenEventHub(endpoint string, credential azcore.TokenCredential) (*EventHub, error) {
	if err := CheckEventHub(endpoint); err != nil {
		return nil, err
	}
	return &EventHub{pipelineTo(endpoint, credential, eventHubScope, 2*time.Second), endpoint}, nil
}

// pipelineTo returns what sends requests to an endpoint, with a token for scope unless it is of
// this machine, and once more if a try fails or takes too long.
func pipelineTo(endpoint string, credential azcore.TokenCredential, scope string, try time.Duration) runtime.Pipeline {
	options := policy.ClientOptions{Retry: policy.RetryOptions{
		MaxRetries: 1, TryTimeout: try, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second,
	}}
	var own runtime.PipelineOptions
	if u, _ := url.Parse(endpoint); u.Scheme == "http" {
		options.Transport = reach.Default
	} else {
		own.PerRetry = []policy.Policy{runtime.NewBearerTokenPolicy(credential, []string{scope}, nil)}
	}
	return runtime.NewPipeline("hubwatch", version.Version, own, &options)
}

// Send sends a message. The error has no part of the message and no token.
func (h *EventHub) Send(ctx context.Context, message []byte) error {
	request, err := runtime.NewRequest(ctx, http.MethodPost, h.endpoint+"?timeout=60&api-version=2014-01")
	if err != nil {
		return fmt.Errorf("event hub: %w", err)
	}
	const kind = "application/atom+xml;type=entry;charset=utf-8" // as the reference wants it, whatever the message is
	if err := request.SetBody(streaming.NopCloser(bytes.NewReader(message)), kind); err != nil {
		return fmt.Errorf("event hub: %w", err)
	}
	response, err := h.pipeline.Do(request)
	if err != nil {
		return fmt.Errorf("event hub: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("event hub: %s", response.Status)
	}
	return nil
}
