package table

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	mimes "mime/multipart"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// service is Table Storage as the trials of this package model it, below the SDK: tables,
// rows with ETags, transactions, and reads of a range that see its rows one after the other.
// Processes are interleaved at every request, and requests go wrong. One seed gives one
// order of requests. The time is that of a synctest bubble, so no wait takes long.
type service struct {
	t       *testing.T
	r       *rand.Rand
	faults  float64 // probability of a fault at a request
	planned int     // the request at which the fault kind is made, if it is not 0
	kind    int

	requests int
	etag     int
	tables   map[string]map[key]columns
	told     map[string]int // how often whoever is told was told of each raising
	// published gets the body of each request to the topic, nil where nothing is published.
	published func(body []byte)

	mu        sync.Mutex
	pending   []*call
	processes []*process
	prefer    []int // the order in which processes go on; nil is by chance
	stay      int   // for how many requests prefer stays, on average
	crashes   int
	stepped   func()           // what happens beside each step, nil for nothing
	now       func() time.Time // by which rows have the time when they were written, nil for none

	news chan struct{} // has something if a request has come, or a task has ended
}

type columns map[string]jsontext.Value

// process is an instance of the app. It loses all that it has in memory when it crashes.
type process struct {
	s      *service
	number int
	retry  bool // the SDK tries again
	dead   bool
	busy   int
	memory any // what the test has made for this process
}

// call is a request that was sent and is not answered.
type call struct {
	p      *process
	order  string // of calls that one process makes at the same time
	r      *http.Request
	body   []byte
	answer chan answered
	result answered
	last   key // of a range, as far as it is read
	rows   []columns
	filter [][]string // of a range
	most   int        // rows of it
	begun  bool
}

type answered struct {
	response *http.Response
	err      error
}

// crashed is the error of each request of a process that has crashed: none has an effect.
type crashed struct{}

func (crashed) Error() string { return "the process has crashed" }
func (crashed) NonRetriable() {}

var errNoAnswer = errors.New("no answer came")

// trials returns how many trials to make: HUBWATCH_TRIALS if it is set.
func trials(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("HUBWATCH_TRIALS")
	if text == "" {
		return usual / slowdown
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("HUBWATCH_TRIALS: %v", err)
	}
	return n
}

// step returns of how many faults, or orders, that can be counted a test tries one: usual, or each
// if HUBWATCH_TRIALS is set. A test with several kinds of faults begins each kind with another one.
func step(usual int) int {
	if os.Getenv("HUBWATCH_TRIALS") != "" {
		return 1
	}
	return usual * slowdown
}

func newService(t *testing.T, seed uint64) *service {
	r := rand.New(rand.NewPCG(seed, 77))
	return &service{t: t, r: r, faults: 0.04, stay: []int{4, 12, 48}[r.IntN(3)], tables: map[string]map[key]columns{}, told: map[string]int{}, news: make(chan struct{}, 1)}
}

// tell says that a request has come, or that a task has ended.
func (s *service) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// rest lets the time of the bubble go on while all wait: until there is news, but not for long, and
// then for a moment in which others may come.
func (s *service) rest() {
	select {
	case <-s.news:
	case <-time.After(time.Second):
	}
	time.Sleep(5 * time.Millisecond)
	select {
	case <-s.news:
	default:
	}
}

// start adds a process, or replaces one that has crashed.
func (s *service) start(number int) *process {
	p := &process{s: s, number: number, retry: s.r.IntN(2) == 0}
	s.processes = slices.DeleteFunc(s.processes, func(p *process) bool { return p.number == number })
	if s.processes = append(s.processes, p); len(s.prefer) != len(s.processes) {
		s.prefer = nil
	}
	return p
}

// account returns the service as a process sees it.
func (p *process) account() *Account {
	options := clientOptions()
	options.Transport = p
	if !p.retry {
		options.Retry.MaxRetries = -1
	}
	client, err := aztables.NewServiceClientWithNoCredential("https://contosostate.table.core.windows.net", &aztables.ClientOptions{ClientOptions: options})
	if err != nil {
		p.s.t.Fatal(err)
	}
	return &Account{client}
}

