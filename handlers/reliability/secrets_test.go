package reliability

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/functions"
)

// secret is a part of every credential that is planted, and nothing else is
// like it. All of these forms leave it as it is.
const secret = "UExBTlRFRC1TRUNSRVQ"

// credentials are texts that must not get out of an event.
var credentials = map[string]string{
	"SAS of a storage account": "https://contoso.example/c?sv=2022-11-02&sig=" + secret + "%3D&se=1",
	"SAS token of a device":    "SharedAccessSignature sr=contoso-hub.azure-devices.net&sig=" + secret + "%3d&se=1700000000",
	"key of a hub":             "HostName=contoso-hub.azure-devices.net;SharedAccessKeyName=owner;SharedAccessKey=" + secret + "=",
	"key of a storage account": "AccountName=contoso;AccountKey=" + secret + "==;EndpointSuffix=core.windows.net",
	"bearer token":             "Authorization: Bearer " + secret,
	"JSON web token":           "eyJhbGciOiJub25lIn0.eyJzdWIiOiJleGFtcGxlIn0." + secret,
	"key of a function":        "https://contoso.azurewebsites.net/runtime/webhooks/eventgrid?functionName=F&code=" + secret,
	"basic authorization":      `{"Authorization":"Basic ` + secret + `"}`,
	"client secret":            "client_secret = '" + secret + "'",
}

// planted returns copies of a JSON object, each with text in another of its
// strings: behind what is there, instead of it, and as the name of a member. If a
// string holds an object, the strings of that object get the text, too. Names are left
// out, since they are kept as they are. parent is the member that holds the object.
func planted(t testing.TB, parent string, object map[string]any, text string) (all []map[string]any) {
	t.Helper()
	with := func(name string, value any) {
		if s, ok := value.(string); ok && event.Named(parent, name, s) {
			return
		}
		copied := maps.Clone(object)
		copied[name] = value
		all = append(all, copied)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		switch value := object[name].(type) {
		case map[string]any:
			for _, inner := range planted(t, name, value, text) {
				with(name, inner)
			}
		case string:
			with(name, value+" "+text)
			with(name, text)
			var inner map[string]any
			if json.Unmarshal([]byte(value), &inner) != nil {
				continue
			}
			for _, inner := range planted(t, name, inner, text) {
				b, err := json.Marshal(inner)
				if err != nil {
					t.Fatal(err)
				}
				with(name, string(b))
			}
		}
	}
	with(text, "a member of this name")
	return all
}

// TestNoSecretIsKept plants each kind of credential into every string of an event
// of each detector and of a log record, has all of them handled, and looks for the
// secret in every row of both tables and in all that the handler and the host log. Without
// HUBWATCH_TRIALS each string gets a third of the kinds, another third than its neighbours.
func TestNoSecretIsKept(t *testing.T) {
	r := newRig(t, true)
	var logs lockedBuffer
	options := r.options()
	options.Output, options.Logger = &logs, slog.New(slog.NewTextHandler(&logs, nil))
	app, err := functions.Start(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(app.Close)

	events, stride := 0, 3
	if everything() {
		stride = 1
	}
	kinds := slices.Sorted(maps.Keys(credentials))
	var group errgroup.Group
	group.SetLimit(16)
	for _, d := range detector.All {
		var whole map[string]any
		if err := json.Unmarshal(allCases(t).fires[d.Name][0], &whole); err != nil {
			t.Fatal(err)
		}
		for k, kind := range kinds {
			for i, e := range planted(t, "", whole, credentials[kind]) {
				if (i+k)%stride != 0 {
					continue
				}
				if e["id"] == whole["id"] {
					e["id"] = fmt.Sprintf("%s-%s-%d", d.Name, kind, i)
				}
				body, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				events++
				group.Go(func() error { return app.Invoke(t.Context(), d.Name, body) })
			}
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}

	var record map[string]any
	if err := json.Unmarshal(firstRecord(t), &record); err != nil {
		t.Fatal(err)
	}
	hub, err := functions.NewEventHub(functions.EventHubOptions{Host: app, Function: judge.RelayName, Partitions: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	for k, kind := range kinds {
		text := credentials[kind]
		for i, e := range planted(t, "", record, text) {
			if (i+k)%stride != 0 {
				continue
			}
			body, err := json.Marshal(map[string]any{"records": []any{e, text}})
			if err != nil {
				t.Fatal(err)
			}
			events++
			if err := hub.Send(body); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := hub.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}

	alerts, quarantined, redacted := 0, 0, 0
	for key, row := range r.rows(t) {
		if strings.HasPrefix(key, "topic ") {
			continue // what the topic got goes on to the detectors
		}
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		if leak(text) {
			for column, value := range row {
				if leak(fmt.Append(nil, value)) {
					t.Errorf("the column %s of a row has the secret: %s %v", column, key, value)
				}
			}
		}
		if bytes.Contains(text, []byte("REDACTED")) {
			redacted++
		}
		switch {
		case strings.HasPrefix(key, "quarantine "):
			quarantined++
		case row["AlertType"] != nil:
			alerts++
		}
	}
	for id, e := range r.told.events() {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if leak(text) {
			t.Errorf("the event %s about an alert has the secret: %s", id, text)
		}
	}
	for line := range bytes.Lines(logs.bytes()) {
		if leak(line) {
			t.Errorf("a line of log has the secret: %s", line)
		}
	}
	if alerts == 0 || quarantined == 0 || redacted < events/2 {
		t.Errorf("%d events made %d alerts and %d rows in quarantine, %d rows say REDACTED: this proves nothing", events, alerts, quarantined, redacted)
	}
	t.Logf("%d events with a secret: %d alerts, %d rows in quarantine, %d rows say REDACTED", events, alerts, quarantined, redacted)
}

// leak reports whether text has any eight characters of the secret, in whatever
// letters: a hub's name is in lower case in keys.
func leak(text []byte) bool {
	text = bytes.ToLower(text)
	for i := range len(secret) - 8 {
		if bytes.Contains(text, []byte(strings.ToLower(secret[i:i+8]))) {
			return true
		}
	}
	return false
}

// firstRecord is the failed connection in the samples.
func firstRecord(t testing.TB) jsontext.Value {
	t.Helper()
	var message struct {
		Records []jsontext.Value `json:"records"`
	}
	if err := json.Unmarshal(sample(t, "logs/night-shift.json"), &message); err != nil {
		t.Fatal(err)
	}
	return message.Records[1]
}

// lockedBuffer is a buffer that several goroutines may write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}
