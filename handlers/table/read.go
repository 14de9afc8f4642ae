package table

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
)

// Alerts are read partition by partition. Only PartitionKey and RowKey are an
// index, and only inside of one partition is a condition on RowKey a range.
// Across partitions the service would read every row between the first and the
// last, and nearly all of these rows are evidence
// (https://learn.microsoft.com/azure/storage/tables/table-storage-design-for-query).
// The index of days says which partitions there are. In a table that is older than the
// index, the reader finds the partitions by skipping: a request for the first row after
// a key gives the next day of a hub, or the next hub.

// parallel is how many requests one call makes at the same time.
const parallel = 32

// mostInOneRange is how many alerts of a partition are read as one range. A partition
// with more is read as sixteen ranges at the same time, one for each first digit of an
// id, since the service answers with 1,000 rows at most. The ids are hashes, so the
// ranges are equally long.
const mostInOneRange = 1000

// List implements alert.Reader. The alerts of one day are held in memory.
func (a *Alerts) List(ctx context.Context, q alert.Query) iter.Seq2[alert.Alert, error] {
	return func(yield func(alert.Alert, error) bool) {
		for day, err := range a.ListDays(ctx, q) {
			if err != nil {
				yield(alert.Alert{}, err)
				return
			}
			for _, found := range day.Alerts {
				if !yield(found, nil) {
					return
				}
			}
		}
	}
}

// ListDays implements alert.Reader.
func (a *Alerts) ListDays(ctx context.Context, q alert.Query) iter.Seq2[alert.DayList, error] {
	return func(yield func(alert.DayList, error) bool) {
		hub, within := hubKey(q.Hub), spanOf(q.Since, q.Until)
		q.Hub = "" // the partitions say
		for day, err := range a.days(ctx, hub, within) {
			var list alert.DayList
			if err == nil {
				list, err = a.alertsOf(ctx, day, q)
			}
			if err != nil {
				yield(alert.DayList{}, err)
				return
			}
			if !yield(list, nil) {
				return
			}
		}
	}
}

// Find implements alert.Reader.
func (a *Alerts) Find(ctx context.Context, ref alert.Ref) (alert.Alert, iter.Seq2[alert.Evidence, error], error) {
	within := spanOf(time.Time{}, time.Time{})
	if !ref.Day.IsZero() {
		within = spanOf(ref.Day, ref.Day)
	}
	for day, err := range a.days(ctx, hubKey(ref.Hub), within) {
		if err != nil {
			return alert.Alert{}, nil, err
		}
		hubs, err := each(ctx, day, func(ctx context.Context, p partition) (*stored, error) {
			found, err := a.get(ctx, p, ref.ID)
			if errors.Is(err, alert.ErrNotFound) {
				return nil, nil
			}
			return found, err
		})
		if err != nil {
			return alert.Alert{}, nil, err
		}
		for i, found := range hubs {
			if found != nil {
				return found.Alert, a.evidence(ctx, day[i], found.ID), nil
			}
		}
	}
	return alert.Alert{}, nil, fmt.Errorf("alert %s: %w", ref, alert.ErrNotFound)
}

// stored is an alert as it stands in the table.
type stored struct {
	alert.Alert
	row  Row
	etag azcore.ETag
}

// get reads one alert. The error wraps alert.ErrNotFound if it is not in the
// partition.
func (a *Alerts) get(ctx context.Context, p partition, id string) (*stored, error) {
	// escape leaves the id of an alert as it is. It makes any other text a key
	// that no alert has.
	response, err := a.table.client.GetEntity(ctx, p.String(), alertKey(escape(strings.ToLower(id))), nil)
	switch {
	case hasCode(err, aztables.ResourceNotFound):
		return nil, alert.ErrNotFound
	case err != nil:
		return nil, a.table.unread(err)
	}
	found, err := a.decode(response.Value)
	if err != nil {
		return nil, err
	}
	found.etag = response.ETag
	return found, nil
}

// decode returns the alert of a row.
func (a *Alerts) decode(entity []byte) (*stored, error) {
	row, err := decodeRow(entity)
	var found alert.Alert
	if err == nil {
		found, err = row.alert()
	}
	if err != nil {
		return nil, fmt.Errorf("table %q: %w", a.table.name, err)
	}
	return &stored{Alert: found, row: row}, nil
}

