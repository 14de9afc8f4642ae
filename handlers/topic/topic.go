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
	"sync"
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

	mu      sync.Mutex
	waiting []item // events that wait for a request, in the order in which they came
	sending int    // goroutines that send
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
	return &Topic{client: client}, nil
}

const (
	// mostBytes is what one request takes: 1 MB
	// (https://learn.microsoft.com/azure/event-grid/quotas-limits), with some room.
	mostBytes = 1_000_000
	// mostSending is how many requests are under way at once. What is published meanwhile waits
	// and goes with the next, so many alerts take few requests, and one alone does not wait.
	mostSending = 8
	// sendTimeout bounds a request with its repetitions. It is shorter than an invocation.
	sendTimeout = 15 * time.Second
)

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
	return reach.Default.Do(request) // #nosec G704 -- to the topic of this machine that the setting names
}

// publication is what one caller publishes.
type publication struct {
	mu      sync.Mutex
	left    int           // events of which it is not known what became of them
	over    bool          // the caller waits no more
	refused map[int]error // see Publish
	err     error
	done    chan struct{} // closed when nothing is left
}

// item is an event of a publication.
type item struct {
	*publication
	index int
	event messaging.CloudEvent
	size  int // bytes that it takes of a request, or more
}

// Publish publishes events, each a CloudEvent in JSON. refused says of each event that
// no later attempt could publish why, by its index. After err some events may be
// published, and the caller gives all of them again.
//
// Events of several callers go with one request, in the order in which they came. A caller
// hears that its events are published when the topic has taken them.
func (t *Topic) Publish(ctx context.Context, events [][]byte) (refused map[int]error, err error) {
	p := &publication{refused: map[int]error{}, done: make(chan struct{})}
	var items []item
	for i, raw := range events {
		e, size, err := parse(raw)
		if err != nil {
			p.refused[i] = fmt.Errorf("event: %w", err)
			continue
		}
		items = append(items, item{p, i, e, size})
	}
	if p.left = len(items); p.left == 0 {
		return p.refused, nil
	}
	t.enqueue(items)
	select {
	case <-p.done:
		return p.refused, p.err
	case <-ctx.Done():
		p.leave()
		return nil, fmt.Errorf("topic: %w", context.Cause(ctx))
	}
}

// parse returns an event as the SDK takes it, and how many bytes it takes of a request, or more.
func parse(raw []byte) (e messaging.CloudEvent, size int, err error) {
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, 0, err
	}
	if data, ok := e.Data.([]byte); ok { // which the SDK would send as data_base64
		e.Data = json.RawMessage(data)
	}
	for _, c := range raw {
		if size++; c == '<' || c == '>' || c == '&' || c >= 0x80 {
			size += len(`\u003c`) - 1 // which the SDK writes for it, or for several of these
		}
	}
	if size > mostBytes { // to be exact, which takes time
		sent, err := json.Marshal(e)
		if err != nil {
			return e, 0, err
		}
		if size = len(sent); size > mostBytes {
			return e, 0, fmt.Errorf("%d bytes, and Event Grid takes %d", size, mostBytes)
		}
	}
	return e, size + len(","), nil
}

// leave says that the caller waits no more.
func (p *publication) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// settle says what became of an event: refused if no later attempt could publish it, or err if
// one could.
func (i item) settle(refused, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if refused != nil {
		i.refused[i.index] = refused
	}
	i.err = errors.Join(i.err, err)
	if i.left--; i.left == 0 {
		close(i.done)
	}
}

// wanted reports whether an event has yet to be published. If another one of its publication
// was not, or if nobody waits, all of them will come again.
func (i item) wanted() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.over && i.err == nil
}

// enqueue has items sent, in their order.
func (t *Topic) enqueue(items []item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, items...)
	if t.sending < mostSending {
		t.sending++
		go t.run()
	}
}

// run sends what waits, request by request, until nothing does.
func (t *Topic) run() {
	for {
		batch := t.take()
		if len(batch) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
		t.send(ctx, batch)
		cancel()
	}
}

// take removes the items of the next request from those that wait. It is the end of the
// goroutine if there are none.
func (t *Topic) take() (batch []item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	size, n := 0, 0
	for _, i := range t.waiting {
		if !i.wanted() {
			n++
			i.settle(nil, nil)
			continue
		}
		if size += i.size; len(batch) > 0 && size > mostBytes {
			break
		}
		batch, n = append(batch, i), n+1
	}
	if t.waiting = t.waiting[n:]; len(t.waiting) == 0 {
		t.waiting = nil
	}
	if len(batch) == 0 {
		t.sending--
	}
	return batch
}

// send publishes a batch with one request, and settles its items. If the topic says that the
// request is wrong, each event goes alone, so that one event does not keep the others.
func (t *Topic) send(ctx context.Context, batch []item) {
	events := make([]messaging.CloudEvent, len(batch))
	for n, i := range batch {
		events[n] = i.event
	}
	_, err := t.client.PublishCloudEvents(ctx, events, nil)
	wrong := false
	switch answer := (*azcore.ResponseError)(nil); {
	case errors.As(err, &answer):
		wrong = answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusRequestEntityTooLarge
		err = fmt.Errorf("topic: %d %s", answer.StatusCode, answer.ErrorCode)
	case err != nil:
		err = fmt.Errorf("topic: %w", err)
	}
	if wrong && len(batch) > 1 {
		for i := range batch {
			t.send(ctx, batch[i:i+1])
		}
		return
	}
	for _, i := range batch {
		if wrong {
			i.settle(err, nil)
		} else {
			i.settle(nil, err)
		}
	}
}
