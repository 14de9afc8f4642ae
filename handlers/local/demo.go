package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/detector"
)

const demoDeliveries = 3

// demo delivers every sample event and log message three times in random order.
// It also publishes each verdict and each raising three times. It shows the alerts. It
// returns an error unless each detector and each custom alert that is enabled has raised one
// alert with one occurrence, somebody was told of each alert once, and nothing was lost.
func demo(ctx context.Context, stdout io.Writer, log *slog.Logger) error {
	if err := os.RemoveAll(deadLetterFolder); err != nil {
		return err
	}
	events, messages, err := allSamples()
	if err != nil {
		return err
	}
	inbox := newInbox()
	s, err := startSite(ctx, siteOptions{minute: time.Second, relayed: thrice, told: thrice, inbox: inbox, log: log})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprintf(stdout, "%d events and %d messages of the Connections log, each delivered %d times,\nin random order.\n\n", len(events), len(messages), demoDeliveries)
	if err := s.publish(ctx, shuffled(events, demoDeliveries), shuffled(messages, demoDeliveries)); err != nil {
		return err
	}
	alerts, err := s.alerts(ctx)
	if err != nil {
		return err
	}
	show(stdout, alerts)
	if err := eachOnce(alerts); err != nil {
		return err
	}
	if err := inbox.eachOnce(alerts); err != nil {
		return err
	}
	dead, err := filepath.Glob(filepath.Join(deadLetterFolder, "*"))
	if err != nil {
		return err
	}
	if len(dead) > 0 || s.hub.Lost() > 0 {
		return fmt.Errorf("lost: %d log messages, and the events in %q", s.hub.Lost(), dead)
	}
	renewed, err := s.renewed(ctx)
	if err != nil {
		return err
	}
	if renewed != 1 {
		return fmt.Errorf("%d renewals of tokens, want 1", renewed)
	}
	fmt.Fprintf(stdout, "\nEach of the %d alerts is there once. One device renewed its token by connecting\nagain, as healthy devices do: that is counted, and is no alert.\nA webhook on this machine was told of each of the %d alerts once, and its\nsignature is right.\n", len(alerts), len(alerts))
	return nil
}

// eachOnce returns an error unless each detector has exactly one alert, with one
// occurrence, or the devices of the storm or the surge.
func eachOnce(alerts []alert.Alert) error {
	found := map[string]int{}
	for _, a := range alerts {
		found[a.Type]++
		want := cmp.Or(map[string]int{detector.ConnectionStorm.Name: stormDevices, detector.ReconnectionSurge.Name: surgeDevices}[a.Detector], 1)
		if a.Occurrences != want {
			return fmt.Errorf("%s has %d occurrences, want %d", a.Type, a.Occurrences, want)
		}
	}
	detectors := app.Detectors()
	for _, d := range detectors {
		if found[d.AlertType] != 1 {
			return fmt.Errorf("%d alerts of type %s, want 1", found[d.AlertType], d.AlertType)
		}
	}
	if len(alerts) != len(detectors) {
		return fmt.Errorf("%d alerts, want %d", len(alerts), len(detectors))
	}
	return nil
}

// thrice publishes every event demoDeliveries times, in random order.
func thrice(topic http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var events []jsontext.Value
		if err := json.UnmarshalRead(r.Body, &events); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body, err := json.Marshal(shuffled(events, demoDeliveries))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		topic.ServeHTTP(w, r)
	})
}

// shuffled returns n of each element, in random order.
func shuffled[E any](list []E, n int) []E {
	many := slices.Repeat(list, n)
	rand.Shuffle(len(many), func(i, j int) { many[i], many[j] = many[j], many[i] })
	return many
}
