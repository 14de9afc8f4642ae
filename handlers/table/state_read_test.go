package table

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	logs "hubwatch/handlers/connection"
	"hubwatch/handlers/verdict"
)

var (
	_ verdict.Reader     = (*State)(nil)
	_ verdict.Progresses = (*State)(nil)
)

// TestDays sums the figures of a hub over days of two months, and not those of others.
func TestDays(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	at := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
	}
	if all, err := s.Days(t.Context(), "contoso-hub", at(1, 1, 0), at(3, 1, 0)); err != nil || len(all) != 0 {
		t.Errorf("before the first: %v, %v", all, err)
	}
	put := func(hub string, when time.Time, renewed int, unknown map[string]int) {
		t.Helper()
		row := verdict.Row{Place: verdict.Place{Hub: hub, Bucket: verdict.BucketOf(when)}, Renewed: renewed, Elsewhere: len(unknown), Unknown: unknown}
		if unknown != nil {
			row.Refused = map[logs.Cause]int{logs.Unclassified: unknown["a"], logs.TokenInvalid: 1}
		}
		if _, err := s.Put(t.Context(), row, ""); err != nil {
			t.Fatal(err)
		}
	}
	put("contoso-hub", at(1, 30, 23), 1, nil)
	put("contoso-hub", at(1, 31, 0), 2, nil)
	put("contoso-hub", at(1, 31, 23), 3, map[string]int{"a": 1})
	put("contoso-hub", at(2, 1, 0), 4, map[string]int{"a": 2, verdict.OtherSentences: 1})
	put("contoso-hub", at(2, 1, 1), 5, map[string]int{"a": 1, "b": 1})
	put("contoso-hub", at(2, 3, 1), 6, nil)
	put("contoso-hub", at(2, 4, 0), 7, nil)
	put("contoso-hub-2", at(2, 1, 0), 50, nil)
	all, err := s.Days(t.Context(), "Contoso-Hub", at(1, 31, 12), at(2, 3, 0))
	want := []verdict.Figures{
		{Hub: "contoso-hub", Day: at(1, 31, 0), Renewed: 5, Elsewhere: 1, Refused: map[logs.Cause]int{logs.Unclassified: 1, logs.TokenInvalid: 1}, Unknown: map[string]int{"a": 1}},
		{Hub: "contoso-hub", Day: at(2, 1, 0), Renewed: 9, Elsewhere: 4, Refused: map[logs.Cause]int{logs.Unclassified: 3, logs.TokenInvalid: 2}, Unknown: map[string]int{"a": 3, "b": 1, verdict.OtherSentences: 1}},
		{Hub: "contoso-hub", Day: at(2, 3, 0), Renewed: 6},
	}
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestReconnected reads what rows of a hub say of devices that reconnected, over the end of a
// month, and nothing of other hubs and times.
func TestReconnected(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	b := verdict.BucketOf(time.Date(2026, 2, 1, 0, 30, 0, 0, time.UTC))
	if all, err := s.Reconnected(t.Context(), "contoso-hub", b-9, b-1); err != nil || len(all) != 0 {
		t.Errorf("before the first: %v, %v", all, err)
	}
	for hub, ago := range map[string][]verdict.Bucket{"contoso-hub": {0, 1, 3, 4, 9, 10}, "contoso-hub-2": {2}} {
		for _, n := range ago {
			row := verdict.Row{Place: verdict.Place{Hub: hub, Bucket: b - n}, Seq: 1, Reconnected: verdict.Version{N: int(1000 + n), Seq: 1}}
			if n == 4 {
				row.Reconnected = verdict.Version{} // as a version of hubwatch wrote it that did not count them
			}
			if _, err := s.Put(t.Context(), row, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := s.Reconnected(t.Context(), "contoso-hub", b-9, b-1)
	if diff := cmp.Diff(map[verdict.Bucket]int{b - 1: 1001, b - 3: 1003, b - 9: 1009}, all); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestBegin checks that where the log of a hub begins comes back as it was put, over the case of its
// name, and that it is put on condition.
func TestBegin(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	if begin, etag, err := s.Begin(t.Context(), "contoso-hub"); begin != (verdict.Begin{}) || etag != "" || err != nil {
		t.Errorf("before the first: %v, %q, %v", begin, etag, err)
	}
	etag := verdict.ETag("")
	for _, want := range []verdict.Begin{{Hub: "contoso-hub", Bucket: 2949180, Told: 2949180}, {Hub: "contoso-hub", Bucket: -1, Told: 2949180}} {
		if err := s.PutBegin(t.Context(), want, etag); err != nil {
			t.Fatal(err)
		}
		if err := s.PutBegin(t.Context(), verdict.Begin{Hub: "contoso-hub"}, etag); !errors.Is(err, verdict.ErrConflict) {
			t.Errorf("on condition of ETag %q: %v", etag, err)
		}
		begin, now, err := s.Begin(t.Context(), "Contoso-Hub")
		if begin != want || now == etag || err != nil {
			t.Errorf("%v, %q, %v, want %v", begin, now, err, want)
		}
		etag = now
	}
	if begin, etag, err := s.Begin(t.Context(), "contoso-hub-2"); begin != (verdict.Begin{}) || etag != "" || err != nil {
		t.Errorf("another hub: %v, %q, %v", begin, etag, err)
	}
}

// TestOldest checks that only marks whose time has come count.
func TestOldest(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	settings, b := verdict.Defaults(), verdict.Bucket(1000)
	check := func(now, want time.Time) {
		t.Helper()
		if got, err := s.Oldest(t.Context(), settings, now); err != nil || !got.Equal(want) {
			t.Errorf("at %s: %s, want %s, %v", now, got, want, err)
		}
	}
	check(b.Start(), time.Time{})
	place := verdict.Place{Hub: "contoso-hub", Bucket: b}
	if err := s.Mark(t.Context(), []verdict.Mark{{Place: place, Level: verdict.Graced}, {Place: place, Level: verdict.Settled}}); err != nil {
		t.Fatal(err)
	}
	due := settings.Due(b, verdict.Graced)
	check(due.Add(-1), time.Time{})
	check(due, due)
	check(due.Add(10*time.Hour), due)
	if err := s.Mark(t.Context(), []verdict.Mark{{Place: place}}); err != nil {
		t.Fatal(err)
	}
	check(b.Start(), b.Start())
}

// TestProgress checks that the progress of each partition is kept, the last of each.
func TestProgress(t *testing.T) {
	s := openState(t, emulator(t).ConnectionString())
	if all, err := s.Progress(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("before the first: %v, %v", all, err)
	}
	at := time.Date(2026, 2, 1, 10, 0, 0, 500, time.UTC)
	want := map[string]verdict.Progress{"partition 0": {At: at, To: at.Add(-time.Hour)}, "timer": {At: at, To: at, Until: at.Add(time.Hour)}}
	for range 2 {
		for name, p := range want {
			if err := s.SetProgress(t.Context(), name, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := s.Progress(t.Context())
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
