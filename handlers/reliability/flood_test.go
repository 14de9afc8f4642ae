package reliability

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hubwatch/handlers/local/azurite"
)

// TestFlood lets devices that nobody has heard of fail to connect, more of them at
// once than the handler has slots and places for. Beside them somebody adds a
// certificate to the same hub now and then. Each of these events has to be answered as
// if there were no flood, which the same run measures first: while the table takes
// what the flood writes at a pace of its own, and while it takes nothing of it at all.
func TestFlood(t *testing.T) {
	const (
		senders  = 620
		interval = 400 * time.Millisecond // between two certificates
		pace     = 5 * time.Millisecond   // between two requests of the flood that the table takes
		pause    = 100 * time.Millisecond // of a sender that was refused
	)
	r := newRig(t, true)
	url, pid := startHandler(t, r)
	pool := allCases(t)
	change, failure := pool.fires["CertificateAdded"][0], string(pool.fires[hotDetector][0])
	const device = "dev-1"
	if !strings.Contains(failure, device) {
		t.Fatalf("the failed connection is not of %s: %s", device, failure)
	}
	found, _ := verdictOf(change)
	certificate := found[0].id

	var hangs atomic.Bool
	turn := time.NewTicker(pace)
	defer turn.Stop()
	fault := func(s step) azurite.Fault {
		body, err := io.ReadAll(s.request.Body)
		s.request.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case err != nil:
			return azurite.Drop
		case strings.Contains(s.request.URL.String()+string(body), certificate):
			return azurite.Pass
		case hangs.Load():
			return azurite.Hang
		}
		select {
		case <-turn.C:
			return azurite.Pass
		case <-s.request.Context().Done():
			return azurite.Drop
		}
	}
	r.fault.Store(&fault)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders + 1}}
	defer client.CloseIdleConnections()
	post := func(ctx context.Context, function, event string) (status int) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/"+function, strings.NewReader(`{"Data":{"event":`+event+`},"Metadata":{}}`))
		if err != nil {
			return 0
		}
		answer, err := client.Do(request)
		if err != nil {
			return 0
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	certificates := 0
	// measure adds n certificates and returns how long the answers took, sorted.
	measure := func(name string, n int) []time.Duration {
		var took []time.Duration
		for tick := time.Tick(interval); len(took) < n; <-tick {
			certificates++
			e := renamed(t, change, fmt.Sprintf("certificate-%d", certificates))
			start := time.Now()
			if status := post(t.Context(), "CertificateAdded", string(e)); status != http.StatusOK {
				t.Fatalf("%s: certificate %d was answered %d", name, certificates, status)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		return took
	}

	calm := measure("calm", 8)
	var devices, done, refused atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			for ctx.Err() == nil {
				if post(ctx, hotDetector, renamedDevice(failure, device, devices.Add(1))) == http.StatusOK {
					done.Add(1)
					continue
				}
				if ctx.Err() == nil {
					refused.Add(1)
				}
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	for limit := time.After(20 * time.Second); refused.Load() == 0 || done.Load() == 0; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit:
			t.Fatalf("%d failed connections are recorded and %d refused: that is not a flood", done.Load(), refused.Load())
		}
	}
	flood := measure("flood", 10)
	hangs.Store(true)
	stuck := measure("the table hangs for failures", 8)
	stop()
	group.Wait()

	// The median of ten is not moved by one that met the collection of garbage.
	median := func(took []time.Duration) time.Duration { return took[len(took)/2] }
	most := 10*median(calm) + 250*time.Millisecond // a busy machine adds to both
	for name, took := range map[string][]time.Duration{"flood": flood, "the table hangs for failures": stuck} {
		if median(took) > most {
			t.Errorf("%s: a certificate takes %v, and %v without a flood: want at most %v", name, median(took), median(calm), most)
		}
	}
	if n := occurrencesOf(t, r, certificate); n != certificates {
		t.Errorf("the alert of the certificate has %d occurrences, want %d", n, certificates)
	}
	t.Logf("%d senders: %d failed connections recorded, %d refused; handler: %d KiB of memory at most", senders, done.Load(), refused.Load(), status(t, pid, "VmHWM"))
	t.Logf("median and slowest answer to a certificate: %v and %v without a flood, %v and %v with it, %v and %v while the table hangs for failures",
		median(calm), calm[len(calm)-1], median(flood), flood[len(flood)-1], median(stuck), stuck[len(stuck)-1])
}

// renamedDevice returns an event of a failed connection of another device, with an id
// of its own.
func renamedDevice(event, device string, n int64) string {
	return strings.Replace(strings.ReplaceAll(event, device, fmt.Sprint("flood-", n)), `"id":"`, fmt.Sprintf(`"id":"%d-`, n), 1)
}

// occurrencesOf returns the occurrences of an alert.
func occurrencesOf(t testing.TB, r *rig, id string) int {
	t.Helper()
	for _, row := range r.rows(t) {
		if row["SystemAlertId"] == id && row["AlertType"] != nil {
			return int(row["Occurrences"].(float64))
		}
	}
	return 0
}
