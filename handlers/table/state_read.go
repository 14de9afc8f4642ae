package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/verdict"
)

// Days implements verdict.Reader. It asks one range of each month's table.
func (s *State) Days(ctx context.Context, hub string, from, to time.Time) (all []verdict.Figures, err error) {
	from, to = alert.Day(from), alert.Day(to)
	for month := from.AddDate(0, 0, 1-from.Day()); !month.After(to); month = month.AddDate(0, 1, 0) {
		days, err := s.month(ctx, hub, month, from, to)
		if err != nil {
			return nil, err
		}
		all = append(all, days...)
	}
	return all, nil
}

// month returns the figures of those days of a month that are from one to another.
func (s *State) month(ctx context.Context, hub string, month, from, until time.Time) ([]verdict.Figures, error) {
	t := s.verdicts(verdict.BucketOf(month))
	days := map[time.Time]*verdict.Figures{}
	for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{
		Filter: to.Ptr(fmt.Sprintf("PartitionKey ge %s and PartitionKey le %s", quoted(partitionOf(hub, until).String()), quoted(partitionOf(hub, from).String()))),
		Select: to.Ptr("PartitionKey,RowKey,Renewed,Elsewhere,Refused,Unknown"),
	}) {
		if errors.Is(err, alert.ErrAbsent) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var row verdictRow
		if err := decode(entity, &row); err != nil {
			return nil, fmt.Errorf("table %q: %w", t.name, err)
		}
		b, err := row.bucket()
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", t.name, err)
		}
		day := alert.Day(b.Start())
		if days[day] == nil {
			days[day] = &verdict.Figures{Hub: alert.Hub{Name: hub}.Key(), Day: day}
		}
		days[day].Add(verdict.Row{Renewed: int(row.Renewed), Elsewhere: int(row.Elsewhere), Refused: row.Refused, Unknown: row.Unknown})
	}
	var all []verdict.Figures
	for day := month; day.Month() == month.Month(); day = day.AddDate(0, 0, 1) {
		if of := days[day]; of != nil {
			all = append(all, *of)
		}
	}
	return all, nil
}

// Oldest implements verdict.Reader.
func (s *State) Oldest(ctx context.Context, settings verdict.Settings, now time.Time) (time.Time, error) {
	return settings.Oldest(s.Open(ctx), now)
}

// Progress implements verdict.Progresses.
func (s *State) Progress(ctx context.Context) (map[string]verdict.Progress, error) {
	t, all := s.marks(), map[string]verdict.Progress{}
	for entity, err := range t.entities(ctx, &aztables.ListEntitiesOptions{Filter: to.Ptr("PartitionKey eq " + quoted(clockPartition))}) {
		if errors.Is(err, alert.ErrAbsent) {
			break
		}
		if err != nil {
			return nil, err
		}
		var row progressRow
		if err := decode(entity, &row); err != nil {
			return nil, fmt.Errorf("table %q: %w", t.name, err)
		}
		all[row.Name] = verdict.Progress{At: row.At, To: row.To, Until: row.Until}
	}
	return all, nil
}
