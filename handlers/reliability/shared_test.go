package reliability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/functions"
)

// long reports whether these are the runs of make chaos, which take minutes.
func long() bool { return os.Getenv("HUBWATCH_CHAOS") == "long" }

// everything reports whether the tests of this package try all that they otherwise try a part of.
func everything() bool { return long() || os.Getenv("HUBWATCH_TRIALS") != "" }

func TestMain(m *testing.M) {
	if os.Getenv(forwardingVariable) != "" {
		os.Exit(serveForwarding())
	}
	code := m.Run()
	if shared.azurite != nil {
		if err := shared.azurite.Stop(); err != nil {
			log.Print(err)
		}
	}
	if shared.app != "" {
		os.RemoveAll(shared.app)
		os.RemoveAll(shared.forwarding)
	}
	os.Exit(code)
}

// shared has what all tests use: the app as it is deployed, and one Azurite. Each
// rig has tables of its own there.
var shared struct {
	once       sync.Once
	azurite    *azurite.Service
	app        string // the folder
	forwarding string // the folder of the same, with serveForwarding as its handler
	tables     atomic.Int64

	missing, broken error
}

// setUp starts Azurite and builds the app, once for all tests. Without Azurite
// the test is skipped, unless HUBWATCH_AZURITE is "required".
func setUp(t testing.TB) {
	t.Helper()
	shared.once.Do(func() {
		var main string
		if main, shared.missing = azurite.Find("../.."); shared.missing != nil {
			return
		}
		if shared.azurite, shared.missing = azurite.Start(context.Background(), azurite.Options{Main: main}); shared.missing != nil {
			return
		}
		shared.broken = buildApp()
	})
	if shared.missing != nil && os.Getenv("HUBWATCH_AZURITE") != "required" {
		t.Skip(shared.missing)
	}
	if err := errors.Join(shared.missing, shared.broken); err != nil {
		t.Fatal(err)
	}
}

// buildApp makes the folder that make app makes.
func buildApp() (err error) {
	if shared.app, err = os.MkdirTemp("", "hubwatch-reliability-*"); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(shared.app, "handler"), "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	if shared.forwarding, err = os.MkdirTemp("", "hubwatch-forwarding-*"); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Symlink(program, filepath.Join(shared.forwarding, "handler")); err != nil {
		return err
	}
	settings, err := os.ReadFile("../../host.json")
	if err != nil {
		return err
	}
	for _, folder := range []string{shared.app, shared.forwarding} {
		if err := os.CopyFS(folder, os.DirFS("../../functions")); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "host.json"), settings, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// forwardingVariable makes the test binary the handler that serveForwarding runs.
const forwardingVariable = "HUBWATCH_TEST_FORWARDING"

// serveForwarding is the custom handler with a detector that wants log records. It returns the exit code.
func serveForwarding() int {
	redirectIngestion()
	return host.Run(context.Background(), nil, os.Getenv, os.Stdout, os.Stderr, "%s", func(ctx context.Context, port string, log *slog.Logger) error {
		a, err := app.Open(os.Getenv)
		if err != nil {
			return err
		}
		a.Detectors = append(a.Detectors, detector.Detector{Name: "Wants", On: detector.Trigger{EventTypes: []string{event.LogType("Routes")}}})
		a.Notify.Now = clockOfTest
		j := a.Judge(nil)
		handler, err := host.NewHandler(app.Functions(a.Detectors, j), j.Broken, log, host.Limits{})
		if err != nil {
			return err
		}
		return host.Serve(ctx, port, handler)
	})
}

// clockVariable is the file that says how much the clock of whoever tells of alerts is ahead.
const clockVariable = "HUBWATCH_TEST_CLOCK"

// clockOfTest is that clock.
func clockOfTest() time.Time {
	now := time.Now()
	if file := os.Getenv(clockVariable); file != "" {
		ahead, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		d, err := time.ParseDuration(string(ahead))
		if err != nil {
			panic(err)
		}
		now = now.Add(d)
	}
	return now
}

// service is a table service of its own that can be stopped and started.
type service struct {
	mu      sync.Mutex
	azurite *azurite.Service
	starts  int
}

