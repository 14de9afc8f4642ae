// Package topic publishes CloudEvents to a custom topic of Event Grid, with the identity
// of the app.
package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/messaging"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/eventgrid/azeventgrid"

	"hubwatch/handlers/reach"
)

// Topic is a custom topic. Its methods may be called at the same time.
type Topic struct {
	client *azeventgrid.Client
}

// CheckEndpoint returns an error unless s is the URL of a topic to which a token may be
// sent: https, with a host and a path. A topic of this machine may have http. It gets no
// token.
func CheckEndpoint(s string) error { return checkAddress(s, "of the topic, with /api/events") }

// checkAddress returns an error unless s is an address to which a token may be sent, as
// CheckEndpoint does. The error for one that is cut says what it should be of.
func checkAddress(s, of string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("is not a URL") // the error of url.Parse repeats it, and it may hold a key
	case u.Host == "" || u.Path == "" || u.Path == "/":
		return errors.New("want the whole address " + of)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("want the address alone, without user, query and fragment")
	case u.Scheme == "https" || u.Scheme == "http" && reach.Loopback(u.Hostname()):
		return nil
	}
	return errors.New("want https")
}

// Open returns the topic at an endpoint, which CheckEndpoint accepts. It does not connect.
// A topic of this machine gets no token of credential, which may be nil for it.
func Open(endpoint string, credential azcore.TokenCredential) (*Topic, error) {
	if err := CheckEndpoint(endpoint); err != nil {
		return nil, err
	}
	options := &azeventgrid.ClientOptions{ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{
		MaxRetries: 2, TryTimeout: 10 * time.Second, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Second,
	}}}
	if u, _ := url.Parse(endpoint); u.Scheme == "http" {
		// The SDK asks a credential for a token, and sends none over http (azcore v1.24.0,
		// policy_bearer_token.go).
		u.Scheme = "https"
		endpoint, credential, options.Transport = u.String(), nobody{}, plain{}
	}
	client, err := azeventgrid.NewClient(endpoint, credential, options)
	if err != nil {
		return nil, err
	}
	return &Topic{client}, nil
}

// nobody is a credential that says nothing.
type nobody struct{}

func (nobody) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "none", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// plain sends requests over http, and without a token.
type plain struct{}

func (plain) Do(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme = "http"
	request.Header.Del("Authorization")
	return reach.Client.Do(request) // #nosec G704 -- to the topic of this machine that the setting names
}

// mostBytes is what one request takes: 1 MB
// (https://learn.microsoft.com/azure/event-grid/quotas-limits), with some room.
const mostBytes = 1_000_000

// Publish publishes events, each a CloudEvent in JSON. refused says of each event that
// no later attempt could publish why, by its index. After err some events may be
// published, and the caller gives all of them again.
func (t *Topic) Publish(ctx context.Context, events [][]byte) (refused map[int]error, err error) {
	refused = map[int]error{}
	var batch []messaging.CloudEvent
	var indexes []int
	size := 0
	flush := func() error {
		defer func() { batch, indexes, size = nil, nil, 0 }()
		return t.send(ctx, batch, indexes, refused)
	}
	for i, raw := range events {
		e, n, err := parse(raw)
		if err != nil {
			refused[i] = err
			continue
		}
		if size > 0 && size+n > mostBytes {
			if err := flush(); err != nil {
				return refused, err
			}
		}
		batch, indexes, size = append(batch, e), append(indexes, i), size+n
	}
	return refused, flush()
}

// parse returns an event as the SDK takes it, and how long it is as the SDK sends it.
func parse(raw []byte) (e messaging.CloudEvent, n int, err error) {
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, 0, fmt.Errorf("event: %w", err)
	}
	if data, ok := e.Data.([]byte); ok { // which the SDK would send as data_base64
		e.Data = json.RawMessage(data)
	}
	sent, err := json.Marshal(e)
	if err != nil {
		return e, 0, fmt.Errorf("event: %w", err)
	}
	if len(sent) > mostBytes {
		return e, 0, fmt.Errorf("event: %d bytes, and Event Grid takes %d", len(sent), mostBytes)
	}
	return e, len(sent) + len(","), nil
}

// send publishes a batch with one request. If the topic says that the request is wrong,
// each event goes alone, so that one event does not keep the others.
func (t *Topic) send(ctx context.Context, batch []messaging.CloudEvent, indexes []int, refused map[int]error) error {
	if len(batch) == 0 {
		return nil
	}
	_, err := t.client.PublishCloudEvents(ctx, batch, nil)
	var answer *azcore.ResponseError
	if err == nil {
		return nil
	}
	if !errors.As(err, &answer) {
		return fmt.Errorf("topic: %w", err)
	}
	err = fmt.Errorf("topic: %d %s", answer.StatusCode, answer.ErrorCode)
	if answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusRequestEntityTooLarge {
		return err
	}
	if len(batch) == 1 {
		refused[indexes[0]] = err
		return nil
	}
	for i := range batch {
		if err := t.send(ctx, batch[i:i+1], indexes[i:i+1], refused); err != nil {
			return err
		}
	}
	return nil
}
