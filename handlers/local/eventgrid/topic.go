// Package eventgrid is a stand-in for Azure Event Grid on one machine: a [Topic]
// takes events, filters them for its subscriptions and delivers them to the
// webhook of a Functions host, with the retries and dead letters of Event Grid.
package eventgrid

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"hubwatch/handlers/local/netjson"
)

// publishLimit is Event Grid's limit of one request to a topic in bytes
// (learn.microsoft.com/azure/event-grid/event-schema).
const publishLimit = 1 << 20

// WebhookPath is where the Functions host takes deliveries. The host compares it
// regardless of case.
const WebhookPath = "/runtime/webhooks/EventGrid"

// publishPath is the path of a topic's endpoint.
const publishPath = "/api/events"

// DeliverySchema is the form in which a topic hands events on.
type DeliverySchema string

const (
	// AsReceived delivers every event in the schema it was published in.
	AsReceived DeliverySchema = ""
	// CloudEventSchemaV1_0 turns Event Grid schema events into CloudEvents 1.0.
	CloudEventSchemaV1_0 DeliverySchema = "CloudEventSchemaV1_0"
)

// Event Grid's retry schedule, its waits after particular answers, and its
// defaults (learn.microsoft.com/azure/event-grid/delivery-and-retry).
var (
	retrySchedule = []time.Duration{
		10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute,
		30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	}
	retryAfter = map[int]time.Duration{
		http.StatusUnauthorized: 5 * time.Minute, http.StatusNotFound: 5 * time.Minute,
		http.StatusRequestTimeout: 2 * time.Minute, http.StatusServiceUnavailable: 30 * time.Second,
	}
)

const (
	defaultAttempts      = 30
	defaultTimeToLive    = 24 * time.Hour
	defaultResponseLimit = 30 * time.Second
	defaultConcurrency   = 64
)

// TopicOptions says what a topic does with the events published to it.
type TopicOptions struct {
	// ID is stamped as topic on Event Grid schema events that have none.
	ID string
	// Source selects the subscriptions whose Source is the same; empty selects all.
	Source string
	// Subscriptions must be valid.
	Subscriptions []Subscription
	// Functions is the base URL of the Functions host, such as http://127.0.0.1:7071.
	Functions string
	// Schema is the form of delivered events.
	Schema DeliverySchema
	// DeadLetters is the folder for undelivered events, one file each. The folder
	// is made when needed. If DeadLetters is empty, the events are dropped and
	// logged.
	DeadLetters string
	// TimeScale multiplies the waits between attempts; 0 means 1, Event Grid's own.
	TimeScale float64
	// ResponseLimit is how long an attempt waits for the answer, 0 means 30 s.
	// It is not scaled.
	ResponseLimit time.Duration
	// MaxAttempts is the number of attempts per event, 1 to 30; 0 means 30.
	MaxAttempts int
	// TimeToLive ends the retries once the waits, unscaled, would add up to more;
	// 0 means 24 h. With Event Grid's schedule that allows eleven attempts.
	TimeToLive time.Duration
	// Concurrency is the number of deliveries under way at once; 0 means 64.
	Concurrency int
	// Settled, if not nil, is called once for each published event, when nothing
	// more is done for it. It may be called at the same time for several events.
	// It is not called for events whose deliveries Close ends.
	Settled func(Report)
	// Logger takes the log of deliveries; nil discards it.
	Logger *slog.Logger
}

// Report says what became of a published event.
type Report struct {
	ID, Type   string     // of the event
	Deliveries []Delivery // one for each subscription that the event matches; there may be none
}

// Delivery says how the delivery of an event to one subscription ended.
type Delivery struct {
	Subscription, Function string
	Attempts               int
	// DeadLetter is Event Grid's reason for a dead letter, or empty if the event
	// was delivered.
	DeadLetter string
}

// Topic is an Event Grid topic. As an [http.Handler] it accepts published
// events, and delivers each to every subscription that matches, in the
// background, at least once and in no order. Unlike Event Grid it keeps events
// in memory only, adds no random part to the waits, and asks for no key.
type Topic struct {
	options       TopicOptions
	subscriptions []Subscription
	client        *http.Client
	slots         chan struct{}
	logger        *slog.Logger
	ctx           context.Context
	cancel        context.CancelFunc

	mu       sync.Mutex
	inFlight int
	idle     chan struct{} // closed while inFlight is 0
}

