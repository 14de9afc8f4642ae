package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/functions"
)

// Where the local commands find what make puts there, below the root of the
// repository, in which they run.
const (
	appFolder           = "build/app"
	deadLetterFolder    = "build/deadletter"
	samplesFolder       = "handlers/local/samples" // events, one in a file
	logSamplesFolder    = samplesFolder + "/logs"  // messages of resource logs
	subscriptionsFile   = "infra/subscriptions.json"
	localAddress        = "127.0.0.1:7071" // where the real host listens: func start
	storageSetting      = "AlertsStorage"  // where the tables are
	demoDeliveries      = 3
	deliveryTimeout     = 2 * time.Minute
	localRetryTimeScale = 0.01 // of Event Grid's first wait of 10 s
)

// site is all of hubwatch on this machine: Azurite, the handler under a stand-in
// for the Functions host, and stand-ins for Event Grid and an event hub in front.
type site struct {
	azurite   *azurite.Service
	functions *functions.Host
	topic     *eventgrid.Topic
	hub       *functions.EventHub
	server    *http.Server
	url       string
	store     alert.Reader
}

// siteOptions say how a site differs from the usual.
type siteOptions struct {
	address string    // to listen on
	output  io.Writer // gets what the handler prints; nil for nothing
	// relayed stands between the relay and the topic; nil for nothing there.
	relayed func(topic http.Handler) http.Handler
	log     *slog.Logger
}

// startSite starts everything, with the app in build/app.
func startSite(ctx context.Context, o siteOptions) (s *site, err error) {
	s = &site{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go s.server.Serve(listener)
	s.url = "http://" + listener.Addr().String()

	script, err := azurite.Find(".")
	if err != nil {
		return nil, err
	}
	if s.azurite, err = azurite.Start(ctx, azurite.Options{Main: script}); err != nil {
		return nil, err
	}
	settings := map[string]string{storageSetting: s.azurite.ConnectionString()}
	a, err := app.Open(func(name string) string { return settings[name] })
	if err != nil {
		return nil, err
	}
	s.store = a.Alerts
	if s.functions, err = functions.Start(context.WithoutCancel(ctx), functions.Options{
		ScriptRoot: appFolder, Env: []string{storageSetting + "=" + s.azurite.ConnectionString()},
		Topics: map[string]string{"ConnectionEvents": s.url + "/relayed/api/events"}, Output: o.output, Logger: o.log,
	}); err != nil {
		return nil, err
	}
	subscriptions, err := eventgrid.LoadSubscriptions(subscriptionsFile)
	if err != nil {
		return nil, err
	}
	if s.topic, err = eventgrid.NewTopic(eventgrid.TopicOptions{
		Subscriptions: subscriptions, Functions: s.url, Schema: eventgrid.CloudEventSchemaV1_0,
		DeadLetters: deadLetterFolder, TimeScale: localRetryTimeScale, Logger: o.log,
	}); err != nil {
		return nil, err
	}
	if s.hub, err = functions.NewEventHub(functions.EventHubOptions{
		Host: s.functions, Function: judge.RelayName, TimeScale: localRetryTimeScale, Logger: o.log,
	}); err != nil {
		return nil, err
	}
	mux.Handle("/api/events", s.topic)
	relayed := http.Handler(s.topic)
	if o.relayed != nil {
		relayed = o.relayed(relayed)
	}
	mux.Handle("/relayed/", http.StripPrefix("/relayed", relayed))
	mux.Handle("/eventhub/messages", s.hub)
	mux.Handle("/", s.functions)
	return s, s.functions.Ready(ctx)
}

// thrice publishes every event demoDeliveries times, in random order.
func thrice(topic http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var events []jsontext.Value
		if err := json.UnmarshalRead(r.Body, &events); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body, err := json.Marshal(shuffled(events, demoDeliveries))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		topic.ServeHTTP(w, r)
	})
}

// shuffled returns n of each element, in random order.
func shuffled[E any](list []E, n int) []E {
	many := slices.Repeat(list, n)
	rand.Shuffle(len(many), func(i, j int) { many[i], many[j] = many[j], many[i] })
	return many
}

// Close stops everything that was started.
func (s *site) Close() {
	if s.hub != nil {
		s.hub.Close()
	}
	if s.topic != nil {
		s.topic.Close()
	}
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.functions != nil {
		s.functions.Close()
	}
	if s.azurite != nil {
		s.azurite.Kill() // it keeps the tables in memory
	}
}

