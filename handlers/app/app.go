// Package app puts hubwatch together: the settings as values, the stores that the
// settings name, and the list of functions. The handler serves the functions,
// generate writes each function.json from the list, and the doctor compares a
// deployment with it.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/notify"
	"hubwatch/handlers/table"
	"hubwatch/handlers/topic"
	"hubwatch/handlers/verdict"
)

// The tables implement the stores.
var (
	_ alert.Recorder     = (*table.Alerts)(nil)
	_ alert.Reader       = (*table.Alerts)(nil)
	_ alert.Editor       = (*table.Alerts)(nil)
	_ alert.Listener     = (*table.Alerts)(nil)
	_ alert.Quarantine   = (*table.Quarantine)(nil)
	_ alert.Suppressions = (*table.Suppressions)(nil)
	_ judge.Store        = (*table.State)(nil)
	_ judge.Counter      = (*table.Counts)(nil)
	_ judge.Windows      = (*table.Counts)(nil)
	_ coverage.Store     = (*table.Alerts)(nil)
	_ alert.Told         = (*table.Told)(nil)
	_ judge.Notifier     = (*notify.Teller)(nil)
	_ judge.Hearer       = (*notify.Teller)(nil)
)

// App is hubwatch as its settings want it.
type App struct {
	Detectors  []detector.Detector
	Alerts     *table.Alerts
	Failures   *table.Alerts // the same table, for a flood of failed connections
	Quarantine *table.Quarantine
	// Suppressions are the rules about which alerts nobody is told of.
	Suppressions *table.Suppressions
	State        *table.State // what verdicts are derived from
	Notify       *notify.Teller
	Sentinel     *notify.Teller // of Microsoft Sentinel alone; without a channel if there is none
	state        *table.Account
	stateTables  string
	verdicts     verdict.Settings
	topic        judge.Topic
	teller       alert.Teller // nil if nobody is told
	logClock     bool
	canaries     *judge.Canaries
}

// Open returns the app of the settings. It does not connect: a storage account that
// cannot be reached shows at the first request. The error says all that is missing
// or wrong, each in a line that names the setting.
func Open(getenv func(string) string) (*App, error) {
	c, err := Read(getenv)
	if err := errors.Join(err, c.Missing(), c.Stateless()); err != nil {
		return nil, err
	}
	return c.Open()
}

// Missing returns an error if the settings name no storage account.
func (c Config) Missing() error {
	if c.Storage.ConnectionString == "" && c.Storage.ServiceURI == "" {
		return fmt.Errorf("settings %s and %s: want one, have none", settingStorage, settingTableServiceURI)
	}
	return nil
}

// Stateless returns an error if the handler would have no account for its state. It must
// not be that of the alerts, in which the handler may delete nothing.
func (c Config) Stateless() error {
	if c.State == (table.Settings{}) && c.Storage.ServiceURI != "" {
		return fmt.Errorf("setting %s: is missing, and %s is set: deploy infra/main.bicep, which makes both accounts", settingStateURI, settingTableServiceURI)
	}
	return nil
}

// Open returns the app of settings that Read has returned. The caller has asked
// Missing.
func (c Config) Open() (*App, error) {
	account, err := table.Open(c.Storage)
	if err != nil {
		return nil, err
	}
	state := account
	if c.State != c.Storage && c.State != (table.Settings{}) {
		if state, err = table.Open(c.State); err != nil {
			return nil, err
		}
	}
	var events judge.Topic = noTopic{}
	if c.Topic != "" {
		if events, err = c.topic(settingTopicEndpoint, c.Topic); err != nil {
			return nil, err
		}
	}
	var teller alert.Teller
	var told judge.Topic
	if c.AlertEvents != "" {
		if told, err = c.topic(settingAlertEvents, c.AlertEvents); err != nil {
			return nil, err
		}
		teller = judge.Telling{Topic: told, Source: c.Source()}
	}
	alerts, quarantine := account.Alerts(c.AlertsTable), account.Quarantine(c.QuarantineTable)
	alerts.Later = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	sentinel := &notify.Teller{Prefix: judge.SentinelName + "/", Told: state.Told(c.StateTables), Quarantine: quarantine, Patience: patience, Now: time.Now}
	if c.Sentinel != (Sentinel{}) {
		if sentinel.Channels, err = c.sentinel(); err != nil {
			return nil, err
		}
	}
	canaries, err := c.canaries(alerts, events, told)
	if err != nil {
		return nil, err
	}
	return &App{
		Detectors: c.detectors(), Alerts: alerts, Failures: alerts.Failures(), Notify: c.Notify.teller(state.Told(c.StateTables), quarantine), Sentinel: sentinel,
		Quarantine: quarantine, Suppressions: account.Suppressions(c.SuppressionsTable),
		State: state.State(c.StateTables), state: state, stateTables: c.StateTables, verdicts: c.Verdict, topic: events, teller: teller, logClock: c.LogClock, canaries: canaries,
	}, nil
}

