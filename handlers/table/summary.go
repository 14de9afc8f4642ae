package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

// Every partition has a summary, so that nobody has to read all alerts of a day to
// know how many there are. It is written in the transaction that raises or reopens an
// alert, or that changes its status. So it equals a scan of the alerts at any time. An
// occurrence of an alert that is open touches no summary.

// summaryKey is the row key of the summary of a partition.
const summaryKey = "s"

// summary is the row of the summary of a partition.
type summary struct {
	key
	Counts     string // JSON: type, status, number
	Suppressed int32  // suppressed alerts, which Counts leaves out
	Incomplete bool   // the partition has alerts that are older than its summary

	etag   azcore.ETag // "" if there is no row
	counts map[string]map[alert.Status]int
}

// summary reads the summary of a partition. It has no ETag if there is none.
func (a *Alerts) summary(ctx context.Context, partition string) (summary, error) {
	response, err := a.table.client.GetEntity(ctx, partition, summaryKey, nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound), hasCode(err, aztables.TableNotFound):
		return summary{key: key{partition, summaryKey}, counts: map[string]map[alert.Status]int{}}, nil
	case err != nil:
		return summary{}, a.table.explain("read", err)
	}
	var s summary
	if err := decode(response.Value, &s); err != nil {
		return summary{}, fmt.Errorf("table %q: read: %w", a.table.name, err)
	}
	if s.PartitionKey != partition { // an empty page of something on the way
		return summary{}, fmt.Errorf("table %q: read: the answer is not the row %s of %s", a.table.name, summaryKey, partition)
	}
	if err := json.Unmarshal([]byte(s.Counts), &s.counts); err != nil {
		// A person has overwritten it. It is counted again by reindex.
		s.counts, s.Incomplete = map[string]map[alert.Status]int{}, true
	}
	s.etag = response.ETag
	return s, nil
}

// clone returns a copy that can be changed.
func (s *summary) clone() *summary {
	c := *s
	c.counts = maps.Clone(s.counts)
	for kind, statuses := range c.counts {
		c.counts[kind] = maps.Clone(statuses)
	}
	return &c
}

// count adds n alerts like row.
func (s *summary) count(row *Row, n int) {
	if row.SuppressedBy != "" {
		s.Suppressed = max(s.Suppressed+int32(n), 0) // #nosec G115 -- 1 or -1
		return
	}
	if s.counts[row.AlertType] == nil {
		s.counts[row.AlertType] = map[alert.Status]int{}
	}
	of := s.counts[row.AlertType]
	// What a person typed into the table was not counted.
	if of[row.status()] = max(of[row.status()]+n, 0); of[row.status()] == 0 {
		delete(of, row.status())
	}
	if len(of) == 0 {
		delete(s.counts, row.AlertType)
	}
}

// move counts an alert whose row was before and is after. before is nil for a new
// alert.
func (s *summary) move(before, after *Row) {
	if before != nil {
		s.count(before, -1)
	}
	s.count(after, 1)
}

// entity returns the row as the service takes it.
func (s *summary) entity() ([]byte, error) {
	counts, err := json.Marshal(s.counts, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	s.Counts = string(counts)
	return json.Marshal(s)
}

// action returns what writes the summary, on condition that it is as it was read.
func (s *summary) action() (aztables.TransactionAction, error) {
	entity, err := s.entity()
	if err != nil {
		return aztables.TransactionAction{}, err
	}
	if s.etag == "" {
		return aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity}, nil
	}
	return aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, Entity: entity, IfMatch: to.Ptr(s.etag)}, nil
}

// exact reports whether the summary is that of all alerts of its partition.
func (s *summary) exact() bool { return s.etag != "" && !s.Incomplete }

// matching returns the number of alerts that q can ask for, by type, status and
// suppression.
func (s *summary) matching(q alert.Query) int {
	if q.Suppressed {
		return int(s.Suppressed)
	}
	n := 0
	for kind, statuses := range s.counts {
		if q.Type != "" && !strings.EqualFold(q.Type, kind) {
			continue
		}
		for status, of := range statuses {
			if len(q.Statuses) == 0 || slices.ContainsFunc(q.Statuses, func(s alert.Status) bool { return strings.EqualFold(string(s), string(status)) }) {
				n += of
			}
		}
	}
	return n
}