// publish gives events to the topic, one by one, and log messages to the event
// hub, and waits until each has been delivered or given up.
func (s *site) publish(ctx context.Context, events, messages [][]byte) error {
	for _, e := range events {
		if err := s.post(ctx, "/api/events", e); err != nil {
			return err
		}
	}
	for _, m := range messages {
		if err := s.post(ctx, "/eventhub/messages", m); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	if err := s.hub.Wait(ctx); err != nil {
		return fmt.Errorf("log messages are not done: %w", err)
	}
	if err := s.topic.Wait(ctx); err != nil {
		return fmt.Errorf("events are not delivered: %w", err)
	}
	return nil
}

func (s *site) post(ctx context.Context, path string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// alerts returns the alerts in the table.
func (s *site) alerts(ctx context.Context) ([]alert.Alert, error) {
	var list []alert.Alert
	for a, err := range s.store.List(ctx, alert.Query{}) {
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// samples returns what is in the files of a folder of samples.
func samples(folder string) ([][]byte, error) {
	in := os.DirFS(folder)
	files, err := fs.Glob(in, "*.json")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no samples in %s: run this in the root of the repository", folder)
	}
	var list [][]byte
	for _, file := range files {
		b, err := fs.ReadFile(in, file)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// allSamples returns the sample events and the sample log messages.
func allSamples() (events, messages [][]byte, err error) {
	if events, err = samples(samplesFolder); err != nil {
		return nil, nil, err
	}
	messages, err = samples(logSamplesFolder)
	return events, messages, err
}

// demo delivers every sample event and log message three times in random order,
// and publishes three times what the relay makes of the messages; it shows the
// alerts, and returns an error unless each detector has raised one alert of one
// occurrence and nothing was lost.
func demo(ctx context.Context, stdout io.Writer, log *slog.Logger) error {
	if err := os.RemoveAll(deadLetterFolder); err != nil {
		return err
	}
	events, messages, err := allSamples()
	if err != nil {
		return err
	}
	s, err := startSite(ctx, siteOptions{address: "127.0.0.1:0", relayed: thrice, log: log})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprintf(stdout, "%d events and %d messages of the Connections log, each delivered %d times, in random order.\n\n", len(events), len(messages), demoDeliveries)
	if err := s.publish(ctx, shuffled(events, demoDeliveries), shuffled(messages, demoDeliveries)); err != nil {
		return err
	}
	alerts, err := s.alerts(ctx)
	if err != nil {
		return err
	}
	show(stdout, alerts)
	if err := eachOnce(alerts); err != nil {
		return err
	}
	dead, err := filepath.Glob(filepath.Join(deadLetterFolder, "*"))
	if err != nil {
		return err
	}
	if len(dead) > 0 || s.hub.Lost() > 0 {
		return fmt.Errorf("lost: %d log messages, and the events in %q", s.hub.Lost(), dead)
	}
	fmt.Fprintf(stdout, "\nEach of the %d alerts is there once.\n", len(alerts))
	return nil
}

// eachOnce returns an error unless alerts are one of each detector, of one
// occurrence each.
func eachOnce(alerts []alert.Alert) error {
	found := map[string]int{}
	for _, a := range alerts {
		found[a.Type]++
		if a.Occurrences != 1 {
			return fmt.Errorf("%s has %d occurrences, want 1", a.Type, a.Occurrences)
		}
	}
	for _, d := range detector.All {
		if found[d.AlertType] != 1 {
			return fmt.Errorf("%d alerts of type %s, want 1", found[d.AlertType], d.AlertType)
		}
	}
	if len(alerts) != len(detector.All) {
		return fmt.Errorf("%d alerts, want %d", len(alerts), len(detector.All))
	}
	return nil
}

// tryOut is make run: it shows what becomes of the sample events, and then
// listens for more until ctx is done.
func tryOut(ctx context.Context, stdout io.Writer, log *slog.Logger) error {
	events, messages, err := allSamples()
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "Starting Azurite, the handler, and stand-ins for the Functions host, Event Grid and an event hub.")
	s, err := startSite(ctx, siteOptions{address: localAddress, output: stdout, log: log})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprintf(stdout, "\nPublishing %d sample events and %d messages of the Connections log. The handler says:\n\n", len(events), len(messages))
	if err := s.publish(ctx, events, messages); err != nil {
		return err
	}
	alerts, err := s.alerts(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nThe table alerts now has:\n\n")
	show(stdout, alerts)
	fmt.Fprintf(stdout, `
Send an event of your own, in Event Grid or CloudEvents schema, or a message of the Connections log:

  curl %[1]s/api/events --data-binary @%[2]s/certificate-added.json
  curl %[1]s/eventhub/messages --data-binary @%[2]s/logs/night-shift.json

Look at the table (Azure Storage Explorer, or az storage entity query) with this connection string:

  %[3]s

Ctrl-C ends it.
`, s.url, samplesFolder, s.azurite.ConnectionString())
	select {
	case <-ctx.Done():
		return nil
	case <-s.functions.Done():
		return fmt.Errorf("the handler does not run any more: %w", s.functions.Err())
	}
}

// show prints alerts, as a list and with the whole of the first.
func show(w io.Writer, alerts []alert.Alert) {
	list := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(list, "WHEN\tSEVERITY\tALERT TYPE\tHUB\tENTITY\tACTOR\tOCCURRENCES")
	for _, a := range alerts {
		fmt.Fprintf(list, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", a.End.Format("2006-01-02T15:04:05"), a.Severity, a.Type, a.Hub.Name, a.Entity.Name, a.Actor, a.Occurrences)
	}
	_ = list.Flush() // as the lines above, it fails if nobody reads them
	if len(alerts) == 0 {
		return
	}
	a := alerts[len(alerts)-1]
	fmt.Fprintf(w, "\n%s (%s)\n  %s\n  What to do:\n    %s\n", a.DisplayName, a.Severity, a.Message, strings.ReplaceAll(a.Remediation, "\n", "\n    "))
}
