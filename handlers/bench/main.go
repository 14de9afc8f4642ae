// Command bench measures hubwatch beside other handlers of the same events, in one run:
// requests a second and CPU of each, against the least that net/http can do. make bench
// runs it. docs/performance.md has its table.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"hubwatch/handlers/local/loopback"
)

func main() {
	name := flag.String("peer", "", "be this peer")
	port := flag.String("port", "", "of the peer")
	control := flag.String("control", "", "port at which the peer says what it has used")
	rounds := flag.Int("rounds", 5, "how often everything is measured")
	each := flag.Duration("each", time.Second, "how long one measurement takes")
	only := flag.Bool("steps", false, "measure single steps alone, and no handlers")
	pictures := flag.String("growth", "", "measure how everything grows, and nothing else; draw it into this folder")
	where := flag.String("profile", "", "write where the time goes in the echo, in hubwatch and in what stores alerts, and nothing else, into files in this folder")
	file := flag.String("write", "", "file to write the tables into, between two comments")
	flag.Parse()
	if *name != "" {
		fail(be(*name, *port, *control))
		return
	}
	if *only {
		runtime.GOMAXPROCS(1)
		pin(1)
		text, err := singleSteps(*rounds, corpora())
		fail(err)
		fmt.Print(text)
		return
	}
	if *where != "" {
		runtime.GOMAXPROCS(1)
		pin(1)
		fail(profiles(*where))
		return
	}
	begins, table, err := tableBegins, "", error(nil)
	if *pictures != "" {
		runtime.GOMAXPROCS(1)
		pin(1)
		begins = growthBegins
		table, err = grow(*rounds, *pictures, filepath.Base(*pictures))
	} else {
		table, err = compare(*rounds, *each)
	}
	fail(err)
	fmt.Print(table)
	if *file != "" {
		fail(replace(*file, begins, table))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// used is what a process has used so far, by its own account (getrusage).
type used struct {
	Micros int64 `json:"micros"` // of CPU, in the system too
	KiB    int64 `json:"kib"`    // of memory that is resident now
}

// resident returns how many KiB of memory of a process are resident, and how many of these
// are no pages of files, as its program is one, where Linux tells it. What getrusage calls the
// most counts the process before it became its program.
func resident(pid int) (kib, own int64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(text, &kib)
		}
		if text, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, _ = fmt.Sscan(text, &own)
		}
	}
	return kib, own
}

// be serves as a peer until the process is killed.
func be(name, port, control string) error {
	i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
	if i < 0 {
		return fmt.Errorf("there is no peer %q", name)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		kib, _ := resident(os.Getpid())
		_ = json.NewEncoder(w).Encode(used{spent() / 1000, kib})
	})
	mux.HandleFunc("/profile", profile)
	l, err := net.Listen("tcp", "127.0.0.1:"+control) // before the first answer, after which it is asked
	if err != nil {
		return err
	}
	go func() { fail(http.Serve(l, mux)) }() // #nosec G114 -- asked by bench alone
	return peers[i].serve(port)
}

// measured is what was measured of a peer.
type measured struct {
	rate   map[string][]float64 // requests a second, by load
	micros map[string][]float64 // of CPU for each request, by load
	start  []float64            // milliseconds to the first answer
	idle   []float64            // MiB resident after that
	mib    []float64            // MiB resident after the loads
}

// load is how a peer is asked.
type load struct {
	name    string
	kind    string // of the corpus
	senders int
}

var loads = []load{{"silent, 8 senders", "silent", 8}, {"silent, 64 senders", "silent", 64}, {"firing, 8 senders", "firing", 8}}

