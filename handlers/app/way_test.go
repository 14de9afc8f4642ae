package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/table"
)

// deliver gives the app an event that a certificate was added.
func deliver(t *testing.T, a *App) (host.Outcome, error) {
	t.Helper()
	data, err := os.ReadFile("../detector/testdata/CertificateAdded/fires-event-grid-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Event jsontext.Value `json:"event"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return a.Judge(nil).Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: c.Event})
}

// TestTransientPage puts something between the app and its tables that answers
// the first read, or the first write, with 400 and a page. The event is delivered
// again, the second delivery raises the alert, and nothing is quarantined.
func TestTransientPage(t *testing.T) {
	script, err := azurite.Find("../..")
	if err != nil {
		if os.Getenv("HUBWATCH_AZURITE") != "required" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	tables, err := azurite.Start(context.Background(), azurite.Options{Main: script})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tables.Stop(); err != nil {
			t.Error(err)
		}
	})
	target, _, _ := strings.Cut(tables.Endpoint(), "/devstoreaccount1")
	service, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(service)
	for i, kind := range []string{http.MethodGet, http.MethodPost} {
		var answered atomic.Bool
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == kind && answered.CompareAndSwap(false, true) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, "<h2>Bad Request</h2>")
				return
			}
			pass.ServeHTTP(w, r)
		}))
		defer proxy.Close()
		a, err := Open(environment(settingStorage, strings.Replace(tables.ConnectionString(), target, proxy.URL, 1),
			settingAlertsTable, fmt.Sprint("alerts", i), settingQuarantineTable, fmt.Sprint("quarantine", i)))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := deliver(t, a); err == nil || out.Quarantined > 0 {
			t.Errorf("%s: %d quarantined, error %v, want an error alone", kind, out.Quarantined, err)
		}
		if out, err := deliver(t, a); err != nil || out.Findings != 1 || out.Quarantined > 0 {
			t.Errorf("%s: delivered again: %+v, error %v, want an alert", kind, out, err)
		}
		n := 0
		for _, err := range a.Alerts.List(t.Context(), alert.Query{}) {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d alerts are stored, want one", kind, n)
		}
		if n := len(quarantined(t, a)); n != 0 {
			t.Errorf("%s: %d events are in quarantine, want none", kind, n)
		}
	}
}

// quarantined returns the ids of what is in quarantine.
func quarantined(t *testing.T, a *App) (ids []string) {
	t.Helper()
	for held, err := range a.Quarantine.List(t.Context(), table.QuarantineQuery{}) {
		if errors.Is(err, alert.ErrAbsent) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, held.ID)
	}
	return ids
}

// TestEverythingIsRefused lets the service refuse every request with a code that
// is not about an entity. The event is delivered again, and the error names the
// table that was asked first.
func TestEverythingIsRefused(t *testing.T) {
	for code, status := range map[string]int{"TlsVersionNotPermitted": 400, "AccountRequiresHttps": 400, "InvalidHeaderValue": 400, "AuthorizationFailure": 403} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-ms-error-code", code)
			w.WriteHeader(status)
		}))
		defer server.Close()
		a, err := Open(environment(settingStorage, "AccountName=devstoreaccount1;AccountKey=cGxhbnRlZCBrZXkgb2YgdGhlIHRlc3Q=;TableEndpoint="+server.URL+"/devstoreaccount1"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := deliver(t, a)
		if want := fmt.Sprintf(`table "alerts": read: %d %s`, status, code); err == nil || !strings.HasPrefix(err.Error(), want) || out.Quarantined > 0 {
			t.Errorf("%d quarantined, error %v, want %s", out.Quarantined, err, want)
		}
	}
}

// TestRefusedForGood lets the service say that it will never store the alert's
// rows, nor the quarantine's row. Nothing is lost: the handler answers with an
// error, which has both reasons in the order in which they came.
func TestRefusedForGood(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if strings.HasSuffix(r.URL.Path, "()") { // a query, which finds nothing
				_, _ = io.WriteString(w, `{"value":[]}`)
				return
			}
			w.Header().Set("x-ms-error-code", "ResourceNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("x-ms-error-code", "EntityTooLarge")
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer server.Close()
	a, err := Open(environment(settingStorage, "AccountName=devstoreaccount1;AccountKey=cGxhbnRlZCBrZXkgb2YgdGhlIHRlc3Q=;TableEndpoint="+server.URL+"/devstoreaccount1"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := deliver(t, a)
	if err == nil || out.Quarantined > 0 {
		t.Fatalf("%d quarantined, error %v, want an error alone", out.Quarantined, err)
	}
	first, second, _ := strings.Cut(err.Error(), "\n")
	if !strings.HasPrefix(first, `table "alerts": write: `) || !strings.HasPrefix(second, `table "quarantine": quarantine: `) || strings.Count(err.Error(), "EntityTooLarge") != 2 {
		t.Errorf("error %v, want that of the alerts and then that of the quarantine", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the invocation ran into its deadline")
	}
}