// Do implements policy.Transporter.
func (p *process) Do(r *http.Request) (*http.Response, error) {
	c := &call{p: p, r: r, answer: make(chan answered, 1)}
	if r.Body != nil {
		var err error
		if c.body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	c.order = r.Method + r.URL.String()
	if strings.HasSuffix(r.URL.Path, "$batch") {
		c.order = "$batch" + rowKeyIn.FindString(string(c.body))
	}
	p.s.mu.Lock()
	if p.dead {
		p.s.mu.Unlock()
		return nil, crashed{}
	}
	p.s.pending = append(p.s.pending, c)
	p.s.mu.Unlock()
	p.s.tell()
	select {
	case a := <-c.answer:
		return a.response, a.err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// rowKeyIn finds the keys of the first row of a transaction, which has no other order.
var rowKeyIn = regexp.MustCompile(`PartitionKey='[^']*',RowKey='[^']*'|"PartitionKey":"[^"]*"|"RowKey":"[^"]*"`)

// task is what a process is to do. ended hears whether it did it; a task that a crash
// interrupts did not.
type task struct {
	do    func(*process) error
	ended func(ok bool)
}

// run gives tasks to processes, which do two at the same time, until there are none and all
// have ended.
func (s *service) run(next func() *task) {
	type result struct {
		number int // in the order in which they were given
		p      *process
		task   *task
		err    error
	}
	var results []result
	var mu sync.Mutex
	doing, given := 0, 0
	for {
		for _, p := range slices.Clone(s.processes) {
			for p.busy < 2 {
				t := next()
				if t == nil {
					break
				}
				p.busy++
				doing++
				given++
				number := given
				go func() {
					err := t.do(p)
					mu.Lock()
					defer mu.Unlock()
					results = append(results, result{number, p, t, err})
					s.tell()
				}()
				if s.r.IntN(3) > 0 {
					break
				}
			}
		}
		synctest.Wait()
		mu.Lock() // a task that has slept may end while others go on
		ended := results
		results = nil
		mu.Unlock()
		slices.SortFunc(ended, func(a, b result) int { return a.number - b.number }) // goroutines end in any order
		for _, r := range ended {
			r.p.busy--
			doing--
			r.task.ended(r.err == nil && !r.p.dead)
		}
		switch {
		case len(ended) > 0:
		case doing == 0:
			return
		case s.waiting() == 0:
			s.rest()
		default:
			s.step()
		}
	}
}

// step lets one call go on.
func (s *service) step() {
	if s.stepped != nil {
		s.stepped()
		synctest.Wait() // it may have slept, and others gone on
	}
	if s.r.IntN(s.stay) == 0 {
		if s.prefer = s.r.Perm(len(s.processes)); s.r.IntN(2) == 0 {
			s.prefer = nil
		}
	}
	slices.SortFunc(s.pending, func(a, b *call) int { // goroutines come in any order, and a seed gives one
		if a.p.number != b.p.number {
			return a.p.number - b.p.number
		}
		return strings.Compare(a.order, b.order)
	})
	c := s.pending[s.r.IntN(len(s.pending))]
	if s.prefer != nil { // so that a process can be held up for long
		c = slices.MinFunc(s.pending, func(a, b *call) int { return s.prefer[a.p.number] - s.prefer[b.p.number] })
	}
	kind := -1
	if !c.begun {
		c.begun = true
		s.requests++
		if s.planned > 0 && s.requests == s.planned {
			kind = s.kind
		} else if s.planned == 0 && s.r.Float64() < s.faults {
			kind = s.r.IntN(4)
		}
	}
	switch kind {
	case 0, 1: // a crash before, or after
		for kind == 1 && !s.serve(c) {
		}
		s.crashes++
		s.start(c.p.number)
		s.mu.Lock()
		c.p.dead = true
		lost := slices.Clone(s.pending)
		s.pending = slices.DeleteFunc(s.pending, func(other *call) bool { return other.p == c.p })
		s.mu.Unlock()
		for _, other := range lost {
			if other.p == c.p {
				other.answer <- answered{err: crashed{}}
			}
		}
	case 2, 3: // the answer is lost, or the request
		for kind == 2 && !s.serve(c) {
		}
		s.done(c, answered{err: errNoAnswer})
	default:
		if s.serve(c) {
			s.done(c, c.result)
		}
	}
}

// done gives a call its answer. Whoever gets it makes the next call at once.
func (s *service) done(c *call, a answered) {
	s.mu.Lock()
	s.pending = slices.DeleteFunc(s.pending, func(other *call) bool { return other == c })
	s.mu.Unlock()
	c.answer <- a
}

// waiting returns how many calls wait.
func (s *service) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

// hold takes calls away, which then wait until they are put back, and puts others back.
func (s *service) hold(others []*call) (held []*call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if others == nil {
		held, s.pending = s.pending, nil
	}
	s.pending = append(s.pending, others...)
	return held
}

func response(c *call, status int, code string, header http.Header, body []byte) answered {
	if header == nil {
		header = http.Header{}
	}
	if code != "" {
		header.Set("x-ms-error-code", code)
		body = fmt.Appendf(nil, `{"odata.error":{"code":%q,"message":{"lang":"en-US","value":"no"}}}`, code)
	}
	return answered{response: &http.Response{
		Status: strconv.Itoa(status), StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: c.r,
	}}
}

var (
	entityPath = regexp.MustCompile(`^/(\w+)\(PartitionKey='([^']*)',RowKey='([^']*)'\)$`)
	tablePath  = regexp.MustCompile(`^/(\w+)$`)
	queryPath  = regexp.MustCompile(`^/(\w+)\(\)$`)
	condition  = regexp.MustCompile(`(\w+) (eq|ge|gt|le|lt) '([^']*)'`)
)

// serve serves a call, or a part of it. It returns true if the call has its result.
func (s *service) serve(c *call) bool {
	path := c.r.URL.Path
	switch {
	case c.r.URL.Host == topicHost:
		s.told[string(c.body)]++
		c.result = response(c, http.StatusOK, "", nil, nil)
	case c.r.URL.Host == eventsHost:
		s.published(c.body)
		c.result = response(c, http.StatusOK, "", nil, nil)
	case c.r.Method == http.MethodPost && path == "/Tables":
		var made struct{ TableName string }
		if err := json.Unmarshal(c.body, &made); err != nil {
			s.t.Error(err)
		}
		if s.tables[made.TableName] != nil {
			c.result = response(c, http.StatusConflict, "TableAlreadyExists", nil, nil)
			return true
		}
		s.tables[made.TableName] = map[key]columns{}
		c.result = response(c, http.StatusNoContent, "", nil, nil)
	case c.r.Method == http.MethodPost && path == "/$batch":
		c.result = s.batch(c)
	case c.r.Method == http.MethodGet && entityPath.MatchString(path):
		m := entityPath.FindStringSubmatch(path)
		table := s.tables[m[1]]
		row := table[key{m[2], m[3]}]
		switch {
		case table == nil:
			c.result = response(c, http.StatusNotFound, "TableNotFound", nil, nil)
		case row == nil:
			c.result = response(c, http.StatusNotFound, "ResourceNotFound", nil, nil)
		default:
			c.result = response(c, http.StatusOK, "", http.Header{"Etag": {row.tag()}}, s.marshal(row))
		}
	case c.r.Method == http.MethodPost && tablePath.MatchString(path), c.r.Method != http.MethodGet && entityPath.MatchString(path):
		c.result = s.single(c)
	case c.r.Method == http.MethodGet && queryPath.MatchString(path):
		return s.query(c, s.tables[queryPath.FindStringSubmatch(path)[1]])
	default:
		s.t.Errorf("a request that is not modelled: %s %s", c.r.Method, path)
		c.result = response(c, http.StatusNotImplemented, "NotImplemented", nil, nil)
	}
	return true
}

func (s *service) marshal(v any) []byte {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		s.t.Error(err)
	}
	return b
}

func (row columns) tag() string {
	var tag string
	_ = json.Unmarshal(row["odata.etag"], &tag) // as batch wrote it
	return tag
}

// query reads some more rows of a range: others write meanwhile.
func (s *service) query(c *call, table map[key]columns) bool {
	if table == nil {
		c.result = response(c, http.StatusNotFound, "TableNotFound", nil, nil)
		return true
	}
	if c.filter == nil {
		q := c.r.URL.Query()
		c.filter, c.most = condition.FindAllStringSubmatch(q.Get("$filter"), -1), 1000
		if most, err := strconv.Atoi(q.Get("$top")); err == nil {
			c.most = most
		}
	}
	matches := func(k key) bool {
		for _, m := range c.filter {
			of := k.PartitionKey
			if m[1] == "RowKey" {
				of = k.RowKey
			}
			n := strings.Compare(of, m[3])
			if !(m[2] == "eq" && n == 0 || m[2] == "ge" && n >= 0 || m[2] == "gt" && n > 0 || m[2] == "le" && n <= 0 || m[2] == "lt" && n < 0) {
				return false
			}
		}
		return true
	}
	compare := func(a, b key) int {
		return cmp.Or(strings.Compare(a.PartitionKey, b.PartitionKey), strings.Compare(a.RowKey, b.RowKey))
	}
	var rest []key
	for k := range table {
		if (len(c.rows) == 0 || compare(k, c.last) > 0) && matches(k) {
			rest = append(rest, k)
		}
	}
	slices.SortFunc(rest, compare)
	for _, k := range rest[:min(len(rest), c.most-len(c.rows))] {
		c.rows, c.last = append(c.rows, table[k]), k
		if s.r.IntN(2) == 0 {
			return false
		}
	}
	c.result = response(c, http.StatusOK, "", nil, s.marshal(map[string]any{"value": slices.Concat([]columns{}, c.rows)}))
	return true
}

// change is one action of a transaction.
type changing struct {
	method, table, tag string
	key
	columns columns
}

// batch makes a transaction: all of it, or nothing.
func (s *service) batch(c *call) answered {
	changes, err := parseBatch(c)
	if err != nil {
		s.t.Error(err)
	}
	fails := func(i, status int, code string) answered {
		return s.parts(c, fmt.Sprintf("HTTP/1.1 %d No\r\nContent-Type: application/json\r\n\r\n{\"odata.error\":{\"code\":%q,\"message\":{\"lang\":\"en-US\",\"value\":\"%d:no\"}}}", status, code, i))
	}
	for i, ch := range changes {
		if ch.PartitionKey != changes[0].PartitionKey || ch.table != changes[0].table {
			s.t.Errorf("a transaction of two partitions")
		}
		if status, code := s.refusal(ch); code != "" {
			return fails(i, status, code)
		}
	}
	for _, ch := range changes {
		s.change(ch)
	}
	return s.parts(c, "HTTP/1.1 204 No Content\r\n\r\n")
}

// refusal returns why a change cannot be made; "" if it can.
func (s *service) refusal(ch changing) (status int, code string) {
	table := s.tables[ch.table]
	row := table[ch.key]
	switch {
	case table == nil:
		return http.StatusNotFound, "TableNotFound"
	case ch.method == http.MethodPost && row != nil:
		return http.StatusConflict, "EntityAlreadyExists"
	case ch.tag != "" && row == nil:
		return http.StatusNotFound, "ResourceNotFound"
	case ch.tag != "" && ch.tag != "*" && ch.tag != row.tag():
		return http.StatusPreconditionFailed, "UpdateConditionNotSatisfied"
	}
	return 0, ""
}

// change makes a change that is not refused, and returns the ETag of the row.
func (s *service) change(ch changing) string {
	table := s.tables[ch.table]
	if ch.method == http.MethodDelete {
		delete(table, ch.key)
		return ""
	}
	row := columns{}
	if ch.method == http.MethodPatch {
		maps.Copy(row, table[ch.key])
	}
	maps.Copy(row, ch.columns)
	s.etag++
	row["odata.etag"] = jsontext.Value(fmt.Sprintf(`"W/\"%d\""`, s.etag))
	if s.now != nil {
		row["Timestamp"] = jsontext.Value(s.now().AppendFormat(nil, `"2006-01-02T15:04:05.999999999Z"`))
	}
	table[ch.key] = row
	return row.tag()
}

// single makes the change of a request that is no transaction.
func (s *service) single(c *call) answered {
	ch := changing{method: c.r.Method, tag: c.r.Header.Get("If-Match"), columns: columns{}}
	if len(c.body) > 0 {
		if err := errors.Join(json.Unmarshal(c.body, &ch.columns), json.Unmarshal(c.body, &ch.key)); err != nil {
			s.t.Error(err)
		}
	}
	if m := tablePath.FindStringSubmatch(c.r.URL.Path); m != nil {
		ch.table = m[1]
	} else {
		m := entityPath.FindStringSubmatch(c.r.URL.Path)
		ch.table, ch.key = m[1], key{m[2], m[3]}
	}
	if status, code := s.refusal(ch); code != "" {
		return response(c, status, code, nil, nil)
	}
	return response(c, http.StatusNoContent, "", http.Header{"Etag": {s.change(ch)}}, nil)
}

func (s *service) parts(c *call, inner string) answered {
	return response(c, http.StatusAccepted, "", http.Header{"Content-Type": {"multipart/mixed; boundary=outer"}}, fmt.Appendf(nil,
		"--outer\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n%s\r\n--inner--\r\n--outer--\r\n", inner))
}

func parseBatch(c *call) (changes []changing, err error) {
	_, outer, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	part, err := mimes.NewReader(bytes.NewReader(c.body), outer["boundary"]).NextPart()
	if err != nil {
		return nil, err
	}
	_, inner, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	for parts := mimes.NewReader(part, inner["boundary"]); ; {
		one, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return changes, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(one)
		if err != nil {
			return nil, err
		}
		head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
		lines := strings.Split(string(head), "\r\n")
		words := strings.Fields(lines[0])
		ch := changing{method: words[0], columns: columns{}}
		for _, line := range lines[1:] {
			if tag, ok := strings.CutPrefix(line, "If-Match: "); ok {
				ch.tag = tag
			}
		}
		if len(bytes.TrimSpace(body)) > 0 {
			if err := json.Unmarshal(body, &ch.columns); err != nil {
				return nil, err
			}
			if err := json.Unmarshal(body, &ch.key); err != nil {
				return nil, err
			}
		}
		url, err := http.NewRequest(http.MethodGet, words[1], nil)
		if err != nil {
			return nil, err
		}
		ch.table, _, _ = strings.Cut(strings.TrimPrefix(url.URL.Path, "/"), "(")
		if m := entityPath.FindStringSubmatch(url.URL.Path); m != nil {
			ch.key = key{m[2], m[3]}
		}
		changes = append(changes, ch)
	}
}

var _ policy.Transporter = (*process)(nil)

// stall lets a process do something until a number of requests are served, then lets another
// one do something as a whole, and then lets the first go on. It returns false if the first
// was done before.
func (s *service) stall(at int, first, between func() error) bool {
	ended := make(chan error, 1)
	go func() { ended <- first(); s.tell() }()
	stalled := false
	for {
		synctest.Wait()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Error(err)
			}
			return stalled
		default:
		}
		switch {
		case !stalled && s.requests >= at && s.waiting() > 0:
			held := s.hold(nil)
			stalled = true
			if err := s.do(s.processes[1], between); err != nil {
				s.t.Error(err)
			}
			s.hold(held)
		case s.waiting() == 0:
			s.rest()
		default:
			s.step()
		}
	}
}