// compare measures all peers and returns the table.
func compare(rounds int, each time.Duration) (string, error) {
	runtime.GOMAXPROCS(1)
	pin(1)
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	script := filepath.Join(folder, "peer.mjs")
	if err := os.WriteFile(script, nodePeer, 0o600); err != nil {
		return "", err
	}
	requests := corpora()
	steps, err := singleSteps(rounds, requests)
	if err != nil {
		return "", err
	}
	results := make([]measured, len(peers))
	for i := range results {
		results[i] = measured{rate: map[string][]float64{}, micros: map[string][]float64{}}
	}
	for round := range rounds {
		for i, p := range peers {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, p.name)
			if err := results[i].measure(p, script, requests, each); err != nil {
				return "", fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	table := render(results, steps, rounds)
	for _, section := range []func() (string, error){
		func() (string, error) { return ruleTable(rounds) },
		func() (string, error) { return builtTable(".", programs, rounds, each, requests) },
		func() (string, error) { return stores(".", rounds, each) },
		func() (string, error) { return hostile(rounds, each) },
	} {
		text, err := section()
		if err != nil {
			return "", err
		}
		table += "\n" + text
	}
	return table, nil
}

// corpora returns the requests that are sent, by their kind.
func corpora() map[string][]request {
	return map[string][]request{"silent": corpus("silent", 1000), "firing": corpus("firing", 1000)}
}

//go:embed peer.mjs
var nodePeer []byte

// pin keeps this process on one processor, if the machine has taskset and another one.
func pin(processor int) {
	if runtime.NumCPU() > 1 {
		_ = exec.Command("taskset", "-acp", strconv.Itoa(processor), strconv.Itoa(os.Getpid())).Run() // #nosec G204 -- without it the figures vary more
	}
}

// process returns the process of a peer, on another processor than this one.
func (p peer) process(script, port, control string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "-peer", p.name, "-port", port, "-control", control}
	if p.serve == nil {
		names, err := json.Marshal(titles)
		if err != nil {
			return nil, err
		}
		args = []string{"node", script, port, control, string(names)}
	}
	if _, err := exec.LookPath("taskset"); err == nil {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	c := exec.Command(args[0], args[1:]...) // #nosec G204 -- this program and node
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.Stderr = os.Stderr
	return c, nil
}

// measure starts a peer, asks it with each load, and ends it.
func (m *measured) measure(p peer, script string, corpora map[string][]request, each time.Duration) error {
	port, control := freePort(), freePort()
	c, err := p.process(script, port, control)
	if err != nil {
		return err
	}
	log := &counter{}
	c.Stdout = log // through a pipe, as the Functions host reads it
	begin := time.Now()
	if err := c.Start(); err != nil {
		return err
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	if err := firstAnswer(port, &corpora["silent"][0], p.constant, begin); err != nil {
		return err
	}
	m.start = append(m.start, float64(time.Since(begin).Microseconds())/1000)
	u, err := ask(control)
	if err != nil {
		return err
	}
	m.idle = append(m.idle, float64(u.KiB)/1024)
	if _, _, err := run(port, control, corpora["firing"], 8, each/4, p.constant); err != nil { // warm up
		return err
	}
	for _, l := range loads {
		rate, micros, err := run(port, control, corpora[l.kind], l.senders, each, p.constant)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		m.rate[l.name] = append(m.rate[l.name], rate)
		m.micros[l.name] = append(m.micros[l.name], micros)
	}
	if u, err = ask(control); err != nil {
		return err
	}
	m.mib = append(m.mib, float64(u.KiB)/1024)
	return nil
}

// counter is a reader of a log that counts its bytes.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// ask returns what a peer has used so far.
func ask(control string) (u used, err error) {
	answer, err := http.Get("http://127.0.0.1:" + control + "/") // #nosec G107 -- this machine
	if err != nil {
		return u, err
	}
	defer answer.Body.Close()
	return u, json.NewDecoder(answer.Body).Decode(&u)
}

// freePort returns a port for a peer.
func freePort() string {
	port, err := loopback.FreePort()
	fail(err)
	return strconv.Itoa(port)
}

// median returns the middle of what was measured.
func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// ratio is the ratios of what was measured in the same rounds.
type ratio []float64

func newRatio(list, base []float64) ratio {
	r := make(ratio, len(list))
	for i := range list {
		r[i] = list[i] / base[i]
	}
	return r
}

// String returns the median in bold, and the least and the most in parentheses.
func (r ratio) String() string {
	return fmt.Sprintf("**%.2f** (%.2f to %.2f)", median(r), slices.Min(r), slices.Max(r))
}

// head returns the first two lines of a table in Markdown.
func head(columns ...string) string {
	return "| " + strings.Join(columns, " | ") + " |\n|" + strings.Repeat("---|", len(columns)) + "\n"
}

// handlerColumns are the columns of the table of handlers.
func handlerColumns() []string {
	columns := []string{"handler"}
	for _, l := range loads {
		columns = append(columns, l.name+": requests/s", "of echo", "CPU µs", "of echo")
	}
	return append(columns, "first answer, ms", "resident then, MiB", "after the loads, MiB")
}

// Columns of the other tables.
var (
	ruleColumns    = []string{"custom alerts", "events/s", "in Go: events/s", "of Go", "compiling all, once, ms of CPU", "memory of each, KiB"}
	builtColumns   = []string{"program", "size, MB", "first answer, ms", "first answer of a custom alert after that, ms", "resident then, MiB", "after the loads, MiB"}
	storeColumns   = []string{"service", "hubs", "what", "AddEntity", "transaction", "hubwatch", "of AddEntity", "of transaction"}
	hostileColumns = []string{"beside", "events/s of the detector", "of those beside a usual condition", "its slowest of a hundred, ms", "the same of the other custom alert, ms", "events/s of the custom alert", "quarantined"}
)

// render returns the table in Markdown.
func render(results []measured, steps string, rounds int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s %s/%s, %s, %d processors. Medians of %d rounds; each ratio is the median of the ratios of a round, with the least and the most of them in parentheses.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, processor(), runtime.NumCPU(), rounds)
	b.WriteString(head(handlerColumns()...))
	for i, p := range peers {
		fmt.Fprintf(&b, "| %s |", p.name)
		for _, l := range loads {
			r, base := results[i], results[0]
			fmt.Fprintf(&b, " %.0f | %v | %.1f | %v |", median(r.rate[l.name]), newRatio(r.rate[l.name], base.rate[l.name]),
				median(r.micros[l.name]), newRatio(r.micros[l.name], base.micros[l.name]))
		}
		fmt.Fprintf(&b, " %.1f | %.1f | %.1f |\n", median(results[i].start), median(results[i].idle), median(results[i].mib))
	}
	b.WriteString("\n")
	for _, p := range peers {
		fmt.Fprintf(&b, "- %s: %s\n", p.name, p.about)
	}
	return b.String() + "\n" + steps
}

// processor returns the name of the processor, where Linux tells it.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, " \t:\n")
		}
	}
	return "a processor without a name"
}

// Comments around the table in a file.
const (
	tableBegins  = "<!-- make bench writes from here -->\n"
	growthBegins = "<!-- make growth writes from here -->\n"
	tableEnds    = "<!-- to here -->\n"
)

// replace writes a table into a file, after the comment with which its place begins.
func replace(file, begins, table string) error {
	b, err := os.ReadFile(file) // #nosec G304 -- the file that the caller names
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(b, []byte(begins))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table", file)
	}
	return os.WriteFile(file, slices.Concat(before, []byte(begins+"\n"+table+"\n"+tableEnds), after), 0o644) // #nosec G306 G703 -- a document, at the path that its author names
}
