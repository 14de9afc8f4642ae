package judge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/host"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/scan"
)

// recorder is a store of alerts that says the same of every occurrence.
type recorder struct {
	recorded alert.Recorded
	err      error
}

func (r recorder) Record(_ context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	recorded := make([]alert.Recorded, len(occurrences))
	for i := range recorded {
		recorded[i] = r.recorded
	}
	return recorded, r.err
}

// journal is a store of alerts and of what is quarantined, which writes down what it
// was asked to keep, and in which order.
type journal struct {
	kept                   []string
	downAlerts, downKeeper error
}

func (j *journal) Record(_ context.Context, occurrences ...alert.Occurrence) (recorded []alert.Recorded, err error) {
	for _, o := range occurrences {
		j.kept = append(j.kept, fmt.Sprintf("alert about %s %s", o.Entity.Type, o.Entity.Name))
		recorded = append(recorded, alert.Recorded{Outcome: alert.New})
	}
	return recorded, j.downAlerts
}

func (j *journal) Quarantine(_ context.Context, q alert.Quarantined) error {
	j.kept = append(j.kept, "quarantined "+q.EventID)
	return j.downKeeper
}

// listener is a Listener that writes down what it heard.
type listener struct {
	heard []string
	err   error
}

func (l *listener) Hear(_ context.Context, hub string, source alert.Source, at time.Time) error {
	l.heard = append(l.heard, fmt.Sprintf("%s %s %s", source, hub, at.Format(time.RFC3339)))
	return l.err
}

// TestHears checks of which hubs the judge hears, and that nothing fails if that cannot
// be remembered.
func TestHears(t *testing.T) {
	message, err := os.ReadFile("../local/samples/logs/night-shift.json")
	if err != nil {
		t.Fatal(err)
	}
	quiet := jsontext.Value(`{"records":[{"time":"2026-02-01T09:30:00Z","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB","operationName":"deviceConnect","category":"Connections","level":"Information","properties":"{\"deviceId\":\"pump-1\"}"},` +
		`{"time":"2026-02-01T09:00:00Z","resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB-WEST","operationName":"deviceDisconnect","category":"Connections","level":"Information","properties":"{\"deviceId\":\"pump-1\"}"}]}`)
	failed := relay.Relay([][]byte{message}).Events[0]
	ofHub := detector.Detector{Name: "Quiet", On: detector.Trigger{EventTypes: []string{event.DeviceCreated}}, Detect: func(event.Event) ([]alert.Finding, error) { return nil, nil }}
	registered := jsontext.Value(`{"specversion":"1.0","id":"1","source":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/CONTOSO-HUB",` +
		`"subject":"devices/pump-01","type":"Microsoft.Devices.DeviceCreated","time":"2026-02-01T10:00:00Z","data":{"hubName":"CONTOSO-HUB","deviceId":"pump-01"}}`)
	for _, err := range []error{nil, errors.New("the table is away")} {
		l := &listener{err: err}
		j := Judge{Alerts: recorder{recorded: alert.Recorded{Outcome: alert.Known}}, Quarantine: &quarantineStore{}, Listener: l, Logs: newRig().Logs}
		wanting := j
		wanting.Logs = newRig().Logs
		wanting.Logs.Wanted = relay.Wanted{"Routes": {"one": true}}
		for _, test := range []struct {
			what string
			run  func(context.Context, host.Invocation) (host.Outcome, error)
			data jsontext.Value
			want []string
		}{
			{"a change", j.Detect(detector.CertificateAdded), certificateAdded(t, "fires-application-only"), []string{"changes contoso-hub 2026-02-01T08:00:26Z"}},
			{"a change of which a part cannot be judged", j.Detect(detector.CertificateAdded), certificateAdded(t, "fires-dot-dot"), []string{"changes contoso-hub 2026-02-01T08:00:37Z"}},
			{"a change in which nothing is found", j.Detect(detector.DiagnosticSettingChanged), certificateAdded(t, "fires-application-only"), []string{"changes contoso-hub 2026-02-01T08:00:26Z"}},
			{"an event of the hub in which nothing is found", j.Detect(ofHub), registered, []string{"events CONTOSO-HUB 2026-02-01T10:00:00Z"}},
			{"a failed connection, of which the relay has heard", j.Detect(detector.DeviceTokenExpired), failed, nil},
			{"records of connections that succeeded", j.Relay, quiet, []string{"connections CONTOSO-HUB 2026-02-01T09:30:00Z", "connections CONTOSO-HUB-WEST 2026-02-01T09:00:00Z"}},
			{"records of another category that a detector wants", wanting.Relay, jsontext.Value(`{"records":[` + logLine("routes", "one", 1) + `,` + logLine("Routes", "two", 3) + `,` + logLine("Routes", "three", 2) + `,` + logLine("TwinQueries", "one", 4) + `]}`),
				[]string{"log.Routes CONTOSO-HUB 2026-02-01T10:00:03Z"}},
			{"what is not a message", j.Relay, jsontext.Value(`{"records":7}`), nil},
		} {
			l.heard = nil
			out, failed := test.run(t.Context(), host.Invocation{Data: test.data})
			noted := strings.Contains(strings.Join(out.Notes, " "), "not remembered that the hub was heard of: the table is away")
			if failed != nil || !slices.Equal(l.heard, test.want) || noted != (err != nil && len(test.want) > 0) {
				t.Errorf("%s, with error %v: error %v, heard %q, want %q; notes %q", test.what, err, failed, l.heard, test.want, out.Notes)
			}
		}
	}
}

