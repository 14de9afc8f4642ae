package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/scan"
)

const demoDeliveries = 3

// demo delivers every sample event and log message three times in random order.
// It also publishes each verdict and each raising three times. It shows the alerts. It
// returns an error unless each detector and each custom alert that is enabled has raised its
// alert, none has more occurrences than there are events, somebody was told of each alert once,
// and nothing was lost.
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
	bounds, err := loadBounds()
	if err != nil {
		return err
	}
	if err := eachOnce(alerts, events, bounds); err != nil {
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

// eachOnce returns an error unless each detector has raised its alerts, and each alert has as
// many occurrences as there are sample events that make it, however often they were delivered.
//
// The samples of custom alerts can make other detectors fire, too. What they make of changes
// and of hubs' events can be told before. What they make of logs, and of what is counted, is
// bounded as far as that can be told.
func eachOnce(alerts []alert.Alert, events [][]byte, bounds bounds) error {
	detectors := app.Detectors()
	ofLogs := func(d detector.Detector) bool {
		source, err := d.On.Source()
		return err == nil && source == detector.Connections
	}
	known := 0
	for _, d := range detectors {
		found := map[string]int{} // occurrences, by the id of the alert
		for _, a := range alerts {
			if a.Type == d.AlertType {
				found[a.ID] += a.Occurrences
				known++
			}
		}
		want := made(d, events)
		switch once := cmp.Or(map[string]int{detector.ConnectionStorm.Name: stormDevices, detector.ReconnectionSurge.Name: surgeDevices}[d.Name], 1); {
		case d.Count != nil && d.Count.Max == nil: // Too few are told when their time is over.
			continue
		case len(found) == 0:
			return fmt.Errorf("there is no alert of type %s", d.AlertType)
		case d.Count != nil:
			if most, ok := bounds.counted[d.Name]; ok && (len(found) > 1 || sum(found) > most) {
				return fmt.Errorf("%d alerts of type %s have %d occurrences, want one with %d at most", len(found), d.AlertType, sum(found), most)
			}
			continue
		case ofLogs(d) && (bounds.failing || d.Custom):
			continue
		case ofLogs(d):
			want = map[string]int{}
			for id := range found {
				want = map[string]int{id: once}
			}
		}
		if !maps.Equal(found, want) {
			return fmt.Errorf("the alerts of type %s have %d occurrences, want %d", d.AlertType, sum(found), sum(want))
		}
	}
	if len(alerts) != known {
		return fmt.Errorf("%d alerts are of no detector", len(alerts)-known)
	}
	return nil
}

// bounds say what the samples of custom alerts can make of logs, and of what is counted.
type bounds struct {
	// failing is true if they have failed connections of a known cause. Then there are more
	// occurrences of the alerts of connections.
	failing bool
	// counted is how often, at most, a sample exceeds what a custom alert allows, by its name. An
	// alert is not in it if others have samples of the same source.
	counted map[string]int
}

// loadBounds returns the bounds of the custom alerts that are enabled.
func loadBounds() (bounds, error) {
	b := bounds{counted: map[string]int{}}
	list, err := custom.Load(os.DirFS("."))
	if err != nil {
		return b, err
	}
	list = slices.DeleteFunc(list, func(a custom.Alert) bool { return !a.Enabled })
	sources := map[string]int{}
	for _, a := range list {
		sources[fmt.Sprint(a.On.Source, a.On.Category)]++
	}
	for _, a := range list {
		events, records := a.Sample()
		for _, record := range records {
			cause, err := connection.CauseOf(record, scan.Value{})
			b.failing = b.failing || err == nil && cause != "" && cause != connection.Unclassified
		}
		if count := a.Detector().Count; count != nil && count.Max != nil && sources[fmt.Sprint(a.On.Source, a.On.Category)] == 1 {
			b.counted[a.Name] = len(events) + len(records) - *count.Max
		}
	}
	return b, nil
}

// made returns how many occurrences the alerts of a detector have that events make, by their ids.
func made(d detector.Detector, events [][]byte) map[string]int {
	counted, occurrences := map[string]bool{}, map[string]int{}
	for _, e := range events {
		for _, o := range d.Judge(e).Occurrences {
			if of := strings.ToLower(o.Event.Source) + "|" + o.Event.ID; !counted[o.ID+of] {
				counted[o.ID+of] = true
				occurrences[o.ID]++
			}
		}
	}
	return occurrences
}

func sum(of map[string]int) (n int) {
	for _, each := range of {
		n += each
	}
	return n
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
