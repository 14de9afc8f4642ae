package functions

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// messageLimit is the largest message that an event hub takes in bytes
// (learn.microsoft.com/azure/event-hubs/event-hubs-quotas).
const messageLimit = 1 << 20

// messagesPath is the path of an event hub.
const messagesPath = "/eventhub/messages"

const defaultPartitions = 2

// EventHubOptions says who reads an event hub.
type EventHubOptions struct {
	// Host runs the app with the function.
	Host *Host
	// Function is the name of the function that messages trigger.
	Function string
	// Partitions is the number of partitions, 1 to 32; 0 means 2.
	Partitions int
	// TimeScale multiplies the waits of the function's retry policy; 0 means 1.
	TimeScale float64
	// Logger takes the log of lost messages; nil discards it.
	Logger *slog.Logger
}

// EventHub is an event hub with one reader, a function of an app. As an
// [http.Handler] it takes messages. It spreads them over its partitions in turn,
// as a hub does if the sender names no partition key, and Azure Monitor names
// none. Each partition is read in order, with one invocation at a time. An
// invocation gets all waiting messages, up to maxEventBatchSize of host.json, or
// one message if the cardinality is one.
//
// When the invocation has succeeded, the messages are passed: the checkpoint
// moves behind them. When the retry policy of the function is exhausted, or the
// function has none, the checkpoint moves too, and the messages are lost
// (Azure/azure-sdk-for-net, EventHubListener.PartitionProcessor). It never moves
// because the app stops. Unlike an event hub it keeps messages in memory, and
// only until they are passed.
type EventHub struct {
	options  EventHubOptions
	function function
	logger   *slog.Logger
	ctx      context.Context
	cancel   context.CancelFunc
	readers  sync.WaitGroup

	mu         sync.Mutex
	partitions []*partition
	turn       int // the partition of the next message
	waiting    int // messages that are not passed
	lost       int
	idle       chan struct{} // closed while waiting is 0
}

// partition is a queue of messages with the reader's position in it.
type partition struct {
	id         int
	messages   []message // from the checkpoint on
	checkpoint int64     // sequence number of the first message that is not passed
	sequence   int64     // of the next message
	offset     int64     // of the next message
	arrived    chan struct{}
}

// message is a queued message.
type message struct {
	body             []byte
	sequence, offset int64
	enqueued         time.Time
}

// NewEventHub returns an event hub and begins to read it. It returns an error if
// the app has no such function, if the trigger of the function is not an event
// hub, or if a number is out of range.
func NewEventHub(options EventHubOptions) (*EventHub, error) {
	if options.Host == nil {
		return nil, errors.New("event hub: no functions")
	}
	target, ok := options.Host.functions[options.Function]
	if !ok {
		return nil, fmt.Errorf("event hub: cannot find function: '%s'", options.Function)
	}
	if !target.trigger.is(eventHubTrigger) {
		return nil, fmt.Errorf("event hub: function '%s' has the trigger %s", options.Function, target.trigger.Type)
	}
	options.Partitions = cmp.Or(options.Partitions, defaultPartitions)
	options.TimeScale = cmp.Or(options.TimeScale, 1)
	if options.Partitions < 1 || options.Partitions > 32 {
		return nil, fmt.Errorf("event hub: %d partitions are not within 1 to 32", options.Partitions)
	}
	if options.TimeScale < 0 {
		return nil, errors.New("event hub: negative time scale")
	}
	h := &EventHub{
		options:  options,
		function: target,
		logger:   cmp.Or(options.Logger, slog.New(slog.DiscardHandler)),
		idle:     make(chan struct{}),
	}
	close(h.idle)
	h.ctx, h.cancel = context.WithCancel(options.Host.ctx)
	for id := range options.Partitions {
		p := &partition{id: id, arrived: make(chan struct{}, 1)}
		h.partitions = append(h.partitions, p)
		h.readers.Go(func() { h.read(p) })
	}
	return h, nil
}

