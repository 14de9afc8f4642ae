package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"hubwatch/handlers/export"
)

// TestEveryAlertIsTold delivers each sample three times, while the topic of alerts is away now
// and then. Each alert is told, under one id, and nothing else is.
func TestEveryAlertIsTold(t *testing.T) {
	atRoot(t)
	var mu sync.Mutex
	told, requests := map[string]int{}, 0
	s, err := startSite(t.Context(), siteOptions{told: func(topic http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if requests++; requests%5 == 1 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			var events []export.CloudEvent
			body, err := io.ReadAll(r.Body)
			if err == nil {
				err = json.Unmarshal(body, &events)
			}
			if err != nil {
				t.Error(err)
			}
			for _, e := range events {
				told[e.Type+" "+e.ID]++
			}
		})
	}, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events, messages, err := allSamples()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.publish(t.Context(), shuffled(events, demoDeliveries), shuffled(messages, demoDeliveries)); err != nil {
		t.Fatal(err)
	}
	rows, err := s.alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var want []string
	for _, row := range rows {
		want = append(want, export.TypeRaised+" "+row.ID+"/0")
	}
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(told)); len(want) == 0 || !slices.Equal(want, have) {
		t.Errorf("%d alerts, and told is %v", len(want), have)
	}
}
