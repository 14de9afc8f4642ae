package reliability

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/reach"
)

// ingestionVariable is the address at which the handler of these tests finds the ingestion of
// Microsoft Sentinel. A deployed handler sends rows, and a token, to hosts of Azure Monitor alone.
const ingestionVariable = "HUBWATCH_TEST_INGESTION"

// redirectIngestion makes this process reach the stand-in for the ingestion where it would reach
// Azure Monitor over TLS, if a test wants that.
func redirectIngestion() {
	to := os.Getenv(ingestionVariable)
	if to == "" {
		return
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !strings.Contains(address, ".ingest.monitor.azure.com:") {
			return nil, fmt.Errorf("a test leads nowhere else than to the ingestion: %s", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	http.DefaultTransport, reach.Default.RoundTripper = transport, transport
}

// channelKey is what webhooks are signed with, and channelSecret the secret that says so.
var (
	channelKey    = []byte("contoso-contoso-contoso-contoso!")
	channelSecret = "whsec_" + base64.StdEncoding.EncodeToString(channelKey)
)

// troubles are what becomes of requests to a channel, in an order that the seed decides.
var troubles = []string{
	"taken", "taken", "taken", "taken", "taken", "taken", "taken", "taken", "taken, and reset", "taken, and reset", "taken, and 500", "reset", "500", "500", "429",
	"429 with Retry-After", "hangs",
}

// troubled is how many requests to a channel meet troubles, and kills how often the handler is
// killed at most.
const troubled, kills = 120, 20

// channel is a receiver of raisings that fails, before or after it has taken one.
type channel struct {
	*httptest.Server
	mu       sync.Mutex
	took     map[string]int // how often it took each raising, by its id
	requests int
	made     map[string]int // of troubles
}

// startChannel starts a receiver. read returns the ids of the raisings in a request that is as it
// has to be, and accepted is the status of an answer that takes them.
func startChannel(t *testing.T, random *rand.Rand, accepted int, read func(r *http.Request, body []byte) ([]string, error)) *channel {
	c := &channel{took: map[string]int{}, made: map[string]int{}}
	order := slices.Clone(troubles)
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	over := make(chan struct{})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // It has hung up.
		}
		ids, err := read(r, body)
		if err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		c.mu.Lock()
		what := order[c.requests%len(order)]
		if c.requests >= troubled || c.requests >= len(order) && (what == "hangs" || what == "429 with Retry-After") {
			what = "taken" // The test waits for these.
		}
		c.requests++
		c.made[what]++
		if strings.HasPrefix(what, "taken") {
			for _, id := range ids {
				c.took[id]++
			}
		}
		c.mu.Unlock()
		switch what {
		case "taken":
			w.WriteHeader(accepted)
		case "hangs":
			var patience <-chan time.Time
			if !long() {
				patience = time.After(time.Second)
			}
			select {
			case <-r.Context().Done():
			case <-over:
			case <-patience:
				panic(http.ErrAbortHandler)
			}
		case "429 with Retry-After":
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		case "429":
			w.WriteHeader(http.StatusTooManyRequests)
		case "reset", "taken, and reset":
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(func() { close(over); c.Close() })
	return c
}

// signed returns the id of a webhook that is signed as it should be.
func signed(r *http.Request, body []byte) ([]string, error) {
	id := r.Header.Get("webhook-id")
	mac := hmac.New(sha256.New, channelKey)
	fmt.Fprintf(mac, "%s.%s.%s", id, r.Header.Get("webhook-timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("webhook-signature") != want {
		return nil, fmt.Errorf("the webhook is not signed as it should be: %q", r.Header)
	}
	return []string{id}, nil
}

// check compares what the receiver took with what was raised.
func (c *channel) check(t *testing.T, what string, raised map[string]bool) {
	again := c.compare(t, what, raised)
	c.mu.Lock()
	defer c.mu.Unlock()
	if again == 0 || c.requests < len(troubles) {
		t.Errorf("%s: %d raisings came again, and what happened is %v: this proves nothing", what, again, c.made)
	}
	t.Logf("%s was told of %d raisings by %d requests, %d times of one that it had; %v", what, len(c.took), c.requests, again, c.made)
}

// compare compares the ids that the receiver took with those that it should have. It returns how often one came again.
func (c *channel) compare(t *testing.T, what string, want map[string]bool) (again int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range c.took {
		if !want[id] {
			t.Errorf("%s was told of %s, which it should not have been told by itself", what, id)
		}
		again += n - 1
	}
	for id := range want {
		if c.took[id] == 0 {
			t.Errorf("%s was not told of %s", what, id)
		}
	}
	return again
}

// TestChaosReachesTheChannels raises alerts by events that come several times, while the requests
// to tables and topics and the channels fail in every way. A signed webhook and Microsoft Sentinel
// hear of each raising at least once, and with its id as key exactly once. In make chaos the handler
// is killed, too. Then what it was telling waits for half a minute until another invocation may.
// Event Grid gives up after a day, which lasts some minutes here, so the kills and the troubles of the channels
// have an end.
func TestChaosReachesTheChannels(t *testing.T) {
	t.Parallel() // it waits
	setUp(t)
	n := seed(t)
	random := rand.New(rand.NewPCG(n, 3))
	p := plan{seed: n}
	raised := map[string]bool{}
	from := allCases(t)
	for _, d := range detector.All {
		for i, e := range from.fires[d.Name] {
			if i == 4 && !long() {
				break
			}
			alerts, _ := verdictOf(e)
			if len(alerts) == 0 || alerts[0].tally.Item == "" {
				e = renamed(t, e, fmt.Sprintf("%s-%d", d.Name, i))
			}
			for _, a := range alerts {
				raised[a.id+"/0"] = true
			}
			p.deliveries = append(p.deliveries, slices.Repeat([]int{len(p.events)}, 1+random.IntN(3))...)
			p.events = append(p.events, e)
		}
	}
	random.Shuffle(len(p.deliveries), func(i, j int) { p.deliveries[i], p.deliveries[j] = p.deliveries[j], p.deliveries[i] })

	hook := startChannel(t, rand.New(rand.NewPCG(n, 4)), http.StatusNoContent, signed)
	siem := startChannel(t, rand.New(rand.NewPCG(n, 5)), http.StatusNoContent, func(r *http.Request, body []byte) (ids []string, err error) {
		var rows []struct {
			RaisingID string `json:"RaisingId"`
		}
		if err := json.Unmarshal(body, &rows); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			return nil, fmt.Errorf("%w: %q without rows, or without a token", err, body)
		}
		for _, row := range rows {
			ids = append(ids, row.RaisingID)
		}
		return ids, nil
	})
	identity, err := azurite.StartIdentity(azurite.IdentityOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(identity.Close)

	r, g := newRig(t, true), &grid{}
	scale := 0.001
	if long() {
		scale = 0.003
	}
	alerts := g.telling(t, r, scale, append(identity.Env(), ingestionVariable+"="+siem.Listener.Addr().String(),
		"DigestAfter=0", "Notify__hook="+hook.URL+"/hook#secret="+channelSecret,
		"Sentinel__endpoint=https://hubwatch.ingest.monitor.azure.com", "Sentinel__ruleId=dcr-00000000000000000000000000000001")...)
	fault := func(s step) azurite.Fault {
		what := p.trouble(s.n)
		if what == crash && long() && s.n < kills*crashEvery {
			g.instances[0].kill()
		}
		return quick[what]
	}
	r.fault.Store(&fault)
	start := time.Now()
	g.run(t, p, p.deliveries, 5*time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := alerts.Wait(ctx); err != nil {
		t.Fatalf("raisings are not delivered: %v", err)
	}
	t.Logf("%d raisings, %d deliveries of which %d failed, in %v", len(raised), g.deliveries.Load(), g.failed.Load(), time.Since(start).Round(time.Millisecond))
	if g.failed.Load() == 0 || long() && g.instances[0].kills.Load() == 0 {
		t.Errorf("%d failed deliveries and %d kills: this proves nothing", g.failed.Load(), g.instances[0].kills.Load())
	}
	hook.check(t, "the webhook", raised)
	siem.check(t, "Microsoft Sentinel", raised)
}

// quick is what becomes of requests with troubles where the test waits for nothing.
var quick = map[trouble]azurite.Fault{crash: azurite.Drop, restart: azurite.Drop, drop: azurite.Drop, lose: azurite.Lose, busy: azurite.Busy, broken: azurite.Broken, loseBroken: azurite.LoseBroken, slow: azurite.Lose, hang: azurite.Drop}

// telling starts an instance on a rig, with settings besides those of the rig, and returns the topic of
// alerts, which delivers to the same instance.
func (g *grid) telling(t *testing.T, r *rig, scale float64, settings ...string) *eventgrid.Topic {
	t.Helper()
	var told atomic.Pointer[eventgrid.Topic]
	topic := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { told.Load().ServeHTTP(w, r) }))
	t.Cleanup(topic.Close)
	options := r.options()
	options.ScriptRoot = shared.forwarding
	options.Env = append(options.Env, forwardingVariable+"=yes", alertsSetting+"="+r.through(t, topic.URL)+"/api/events")
	options.Env = append(options.Env, settings...)
	g.start(t, options, 1, senders, 0.003)
	subscriptions, err := eventgrid.LoadSubscriptions("../../infra/subscriptions.json")
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := eventgrid.NewTopic(eventgrid.TopicOptions{
		Source: string(detector.Alerts), Subscriptions: subscriptions, Functions: g.webhook, Schema: eventgrid.CloudEventSchemaV1_0,
		DeadLetters: g.deadLetters, TimeScale: scale, Concurrency: senders,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(alerts.Close)
	told.Store(alerts)
	return alerts
}