// NewTopic returns a topic. It is an error if a subscription is not valid, if
// the schema is unknown, or if a number is out of range.
func NewTopic(options TopicOptions) (*Topic, error) {
	if err := validateAll(options.Subscriptions); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	if options.Schema != AsReceived && options.Schema != CloudEventSchemaV1_0 {
		return nil, fmt.Errorf("topic: unknown delivery schema %q", options.Schema)
	}
	options.MaxAttempts = cmp.Or(options.MaxAttempts, defaultAttempts)
	options.TimeToLive = cmp.Or(options.TimeToLive, defaultTimeToLive)
	options.ResponseLimit = cmp.Or(options.ResponseLimit, defaultResponseLimit)
	options.TimeScale = cmp.Or(options.TimeScale, 1)
	options.Concurrency = cmp.Or(options.Concurrency, defaultConcurrency)
	if options.MaxAttempts < 1 || options.MaxAttempts > defaultAttempts {
		return nil, fmt.Errorf("topic: %d attempts are not within 1 to %d", options.MaxAttempts, defaultAttempts)
	}
	if options.Concurrency < 1 || options.TimeScale < 0 {
		return nil, errors.New("topic: negative option")
	}
	t := &Topic{
		options: options,
		client: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: options.Concurrency,
			IdleConnTimeout:     time.Minute,
		}},
		slots:  make(chan struct{}, options.Concurrency),
		logger: cmp.Or(options.Logger, slog.New(slog.DiscardHandler)),
		idle:   make(chan struct{}),
	}
	close(t.idle)
	for _, s := range options.Subscriptions {
		if options.Source == "" || s.Source == options.Source {
			t.subscriptions = append(t.subscriptions, s)
		}
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// ServeHTTP accepts POST /api/events with an array of events or a single one,
// in the Event Grid schema or as structured CloudEvents 1.0, and answers 200
// once all of them are accepted. More than 1 MB is answered 413, anything
// malformed 400, and then none of the events is accepted.
func (t *Topic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != publishPath || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, publishLimit))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			refuse(w, http.StatusRequestEntityTooLarge, "PayloadTooLarge", fmt.Sprintf("the maximum size is %d bytes", publishLimit))
			return
		}
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	events, err := parsePublished(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	if !t.accept(events) {
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable", "the topic is closed")
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(netjson.AppendObject(nil, []netjson.Member{{Name: "error", Value: netjson.AppendObject(nil, []netjson.Member{
		{Name: "code", Value: netjson.AppendText(nil, code)}, {Name: "message", Value: netjson.AppendText(nil, message)},
	})}}))
}

// Wait returns when no event waits for delivery, retry or dead-lettering. If ctx
// ends before, it returns the error of ctx.
func (t *Topic) Wait(ctx context.Context) error {
	t.mu.Lock()
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all deliveries and retries, and waits until they have ended.
// Undelivered events are lost, and logged.
func (t *Topic) Close() {
	t.mu.Lock()
	t.cancel()
	idle := t.idle
	t.mu.Unlock()
	<-idle
	t.client.CloseIdleConnections()
}

// accept starts the deliveries of published events, unless the topic is closed.
func (t *Topic) accept(events []publishedEvent) bool {
	published := time.Now().UTC()
	var deliveries []*delivery
	var unmatched []Report
	for _, event := range events {
		outgoing := event.outgoing(t.options)
		all := &progress{report: Report{ID: outgoing.id, Type: event.eventType()}}
		for _, s := range t.subscriptions {
			if s.Filter.matches(event.fields) {
				deliveries = append(deliveries, &delivery{topic: t, subscription: s, event: outgoing, published: published, of: all})
				all.left++
			}
		}
		if all.left == 0 {
			unmatched = append(unmatched, all.report)
		}
	}
	if !t.begin(deliveries) {
		return false
	}
	if t.options.Settled != nil {
		for _, report := range unmatched {
			t.options.Settled(report)
		}
	}
	return true
}

// begin starts deliveries, unless the topic is closed.
func (t *Topic) begin(deliveries []*delivery) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	if t.inFlight == 0 && len(deliveries) > 0 {
		t.idle = make(chan struct{})
	}
	t.inFlight += len(deliveries)
	for _, d := range deliveries {
		go func() {
			defer t.finish()
			if d.run() {
				d.settled()
			}
		}()
	}
	return true
}

func (t *Topic) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inFlight--; t.inFlight == 0 {
		close(t.idle)
	}
}

