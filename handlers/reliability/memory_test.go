package reliability

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// mostLargeMemory is what the handler may take whatever the host sends, in KiB. The
// smallest instance has 512 MB
// (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#instance-sizes),
// of which the Functions host needs the other half.
const mostLargeMemory = 256 << 10

// startHandler starts the handler as the Functions host does, without the host, and
// returns its URL and its process id.
func startHandler(t testing.TB, r *rig) (url string, pid int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	if err != nil {
		t.Fatal(err)
	}
	handler := exec.Command(filepath.Join(shared.app, "handler"))
	handler.Env = append(os.Environ(), r.options().Env...)
	handler.Env = append(handler.Env, host.PortVariable+"="+port)
	if err := handler.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = handler.Process.Kill()
		_ = handler.Wait()
	})
	url = "http://127.0.0.1:" + port
	for limit, tick := time.After(10*time.Second), time.Tick(10*time.Millisecond); ; {
		if answer, err := http.Get(url + "/"); err == nil {
			answer.Body.Close()
			return url, handler.Process.Pid
		}
		select {
		case <-tick:
		case <-limit:
			t.Fatal("the handler does not answer")
		}
	}
}

// stretched returns a JSON object of n bytes: object with one more member, which is text
// for a JSON string.
func stretched(object, text string, n int) []byte {
	const member = `,"long":"`
	rest := n - len(object) - len(member) - 1
	return []byte(object[:len(object)-1] + member + strings.Repeat(text, rest/len(text)) + `"}`)
}

// TestMemoryIsBounded sends the handler more than it can hold at once, to all lanes at
// the same time: bodies over the limit, bodies just below it that are judged, that are
// quarantined and that are relayed. A machine that does not read or judge all of them by
// their deadline refuses the rest, and Event Grid delivers those again; the memory is
// bounded on every machine, and afterwards every lane answers.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, true)
	url, pid := startHandler(t, r)
	before := status(t, pid, "VmHWM")
	large := 24 // bodies of 16 MB at once, which are more than all of the memory
	if everything() {
		large = 64
	}

	pool := allCases(t)
	invocation := func(data jsontext.Value) string { return `{"Data":{"event":` + string(data) + `},"Metadata":{}}` }
	change, failure := invocation(pool.fires["CertificateAdded"][0]), invocation(pool.fires[hotDetector][0])
	message, err := json.Marshal([]string{string(relayMessage(t, 1<<20-1000))})
	if err != nil {
		t.Fatal(err)
	}
	log, err := json.Marshal(string(message))
	if err != nil {
		t.Fatal(err)
	}
	const most = 8<<20 - 16
	for _, test := range []struct {
		name   string
		bodies map[string][]byte // by function
		n      int               // of each, at once
	}{
		{"bodies of 16 MB", map[string][]byte{
			"CertificateAdded": stretched(change, "x", 16<<20), hotDetector: stretched(failure, "x", 16<<20), judge.RelayName: stretched(invocation(log), "x", 16<<20),
		}, large},
		{"bodies that are judged", map[string][]byte{
			"CertificateAdded": stretched(change, "x", most), hotDetector: stretched(failure, "x", most), judge.RelayName: []byte(invocation(log)),
		}, 16},
		{"bodies that are quarantined", map[string][]byte{
			"CertificateAdded": []byte(invocation(stretched(`{"id":"1"}`, "x", most-100))),
			hotDetector:        []byte(invocation(stretched(`{"id":"1"}`, `\"`, most-100))),
			judge.RelayName:    []byte(invocation(stretched(`{"records":7}`, "x", most-100))),
			judge.NotifyName:   []byte(invocation(stretched(`{"id":"1"}`, `\"`, most-100))),
			"HubDeleted":       []byte(invocation(stretched(`{"id":"1"}`, `\"`, most-100))),
		}, 2},
		{"bodies of nothing but small pieces", map[string][]byte{
			"CertificateAdded": []byte(invocation([]byte(`{"id":"1"` + many(700_000, func(i int) string { return fmt.Sprintf(`,"%x":0`, i) }) + "}"))),
			hotDetector:        []byte(invocation([]byte(`[{}` + strings.Repeat(",{}", 2_500_000) + "]"))),
			judge.RelayName:    []byte(invocation([]byte(`{"records":[0` + strings.Repeat(",0", 3_500_000) + "]}"))),
		}, 2},
	} {
		start := time.Now()
		var mu sync.Mutex
		answers := map[string]int{}
		var group sync.WaitGroup
		for function, body := range test.bodies {
			for range test.n {
				group.Go(func() {
					answer, err := http.Post(url+"/"+function, "application/json", bytes.NewReader(body))
					what := fmt.Sprint(err)
					if err == nil {
						_, _ = io.Copy(io.Discard, answer.Body)
						answer.Body.Close()
						what = answer.Status
					}
					mu.Lock()
					defer mu.Unlock()
					answers[function+" "+what]++
				})
			}
		}
		group.Wait()
		peak := status(t, pid, "VmHWM")
		t.Logf("%s: %d KiB at most so far (%d at the start), %v, answers %v", test.name, peak, before, time.Since(start).Round(10*time.Millisecond), answers)
		if peak > mostLargeMemory {
			t.Errorf("%s: the handler took %d KiB, want at most %d", test.name, peak, mostLargeMemory)
		}
		for function, body := range map[string]string{"CertificateAdded": change, hotDetector: failure, judge.RelayName: invocation(jsontext.Value(`"[]"`))} {
			answer, err := http.Post(url+"/"+function, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatalf("after %s, %s: %v", test.name, function, err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("after %s, %s answers %s", test.name, function, answer.Status)
			}
		}
	}
}

// many returns n pieces of text, one behind the other.
func many(n int, piece func(int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(piece(i))
	}
	return b.String()
}

// relayMessage returns a message of failed connections of some n bytes.
func relayMessage(t testing.TB, n int) []byte {
	t.Helper()
	var record struct {
		Data map[string]jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(allCases(t).fires[hotDetector][0], &record, jsontext.AllowDuplicateNames(true)); err != nil {
		t.Fatal(err)
	}
	message := []byte(`{"records":[`)
	for i := 0; len(message) < n; i++ {
		if i > 0 {
			message = append(message, ',')
		}
		record.Data["number"] = jsontext.Value(fmt.Sprint(i))
		one, err := json.Marshal(record.Data, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		message = append(message, one...)
	}
	return append(message, "]}"...)
}
