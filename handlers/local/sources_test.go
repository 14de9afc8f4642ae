package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// handlerVariable makes the test binary the custom handler, with the detectors of further
// besides those of hubwatch.
const handlerVariable = "HUBWATCH_TEST_HANDLER"

// further are detectors of each source that those of hubwatch do not have: log records as
// they are, and events of the hub itself.
var further = []detector.Detector{
	{
		Name: "RouteUnhealthy", AlertType: "Contoso_RouteUnhealthy", Severity: alert.Low, Title: "a route",
		On: detector.Trigger{EventTypes: []string{event.LogType("Routes")}},
		Detect: func(e event.Event) (findings []alert.Finding, err error) {
			records, err := event.LogRecords(e)
			for _, r := range records {
				findings = append(findings, found(r.Hub, alert.Entity{Type: alert.IoTHub, Name: r.Hub.Name}, r.Operation))
			}
			return findings, err
		},
	},
	{
		Name: "DeviceRegistered", AlertType: "Contoso_DeviceRegistered", Severity: alert.Low, Title: "a device",
		On: detector.Trigger{EventTypes: []string{event.DeviceCreated}},
		Detect: func(e event.Event) ([]alert.Finding, error) {
			d, err := e.Device()
			if err != nil {
				return nil, err
			}
			return []alert.Finding{found(d.Hub, alert.Entity{Type: alert.Device, Name: d.DeviceID}, "created")}, nil
		},
	},
}

func found(hub event.ResourceID, entity alert.Entity, message string) alert.Finding {
	return alert.Finding{
		Hub: alert.Hub{Name: hub.Name, ResourceID: hub.Resource(), SubscriptionID: hub.SubscriptionID}, Entity: entity,
		Message: message, Confidence: alert.Stated,
	}
}

// serveFurther is the custom handler with the detectors of further. It returns the exit code.
func serveFurther() int {
	return host.Run(context.Background(), nil, os.Getenv, os.Stdout, os.Stderr, "%s", func(ctx context.Context, port string, log *slog.Logger) error {
		a, err := app.Open(os.Getenv)
		if err != nil {
			return err
		}
		a.Detectors = append(a.Detectors, further...)
		j := a.Judge(nil)
		handler, err := host.NewHandler(app.Functions(a.Detectors, j), j.Broken, log, host.Limits{})
		if err != nil {
			return err
		}
		return host.Serve(ctx, port, handler)
	})
}

// atFurtherRoot runs the rest of a test in a folder that is like the root of the
// repository, with the functions and event subscriptions of further.
func atFurtherRoot(t *testing.T) {
	atRoot(t)
	repository, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	write := func(path string, content []byte) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	settings, err := os.ReadFile(appFolder + "/host.json")
	if err != nil {
		t.Fatal(err)
	}
	write(appFolder+"/host.json", settings)
	var entries []any
	subscriptions, err := os.ReadFile(subscriptionsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(subscriptions, &entries); err != nil {
		t.Fatal(err)
	}
	for _, f := range app.Functions(append(further[:len(further):len(further)], detector.All...), judge.Judge{}) {
		content, err := f.JSON()
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join(appFolder, f.Name, "function.json"), content)
	}
	for _, d := range further {
		source, err := d.On.Source()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, map[string]any{"name": d.Name, "function": d.Name, "source": source, "filter": d.On.Filter()})
	}
	content, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	write(subscriptionsFile, content)
	for from, to := range map[string]string{program: appFolder + "/handler", filepath.Join(repository, "build/azurite"): "build/azurite"} {
		if err := os.Symlink(from, filepath.Join(root, to)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	t.Setenv(handlerVariable, "yes")
}

// TestFurtherSources posts log messages and events of a hub to the doors of make run, some
// of them twice, and looks for the alerts of the functions that they are for.
func TestFurtherSources(t *testing.T) {
	atFurtherRoot(t)
	var out bytes.Buffer
	s, err := startSite(t.Context(), siteOptions{log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	defer s.Close()
	const hub = "/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB"
	record := func(category string, second int) string {
		return fmt.Sprintf(`{"time":"2026-02-01T10:00:%02dZ","resourceId":"%s","operationName":"endpointUnhealthy","category":"%s","level":"Error",`+
			`"properties":"{\"endpointName\":\"archive\"}"}`, second, hub, category)
	}
	message := func(records ...string) []byte { return []byte(`{"records":[` + strings.Join(records, ",") + `]}`) }
	registered := func(id, device string) []byte {
		return []byte(fmt.Sprintf(`[{"id":"%s","topic":"%s","subject":"devices/%s","eventType":"Microsoft.Devices.DeviceCreated",`+
			`"eventTime":"2026-02-01T10:00:00Z","data":{"hubName":"CONTOSO-HUB","deviceId":"%s","twin":{"deviceId":"%s"}},"dataVersion":"1","metadataVersion":"1"}]`, id, hub, device, device, device))
	}
	deleted := bytes.Replace(registered("3", "pump-03"), []byte("DeviceCreated"), []byte("DeviceDeleted"), 1)
	events := [][]byte{registered("1", "pump-01"), registered("2", "pump-02"), registered("1", "pump-01"), deleted}
	messages := [][]byte{message(record("Routes", 1), record("JobsOperations", 1)), message(record("Routes", 1)), message(record("Connections", 1))}
	if err := s.publish(t.Context(), events, messages); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	rows, err := s.alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, row := range rows {
		got[row.Detector+" "+row.Entity.Name] += row.Occurrences
	}
	// The event of the record is the same in both messages, so it counts once.
	want := map[string]int{"RouteUnhealthy CONTOSO-HUB": 1, "DeviceRegistered pump-01": 1, "DeviceRegistered pump-02": 1}
	if !maps.Equal(got, want) || s.hub.Lost() != 0 {
		t.Errorf("alerts %v, want %v; %d messages lost\n%s", got, want, s.hub.Lost(), out.String())
	}
}