// total returns the number of alerts.
func (s *summary) total() int {
	n := int(s.Suppressed)
	for _, statuses := range s.counts {
		for _, of := range statuses {
			n += of
		}
	}
	return n
}

// The index of days has a row for each hub and day that has alerts, in a partition of
// its own, the newest day first:
//
//	!days   79739798|contoso-hub
//	!days   !complete
//
// A row is written before the first alert of its day. So the index has every day that
// has an alert, and after a crash perhaps a day without any. The row !complete says
// that this is true of all days: tables that are older than the index do not have it
// until "hubwatch alerts reindex" has written it. "!" is in no other key, and sorts
// before all of them.
const (
	indexPartition = "!days"
	indexComplete  = "!complete"
	firstPartition = "-" // no partition of a hub sorts before it
)

// indexed is a row of the index of days.
type indexed struct {
	key
	Hub string // as keys have it
}

// indexKey returns the row key of a partition in the index.
func (p partition) indexKey() string { return fmt.Sprintf("%08d%s%s", p.day, separator, p.hub) }

// parseIndexKey reads what indexKey writes. It returns false for any other key.
func parseIndexKey(key string) (partition, bool) {
	day, hub, _ := strings.Cut(key, separator)
	n, err := strconv.Atoi(day)
	p := partition{hub, n}
	return p, err == nil && hub != "" && p.indexKey() == key
}

// index writes a partition into the index of days, once for each process. It reports
// whether the partition is known to have no alerts: it was not in the index, and the
// index is complete.
func (a *Alerts) index(ctx context.Context, partition string) (empty bool, err error) {
	if a.indexes.has(partition) {
		return false, nil
	}
	complete, err := a.complete(ctx)
	if err != nil {
		return false, err
	}
	p, ok := parsePartition(partition)
	if !ok {
		return false, fmt.Errorf("table %q: index: %q is not a partition", a.table.name, partition)
	}
	inserted, err := a.insert(ctx, indexed{key{indexPartition, p.indexKey()}, p.hub})
	if err != nil {
		return false, err
	}
	a.indexes.add(partition)
	return inserted && complete, nil
}

// complete reports whether the index is complete. If the table has no alerts yet, it
// is, and complete says so in the index. A process asks once if it is.
func (a *Alerts) complete(ctx context.Context) (bool, error) {
	if a.indexes.has(indexComplete) {
		return true, nil
	}
	_, err := a.table.client.GetEntity(ctx, indexPartition, indexComplete, nil)
	if err != nil && !hasCode(err, aztables.ResourceNotFound) && !hasCode(err, aztables.TableNotFound) {
		return false, a.table.explain("read", err)
	}
	if err != nil {
		first, err := a.table.first(ctx, "PartitionKey ge "+quoted(firstPartition))
		if err != nil && !errors.Is(err, alert.ErrAbsent) || first != "" {
			return false, err
		}
		if _, err := a.insert(ctx, key{indexPartition, indexComplete}); err != nil {
			return false, err
		}
	}
	a.indexes.add(indexComplete)
	return true, nil
}

// insert writes a row, and reports whether it was not there before. It is a transaction
// of one row: Azure Monitor counts single insertions into this storage account as rows
// of the quarantine (infra/main.bicep).
func (a *Alerts) insert(ctx context.Context, row any) (bool, error) {
	entity, err := json.Marshal(row)
	if err != nil {
		return false, fmt.Errorf("table %q: %w", a.table.name, err)
	}
	add := aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: entity}
	for attempt := 0; ; attempt++ {
		_, err := a.table.submit(ctx, add)
		switch _, there := a.table.conflict(err); {
		case err == nil:
			return attempt == 0, nil
		case there:
			return false, nil
		case !a.table.missing(ctx, err):
			return false, a.table.explain("write", err)
		}
	}
}

// memory remembers what is in the table, so that nobody asks for it again. It is only
// a hint, and forgets everything when it is full.
type memory struct {
	mu    sync.Mutex
	holds map[string]bool
}

const mostRemembered = 50_000

func (m *memory) has(what string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.holds[what]
}

func (m *memory) add(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holds == nil || len(m.holds) >= mostRemembered {
		m.holds = map[string]bool{}
	}
	m.holds[what] = true
}
