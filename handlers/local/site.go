package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/local/eventgrid"
	"hubwatch/handlers/local/functions"
	"hubwatch/handlers/table"
)

// Files and folders, relative to the root of the repository. The local commands
// run there, and make puts the files there.
const (
	appFolder           = "build/app"
	deadLetterFolder    = "build/deadletter"
	logFile             = "build/local.log"        // gets what the handler and Azurite print
	settingsFile        = "build/local.env"        // tells hubwatch --local where the tables are; there while make run is running
	hubwatchCommand     = "build/hubwatch"         // the operator's command
	samplesFolder       = "handlers/local/samples" // events, one in a file
	logSamplesFolder    = samplesFolder + "/logs"  // messages of resource logs
	subscriptionsFile   = "infra/subscriptions.json"
	storageSetting      = "AlertsStorage"                      // where the tables are
	topicSetting        = "ConnectionEvents__topicEndpointUri" // where verdicts are published
	eventHubSetting     = "CanaryEventHubUri"                  // where canaries of the event hub are sent
	alertsSetting       = "AlertEvents__topicEndpointUri"      // where it is published that an alert was raised
	deliveryTimeout     = 2 * time.Minute
	localRetryTimeScale = 0.01 // of Event Grid's first wait of 10 s
)

// site is all of hubwatch on this machine: Azurite, the handler under a stand-in
// for the Functions host, and stand-ins for Event Grid and an event hub.
type site struct {
	azurite   *azurite.Service
	functions *functions.Host
	topic     *eventgrid.Topic // of changes, and of verdicts
	told      *eventgrid.Topic // of alerts
	// subscriptions are those to topic.
	subscriptions []eventgrid.Subscription
	hub           *functions.EventHub
	server        *http.Server
	console       *http.Server // nil unless startConsole was called
	url           string
	stores        *app.App
	output        *os.File // gets what the handler and Azurite print
	untold        *untold  // nil unless the options have it
}

// siteOptions say how a site differs from the usual.
type siteOptions struct {
	port   int           // of 127.0.0.1; 0 is any free one
	minute time.Duration // how long a minute of the timers takes
	// relayed puts a handler between the verdicts and the topic. It may be nil.
	relayed func(topic http.Handler) http.Handler
	// told puts a handler between the handler and the topic of alerts. It may be nil.
	told func(topic http.Handler) http.Handler
	// untold says why somebody is not told of alerts, for whom nobody waits then. If it is nil,
	// that is in the log.
	untold *untold
	// inbox gets a webhook about each alert. It may be nil.
	inbox *inbox
	// messages puts a handler before the event hub, and canaries one for the messages that the
	// app sends there itself. They may be nil.
	messages, canaries func(hub http.Handler) http.Handler
	// subscribed says which event subscriptions there are; nil for all.
	subscribed func(eventgrid.Subscription) bool
	env        []string // further settings, each as name=value
	// settled is called with the result of each event. It may be nil.
	settled func(eventgrid.Report)
	log     *slog.Logger
}