// TestForgets runs the detectors on all their cases. A request is forgotten if it tells of a
// failed connection, and nothing became of it: no alert, and nothing in the quarantine.
// Whatever a custom alert, or a change, has seen may be kept.
func TestForgets(t *testing.T) {
	forgotten := 0
	for _, d := range detector.All {
		list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
		if err != nil {
			t.Fatal(err)
		}
		custom := d
		custom.Custom = true
		for _, c := range list {
			for _, d := range []detector.Detector{d, custom} {
				var doc scan.Doc
				if !doc.Scan(c.Event, "", 1000) {
					continue // It comes without what was scanned.
				}
				kept := &journal{}
				out, err := Judge{Alerts: kept, Quarantine: kept, Listener: &listener{}}.Detect(d)(t.Context(), host.Invocation{Function: d.Name, Data: c.Event, Scanned: doc.Root()})
				if err != nil {
					t.Fatal(err)
				}
				want := d.On.Heard() == alert.Connections && !d.Custom && len(kept.kept) == 0 && out.Unmatched == 0
				if out.Forgotten != want {
					t.Errorf("%s, %s: forgotten %t, want %t; kept %q", d.Name, c.Name, out.Forgotten, want, kept.kept)
				}
				if want {
					forgotten++
				}
			}
		}
	}
	if forgotten < 10 {
		t.Errorf("%d are forgotten: too few to say anything", forgotten)
	}
}

// TestFindingAndReason delivers an event in which a detector finds something, and
// which it cannot judge whole: a certificate whose name cannot be read. The alert is
// recorded first, and the event quarantined then. If either fails, the event is
// delivered again.
func TestFindingAndReason(t *testing.T) {
	const alerted, held = "alert about IoTHub contoso-hub", "quarantined 00000000-0000-4000-8000-000000000037"
	raw := certificateAdded(t, "fires-dot-dot")
	for name, test := range map[string]struct {
		store journal
		want  []string // what the stores were asked to keep, in order
		err   []string // parts of the error
	}{
		"both are kept":          {journal{}, []string{alerted, held}, nil},
		"alerts are down":        {journal{downAlerts: errors.New("alerts are down")}, []string{alerted}, []string{"segment 10", "alerts are down"}},
		"the quarantine is down": {journal{downKeeper: errors.New("quarantine is down")}, []string{alerted, held}, []string{"segment 10", "quarantine is down"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := Judge{Alerts: &test.store, Quarantine: &test.store}
			out, err := j.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: raw})
			if (err != nil) != (test.err != nil) {
				t.Errorf("error %v", err)
			}
			for _, part := range test.err {
				if err != nil && !strings.Contains(err.Error(), part) {
					t.Errorf("the error %q lacks %q", err, part)
				}
			}
			if !slices.Equal(test.store.kept, test.want) {
				t.Errorf("the stores were asked to keep %q, want %q", test.store.kept, test.want)
			}
			if err == nil && (out.Findings != 1 || out.Quarantined != 1 || out.Unmatched != 0 || len(out.Notes) != 2) {
				t.Errorf("the outcome is %+v, want one finding and one event in quarantine", out)
			}
		})
	}

	// Judged again, the event gives its alert and stays.
	for _, j := range []Judge{{}, {Alerts: &journal{}}} {
		r, err := j.Redrive(t.Context(), detector.All, alert.Quarantined{Function: "CertificateAdded", Body: raw})
		if err != nil || len(r.Occurrences) != 1 || len(r.Reasons) != 1 || !strings.HasPrefix(r.String(), "1 alert, and still cannot be judged: detector CertificateAdded: subject: ") {
			t.Errorf("redriven: %q, %+v, error %v", r, r, err)
		}
	}
}

