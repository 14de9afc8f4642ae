// Package table keeps alerts, their evidence and the quarantine in Azure Table
// Storage. It is the only package that knows aztables and azidentity.
//
// An alert is one row, and each distinct event that it was seen in is a row of
// evidence beside it. Both are written in one entity group transaction: the
// evidence as an insertion, which fails if that event is recorded already, and
// the alert's counters on condition that nobody changed the row meanwhile. So a
// redelivery changes nothing, two instances never lose or double an occurrence,
// and what a person wrote into the row stays. docs/design.md has the
// alternatives and what they cost.
package table

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

// Store is an alert.Store on two tables of one storage account. Its methods may
// be called at the same time.
type Store struct {
	alerts     table
	quarantine table
	limiter    *limiter
	now        func() time.Time

	mu      sync.Mutex
	waiting map[string]*queue // by SystemAlertId; there while an alert is being written
}

var _ alert.Store = (*Store)(nil)

// Open returns the store that the settings name. It does not connect: a table
// that cannot be reached shows at the first Put. Its error says which setting
// is missing or wrong.
func Open(settings Settings) (*Store, error) {
	service, err := settings.service()
	if err != nil {
		return nil, err
	}
	return &Store{
		alerts:     table{service.NewClient(settings.AlertsTable), settings.AlertsTable},
		quarantine: table{service.NewClient(settings.QuarantineTable), settings.QuarantineTable},
		limiter:    newLimiter(),
		now:        time.Now,
		waiting:    map[string]*queue{},
	}, nil
}

// Put implements alert.Store. Occurrences of one alert that come at the same
// time are written together, whoever brings them, so that a device that fails
// hundreds of times at once does not make as many writers fight for one row.
func (s *Store) Put(ctx context.Context, alerts ...alert.Occurrence) error {
	done := make(chan error, len(alerts))
	for _, a := range alerts {
		s.enqueue(occurrence{a, done})
	}
	var errs []error
	for range alerts {
		select {
		case err := <-done:
			errs = append(errs, err)
		case <-ctx.Done():
			return fmt.Errorf("table %q: %w", s.alerts.name, context.Cause(ctx))
		}
	}
	return errors.Join(errs...)
}

// List returns the alerts of a hub, or of all hubs if hub is empty, newest day
// first for each hub. It ends at the first error.
func (s *Store) List(ctx context.Context, hub string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		filter := fmt.Sprintf("RowKey ge '%s' and RowKey lt '%s'", alertRange, strings.TrimSuffix(alertRange, separator)+afterSeparator)
		if hub != "" {
			prefix := escape(alert.Hub{Name: hub}.Key())
			filter += fmt.Sprintf(" and PartitionKey ge '%s%s' and PartitionKey lt '%s%s'", prefix, separator, prefix, afterSeparator)
		}
		for pages := s.alerts.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: to.Ptr(filter)}); pages.More(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(Row{}, s.alerts.explain("list", err))
				return
			}
			for _, entity := range page.Entities {
				row, err := decodeRow(entity)
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

func decodeRow(entity []byte) (Row, error) {
	var row Row
	if err := json.Unmarshal(entity, &row); err != nil {
		return Row{}, fmt.Errorf("alert row: %w", err)
	}
	// The service leaves out digits that are zero.
	for _, t := range []*string{&row.StartTimeUtc, &row.EndTimeUtc, &row.TimeGeneratedUtc} {
		parsed, err := time.Parse(time.RFC3339Nano, *t)
		if err != nil {
			return Row{}, fmt.Errorf("alert row %s: %w", row.SystemAlertId, err)
		}
		*t = edmTime(parsed)
	}
	return row, nil
}