// startSite starts everything, with the app in build/app. After an error nothing
// is left running.
func startSite(ctx context.Context, o siteOptions) (*site, error) {
	s := &site{}
	if err := s.start(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *site) start(ctx context.Context, o siteOptions) error {
	address := fmt.Sprintf("127.0.0.1:%d", o.port)
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use: set %s to another port, or to 0 for any free one", address, portSetting)
	}
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go s.server.Serve(listener)
	s.url = "http://" + listener.Addr().String()

	if _, err := os.Stat(filepath.Join(appFolder, "host.json")); err != nil {
		return fmt.Errorf("there is no app, which make app builds: %w", err)
	}
	script, err := azurite.Find(".")
	if err != nil {
		return err
	}
	if s.output, err = os.Create(logFile); err != nil {
		return err
	}
	if s.azurite, err = azurite.Start(ctx, azurite.Options{Main: script, Output: s.output}); errors.Is(err, exec.ErrNotFound) {
		return err
	} else if err != nil {
		return fmt.Errorf("%w: see %s", err, logFile)
	}
	settings := map[string]string{
		storageSetting: s.azurite.ConnectionString(), topicSetting: s.url + "/relayed/api/events", alertsSetting: s.url + "/alerts/api/events",
		eventHubSetting: s.url + "/canaries/eventhub/messages",
	}
	config, err := app.Read(func(name string) string { return settings[name] })
	if err != nil {
		return err
	}
	if s.stores, err = config.Open(); err != nil {
		return err
	}
	account, err := table.Open(config.Storage)
	if err != nil {
		return err
	}
	// These are the tables that infra/main.bicep makes. To read one that is not there is an error.
	if err := account.Make(ctx, config.AlertsTable, config.QuarantineTable, config.SuppressionsTable); err != nil {
		return err
	}
	environment := append([]string{"LogClock=false"}, o.env...)
	if o.inbox != nil {
		mux.Handle("/inbox", o.inbox)
		environment = append(environment, "Notify__demo="+s.url+"/inbox#secret="+o.inbox.secret(), "DigestAfter=0")
	}
	for name, value := range settings {
		environment = append(environment, name+"="+value)
	}
	output, hostLog, toldLog := io.Writer(s.output), o.log, o.log
	if s.untold = o.untold; s.untold != nil {
		output, hostLog, toldLog = s.untold.from(s.output), s.untold.quiet(o.log), nil
	}
	if s.functions, err = functions.Start(context.WithoutCancel(ctx), functions.Options{
		ScriptRoot: appFolder, Strict: true, Env: environment,
		TimerScale: float64(o.minute) / float64(time.Minute), Output: output, Logger: hostLog,
	}); errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("there is no handler in %s, which make app builds: %w", appFolder, err)
	} else if err != nil {
		return err
	}
	subscriptions, err := eventgrid.LoadSubscriptions(subscriptionsFile)
	if err != nil {
		return err
	}
	if o.subscribed != nil {
		subscriptions = slices.DeleteFunc(subscriptions, func(sub eventgrid.Subscription) bool { return !o.subscribed(sub) })
	}
	toAlerts := func(s eventgrid.Subscription) bool { return s.Source == string(detector.Alerts) }
	s.subscriptions = slices.DeleteFunc(slices.Clone(subscriptions), toAlerts)
	if s.topic, err = eventgrid.NewTopic(eventgrid.TopicOptions{
		Subscriptions: s.subscriptions, Functions: s.url, Schema: eventgrid.CloudEventSchemaV1_0,
		DeadLetters: deadLetterFolder, TimeScale: localRetryTimeScale, Settled: o.settled, Logger: o.log,
	}); err != nil {
		return err
	}
	if s.told, err = eventgrid.NewTopic(eventgrid.TopicOptions{
		Source: string(detector.Alerts), Subscriptions: subscriptions, Functions: s.url, Schema: eventgrid.CloudEventSchemaV1_0,
		DeadLetters: deadLetterFolder, TimeScale: localRetryTimeScale, Logger: toldLog,
	}); err != nil {
		return err
	}
	if s.hub, err = functions.NewEventHub(functions.EventHubOptions{
		Host: s.functions, Function: judge.RelayName, TimeScale: localRetryTimeScale, Logger: o.log,
	}); err != nil {
		return err
	}
	mux.Handle("/api/events", s.topic)
	mux.Handle("/relayed/", http.StripPrefix("/relayed", between(o.relayed, s.topic)))
	mux.Handle("/alerts/", http.StripPrefix("/alerts", between(o.told, s.told)))
	mux.Handle("/eventhub/messages", between(o.messages, s.hub))
	mux.Handle("/canaries/", http.StripPrefix("/canaries", between(o.canaries, s.hub)))
	mux.Handle("/", s.functions)
	if err := s.functions.Ready(ctx); err != nil {
		return fmt.Errorf("the handler does not start, see %s: %w", logFile, err)
	}
	return nil
}

// between puts a handler before h. If before is nil, it returns h.
func between(before func(http.Handler) http.Handler, h http.Handler) http.Handler {
	if before == nil {
		return h
	}
	return before(h)
}