// ServeHTTP accepts POST /eventhub/messages, whose body is one message, and
// answers 201 once it is queued. More than 1 MB is answered 413. After Close a
// message is answered 503.
func (h *EventHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != messagesPath || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, messageLimit))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			answerText(w, http.StatusRequestEntityTooLarge, errTooLarge.Error())
			return
		}
		answerText(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := h.Send(body); err != nil {
		answerText(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.WriteHeader(http.StatusCreated)
}

var (
	errTooLarge = fmt.Errorf("the maximum size of a message is %d bytes", messageLimit)
	errClosed   = errors.New("the event hub is closed")
)

// Send queues messages, all of them or none. It is an error if one is larger
// than 1 MB, or if the hub is closed or its app stopped.
func (h *EventHub) Send(messages ...[]byte) error {
	for _, body := range messages {
		if len(body) > messageLimit {
			return errTooLarge
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return errClosed
	}
	if h.waiting == 0 && len(messages) > 0 {
		h.idle = make(chan struct{})
	}
	h.waiting += len(messages)
	for _, body := range messages {
		p := h.partitions[h.turn]
		h.turn = (h.turn + 1) % len(h.partitions)
		p.messages = append(p.messages, message{bytes.Clone(body), p.sequence, p.offset, time.Now().UTC()})
		p.sequence++
		p.offset += int64(len(body))
		select {
		case p.arrived <- struct{}{}:
		default:
		}
	}
	return nil
}

// Wait returns nil when every message is passed. If that can no longer happen, it
// returns the reason. If ctx ends before, it returns the error of ctx.
func (h *EventHub) Wait(ctx context.Context) error {
	h.mu.Lock()
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.ctx.Done():
	}
	select {
	case <-idle:
		return nil
	default:
	}
	if h.options.Host.ctx.Err() != nil {
		return cmp.Or(h.options.Host.Err(), errStopped)
	}
	return errClosed
}

// Checkpoints returns the position of the reader in each partition: how many of
// its messages are passed.
func (h *EventHub) Checkpoints() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var checkpoints []int64
	for _, p := range h.partitions {
		checkpoints = append(checkpoints, p.checkpoint)
	}
	return checkpoints
}

// Lost returns how many messages were passed although no invocation with them
// succeeded.
func (h *EventHub) Lost() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// Close ends the reading. It does not wait for running invocations, which the app
// ends. Their messages are not passed, even if the invocations succeed. Close the
// hub before the app.
func (h *EventHub) Close() {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	h.readers.Wait()
}

// read invokes the function with the messages of a partition until the hub is
// closed.
func (h *EventHub) read(p *partition) {
	for {
		batch := h.batch(p)
		if len(batch) == 0 {
			select {
			case <-p.arrived:
				continue
			case <-h.ctx.Done():
				return
			}
		}
		err := h.process(p, batch)
		if h.ctx.Err() != nil {
			return
		}
		h.pass(p, batch, err)
	}
}

// batch returns the messages of the next invocation; there may be none.
func (h *EventHub) batch(p *partition) []message {
	most := 1
	if h.function.many() {
		most = h.options.Host.command.maxEventBatch
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(most, len(p.messages))
	return p.messages[:n:n]
}

// process invokes the function with messages, and again by its retry policy. It
// returns early when the hub is closed.
func (h *EventHub) process(p *partition, batch []message) error {
	return h.options.Host.persist(h.ctx, eventHubCall(h.function, p.id, batch), h.options.TimeScale)
}

// pass moves the checkpoint behind messages. The error is why they are lost.
func (h *EventHub) pass(p *partition, batch []message, err error) {
	n := len(batch)
	if err != nil {
		h.logger.Error("messages lost: no retry is left, and the checkpoint moves past them", "function", h.function.name,
			"partition", p.id, "messages", n, "sequenceNumber", batch[0].sequence, "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.lost += n
	}
	clear(p.messages[:n])
	p.messages = p.messages[n:]
	p.checkpoint += int64(n)
	if h.waiting -= n; h.waiting == 0 {
		close(h.idle)
	}
}
