// Package app puts hubwatch together: the settings as values, the stores that the
// settings name, and the list of functions. The handler serves the functions,
// generate writes each function.json from the list, and the doctor compares a
// deployment with it.
package app

import (
	"errors"
	"fmt"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/table"
)

// The tables implement the stores.
var (
	_ alert.Recorder     = (*table.Alerts)(nil)
	_ alert.Reader       = (*table.Alerts)(nil)
	_ alert.Editor       = (*table.Alerts)(nil)
	_ alert.Listener     = (*table.Alerts)(nil)
	_ alert.Quarantine   = (*table.Quarantine)(nil)
	_ alert.Suppressions = (*table.Suppressions)(nil)
)

// App is hubwatch as its settings want it.
type App struct {
	Detectors  []detector.Detector
	Alerts     *table.Alerts
	Failures   *table.Alerts // the same table, for a flood of failed connections
	Quarantine *table.Quarantine
	// Suppressions are the rules about which alerts nobody is told of.
	Suppressions *table.Suppressions
}

// Open returns the app of the settings. It does not connect: a storage account that
// cannot be reached shows at the first request. The error says all that is missing
// or wrong, each in a line that names the setting.
func Open(getenv func(string) string) (*App, error) {
	c, err := Read(getenv)
	if err := errors.Join(err, c.Missing()); err != nil {
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

// Open returns the app of settings that Read has returned. The caller has asked
// Missing.
func (c Config) Open() (*App, error) {
	account, err := table.Open(c.Storage)
	if err != nil {
		return nil, err
	}
	alerts := account.Alerts(c.AlertsTable)
	return &App{
		Detectors: c.detectors(), Alerts: alerts, Failures: alerts.Failures(),
		Quarantine: account.Quarantine(c.QuarantineTable), Suppressions: account.Suppressions(c.SuppressionsTable),
	}, nil
}

// Judge returns what judges events with the app's stores, and with rules about the app's
// suppressions: judge.NewRules for the handler, judge.NewAllRules to redrive, nil for
// none.
func (a *App) Judge(rules *judge.Rules) judge.Judge {
	return judge.Judge{Alerts: a.Alerts, Failures: a.Failures, Quarantine: a.Quarantine, Rules: rules, Listener: a.Alerts}
}

// Lanes of the functions. A device that fails to connect can make as many events as
// it likes, which must not keep a change of a hub waiting.
const (
	laneChanges  = "changes"
	laneFailures = "failures"
	laneRelay    = "relay"
)

// Functions returns every function of hubwatch: one for each detector, and the
// relay. Their work is done by j.
func Functions(detectors []detector.Detector, j judge.Judge) []host.Function {
	functions := []host.Function{relay(j)}
	for _, d := range detectors {
		lane := laneChanges
		if d.On.Unprivileged() {
			lane = laneFailures
		}
		functions = append(functions, host.Function{Name: d.Name, Trigger: host.EventGrid{}, Lane: lane, Run: j.Detect(d)})
	}
	return functions
}

// relay is the function that relays resource logs. A batch that fails is tried
// again for ever. Without retries the host would count the batch as done
// (https://learn.microsoft.com/azure/azure-functions/functions-reliable-event-processing).
func relay(j judge.Judge) host.Function {
	f := host.Function{
		Name:    judge.RelayName,
		Lane:    laneRelay,
		Trigger: host.EventHub{Connection: settingHubLogs, Name: "%" + settingHubLogsEventHub + "%"},
		Retry:   &host.Retry{MaxCount: -1, MinimumInterval: "00:00:05", MaximumInterval: "00:05:00"},
		Run:     j.Relay,
	}
	for _, name := range judge.RelayOutputs {
		f.Outputs = append(f.Outputs, host.Output{Name: name, Connection: settingConnectionEvents})
	}
	return f
}