// TestRejectedIsNotFound checks that an occurrence that the store rejected does not
// count as a finding, and that the others do.
func TestRejectedIsNotFound(t *testing.T) {
	store := &quarantineStore{}
	j := Judge{Alerts: recorder{recorded: alert.Recorded{Outcome: alert.Rejected, Err: errors.New("row of 2 MB")}}, Quarantine: store}
	out, err := j.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: certificateAdded(t, "fires-event-grid-schema")})
	if err != nil || out.Findings != 0 || out.Quarantined != 1 || len(store.kept) != 1 || store.kept[0].Reason != "row of 2 MB" {
		t.Errorf("the outcome is %+v, error %v, quarantined %+v", out, err, store.kept)
	}
}

// certificateAdded returns the event of a case of CertificateAdded.
func certificateAdded(t *testing.T, name string) jsontext.Value {
	t.Helper()
	return caseOf(t, "CertificateAdded", name)
}

// caseOf returns the event of a case.
func caseOf(t *testing.T, of, name string) jsontext.Value {
	t.Helper()
	data, err := os.ReadFile("../detector/testdata/" + of + "/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Event jsontext.Value `json:"event"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c.Event
}

// TestFirstErrorFirst checks that a second error does not hide the first: the
// answer has both, in their order.
func TestFirstErrorFirst(t *testing.T) {
	down := errors.New("quarantine is down")
	rejected := alert.Recorded{Outcome: alert.Rejected, Err: errors.New("row of 2 MB")}
	detect := func(raw jsontext.Value) func(Judge) error {
		return func(j Judge) error {
			_, err := j.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: raw})
			return err
		}
	}
	for name, test := range map[string]struct {
		alerts recorder
		run    func(Judge) error
		want   []string // in order
	}{
		"rejected":                            {recorder{recorded: rejected}, detect(certificateAdded(t, "fires-event-grid-schema")), []string{"row of 2 MB", "quarantine is down"}},
		"rejected, and another is not stored": {recorder{recorded: rejected, err: errors.New("alerts are down")}, detect(certificateAdded(t, "fires-event-grid-schema")), []string{"row of 2 MB", "alerts are down"}},
		"cannot be judged":                    {recorder{}, detect(jsontext.Value(`{}`)), []string{"event", "quarantine is down"}},
		"not an event":                        {recorder{}, detect(jsontext.Value(`17`)), []string{"binding", "quarantine is down"}},
		"not an invocation": {recorder{}, func(j Judge) error {
			_, err := j.Broken(t.Context(), host.Invocation{Function: "CertificateAdded"}, 0, errors.New("too long"))
			return err
		}, []string{"too long", "quarantine is down"}},
		"a message that cannot be read": {recorder{}, func(j Judge) error {
			_, err := j.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, "not JSON")})
			return err
		}, []string{"JSON", "quarantine is down"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.run(Judge{Alerts: test.alerts, Quarantine: &quarantineStore{err: down}, Logs: newRig().Logs})
			if err == nil {
				t.Fatal("no error")
			}
			rest := err.Error()
			for _, part := range test.want {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Errorf("error %q, want %q in it, in this order", err, test.want)
				}
				rest = after
			}
		})
	}
}

// TestFailuresHaveTheirRecorder checks which recorder gets what a function finds.
func TestFailuresHaveTheirRecorder(t *testing.T) {
	down := errors.New("alerts of failures are down")
	j := Judge{Alerts: recorder{recorded: alert.Recorded{Outcome: alert.New}}, Failures: recorder{err: down}, Quarantine: &quarantineStore{}}
	if _, err := j.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: certificateAdded(t, "fires-event-grid-schema")}); err != nil {
		t.Errorf("a change: %v", err)
	}
	r := newRig()
	if _, err := r.relay(t, `{"records":[`+failedConnection("pump-01")+`]}`); err != nil {
		t.Fatal(err)
	}
	failure := r.topic.events[0]
	if _, err := j.Detect(detector.DeviceTokenInvalid)(t.Context(), host.Invocation{Function: "DeviceTokenInvalid", Data: failure}); !errors.Is(err, down) {
		t.Errorf("a failed connection: error %v, want that of the recorder of failures", err)
	}
	j.Failures = nil
	if _, err := j.Detect(detector.DeviceTokenInvalid)(t.Context(), host.Invocation{Function: "DeviceTokenInvalid", Data: failure}); err != nil {
		t.Errorf("a failed connection, with one recorder for all: %v", err)
	}
}

// TestLongListIsQuarantined checks that a binding with more events than Event Grid delivers is
// quarantined whole.
func TestLongListIsQuarantined(t *testing.T) {
	store := &quarantineStore{}
	data := jsontext.Value("[{}" + strings.Repeat(",{}", 5_000) + "]")
	out, err := Judge{Quarantine: store}.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: data})
	if err != nil || out.Quarantined != 1 || len(store.kept) != 1 || string(store.kept[0].Body) != string(data) {
		t.Errorf("%d quarantined, error %v; want the whole list in one", len(store.kept), err)
	}
}