// delivery is the way of one event to one subscription.
type delivery struct {
	topic        *Topic
	subscription Subscription
	event        outgoingEvent
	published    time.Time
	of           *progress

	attempts    int
	lastAttempt time.Time
	lastStatus  int // 0 if there was no answer
	lastError   error
	givenUp     string // reason of the dead letter
}

// progress is what has become of one event so far.
type progress struct {
	mu     sync.Mutex
	report Report
	left   int // deliveries under way
}

// settled adds the delivery to the report of its event. If this was the last
// delivery, it calls Settled with the report.
func (d *delivery) settled() {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	d.of.report.Deliveries = append(d.of.report.Deliveries, Delivery{
		Subscription: d.subscription.Name, Function: d.subscription.Function, Attempts: d.attempts, DeadLetter: d.givenUp,
	})
	if d.of.left--; d.of.left == 0 && d.topic.options.Settled != nil {
		d.topic.options.Settled(d.of.report)
	}
}

// run tries to deliver the event until it succeeds or gives up. It returns false
// if the topic closes before.
func (d *delivery) run() bool {
	t := d.topic
	var waited time.Duration
	for {
		select {
		case t.slots <- struct{}{}:
		case <-t.ctx.Done():
			d.log(slog.LevelWarn, "event lost, the topic is closed")
			return false
		}
		d.attempt()
		<-t.slots
		if d.lastStatus >= 200 && d.lastStatus <= 204 {
			d.log(slog.LevelDebug, "event delivered")
			return true
		}
		if t.ctx.Err() != nil {
			d.log(slog.LevelWarn, "event lost, the topic is closed")
			return false
		}
		wait := max(retrySchedule[min(d.attempts, len(retrySchedule))-1], retryAfter[d.lastStatus])
		waited += wait
		if reason := d.hopeless(waited); reason != "" {
			d.deadLetter(reason)
			d.givenUp = reason
			return true
		}
		d.log(slog.LevelWarn, "delivery failed, will be tried again")
		timer := time.NewTimer(time.Duration(float64(wait) * t.options.TimeScale))
		select {
		case <-timer.C:
		case <-t.ctx.Done():
			timer.Stop()
		}
	}
}

// hopeless returns why there is no further attempt, or "" if there is one.
func (d *delivery) hopeless(waited time.Duration) string {
	switch {
	case d.lastStatus == http.StatusBadRequest:
		return "UndeliverableDueToHttpBadRequest"
	case d.lastStatus == http.StatusForbidden:
		return "UndeliverableDueToHttpForbidden"
	case d.lastStatus == http.StatusRequestEntityTooLarge:
		return "UndeliverableDueToHttpRequestEntityTooLarge"
	case d.attempts >= d.topic.options.MaxAttempts:
		return "MaxDeliveryAttemptsExceeded"
	case waited > d.topic.options.TimeToLive:
		return "TimeToLiveExceeded"
	}
	return ""
}

// attempt sends the event once: alone in an array in the Event Grid schema, as
// an object as a CloudEvent.
func (d *delivery) attempt() {
	t := d.topic
	ctx, cancel := context.WithTimeout(t.ctx, t.options.ResponseLimit)
	defer cancel()
	body, contentType := d.event.text, "application/cloudevents+json; charset=utf-8"
	if !d.event.cloud {
		body, contentType = netjson.AppendArray(nil, [][]byte{d.event.text}), "application/json; charset=utf-8"
	}
	d.lastStatus, d.lastAttempt = 0, time.Now().UTC()
	target := strings.TrimSuffix(t.options.Functions, "/") + WebhookPath + "?functionName=" + url.QueryEscape(d.subscription.Function)
	var request *http.Request
	if request, d.lastError = http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body)); d.lastError == nil {
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Aeg-Event-Type", "Notification")
		request.Header.Set("Aeg-Subscription-Name", strings.ToUpper(d.subscription.Name))
		request.Header.Set("Aeg-Delivery-Count", fmt.Sprint(d.attempts))
		var response *http.Response
		if response, d.lastError = t.client.Do(request); d.lastError == nil {
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			d.lastStatus = response.StatusCode
		}
	}
	d.attempts++
}

