package main

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// peer is a handler of the Functions host, as somebody would write it.
type peer struct {
	name  string
	about string
	serve func(port string) error // nil for one that is not in Go

	constant []byte // what it answers to everything; nil for one that judges
}

// peers are what hubwatch is compared with, and hubwatch. The first is the limit: it
// reads the request and answers what never changes.
var peers = []peer{
	{"echo", "net/http, reads the body into a buffer that is used again, and answers a constant: the limit", serve(http.HandlerFunc(echo)), nothing},
	{"hubwatch", "this handler, with stores that take everything and keep nothing", func(port string) error { return serveHubwatch(port, true) }, nil},
	{"hubwatch, untold", "the same without a topic of alerts, so that nobody is told", func(port string) error { return serveHubwatch(port, false) }, nil},
	{"sample", "the official Azure sample for Go: encoding/json into maps", serve(sampleHandler()), nil},
	{"typed v1", "encoding/json into structs", serve(typedHandler(decodeV1)), nil},
	{"typed v2", "json/v2 into structs", serve(typedHandler(decodeV2)), nil},
	{"node", "node:http with JSON.parse", nil, nil},
}

func serve(h http.Handler) func(port string) error {
	return func(port string) error { return http.ListenAndServe("127.0.0.1:"+port, h) } // #nosec G114 -- a peer is measured as somebody would write it
}

var nothing = []byte(`{"Outputs":{},"Logs":[],"ReturnValue":null}`)

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func echo(w http.ResponseWriter, r *http.Request) {
	b := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(nothing)
}

// discard is the stores of a deployment, and its topic of alerts. It takes everything and keeps
// nothing.
type discard struct{ alert.Suppressions }

// Record implements alert.Recorder. Each occurrence raises an alert, of which people are told.
func (discard) Record(_ context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	recorded := make([]alert.Recorded, len(occurrences))
	for i, o := range occurrences {
		recorded[i] = alert.Recorded{Outcome: alert.New, Raising: &alert.Raising{Alert: alert.Alert{
			ID: o.ID, Detector: o.Detector, Type: o.Type, DisplayName: o.DisplayName, Severity: o.Severity, Remediation: strings.Join(o.Remediation, "\n"), Finding: o.Finding,
			Status: alert.Active, Start: o.Event.Time, End: o.Event.Time, Occurrences: 1,
		}}}
	}
	return recorded, nil
}

// Quarantine implements alert.Quarantine.
func (discard) Quarantine(context.Context, alert.Quarantined) error { return nil }

// Hear implements alert.Listener.
func (discard) Hear(context.Context, string, alert.Source, time.Time) error { return nil }

// List returns no suppression.
func (discard) List(context.Context, time.Time) ([]alert.Suppression, []error, error) {
	return nil, nil, nil
}

// Publish implements judge.Topic.
func (discard) Publish(context.Context, [][]byte) (map[int]error, error) { return nil, nil }

// deployed is what judges events in a deployment (app.App.Judge), with stores that keep nothing. What
// the relay, the timers and the functions that tell people need is left out: nothing here calls
// them. What custom alerts count is left out too.
func deployed(quarantine alert.Quarantine) judge.Judge {
	return judge.Judge{
		Alerts: discard{}, Failures: discard{}, Quarantine: quarantine, Listener: discard{},
		Rules:  judge.NewRules(discard{}, func(string, error) {}),
		Teller: judge.Telling{Topic: discard{}, Source: "/hubwatch"},
		// Detectors look whether an event is a canary. None is here.
		Canaries: &judge.Canaries{Branches: app.Branches(app.Detectors())},
	}
}

// serveHubwatch serves the functions that handlers/main.go serves, in their lanes. tells says
// whether an event is made of each alert.
func serveHubwatch(port string, tells bool) error {
	getenv := func(string) string { return port }
	host.Run(context.Background(), nil, getenv, os.Stdout, os.Stderr, "%s", func(ctx context.Context, port string, log *slog.Logger) error {
		j := deployed(discard{})
		if !tells {
			j.Teller = nil
		}
		handler, err := host.NewHandler(app.Functions(app.Detectors(), j), j.Broken, log, host.Limits{})
		if err != nil {
			return err
		}
		return host.Serve(ctx, port, handler)
	})
	return nil
}

// answer is the answer of a custom handler, as the official samples have it
// (https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload).
type answer struct {
	Outputs     map[string]any
	Logs        []string
	ReturnValue any
}

