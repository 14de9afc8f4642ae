package reliability

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hubwatch/handlers/local/azurite"
)

// What an instance may take while the table is away. deadline is that of an
// invocation (host.Limits) and what a machine at its limit may add to it.
const (
	mostMemory = 128 << 10 // KiB
	// Each invocation that host.Limits lets into one of two lanes has a connection,
	// which takes one goroutine while it is idle and two while it is served.
	mostGoroutines = 2*2*(64+512) + 100
	deadline       = 20*time.Second + 4*time.Second
)

// TestStorageIsDown takes the table away under a stream of events: the handler
// answers 500 within its deadline, stays small, and afterwards every event that
// came is recorded, without a restart.
func TestStorageIsDown(t *testing.T) {
	const (
		interval = 10 * time.Millisecond // between two events
		underWay = 1024                  // deliveries at once, at most
		scale    = 0.03                  // of Event Grid's waits
	)
	t.Parallel()               // it waits
	outage := 26 * time.Second // longer than deadline
	if long() {
		outage = time.Minute
	}
	r := newRig(t, true)
	var output console
	g := &grid{}
	var down atomic.Bool
	var statuses sync.Map // *atomic.Int64 by status
	g.watch = func(_ *http.Request, status int) {
		n, _ := statuses.LoadOrStore(status, &atomic.Int64{})
		n.(*atomic.Int64).Add(1)
	}
	options := r.options()
	options.Output = &output
	g.start(t, options, 1, underWay, scale)
	handler := g.instances[0]
	fault := func(s step) azurite.Fault {
		switch {
		case !down.Load():
			return azurite.Pass
		case s.n%8 == 0:
			return azurite.Hang
		default:
			return azurite.Drop
		}
	}
	r.fault.Store(&fault)

	pid := handler.current.Load().PID()
	pool := allCases(t)
	p := plan{occurrences: map[string]int{}}
	publishOne := func() {
		// A hot device and events that have nothing to do with it, in turn.
		list := pool.fires[hotDetector][:1]
		if n := len(p.events); n%4 == 3 {
			list = pool.fires["CertificateAdded"]
		}
		e := renamed(t, list[len(p.events)%len(list)], fmt.Sprintf("event-%d", len(p.events)))
		p.events = append(p.events, e)
		alerts, _ := verdictOf(e)
		for _, a := range alerts {
			p.occurrences[a.id]++
		}
		publish(g.topic, e)
	}
	stream := func(d time.Duration) {
		end := time.After(d)
		for tick := time.Tick(interval); ; {
			select {
			case <-tick:
				publishOne()
			case <-end:
				return
			}
		}
	}
	stream(time.Second)
	before := status(t, pid, "VmHWM")
	down.Store(true)
	stream(outage)
	failed, connections, threads := g.failed.Load(), sockets(t, pid), status(t, pid, "Threads")
	down.Store(false)
	back := time.Now()
	stream(time.Second)
	published := len(p.events)
	g.run(t, p, nil, 4*time.Minute)
	caughtUp := time.Since(back)

	peak := status(t, pid, "VmHWM")
	p.counted(t, r.rows(t))
	if handler.current.Load().PID() != pid {
		t.Error("the handler was restarted")
	}
	if peak > mostMemory {
		t.Errorf("the handler took %d KiB, want at most %d", peak, mostMemory)
	}
	slowest := time.Duration(g.slowest.Load()) * time.Millisecond
	if slowest > deadline {
		t.Errorf("the slowest answer took %v, want at most %v", slowest, deadline)
	}
	if failed == 0 {
		t.Error("no invocation was answered with 500 during the outage: it proves nothing")
	}
	statuses.Range(func(status, _ any) bool {
		if status != 202 && status != 500 {
			t.Errorf("an answer has the status %d, want 202 and 500 alone", status)
		}
		return true
	})
	t.Logf("%d events in %v, the table away for %v: %d deliveries, %d of them answered 500 and repeated", published, outage+2*time.Second, outage, g.deliveries.Load(), g.failed.Load())
	t.Logf("slowest answer %v (deadline 20 s), caught up %v after the table was back", slowest, caughtUp.Round(10*time.Millisecond))
	t.Logf("handler: %d KiB of memory at most (%d before the outage, bound %d), %d threads and %d connections at the end of the outage", peak, before, mostMemory, threads, connections)

	// On this signal the Go runtime prints every goroutine and ends.
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	limit := time.After(10 * time.Second)
	for tick := time.Tick(10 * time.Millisecond); handler.current.Load().PID() == pid; {
		select {
		case <-tick:
		case <-limit:
			t.Fatal("the handler does not end")
		}
	}
	all, writing := output.goroutines()
	if all == 0 || all > mostGoroutines || writing > 0 {
		t.Errorf("%d goroutines after catching up, of which %d are still writing, want at most %d and none", all, writing, mostGoroutines)
	}
	t.Logf("%d goroutines are left after catching up, none of them writing", all)
}

// console keeps what a handler prints from a dump of its goroutines on.
type console struct {
	mu   sync.Mutex
	dump bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dump.Len() > 0 || bytes.HasPrefix(p, []byte("SIGQUIT")) {
		c.dump.Write(p)
	}
	return len(p), nil
}

// goroutines returns how many goroutines the dump has, and how many of them are
// in the package that writes to the table.
func (c *console) goroutines() (all, writing int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for g := range strings.SplitSeq(c.dump.String(), "\n\n") {
		if strings.HasPrefix(g, "goroutine ") {
			all++
			if strings.Contains(g, "hubwatch/handlers/table.") {
				writing++
			}
		}
	}
	return all, writing
}

// status returns a number from /proc/<pid>/status; memory is in KiB.
func status(t testing.TB, pid int, name string) int {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("the figures of a process are where Linux has them: %v", err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[0] == name+":" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in the status of the process", name)
	return 0
}

// sockets returns how many sockets a process has open.
func sockets(t testing.TB, pid int) (n int) {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, err := os.Readlink(folder + "/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
