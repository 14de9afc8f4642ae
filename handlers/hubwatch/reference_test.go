package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hubwatch/handlers/alert"
)

func TestParseReference(t *testing.T) {
	const id = "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39"
	for text, want := range map[string]string{
		id:                               id,
		strings.ToUpper(id):              id,
		"contoso-hub/2026-02-01/" + id:   "contoso-hub/2026-02-01/" + id,
		"ad9a":                           "ad9a",
		"AD9A240B-7e":                    "ad9a240b-7e",
		"contoso-hub/2026-02-01/ad9a":    "contoso-hub/2026-02-01/ad9a",
		"":                               "",
		"ad9":                            "",
		"-d9a":                           "",
		"root-ca":                        "",
		"contoso-hub/ad9a":               "",
		"/2026-02-01/ad9a":               "",
		"contoso-hub/yesterday/ad9a":     "",
		"contoso-hub/2026-02-01/":        "",
		"contoso-hub/2026-02-01/ad9a/x":  "",
		"ad9a' or '1' eq '1":             "",
		"ad9a\u202e":                     "",
		"contoso-hub/2026-02-01/" + "ad": "",
	} {
		got, err := parseReference(text)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q is %v, error %v, want %q", text, got, err, want)
		}
		if err == nil && got.whole != (len(got.ID) == len(id)) {
			t.Errorf("%q: whole %v", text, got.whole)
		}
	}
}

// TestResolve: the beginning of an id names an alert only if it names one alone. An
// alert that a suppression hides counts, too.
func TestResolve(t *testing.T) {
	day := time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)
	store := &shelf{}
	add := func(id, hub string, day time.Time, suppressed string) {
		a := raised(0, hub, day)
		a.ID, a.SuppressedBy = id, suppressed
		store.alerts = append(store.alerts, a)
	}
	add("aaaa1111-0000-8000-8000-000000000000", "contoso-hub", day, "")
	add("aaaa2222-0000-8000-8000-000000000000", "contoso-hub", day.AddDate(0, 0, 1), "")
	add("bbbb1111-0000-8000-8000-000000000000", "contoso-hub", day, "")
	add("bbbb2222-0000-8000-8000-000000000000", "contoso-hub-west", day, "rule-1")
	for i := range mostCandidates + 1 {
		add(fmt.Sprintf("cccc%04d-0000-8000-8000-000000000000", i), "contoso-hub", day, "")
	}
	for text, want := range map[string]string{
		"aaaa1":                       "contoso-hub/2026-02-01/aaaa1111-0000-8000-8000-000000000000",
		"Contoso-Hub/2026-02-02/aaaa": "contoso-hub/2026-02-02/aaaa2222-0000-8000-8000-000000000000",
		"bbbb2":                       "contoso-hub-west/2026-02-01/bbbb2222-0000-8000-8000-000000000000",
		"aaaa": "alert aaaa: several alerts have an id that begins like this:\n" +
			"  contoso-hub/2026-02-01/aaaa1111-0000-8000-8000-000000000000\n  contoso-hub/2026-02-02/aaaa2222-0000-8000-8000-000000000000",
		"bbbb": "alert bbbb: several alerts have an id that begins like this:\n" +
			"  contoso-hub/2026-02-01/bbbb1111-0000-8000-8000-000000000000\n  contoso-hub-west/2026-02-01/bbbb2222-0000-8000-8000-000000000000",
		"dddd":                        "alert dddd: there is no such alert",
		"contoso-hub/2026-02-03/aaaa": "alert contoso-hub/2026-02-03/aaaa: there is no such alert",
	} {
		r, err := parseReference(text)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := r.resolve(t.Context(), store)
		got := ref.String()
		if err != nil {
			got = err.Error()
		}
		var several *ambiguousError
		if got != want || errors.As(err, &several) != strings.Contains(want, "several") || errors.Is(err, alert.ErrNotFound) != strings.Contains(want, "no such") {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	_, err := reference{Ref: alert.Ref{ID: "cccc"}}.resolve(t.Context(), store)
	if err == nil || !strings.HasSuffix(err.Error(), "\n  and more") || strings.Count(err.Error(), "\n") != mostCandidates+1 {
		t.Errorf("many candidates: %v", err)
	}
}