// evidence returns the evidence of an alert. It reads the rows page by page, as
// the caller draws them.
func (a *Alerts) evidence(ctx context.Context, p partition, id string) iter.Seq2[alert.Evidence, error] {
	return func(yield func(alert.Evidence, error) bool) {
		for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr(rowsOf(p, evidenceOf(id)))}) {
			var e alert.Evidence
			if err == nil {
				if e, err = decodeEvidence(entity); err != nil {
					err = fmt.Errorf("table %q: %w", a.table.name, err)
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// alertsOf returns the alerts that q asks for from the partitions of one day.
func (a *Alerts) alertsOf(ctx context.Context, day []partition, q alert.Query) (alert.DayList, error) {
	filtered := q.Type != "" || len(q.Statuses) > 0 || q.Suppressed
	type part struct {
		alerts []alert.Alert
		read   bool
	}
	hubs, err := each(ctx, day, func(ctx context.Context, p partition) (part, error) {
		s, err := a.summary(ctx, p.String())
		if err != nil || filtered && s.exact() && s.matching(q) == 0 {
			return part{}, err
		}
		found := part{read: true}
		err = a.scan(ctx, p, s.total() > mostInOneRange, func(row *stored) {
			if q.Matches(row.Alert) {
				found.alerts = append(found.alerts, row.Alert)
			}
		})
		return found, err
	})
	list := alert.DayList{Day: day[0].date()}
	for _, h := range hubs {
		list.Alerts = append(list.Alerts, h.alerts...)
		if h.read {
			list.Read++
		}
	}
	slices.SortFunc(list.Alerts, func(a, b alert.Alert) int {
		return cmp.Or(b.End.Compare(a.End), strings.Compare(a.ID, b.ID))
	})
	return list, err
}

// scan calls visit for each alert of a partition, in no particular order, and not at
// the same time. Of a partition with many alerts it reads several ranges at the same
// time.
func (a *Alerts) scan(ctx context.Context, p partition, many bool, visit func(*stored)) error {
	ranges := []string{rowsOf(p, alertRange)}
	if many {
		ranges = rangesOf(p)
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, filter := range ranges {
		group.Go(func() error {
			for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: &filter}) {
				if err != nil {
					return err
				}
				found, err := a.decode(entity)
				if err != nil {
					return err
				}
				mu.Lock()
				visit(found)
				mu.Unlock()
			}
			return nil
		})
	}
	return group.Wait()
}

// Summaries implements alert.Reader.
func (a *Alerts) Summaries(ctx context.Context, q alert.Query) iter.Seq2[alert.Summary, error] {
	return func(yield func(alert.Summary, error) bool) {
		for day, err := range a.days(ctx, hubKey(q.Hub), spanOf(q.Since, q.Until)) {
			var sums []alert.Summary
			if err == nil {
				sums, err = each(ctx, day, a.summarized)
			}
			if err != nil {
				yield(alert.Summary{}, err)
				return
			}
			for _, sum := range sums {
				if len(sum.Counts) == 0 && sum.Suppressed == 0 {
					continue
				}
				if !yield(sum, nil) {
					return
				}
			}
		}
	}
}

// summarized returns the summary of a partition. If the partition has none, it counts
// the alerts.
func (a *Alerts) summarized(ctx context.Context, p partition) (alert.Summary, error) {
	s, err := a.summary(ctx, p.String())
	version := string(s.etag)
	if err == nil && !s.exact() {
		s, err = a.counted(ctx, p, s)
		version = ""
	}
	return alert.Summary{Hub: p.hub, Day: p.date(), Counts: s.counts, Suppressed: int(s.Suppressed), Version: version}, err
}

// counted returns the summary of a partition as a scan of its alerts gives it. s is the
// summary as it stands in the table.
func (a *Alerts) counted(ctx context.Context, p partition, s summary) (summary, error) {
	sum := summary{key: s.key, etag: s.etag, counts: map[string]map[alert.Status]int{}}
	err := a.scan(ctx, p, s.total() > mostInOneRange, func(found *stored) { sum.count(&found.row, 1) })
	return sum, err
}

// days returns the partitions of a hub, or of all hubs if hub is empty, day by day, the
// newest first. It takes them from the index of days if that is complete.
func (a *Alerts) days(ctx context.Context, hub string, within span) iter.Seq2[[]partition, error] {
	if hub != "" && within.newest == within.oldest {
		return a.table.days(ctx, hub, within)
	}
	return func(yield func([]partition, error) bool) {
		_, err := a.table.client.GetEntity(ctx, indexPartition, indexComplete, nil)
		switch {
		case hasCode(err, aztables.ResourceNotFound):
			a.table.days(ctx, hub, within)(yield)
			return
		case err != nil:
			yield(nil, a.table.unread(err))
			return
		}
		filter := fmt.Sprintf("PartitionKey eq %s and RowKey ge %s and RowKey lt %s", quoted(indexPartition),
			quoted(fmt.Sprintf("%08d", within.newest)+separator), quoted(fmt.Sprintf("%08d", within.oldest)+afterSeparator))
		if hub != "" {
			filter += " and Hub eq " + quoted(hub)
		}
		var day []partition
		for entity, err := range a.table.entities(ctx, &aztables.ListEntitiesOptions{Filter: &filter, Select: to.Ptr("RowKey")}) {
			var k key
			if err == nil {
				err = decode(entity, &k)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			p, ok := parseIndexKey(k.RowKey)
			if !ok { // somebody's own row
				continue
			}
			if len(day) > 0 && day[0].day != p.day {
				if !yield(day, nil) {
					return
				}
				day = nil
			}
			day = append(day, p)
		}
		if len(day) > 0 {
			yield(day, nil)
		}
	}
}

// span is a range of days.
type span struct{ newest, oldest int } // inverted, both included

// spanOf returns the days between two times. A zero time sets no bound.
func spanOf(since, until time.Time) span {
	s := span{0, lastDay}
	if !since.IsZero() {
		s.oldest = min(invert(since), lastDay)
	}
	if !until.IsZero() {
		s.newest = max(invert(until), 0)
	}
	return s
}

// days returns the partitions of a hub, or of all hubs if hub is empty, day by
// day, the newest first. It looks for the next day only when the caller draws it.
// If the range is one day, days returns its partition without looking, even if
// the partition does not exist.
func (t table) days(ctx context.Context, hub string, within span) iter.Seq2[[]partition, error] {
	return func(yield func([]partition, error) bool) {
		newest, err := t.newest(ctx, hub, within)
		for err == nil && len(newest) > 0 {
			next := slices.MinFunc(newest, func(p, q partition) int { return p.day - q.day }).day
			var day, later []partition
			for _, p := range newest {
				if p.day == next {
					day = append(day, p)
				} else {
					later = append(later, p)
				}
			}
			if !yield(day, nil) {
				return
			}
			var following [][]partition
			following, err = each(ctx, day, func(ctx context.Context, p partition) ([]partition, error) {
				return t.from(ctx, p.hub, span{p.day + 1, within.oldest})
			})
			newest = append(later, slices.Concat(following...)...)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// newest returns the newest partition of a hub, or of each hub if hub is empty.
func (t table) newest(ctx context.Context, hub string, within span) ([]partition, error) {
	if hub != "" {
		return t.from(ctx, hub, within)
	}
	var all []partition
	for filter := "PartitionKey ge " + quoted(firstPartition); ; {
		key, err := t.first(ctx, filter)
		if key == "" || err != nil {
			return all, err
		}
		p, ok := parsePartition(key)
		if !ok { // somebody's own row
			filter = "PartitionKey gt " + quoted(key)
			continue
		}
		filter = "PartitionKey ge " + quoted(p.afterHub())
		switch {
		case p.day > within.oldest:
		case p.day >= within.newest:
			all = append(all, p)
		default:
			ps, err := t.from(ctx, p.hub, within)
			if err != nil {
				return nil, err
			}
			all = append(all, ps...)
		}
	}
}

// from returns the newest partition of a hub, or none. hub is the name as keys
// have it. If the range is one day, from returns its partition without a request.
func (t table) from(ctx context.Context, hub string, within span) ([]partition, error) {
	newest, oldest := partition{hub, within.newest}, partition{hub, within.oldest}
	switch {
	case newest.day > oldest.day:
		return nil, nil
	case newest.day == oldest.day:
		return []partition{newest}, nil
	}
	for lower := "ge " + quoted(newest.String()); ; {
		key, err := t.first(ctx, "PartitionKey "+lower+" and PartitionKey le "+quoted(oldest.String()))
		if key == "" || err != nil {
			return nil, err
		}
		if p, ok := parsePartition(key); ok {
			return []partition{p}, nil
		}
		lower = "gt " + quoted(key) // somebody's own row
	}
}

// first returns the first PartitionKey that matches a filter, or "".
func (t table) first(ctx context.Context, filter string) (string, error) {
	options := &aztables.ListEntitiesOptions{Filter: &filter, Select: to.Ptr("PartitionKey"), Top: to.Ptr(int32(1))}
	for entity, err := range t.entities(ctx, options) {
		if err != nil {
			return "", err
		}
		var k key
		if err := decode(entity, &k); err != nil {
			return "", fmt.Errorf("table %q: %w", t.name, err)
		}
		return k.PartitionKey, nil
	}
	return "", nil
}

// entities returns the rows that match a filter. It reads them page by page, as
// the caller draws them.
func (t table) entities(ctx context.Context, options *aztables.ListEntitiesOptions) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		// A page can be empty without being the last
		// (https://learn.microsoft.com/rest/api/storageservices/query-timeout-and-pagination).
		for pages := t.client.NewListEntitiesPager(options); pages.More(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, t.unread(err))
				return
			}
			for _, entity := range page.Entities {
				if !yield(entity, nil) {
					return
				}
			}
		}
	}
}

// unread explains the error of a request that reads.
func (t table) unread(err error) error {
	if hasCode(err, aztables.TableNotFound) {
		return t.absent()
	}
	return t.explain("read", err)
}

// each calls f for each partition, for several at the same time. It returns the
// results in the order of the partitions, or the first error.
func each[T any](ctx context.Context, partitions []partition, f func(context.Context, partition) (T, error)) ([]T, error) {
	results := make([]T, len(partitions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, p := range partitions {
		group.Go(func() (err error) {
			results[i], err = f(ctx, p)
			return err
		})
	}
	return results, group.Wait()
}
