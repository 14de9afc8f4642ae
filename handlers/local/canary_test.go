package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/eventgrid"
)

// watched is a site whose canaries have a second.
func watched(t *testing.T, o siteOptions) *site {
	t.Helper()
	o.minute, o.env, o.log = time.Hour, append(o.env, "CanaryPatience=PT1S"), slog.New(slog.DiscardHandler)
	s, err := startSite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// until asks until it is told that something has happened.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for tick := time.Tick(20 * time.Millisecond); !happened(); {
		select {
		case <-tick:
		case <-limit:
			t.Fatalf("after a minute: %s", what)
		}
	}
}

// states returns how each path is, by the clock of a reader who comes after a time.
func (s *site) states(ctx context.Context, after time.Duration) (map[coverage.Path]coverage.State, error) {
	trips, err := s.stores.Alerts.Trips(ctx)
	states := map[coverage.Path]coverage.State{}
	for _, r := range coverage.NewReports(trips, nil, time.Now().Add(after)) {
		states[r.Path] = r.State
	}
	return states, err
}

// branches returns where canaries have to arrive beside the functions in which their paths end: at
// each event subscription of a custom topic, by the path.
func branches(t *testing.T) map[coverage.Path][]coverage.Branch {
	t.Helper()
	subscriptions, err := eventgrid.LoadSubscriptions(subscriptionsFile)
	if err != nil {
		t.Fatal(err)
	}
	all := map[coverage.Path][]coverage.Branch{}
	for _, s := range subscriptions {
		switch {
		case s.Function == detector.PathBroken.Name, s.Function == judge.NotifyName:
		case s.Source == string(detector.Connections):
			for _, of := range s.Filter.IncludedEventTypes {
				all[coverage.Topic] = append(all[coverage.Topic], coverage.Branch{Function: s.Function, Type: of})
			}
		case s.Source == string(detector.Alerts):
			all[coverage.Alerts] = append(all[coverage.Alerts], coverage.Branch{Function: s.Function, Type: coverage.CanaryType})
		}
	}
	return all
}

// forks returns the paths to the functions of these event subscriptions.
func forks(t *testing.T) (paths []coverage.Path) {
	for path, of := range branches(t) {
		for _, f := range (coverage.Trip{Path: path, Branches: of}).Forks() {
			paths = append(paths, f.Path)
		}
	}
	slices.Sort(paths)
	return paths
}

// broken returns the paths that alerts are about, each with the alert's occurrences.
func (s *site) broken(ctx context.Context) (paths []string, err error) {
	alerts, err := s.alerts(ctx)
	for _, a := range alerts {
		if a.Type == detector.PathBroken.AlertType && a.Severity == alert.High {
			paths = append(paths, fmt.Sprint(a.Entity.Name, " ", a.Occurrences))
		}
	}
	slices.Sort(paths)
	return paths, err
}

// absent is what answers where a topic or an event hub was.
func absent(http.Handler) http.Handler { return http.HandlerFunc(http.NotFound) }

// swallows is what takes everything and hands on nothing.
func swallows(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/eventhub/") {
			w.WriteHeader(http.StatusCreated)
		}
	})
}

// TestCanaryGoesThrough sends canaries through a whole site. No alert is raised, nothing is
// quarantined, and no hub was heard of.
func TestCanaryGoesThrough(t *testing.T) {
	atRoot(t)
	azure := startResources(t)
	s := watched(t, siteOptions{relayed: thrice, env: []string{"CanaryTagUri=" + azure.URL + tagged}})
	azure.site.Store(s)
	if err := s.functions.Fire(t.Context(), judge.CanaryName); err != nil {
		t.Fatal(err)
	}
	until(t, "a canary does not arrive", func() bool {
		states, err := s.states(t.Context(), 0)
		works := 0
		for _, state := range states {
			if state == coverage.Works {
				works++
			}
		}
		return err == nil && works == len(states) && works == len(coverage.Paths)+len(forks(t))
	})
	if err := errors.Join(s.topic.Wait(t.Context()), s.hub.Wait(t.Context()), s.functions.Fire(t.Context(), judge.VerdictsName), s.functions.Fire(t.Context(), judge.CanaryName)); err != nil {
		t.Fatal(err)
	}
	alerts, err := s.alerts(t.Context())
	if err != nil || len(alerts) > 0 {
		t.Errorf("error %v, alerts %v, want none", err, alerts)
	}
	heard, err := s.stores.Alerts.LastHeard(t.Context())
	if n, _, counted := s.stores.Quarantine.Waiting(t.Context(), 10); err != nil || len(heard) > 0 || n > 0 {
		t.Errorf("error %v, heard %v, %d in quarantine (%v), want nothing", err, heard, n, counted)
	}
}