// startService starts a service that keeps its tables in a folder.
func startService(t testing.TB) *service {
	t.Helper()
	setUp(t)
	script, err := azurite.Find("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{starts: 1}
	if s.azurite, err = azurite.Start(t.Context(), azurite.Options{Main: script, Location: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.azurite.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// restart stops the service and starts it again, unless another restart is
// running.
func (s *service) restart(t testing.TB) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if err := s.azurite.Stop(); err != nil {
		t.Error(err)
	}
	again, err := s.azurite.Again(context.Background())
	if err != nil {
		t.Error(err)
		return
	}
	s.azurite = again
	s.starts++
}

// settled waits for the end of a running restart, and returns how often the
// service was started.
func (s *service) settled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

// step is a request that the handler, or the host for it, makes to another
// service. n counts them from 1.
type step struct {
	n       int
	target  string // the URL of the service
	request *http.Request
}

// perform lets the service execute the request of the step, and returns
// afterwards. The handler does not get the answer.
func (s step) perform() error {
	out, err := http.NewRequest(s.request.Method, s.target+s.request.URL.RequestURI(), s.request.Body)
	if err != nil {
		return err
	}
	out.Header, out.ContentLength = s.request.Header.Clone(), s.request.ContentLength
	answer, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// rig is a set of tables behind proxies that make faults. Every request passes
// one of the proxies.
type rig struct {
	connection         string // of the way that makes faults
	alerts, quarantine *aztables.Client
	names              [3]string // of these two tables, and of the one of suppressions
	topic              *sink
	topicURL           string // of the way to the topic that makes faults
	told               *sink  // the topic of alerts
	toldURL            string // of the way to it that makes faults

	fault atomic.Pointer[func(step) azurite.Fault] // nil passes everything and counts nothing
	steps atomic.Int64
	// hearing counts the requests that remember when a hub was last heard of, which are no steps.
	hearing atomic.Int64
}

// newRig returns a rig on the Azurite that all tests share. Its tables exist if
// withTables is true.
func newRig(t testing.TB, withTables bool) *rig {
	t.Helper()
	setUp(t)
	return newRigOn(t, shared.azurite, withTables)
}

// newRigOn returns a rig on an Azurite.
func newRigOn(t testing.TB, tables *azurite.Service, withTables bool) *rig {
	t.Helper()
	n := shared.tables.Add(1)
	r := &rig{names: [3]string{fmt.Sprintf("alerts%d", n), fmt.Sprintf("quarantine%d", n), fmt.Sprintf("suppressions%d", n)}, topic: startSink(t), told: startSink(t)}
	service, err := aztables.NewServiceClientFromConnectionString(tables.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.alerts, r.quarantine = service.NewClient(r.names[0]), service.NewClient(r.names[1])
	if withTables {
		for _, table := range []*aztables.Client{r.alerts, r.quarantine} {
			if _, err := table.CreateTable(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	target, _, _ := strings.Cut(tables.Endpoint(), "/devstoreaccount1")
	r.connection = strings.Replace(tables.ConnectionString(), target, r.through(t, target), 1)
	r.topicURL, r.toldURL = r.through(t, r.topic.url), r.through(t, r.told.url)
	return r
}

// through returns the URL of a proxy before the service at target. The proxy
// makes the faults of the rig.
func (r *rig) through(t testing.TB, target string) string {
	proxy := azurite.StartFaultyProxy(target, func(_ int, request *http.Request) azurite.Fault {
		fault := r.fault.Load()
		if fault == nil {
			return azurite.Pass
		}
		if aboutHearing(request) {
			r.hearing.Add(1)
			return azurite.Pass
		}
		return (*fault)(step{int(r.steps.Add(1)), target, request})
	})
	t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	return proxy.URL
}

// aboutHearing reports whether a request remembers when a hub was last heard of. No
// event depends on it: a failure of this request is not a failure of the invocation.
func aboutHearing(r *http.Request) bool {
	if strings.Contains(r.URL.Path, "!heard") {
		return true
	}
	if !strings.HasSuffix(r.URL.Path, "$batch") {
		return false
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return err == nil && bytes.Contains(body, []byte("!heard"))
}

// topicSetting is the setting with the address of the topic, and alertsSetting that with the
// address of the topic of alerts.
const (
	topicSetting  = "ConnectionEvents__topicEndpointUri"
	alertsSetting = "AlertEvents__topicEndpointUri"
)

// options say how the handler runs on the rig.
func (r *rig) options() functions.Options {
	return functions.Options{
		ScriptRoot: shared.app,
		Env: []string{"AlertsStorage=" + r.connection, "AlertsTable=" + r.names[0], "QuarantineTable=" + r.names[1], "SuppressionsTable=" + r.names[2], "HubLogsEventHub=logs",
			"LogClock=false", "StateTables=" + r.names[0], topicSetting + "=" + r.topicURL + "/api/events", alertsSetting + "=" + r.toldURL + "/api/events"},
		TimerScale: 1e6, // A test invokes timer functions itself, if it needs them.
	}
}

// rows returns every row of both tables by its keys, every event that the
// topic took by its id, and of which raisings somebody was told. It leaves out what differs
// between two runs over the same events: the service's own columns, the times of processing,
// which of several events raised an alert, and how the alert was when that was told.
func (r *rig) rows(t testing.TB) map[string]map[string]any {
	t.Helper()
	rows := r.topic.events()
	for id, e := range r.told.events() {
		rows["told "+id] = map[string]any{"type": e["type"]}
	}
	for name, table := range map[string]*aztables.Client{"alerts": r.alerts, "quarantine": r.quarantine} {
		for pages := table.NewListEntitiesPager(nil); pages.More(); {
			page, err := pages.NextPage(context.Background())
			var answer *azcore.ResponseError
			if errors.As(err, &answer) && answer.ErrorCode == string(aztables.TableNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, entity := range page.Entities {
				var row map[string]any
				if err := json.Unmarshal(entity, &row); err != nil {
					t.Fatal(err)
				}
				maps.DeleteFunc(row, func(name string, _ any) bool {
					return strings.HasPrefix(name, "odata.") || strings.HasPrefix(name, "Timestamp") ||
						strings.HasPrefix(name, "TimeGeneratedUtc") || strings.HasPrefix(name, "QuarantinedUtc") ||
						strings.HasPrefix(name, "TimeUtc") || strings.HasPrefix(name, "StatusTimeUtc") ||
						strings.HasPrefix(name, "LastEventUtc") || strings.HasPrefix(name, "LastSeenUtc") || name == "Raised"
				})
				rows[fmt.Sprint(name, " ", row["PartitionKey"], " ", row["RowKey"])] = row
			}
		}
	}
	return rows
}

// sink is a topic that keeps the events that it takes.
type sink struct {
	url string

	mu   sync.Mutex
	took map[string]map[string]any // by id
}

func startSink(t testing.TB) *sink {
	s := &sink{took: map[string]map[string]any{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var events []map[string]any
		if err := json.UnmarshalRead(r.Body, &events); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range events {
			s.took[fmt.Sprint("topic ", e["id"])] = e
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *sink) events() map[string]map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.took)
}

// kill ends the handler process of an app with SIGKILL and waits until its
// successor has been started or the app has stopped.
func kill(f *functions.Host) {
	pid := f.PID()
	if syscall.Kill(pid, syscall.SIGKILL) != nil {
		return // it is gone already
	}
	limit := time.After(10 * time.Second)
	for tick := time.Tick(time.Millisecond); f.PID() == pid; {
		select {
		case <-tick:
		case <-f.Done():
			return
		case <-limit:
			return
		}
	}
}

// instance is one instance of the function app. The platform keeps it running:
// the Functions host stops after the third error of its handler, and the platform
// starts the host again.
type instance struct {
	current atomic.Pointer[functions.Host]
	kills   atomic.Int64
	starts  atomic.Int64
}

// startInstance starts an instance that runs until the end of the test.
func startInstance(t testing.TB, options functions.Options) *instance {
	t.Helper()
	i := &instance{}
	ctx, cancel := context.WithCancel(context.Background())
	f, err := functions.Start(ctx, options)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	i.current.Store(f)
	i.starts.Add(1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			<-f.Done()
			if ctx.Err() != nil {
				return
			}
			next, err := functions.Start(ctx, options)
			if err != nil {
				t.Errorf("the host does not start again: %v", err)
				return
			}
			f = next
			i.current.Store(f)
			i.starts.Add(1)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return i
}

// ServeHTTP is the webhook of the instance.
func (i *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.current.Load().ServeHTTP(w, r)
}

// kill ends the handler process of the instance with SIGKILL.
func (i *instance) kill() {
	i.kills.Add(1)
	kill(i.current.Load())
}
