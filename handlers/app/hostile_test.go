package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// gate is a quarantine that takes events when it is open. Until then whoever could not judge
// an event waits.
type gate struct {
	open    chan struct{}
	waiting chan alert.Quarantined // what waits, in any order
}

func (g gate) Quarantine(_ context.Context, e alert.Quarantined) error {
	g.waiting <- e
	<-g.open
	return nil
}

// found counts alerts.
type found struct {
	mu sync.Mutex
	n  int
}

func (f *found) Record(_ context.Context, o ...alert.Occurrence) ([]alert.Recorded, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += len(o)
	return make([]alert.Recorded, len(o)), nil
}

// TestHostileAlertHarmsNobodyElse fills the share of slots and places that one custom alert
// can have with events of one whose condition has no end that anybody would wait for. Each
// evaluation ends at the limit of cost. Until what it could not judge is quarantined, its
// further events are refused, and all other detectors answer, another custom alert too.
func TestHostileAlertHarmsNobodyElse(t *testing.T) {
	// Of six slots it has three, and of twelve places six.
	const slots, places, further = 3, 3, 4
	file := func(name, when string) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil, `{
			"alertType": "Contoso_%s", "severity": "Low", "title": "T", "description": "D.", "remediation": ["R."],
			"on": {"source": "resources", "eventTypes": ["Microsoft.Resources.ResourceWriteSuccess"]}, "when": %q,
			"cases": [{"name": "fires-a", "about": "A.", "event": {}, "want": "alert"}, {"name": "silent-a", "about": "A.", "event": {}, "want": "silent"}]}`, name, when)}
	}
	alerts, err := custom.Load(fstest.MapFS{
		"functions/Harmless/alert.json": file("Harmless", "hub == 'contoso-hub'"), "functions/Hostile/alert.json": file("Hostile", "data.l.all(x, data.l.all(y, x == y))"),
	})
	if err != nil {
		t.Fatal(err)
	}
	held, recorded := gate{make(chan struct{}), make(chan alert.Quarantined, slots+places)}, &found{}
	j := judge.Judge{Alerts: recorded, Failures: recorded, Quarantine: held}
	detectors := []detector.Detector{alerts[0].Detector(), alerts[1].Detector(), detector.CertificateAdded, detector.DeviceTokenInvalid}
	handler, err := host.NewHandler(Functions(detectors, j), j.Broken, slog.New(slog.DiscardHandler), host.Limits{Concurrency: 2 * slots, Waiting: 2 * places})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(function, event string) int {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+function, strings.NewReader(fmt.Sprintf(`{"Data": {"event": %s}, "Metadata": {}}`, event))))
		return w.Code
	}
	const hub = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"
	changed := func(id int, subject, operation, more string) string {
		return fmt.Sprintf(`{"id": "%d", "subject": %q, "eventType": "Microsoft.Resources.ResourceWriteSuccess", "eventTime": "2026-02-01T08:00:00Z",
			"topic": "/subscriptions/00000000-0000-0000-0000-000000000001", "data": {"operationName": %q%s}, "dataVersion": "2", "metadataVersion": "1"}`, id, subject, operation, more)
	}
	hostile := changed(1, hub, "Microsoft.Devices/IotHubs/write", `, "l": [`+strings.Repeat("1,", 20_000)+`1]`)
	var group sync.WaitGroup
	codes := make(chan int, slots+places+further)
	for range slots + places + further {
		group.Go(func() { codes <- ask("Hostile", hostile) })
	}
	for range slots { // All slots are taken, since as many wait for the quarantine.
		if e := <-held.waiting; !strings.Contains(e.Reason, "when: the evaluation costs more than") {
			t.Errorf("quarantined since %s", e.Reason)
		}
	}
	for range further { // All places are taken, too.
		if code := <-codes; code != http.StatusInternalServerError {
			t.Errorf("Hostile answers %d without a place", code)
		}
	}
	for id := range 20 {
		if code := ask("CertificateAdded", changed(id, hub+"/certificates/root-ca", "Microsoft.Devices/IotHubs/certificates/write", "")); code != http.StatusOK {
			t.Errorf("CertificateAdded answers %d", code)
		}
		if code := ask("Harmless", changed(id, hub, "Microsoft.Devices/IotHubs/write", "")); code != http.StatusOK {
			t.Errorf("Harmless answers %d", code)
		}
	}
	if recorded.n != 40 {
		t.Errorf("%d alerts, want 40", recorded.n)
	}
	close(held.open)
	group.Wait()
	for range slots + places {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("Hostile answers %d", code)
		}
	}
	if n := len(held.waiting); n != places {
		t.Errorf("%d more are quarantined, want %d", n, places)
	}
}