// TestMissingLink takes one link out of a site at a time. The paths that need it are told to be
// broken, by an alert with one occurrence, and the other path works.
func TestMissingLink(t *testing.T) {
	for name, test := range map[string]struct {
		site   siteOptions
		broken coverage.Path
		works  coverage.Path
	}{
		"the event subscription": {siteOptions{subscribed: func(s eventgrid.Subscription) bool { return s.Function != detector.PathBroken.Name }}, coverage.Topic, coverage.EventHub},
		"the topic":              {siteOptions{relayed: absent}, coverage.Topic, coverage.EventHub},
		"delivery by the topic":  {siteOptions{relayed: swallows}, coverage.Topic, coverage.EventHub},
		"the topic of alerts":    {siteOptions{told: swallows}, coverage.Alerts, coverage.Topic},
		"whom alerts come to":    {siteOptions{subscribed: func(s eventgrid.Subscription) bool { return s.Function != judge.NotifyName }}, coverage.Alerts, coverage.EventHub},
		"the event hub":          {siteOptions{canaries: absent}, coverage.EventHub, coverage.Topic},
		"the trigger of the hub": {siteOptions{canaries: swallows}, coverage.EventHub, coverage.Topic},
	} {
		t.Run(name, func(t *testing.T) {
			atRoot(t)
			s := watched(t, test.site)
			var paths []string
			until(t, "no alert is raised", func() bool {
				if err := s.functions.Fire(t.Context(), judge.CanaryName); err != nil {
					t.Fatal(err)
				}
				var err error
				if paths, err = s.broken(t.Context()); err != nil {
					t.Fatal(err)
				}
				return len(paths) > 0
			})
			states, err := s.states(t.Context(), coverage.Patience)
			if want := fmt.Sprint(test.broken, " 1"); err != nil || !slices.Equal(paths, []string{want}) || states[test.broken] != coverage.Broken || states[test.works] != coverage.Works {
				t.Errorf("error %v, alerts about %q, want %q; states %v, want %s broken and %s working", err, paths, want, states, test.broken, test.works)
			}
		})
	}
}

