package table

import (
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

// kept is the rows that this process wrote last, with their ETags. It spares the reading of
// a row before its next change. What it has may be old: another instance, or a person, may
// have written the row since. The change then fails on its condition, and the row is read.
// So kept is never wrong, and at worst it costs a request.
type kept struct {
	mu         sync.Mutex
	partitions map[string]*keptPartition
	alerts     int // in all partitions
}

// keptPartition is the rows of one hub and day.
type keptPartition struct {
	summary *summary
	alerts  map[string]keptAlert // by SystemAlertId
	others  int                  // how many more batches read first, because somebody else writes here
}

// keptAlert is the row of an alert.
type keptAlert struct {
	row  Row
	etag azcore.ETag
}

const (
	// mostKept is how many alerts are kept. A row has about 2 kB. If there are more, all are
	// forgotten.
	mostKept = 2_000
	// afterOthers is how many batches of a partition read their rows first after somebody else
	// has written one. If two instances take turns, each row that is kept is old, and costs a
	// request that fails. One such request in afterOthers finds out whether it is still so.
	afterOthers = 16
)

// fill gives a batch the rows that are kept of its alerts, and the summary.
func (k *kept) fill(c *commit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	of := k.partitions[c.partition]
	switch {
	case of == nil:
		return
	case of.others > 0:
		of.others--
		return
	}
	c.summary, c.keptSum = of.summary, of.summary != nil
	for id, p := range c.alerts {
		if a, ok := of.alerts[id]; ok {
			p.row, p.etag, p.read, p.kept = a.row, a.etag, true, true
		}
	}
}

// put keeps what a transaction wrote. etags are those of its actions.
func (k *kept) put(partition string, t transaction, etags []azcore.ETag) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.partitions == nil || k.alerts+len(t.writes) > mostKept {
		k.partitions, k.alerts = map[string]*keptPartition{}, 0
	}
	of := k.partitions[partition]
	if of == nil {
		of = &keptPartition{alerts: map[string]keptAlert{}}
		k.partitions[partition] = of
	}
	k.alerts -= len(of.alerts)
	for i, place := range t.about {
		switch place.of {
		case summaryKey:
			t.summary.etag, of.summary = etags[i], t.summary
		case alertRange:
			of.alerts[place.alert.id] = keptAlert{*t.writes[i].after, etags[i]}
		}
	}
	k.alerts += len(of.alerts)
}

// forget forgets a partition in which a kept row is old. As many more batches as others read
// their rows first.
func (k *kept) forget(partition string, others int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.partitions[partition]; p != nil {
		k.alerts -= len(p.alerts)
		*p = keptPartition{alerts: map[string]keptAlert{}, others: others}
	}
}