func write(w http.ResponseWriter, title string) {
	a := answer{Outputs: map[string]any{}, Logs: []string{}}
	if title != "" {
		a.Logs = append(a.Logs, title)
	}
	body, err := stdjson.Marshal(a)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// titles of the alerts by function.
var titles = func() map[string]string {
	m := map[string]string{}
	for _, d := range detectors {
		m[d.Name] = d.Title
	}
	return m
}()

// seen is what the rules of a peer look at.
type seen struct {
	typ, operation, subject, category, code, authType string
}

// judge is the rules of a peer: what the corpus asks for, and no more.
func (s seen) judge(function string) (title string) {
	is := strings.EqualFold
	suffix := func(end string) bool { return len(s.typ) >= len(end) && is(s.typ[len(s.typ)-len(end):], end) }
	refused := is(s.category, "Connections") && s.code == "401003"
	fires := false
	switch function {
	case "CertificateAdded":
		fires = suffix("WriteSuccess") && is(s.operation, "Microsoft.Devices/IotHubs/certificates/write")
	case "CertificateAddFailed":
		fires = suffix("WriteFailure") && is(s.operation, "Microsoft.Devices/IotHubs/certificates/write")
	case "CertificateDeleted":
		fires = suffix("DeleteSuccess") && is(s.operation, "Microsoft.Devices/IotHubs/certificates/delete")
	case "CertificateDeleteFailed":
		fires = suffix("DeleteFailure") && is(s.operation, "Microsoft.Devices/IotHubs/certificates/delete")
	case "DiagnosticSettingChanged":
		fires = is(s.operation, "Microsoft.Insights/diagnosticSettings/write") && strings.Contains(strings.ToLower(s.subject), "/iothubs/")
	case "DiagnosticSettingDeleted":
		fires = is(s.operation, "Microsoft.Insights/diagnosticSettings/delete") && strings.Contains(strings.ToLower(s.subject), "/iothubs/")
	case "DeviceTokenInvalid":
		fires = refused && is(s.operation, "deviceConnect") && s.authType == "sas"
	case "DeviceTokenExpired":
		fires = refused && is(s.operation, "deviceDisconnect") && s.authType == "sas"
	case "DeviceCertificateMismatch":
		fires = refused && is(s.operation, "deviceConnect") && s.authType == "x509"
	case "DeviceCertificateExpired":
		fires = refused && is(s.operation, "deviceDisconnect") && s.authType == "x509"
	}
	if fires {
		return titles[function]
	}
	return ""
}

// sampleHandler is in the style of the official sample: everything into maps
// (https://learn.microsoft.com/azure/azure-functions/create-first-function-other-languages).
func sampleHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Data, Metadata map[string]any }
		if err := stdjson.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		get := func(m map[string]any, name string) string { s, _ := m[name].(string); return s }
		e, _ := request.Data["event"].(map[string]any)
		data, _ := e["data"].(map[string]any)
		s := seen{get(e, "eventType"), get(data, "operationName"), get(e, "subject"), get(data, "category"), get(data, "resultType"), ""}
		if get(e, "specversion") != "" {
			s.typ = get(e, "type")
		}
		if text := get(data, "properties"); text != "" {
			var properties, auth map[string]any
			if stdjson.Unmarshal([]byte(text), &properties) == nil && stdjson.Unmarshal([]byte(get(properties, "authType")), &auth) == nil {
				s.authType = get(auth, "type")
			}
		}
		write(w, s.judge(strings.TrimPrefix(r.URL.Path, "/")))
	})
}

// typed is a request as structs: the members that rules and an alert need.
type typed struct {
	Data struct {
		Event struct {
			ID          string `json:"id"`
			SpecVersion string `json:"specversion"`
			Type        string `json:"type"`
			EventType   string `json:"eventType"`
			Subject     string `json:"subject"`
			Source      string `json:"source"`
			Topic       string `json:"topic"`
			Time        string `json:"time"`
			EventTime   string `json:"eventTime"`
			Data        struct {
				OperationName string            `json:"operationName"`
				Category      string            `json:"category"`
				ResultType    string            `json:"resultType"`
				ResourceID    string            `json:"resourceId"`
				ResourceURI   string            `json:"resourceUri"`
				Properties    string            `json:"properties"`
				Claims        map[string]string `json:"claims"`
			} `json:"data"`
		} `json:"event"`
	}
}

type properties struct {
	DeviceID        string `json:"deviceId"`
	AuthType        string `json:"authType"`
	MaskedIPAddress string `json:"maskedIpAddress"`
}

type auth struct {
	Type string `json:"type"`
}

// typedHandler decodes with decode into structs.
func typedHandler(decode func(r io.Reader, v any) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request typed
		if err := decode(r.Body, &request); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		e := &request.Data.Event
		s := seen{e.EventType, e.Data.OperationName, e.Subject, e.Data.Category, e.Data.ResultType, ""}
		if e.SpecVersion != "" {
			s.typ = e.Type
		}
		if e.Data.Properties != "" {
			var p properties
			var a auth
			if decode(strings.NewReader(e.Data.Properties), &p) == nil && decode(strings.NewReader(p.AuthType), &a) == nil {
				s.authType = a.Type
			}
		}
		write(w, s.judge(strings.TrimPrefix(r.URL.Path, "/")))
	})
}

func decodeV1(r io.Reader, v any) error { return stdjson.NewDecoder(r).Decode(v) }

func decodeV2(r io.Reader, v any) error {
	return json.UnmarshalRead(r, v, jsontext.AllowInvalidUTF8(true))
}