func (d *delivery) log(level slog.Level, message string) {
	d.topic.logger.Log(context.Background(), level, message, "subscription", d.subscription.Name, "event", d.event.id,
		"attempts", d.attempts, "status", d.lastStatus, "error", d.lastError)
}

// publishedEvent is an accepted event.
type publishedEvent struct {
	members []netjson.Member // as published
	fields  map[string]any   // the same, for filters
	cloud   bool
}

// outgoingEvent is an event in the schema of its deliveries.
type outgoingEvent struct {
	id    string
	text  []byte
	cloud bool
}

// The attributes that Event Grid requires of a publisher, as non-empty strings.
var (
	gridAttributes  = []string{"id", "subject", "eventType", "eventTime"}
	cloudAttributes = []string{"id", "source", "type", "specversion"}
)

func parsePublished(body []byte) ([]publishedEvent, error) {
	raws := [][]byte{body}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		var err error
		if raws, err = netjson.SplitArray(body); err != nil {
			return nil, err
		}
	}
	events := make([]publishedEvent, len(raws))
	for i, raw := range raws {
		event, err := parsePublishedEvent(raw)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		events[i] = event
	}
	return events, nil
}

func parsePublishedEvent(raw []byte) (publishedEvent, error) {
	members, err := netjson.SplitObject(raw)
	if err != nil {
		return publishedEvent{}, err
	}
	fields, err := eventFields(raw)
	if err != nil {
		return publishedEvent{}, err
	}
	version, cloud := fields["specversion"]
	required := gridAttributes
	if cloud {
		required = cloudAttributes
	}
	for _, name := range required {
		if value, _ := fields[name].(string); value == "" {
			return publishedEvent{}, fmt.Errorf("attribute %s is missing", name)
		}
	}
	if cloud && version != "1.0" {
		return publishedEvent{}, fmt.Errorf("specversion %q is not 1.0", version)
	}
	return publishedEvent{members, fields, cloud}, nil
}

// eventType returns the type that subscriptions filter by.
func (e publishedEvent) eventType() string {
	name := "eventType"
	if e.cloud {
		name = "type"
	}
	text, _ := e.fields[name].(string)
	return text
}

// outgoing adds the members that Event Grid itself provides, and converts the
// event to the schema of the deliveries.
func (e publishedEvent) outgoing(options TopicOptions) outgoingEvent {
	id, _ := e.fields["id"].(string)
	if e.cloud {
		return outgoingEvent{id, netjson.AppendObject(nil, e.members), true}
	}
	members := slices.Clone(e.members)
	stamp := func(name, value string) {
		if _, ok := e.fields[name]; !ok && value != "" {
			members = append(members, netjson.Member{Name: name, Value: netjson.AppendText(nil, value)})
		}
	}
	stamp("topic", options.ID)
	stamp("metadataVersion", "1")
	if options.Schema == CloudEventSchemaV1_0 {
		return outgoingEvent{id, netjson.AppendObject(nil, cloudMembers(members)), true}
	}
	return outgoingEvent{id, netjson.AppendObject(nil, members), false}
}

// cloudMembers turns an Event Grid schema event into a CloudEvent
// (learn.microsoft.com/azure/event-grid/cloud-event-schema). The versions of
// data and metadata have no place there.
func cloudMembers(grid []netjson.Member) []netjson.Member {
	names := []struct{ cloud, grid string }{
		{"id", "id"}, {"source", "topic"}, {"type", "eventType"}, {"subject", "subject"}, {"time", "eventTime"}, {"data", "data"},
	}
	cloud := []netjson.Member{{Name: "specversion", Value: []byte(`"1.0"`)}}
	for _, name := range names {
		i := slices.IndexFunc(grid, func(m netjson.Member) bool { return m.Name == name.grid })
		if i >= 0 {
			cloud = append(cloud, netjson.Member{Name: name.cloud, Value: grid[i].Value})
		}
	}
	return cloud
}