// TestMissingSubscriptions takes each event subscription of the custom topics out of a site but for
// those that prove the topics, and takes one type out of the filter of one of them. The path to each of
// these functions is told to be broken, by an alert with one occurrence. The topics work.
func TestMissingSubscriptions(t *testing.T) {
	atRoot(t)
	const lost = "hubwatch.iothub.connection.missing"
	filtered := detector.DeviceTokenExpired.Name
	s := watched(t, siteOptions{subscribed: func(s eventgrid.Subscription) bool {
		if s.Function == filtered {
			s.Filter.IncludedEventTypes[slices.Index(s.Filter.IncludedEventTypes, lost)] = "hubwatch.nothing"
			return true
		}
		return !slices.ContainsFunc(forks(t), func(p coverage.Path) bool { return strings.HasSuffix(string(p), "/"+s.Function) })
	}})
	// They were there two hours ago.
	for path, of := range branches(t) {
		if err := s.stores.Alerts.Send(t.Context(), coverage.Canary{Path: path, Token: "a", Sent: time.Now().Add(-2 * time.Hour)}, coverage.Patience, of); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for _, path := range forks(t) {
		want = append(want, fmt.Sprint(path, " 1"))
	}
	var paths []string
	until(t, "not all alerts are raised", func() bool {
		if err := s.functions.Fire(t.Context(), judge.CanaryName); err != nil {
			t.Fatal(err)
		}
		var err error
		if paths, err = s.broken(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(paths) >= len(want)
	})
	if len(want) < 7 || !slices.Equal(paths, want) {
		t.Errorf("alerts about %q, want %q", paths, want)
	}
	states, err := s.states(t.Context(), 0)
	for _, path := range []coverage.Path{coverage.Topic, coverage.EventHub, coverage.Alerts} {
		if err != nil || states[path] != coverage.Works {
			t.Errorf("error %v, %s %s", err, path, states[path])
		}
	}
	alerts, err := s.alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		types := a.Properties["EventTypes"]
		if a.Entity.Name == string(coverage.Topic)+"/"+filtered && types != lost {
			t.Errorf("the canary did not come as %q, want %s", types, lost)
		}
	}
}

// resources is Azure Resource Manager as far as the tags of a resource are concerned. It publishes an
// event of each tag to the topic of a site.
type resources struct {
	*httptest.Server
	site   atomic.Pointer[site]
	status atomic.Int64 // what it answers; if it is not 200, nothing is written
	wrote  atomic.Int64
}

// tagged is the address of the tags of a resource.
const tagged = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.ManagedIdentity/userAssignedIdentities/hubwatch/providers/Microsoft.Resources/tags/default"

func startResources(t *testing.T) *resources {
	r := &resources{}
	r.status.Store(http.StatusOK)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		status := int(r.status.Load())
		if status == http.StatusOK && request.Method == http.MethodPatch && request.URL.Path == tagged {
			r.wrote.Add(1)
			if err := r.site.Load().post(request.Context(), "/api/events", fmt.Appendf(nil, `{"id":"tag","topic":"/subscriptions/00000000-0000-0000-0000-000000000001","subject":%q,"eventType":"Microsoft.Resources.ResourceWriteSuccess","eventTime":%q,"dataVersion":"2","metadataVersion":"1","data":{"operationName":"Microsoft.Resources/tags/write"}}`,
				tagged, time.Now().UTC().Format(time.RFC3339Nano))); err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

// TestTag writes tags as canaries of the way of changes: one without the event subscription, and one that Azure Resource Manager refuses. Nobody is told that the way is
// broken in the last case, since nothing is known of it.
func TestTag(t *testing.T) {
	for name, test := range map[string]struct {
		subscribed bool
		status     int64
		want       coverage.State
		text       string
		alerts     []string
	}{
		"the event subscription": {false, http.StatusOK, coverage.Broken, " did not arrive; none ever arrived", []string{"changes 1"}},
		"the right to write":     {true, http.StatusForbidden, coverage.Unproven, "not proven, since no tag was written: tag: 403 Forbidden: the right to write it is missing", nil},
	} {
		t.Run(name, func(t *testing.T) {
			atRoot(t)
			azure := startResources(t)
			azure.status.Store(test.status)
			s := watched(t, siteOptions{
				env:        []string{"CanaryTagUri=" + azure.URL + tagged},
				subscribed: func(s eventgrid.Subscription) bool { return test.subscribed || s.Function != judge.CanaryTagName },
			})
			azure.site.Store(s)
			var last coverage.Report
			until(t, "the way of changes is not as it should be", func() bool {
				if err := s.functions.Fire(t.Context(), judge.CanaryName); err != nil {
					t.Fatal(err)
				}
				trips, err := s.stores.Alerts.Trips(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range coverage.NewReports(trips, nil, time.Now()) {
					if r.Path == coverage.Changes {
						last = r
					}
				}
				paths, err := s.broken(t.Context())
				return err == nil && last.State == test.want && slices.Equal(paths, test.alerts)
			})
			if !strings.Contains(last.Text, test.text) {
				t.Errorf("%q, want %q", last.Text, test.text)
			}
			if err := s.topic.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := int64(1)
			if test.status != http.StatusOK {
				want = 0
			}
			if azure.wrote.Load() != want {
				t.Errorf("%d tags were written, want %d", azure.wrote.Load(), want)
			}
			alerts, err := s.alerts(t.Context())
			if n, _, counted := s.stores.Quarantine.Waiting(t.Context(), 10); err != nil || len(alerts) != len(test.alerts) || n > 0 {
				t.Errorf("error %v, alerts %v, %d in quarantine (%v)", err, alerts, n, counted)
			}
		})
	}
}

// TestMissingTable takes the table away. Then each run of the function fails, and whoever asks
// gets an error that names the table.
func TestMissingTable(t *testing.T) {
	atRoot(t)
	s := watched(t, siteOptions{})
	if err := s.functions.Fire(t.Context(), judge.CanaryName); err != nil {
		t.Fatal(err)
	}
	s.azurite.Kill()
	if err := s.functions.Fire(t.Context(), judge.CanaryName); err == nil {
		t.Error("the function succeeds without its table")
	}
	until(t, "the log does not name the table", func() bool {
		log, err := os.ReadFile(logFile)
		return err == nil && strings.Contains(string(log), `canaries: table \"alerts\": `)
	})
	if _, err := s.states(t.Context(), 0); err == nil || !strings.Contains(err.Error(), `table "alerts"`) {
		t.Errorf("error %v, want one that names the table", err)
	}
}

// TestMissingHandler takes the app away. Nobody in it can say so. Whoever asks later is told that
// no canary was sent.
func TestMissingHandler(t *testing.T) {
	atRoot(t)
	s := watched(t, siteOptions{})
	if err := s.functions.Fire(t.Context(), judge.CanaryName); err != nil {
		t.Fatal(err)
	}
	s.functions.Close()
	if err := s.functions.Fire(t.Context(), judge.CanaryName); err == nil {
		t.Error("the app runs")
	}
	states, err := s.states(t.Context(), coverage.Topic.Overdue())
	if err != nil || states[coverage.Topic] != coverage.Stopped || states[coverage.EventHub] != coverage.Stopped || states[coverage.Alerts] != coverage.Stopped {
		t.Errorf("error %v, states %v, want that nobody sends canaries", err, states)
	}
}