// teller returns what tells the channels of alerts.
func (n Notify) teller(told alert.Told, quarantine alert.Quarantine) *notify.Teller {
	return &notify.Teller{Channels: n.Channels, Faults: n.Faults, Told: told, Quarantine: quarantine, Patience: patience, DigestAfter: n.DigestAfter, Now: time.Now}
}

// patience is that of whoever tells of alerts: a quarter of an invocation.
const patience = 5 * time.Second

// Source returns the source of the events about alerts, see export.CloudEventSource.
func (c Config) Source() string { return export.CloudEventSource(c.Storage.Account(), c.AlertsTable) }

// topic returns the topic that a setting names. It does not connect.
func (c Config) topic(setting, endpoint string) (judge.Topic, error) {
	credential, err := c.identified().Credential()
	if err == nil {
		var events *topic.Topic
		if events, err = topic.Open(endpoint, credential); err == nil {
			return events, nil
		}
	}
	return nil, fmt.Errorf("setting %s: %w", setting, err)
}

// Channels returns all channels that the settings name, Microsoft Sentinel too. It does not connect.
func (c Config) Channels() ([]notify.Configured, error) {
	if c.Sentinel == (Sentinel{}) {
		return c.Notify.Channels, nil
	}
	sentinel, err := c.sentinel()
	return slices.Concat(c.Notify.Channels, sentinel), err
}

// sentinel returns Microsoft Sentinel as the only channel. It wants every alert, and no
// digests. sentinel does not connect.
func (c Config) sentinel() ([]notify.Configured, error) {
	credential, err := c.identified().Credential()
	if err == nil {
		var channel *notify.Sentinel
		if channel, err = notify.OpenSentinel(c.Sentinel.Endpoint, c.Sentinel.Rule, credential); err == nil {
			return []notify.Configured{{Channel: channel, Setting: settingSentinelEndpoint, Least: alert.Informational}}, nil
		}
	}
	return nil, fmt.Errorf("setting %s: %w", settingSentinelEndpoint, err)
}

// identified returns the settings of the identity of the app alone.
func (c Config) identified() table.Settings {
	return table.Settings{ManagedIdentity: c.Storage.ManagedIdentity, ClientID: c.Storage.ClientID, ResourceID: c.Storage.ResourceID}
}

// canaries returns what sends canaries through the paths that the settings name: to the topic
// of verdicts, to the topic of alerts, to the event hub, and by a tag. It does not connect.
func (c Config) canaries(store coverage.Store, events, told judge.Topic) (*judge.Canaries, error) {
	own, _ := detector.ParseOwn(c.Own) // checkOwn has said what is wrong
	source := cmp.Or(own.App(), "/hubwatch")
	canaries := &judge.Canaries{
		Store: store, Ways: map[coverage.Path]func(context.Context, coverage.Canary) error{}, Branches: Branches(c.detectors()),
		Patience: c.CanaryPatience, Hubs: c.Hubs, Source: source, Now: time.Now, Token: rand.Text,
	}
	publish := func(to judge.Topic, as func(coverage.Canary) [][]byte) func(context.Context, coverage.Canary) error {
		return func(ctx context.Context, canary coverage.Canary) error {
			events := as(canary)
			refused, err := to.Publish(ctx, events)
			for i := range events {
				err = errors.Join(err, refused[i])
			}
			return err
		}
	}
	if c.Topic != "" {
		canaries.Ways[coverage.Topic] = publish(events, disguises(c.detectors(), source))
	}
	if c.AlertEvents != "" {
		canaries.Ways[coverage.Alerts] = publish(told, func(canary coverage.Canary) [][]byte { return [][]byte{canary.Event(source)} })
	}
	if c.CanaryEventHub == "" && c.CanaryTag == "" {
		return canaries, nil
	}
	credential, err := c.identified().Credential()
	if err != nil {
		return nil, fmt.Errorf("the identity for canaries: %w", err)
	}
	if c.CanaryEventHub != "" {
		hub, err := topic.OpenEventHub(c.CanaryEventHub, credential)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", settingCanaryEventHub, err)
		}
		canaries.Ways[coverage.EventHub] = func(ctx context.Context, canary coverage.Canary) error { return hub.Send(ctx, canary.Message()) }
	}
	if c.CanaryTag != "" {
		tag, err := topic.OpenTag(c.CanaryTag, credential)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", settingCanaryTag, err)
		}
		canaries.Ways[coverage.Changes] = func(ctx context.Context, canary coverage.Canary) error {
			return tag.Write(ctx, canary.Sent.Format(time.RFC3339))
		}
	}
	return canaries, nil
}

// noTopic is the topic of an app that has none. What is to be published waits until there is one.
type noTopic struct{}

func (noTopic) Publish(context.Context, [][]byte) (map[int]error, error) {
	return nil, fmt.Errorf("setting %s: is missing", settingTopicEndpoint)
}