// Close stops everything that was started.
func (s *site) Close() {
	if s.hub != nil {
		s.hub.Close()
	}
	if s.topic != nil {
		s.topic.Close()
	}
	if s.told != nil {
		s.told.Close()
	}
	if s.console != nil {
		_ = s.console.Close()
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
	if s.output != nil {
		_ = s.output.Close() // a log that was written as it came
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
	if err := s.functions.Fire(ctx, judge.VerdictsName); err != nil {
		return fmt.Errorf("verdicts are not derived: %w", err)
	}
	if err := s.topic.Wait(ctx); err != nil {
		return fmt.Errorf("events are not delivered: %w", err)
	}
	wait := s.told.Wait
	if s.untold != nil {
		wait = func(ctx context.Context) error { return s.untold.wait(ctx, s.told.Wait) }
	}
	if err := wait(ctx); err != nil {
		return fmt.Errorf("events about alerts are not delivered: %w", err)
	}
	return nil
}

// waiting reports whether something is kept of which the verdict is not said yet.
func (s *site) waiting(ctx context.Context) (bool, error) {
	for _, err := range s.stores.State.Open(ctx) {
		return err == nil, err
	}
	return false, nil
}

// renewed returns how many tokens were renewed on the hub and the day of the samples.
func (s *site) renewed(ctx context.Context) (n int, err error) {
	day := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	days, err := s.stores.State.Days(ctx, "contoso-hub", day, day)
	for _, figures := range days {
		n += figures.Renewed
	}
	return n, err
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
	for a, err := range s.stores.Alerts.List(ctx, alert.Query{}) {
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// samples returns the contents of the files in a folder of samples.
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

// allSamples returns the sample events and the sample log messages, and of each custom alert
// that is enabled what makes it fire.
func allSamples() (events, messages [][]byte, err error) {
	if events, err = samples(samplesFolder); err != nil {
		return nil, nil, err
	}
	if messages, err = samples(logSamplesFolder); err != nil {
		return nil, nil, err
	}
	messages = append(messages, storm(messages), surge(messages))
	alerts, err := custom.Load(os.DirFS(".")) // What is packed into programs has no cases.
	if err != nil {
		return nil, nil, err
	}
	for _, a := range alerts {
		if !a.Enabled {
			continue
		}
		of, records := a.Sample()
		if a.Detector().Count != nil {
			of, records = today(of), today(records)
		}
		for _, e := range of {
			events = append(events, e)
		}
		if len(records) > 0 {
			message, err := json.Marshal(map[string][]jsontext.Value{"records": records})
			if err != nil {
				return nil, nil, fmt.Errorf("custom alert %s: %w", a.Name, err)
			}
			messages = append(messages, message)
		}
	}
	return events, messages, nil
}

// today returns what happened on any day as if it happened today. Events of long ago are not
// counted.
func today(list []jsontext.Value) (moved []jsontext.Value) {
	day := []byte(time.Now().UTC().Format(time.DateOnly) + "T")
	for _, raw := range list {
		moved = append(moved, dayOfTime.ReplaceAll(raw, day))
	}
	return moved
}

var dayOfTime = regexp.MustCompile(`\b\d{4}-\d{2}-\d{2}T`)

// stormDevices and surgeDevices are as many as make a storm of refusals, and a surge of
// connections (app.Settings).
const stormDevices, surgeDevices = 100, 1000

// storm returns a message in which very many devices are refused at once. surge returns one
// in which very many connect at once.
func storm(messages [][]byte) []byte {
	return many(messages, "pump-03", "2026-02-01T09:30:00Z", stormDevices, "meter", "2026-02-01T10:30:00Z")
}

func surge(messages [][]byte) []byte {
	return many(messages, "pump-01", "2026-02-01T09:00:00Z", surgeDevices, "sensor", "2026-02-01T11:30:00Z")
}

// many returns a message with n records that are as the one of a device and a time in
// messages, and have names and a time of their own.
func many(messages [][]byte, device, at string, n int, name, later string) []byte {
	identity := func(device string) string { return `\"deviceId\":\"` + device + `\"` }
	var records [][]byte
	for _, message := range messages {
		for record, err := range connection.Records(message) {
			if err != nil || !bytes.Contains(record, []byte(identity(device))) || !bytes.Contains(record, []byte(at)) {
				continue
			}
			for i := range n {
				records = append(records, []byte(strings.NewReplacer(identity(device), identity(fmt.Sprintf("%s-%04d", name, i)), at, later).Replace(string(record))))
			}
		}
	}
	return bytes.Join([][]byte{[]byte(`{"records":[`), bytes.Join(records, []byte(",")), []byte("]}")}, nil)
}