// Judge returns what judges events with the app's stores, and with rules about the app's
// suppressions: judge.NewRules for the handler, judge.NewAllRules to redrive, nil for
// none.
func (a *App) Judge(rules *judge.Rules) judge.Judge {
	logs := judge.NewLogs(a.verdicts, a.State, a.topic)
	logs.Wanted = judge.Wanted(a.Detectors)
	if !a.logClock {
		logs.Noter = nil
	}
	counts := a.state.Counts(a.stateTables, a.Failures, rules.Suppress, a.teller)
	return judge.Judge{
		Alerts: a.Alerts, Failures: a.Failures, Quarantine: a.Quarantine, Rules: rules, Listener: a.Alerts,
		Logs: logs, Counter: counts, Windows: counts, Teller: a.teller, Notifier: a.Notify, SIEM: a.Sentinel, Canaries: a.canaries,
	}
}

// Lanes of the functions. A device that fails to connect can make as many events as
// it likes, which must not keep a change of a hub waiting. A custom alert may be costly,
// and wait for its count. It has only its share of its lane, since others are in it.
const (
	laneChanges  = "changes"
	laneFailures = "failures"
	laneCustom   = "custom"
	laneRelay    = "relay"
	laneVerdicts = "verdicts"
	laneWindows  = "windows"
	laneNotify   = "notify"
)

// Detectors returns every detector of this build: the built-in ones, and the custom alerts
// that are enabled. Each function of a detector, each event subscription and each entry of
// the catalogue is of one of them.
func Detectors() []detector.Detector { return With(custom.Packed()) }

// With returns the built-in detectors, and those of the custom alerts that are enabled.
func With(alerts []custom.Alert) []detector.Detector {
	all := slices.Clone(detector.All)
	for _, a := range alerts {
		if a.Enabled {
			all = append(all, a.Detector())
		}
	}
	return all
}

// Functions returns every function of hubwatch: one for each detector, those of the
// Connections log, those that tell of alerts, one that sends canaries, one that gets those that are tags, and one that judges where too few events came, if a detector asks. Their work is done by j.
func Functions(detectors []detector.Detector, j judge.Judge) []host.Function {
	functions := []host.Function{
		relay(j),
		{Name: judge.VerdictsName, Trigger: host.Timer{Schedule: "0 * * * * *"}, Lane: laneVerdicts, Run: j.Verdicts},
		{Name: judge.HousekeepingName, Trigger: host.Timer{Schedule: "0 17 3 * * *"}, Lane: laneVerdicts, Run: j.Housekeeping},
		// It sends at the first of these minutes, and looks at the second what became of that. At
		// the full hour many timers of the world run.
		{Name: judge.CanaryName, Trigger: host.Timer{Schedule: "0 7,22 * * * *"}, Lane: laneVerdicts, Run: j.Canary},
		{Name: judge.NotifyName, Trigger: host.EventGrid{}, Lane: laneNotify, Run: j.Notify},
		{Name: judge.CanaryTagName, Trigger: host.EventGrid{}, Lane: laneChanges, Run: j.Tag},
		{Name: judge.SentinelName, Trigger: host.EventGrid{}, Lane: laneNotify, Run: j.Sentinel},
	}
	if watching := judge.Watches(detectors); len(watching) > 0 {
		functions = append(functions, host.Function{Name: judge.WindowsName, Trigger: host.Timer{Schedule: "0 * * * * *"}, Lane: laneWindows, Run: j.Watch(watching)})
	}
	for _, d := range detectors {
		lane, fair := laneChanges, false
		switch {
		case d.Custom && !d.On.Own: // what silences hubwatch does not wait for custom alerts
			lane, fair = laneCustom, true
		case d.On.Unprivileged():
			lane = laneFailures
		}
		functions = append(functions, host.Function{Name: d.Name, Trigger: host.EventGrid{}, Lane: lane, Fair: fair, Run: j.Detect(d)})
	}
	return functions
}

// mostBatch is the most bytes of a request to the relay. An Event Hubs message has 1 MB
// at most (https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas), and host.json
// gives the relay eight at a time. The host writes a quotation mark of a message with up to
// three characters more, and some of a message twice. A batch that is longer would be tried
// again for ever.
const mostBatch = 64 << 20

// relay is the function that keeps the records of resource logs. A batch that fails is
// tried again for ever. Without retries the host would count the batch as done
// (https://learn.microsoft.com/azure/azure-functions/functions-reliable-event-processing).
func relay(j judge.Judge) host.Function {
	return host.Function{
		Name:    judge.RelayName,
		Lane:    laneRelay,
		Body:    mostBatch,
		Trigger: host.EventHub{Connection: settingHubLogs, Name: "%" + settingHubLogsEventHub + "%"},
		Retry:   &host.Retry{MaxCount: -1, MinimumInterval: "00:00:05", MaximumInterval: "00:05:00"},
		Run:     j.Relay,
	}
}
