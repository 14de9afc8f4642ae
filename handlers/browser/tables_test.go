package browser

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/cases"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/console"
	"hubwatch/handlers/coverage"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/table"
	"hubwatch/handlers/verdict"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.large != nil {
		shared.large.server.Close()
	}
	if shared.driver != nil {
		if err := shared.driver.stop(); err != nil {
			log.Print(err)
			code = max(code, 1)
		}
	}
	if shared.azurite != nil {
		shared.azurite.Kill() // its tables are in memory
	}
	os.Exit(code)
}

// shared has what all tests use: one Azurite and one browser.
var shared struct {
	once     sync.Once
	azurite  *azurite.Service
	driver   *driver
	examples map[string]alert.Occurrence // of each detector

	noAzurite, noBrowser, broken error

	filled   sync.Once
	large    *site
	unfilled error
}

// setUp starts Azurite and the browser, once for all tests. Without Azurite the test is
// skipped, unless HUBWATCH_AZURITE is "required"; without a browser, unless
// HUBWATCH_BROWSER is.
func setUp(t testing.TB) {
	t.Helper()
	shared.once.Do(func() {
		var main string
		if main, shared.noAzurite = azurite.Find("../.."); shared.noAzurite != nil {
			return
		}
		if shared.driver, shared.noBrowser = startDriver(); shared.noBrowser != nil {
			return
		}
		if shared.azurite, shared.noAzurite = azurite.Start(context.Background(), azurite.Options{Main: main}); shared.noAzurite != nil {
			return
		}
		shared.examples, shared.broken = examples()
	})
	if shared.noAzurite != nil && os.Getenv("HUBWATCH_AZURITE") != "required" {
		t.Skip(shared.noAzurite)
	}
	if shared.noBrowser != nil && os.Getenv("HUBWATCH_BROWSER") != "required" {
		t.Skip(shared.noBrowser)
	}
	if err := errors.Join(shared.noAzurite, shared.noBrowser, shared.broken); err != nil {
		t.Fatal(err)
	}
}

// kinds are the detectors of the alerts in these tests: those of Microsoft's ten, which are
// about something that has a name.
var kinds = detector.All[:10]

// examples returns an occurrence of each of kinds, from a case in which it reports
// something that has a name.
func examples() (map[string]alert.Occurrence, error) {
	found := map[string]alert.Occurrence{}
	for _, d := range kinds {
		list, err := cases.Read(os.DirFS("../detector/testdata"), d.Name)
		if err != nil {
			return nil, err
		}
		for _, c := range list {
			if v := d.Judge(c.Event); len(v.Occurrences) > 0 && v.Err == nil && v.Occurrences[0].Tally.Item == "" && better(v.Occurrences[0], found[d.Name]) {
				found[d.Name] = v.Occurrences[0]
			}
		}
		if found[d.Name].ID == "" {
			return nil, fmt.Errorf("no case of %s has an alert", d.Name)
		}
	}
	return found, nil
}

// better reports whether an occurrence says more than another: an ordinary name, who did
// it, and from where.
func better(a, b alert.Occurrence) bool {
	says := func(o alert.Occurrence) (n int) {
		for _, yes := range []bool{
			o.ID != "", o.Entity.Type != alert.IoTHub, strings.Contains(o.Actor, "@") || o.Actor == "", o.ActorIPAddress != "", o.CorrelationID != "",
			o.Hub.Name == "contoso-hub", strings.Contains(o.Message, o.Entity.Name),
		} {
			if yes {
				n++
			}
		}
		return n
	}
	return says(a) > says(b)
}

// happened is what a test says of an occurrence.
type happened struct {
	detector  string
	hub, name string
	actor     string // of changes
	at        time.Time
}

// occurrence returns an occurrence as the detector reports it, with another hub, name and
// actor.
func (h happened) occurrence() alert.Occurrence {
	o := shared.examples[h.detector]
	names := strings.NewReplacer(pairs(o.Hub.Name, h.hub, o.Entity.Name, h.name, o.Actor, h.actor)...)
	o.Message = names.Replace(o.Message)
	o.Hub.ResourceID = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/" + h.hub
	o.Hub.Name, o.Hub.SubscriptionID, o.Entity.Name = h.hub, "00000000-0000-0000-0000-000000000001", h.name
	if o.Actor != "" {
		o.Actor = h.actor
	}
	o.Event.ID = fmt.Sprintf("%s %s %s", h.detector, h.name, h.at)
	o.Event.Time = h.at.UTC()
	o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, o.Day())
	return o
}

// pairs leaves out the pairs of a replacement that would replace nothing, or the same.
func pairs(texts ...string) (all []string) {
	for pair := range slices.Chunk(texts, 2) {
		if pair[0] != "" && pair[1] != "" {
			all = append(all, pair...)
		}
	}
	return all
}

// hubs are those of the tests.
var hubs = []string{"contoso-hub", "contoso-hub-west", "plant-hub"}

// hostile are names that try to be something else than text, or that are very long. IoT
// Hub takes some of them as ids of devices; the others come from an event that lies.
var hostile = []string{
	scriptName,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`javascript:alert(1)`,
	"valve-\u202e7\u2066-evlav", // turns the direction of the text
	"valve\u200b-\u00ad8",       // has characters without a width
	"{{.Session}} ${7*7} <!-- ",
	"$(reboot)",
	strings.Repeat("sensor_with_a_very_long_name.", 4) + "1234567890",
}

// scriptName would give the page another title, if it were not text.
const scriptName = `<script>document.title='owned'</script>`

// bob is who looks at the console.
var bob = alert.Person{Name: "bob@contoso.example", ObjectID: "00000000-0000-0000-0000-0000000000b0"}

// site is a console on tables of its own.
type site struct {
	stores *app.App
	server *httptest.Server
	url    string // with the token
	origin string // without
	refs   map[string]alert.Ref

	entered []map[string]any // the cookies of a browser that was let in, nil if none was
}

// open returns a console, as hubwatch console serves it, on tables with alerts. The names
// of the tables begin with name.
func open(ctx context.Context, name string, occurrences []alert.Occurrence) (*site, error) {
	settings := map[string]string{
		"AlertsStorage": shared.azurite.ConnectionString(),
		"StateTables":   name, "AlertsTable": name + "alerts", "QuarantineTable": name + "quarantine", "SuppressionsTable": name + "suppressions",
	}
	stores, err := app.Open(func(name string) string { return settings[name] })
	if err != nil {
		return nil, err
	}
	s := &site{stores: stores, refs: map[string]alert.Ref{}}
	// The first alert makes the table. The store gives up writing what takes too long, so
	// the others are not given all at once.
	if _, err := stores.Failures.Record(ctx, occurrences[0]); err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(occurrences, 500) {
		recorded, err := stores.Failures.Record(ctx, batch...)
		if err != nil {
			return nil, err
		}
		for i, o := range batch {
			if recorded[i].Err != nil {
				return nil, recorded[i].Err
			}
			s.refs[o.Entity.Name] = refOf(o)
		}
	}
	for i, hub := range hubs {
		err = errors.Join(err, stores.Alerts.Hear(ctx, hub, alert.Connections, time.Now().Add(-time.Duration(i)*time.Minute)),
			stores.Alerts.Hear(ctx, hub, alert.Changes, time.Now().Add(-time.Duration(i+1)*3*time.Hour)))
	}
	err = errors.Join(err, connected(ctx, stores.State))
	if err != nil {
		return nil, err
	}
	s.serve(stores.Alerts)
	return s, nil
}

// connected keeps verdicts on the connections of hubs in the last days: renewals, refused
// ones, and sentences that no rule knows, of which one is as long as any.
func connected(ctx context.Context, state *table.State) (err error) {
	for i, hub := range hubs {
		for day := range 7 {
			row := verdict.Row{
				Place:   verdict.Place{Hub: hub, Bucket: verdict.BucketOf(time.Now().AddDate(0, 0, -day))},
				Renewed: 1_234_567 / (i + 1), Elsewhere: 12_345, Refused: map[connection.Cause]int{connection.TokenInvalid: 17 * (day % 3), connection.TokenExpired: 4, connection.Unclassified: 3},
				Unknown: map[string]int{
					"the ip address is not in the list of the hub": 2, strings.Repeat("x", verdict.MostSentence): 1, verdict.OtherSentences: i + 1,
				},
			}
			_, failed := state.Put(ctx, row, "")
			err = errors.Join(err, failed)
		}
	}
	return err
}

// store reads and changes alerts.
type store interface {
	alert.Reader
	alert.Editor
	coverage.Reader
}

// serve starts the console of the site over a store of alerts.
func (s *site) serve(alerts store) {
	s.server = httptest.NewUnstartedServer(nil) // it listens on 127.0.0.1
	door := console.NewLocal(console.New(console.Options{
		Alerts: alerts, Suppressions: s.stores.Suppressions, Quarantine: s.stores.Quarantine, Connections: s.stores.State, Detectors: s.stores.Detectors,
		Session: func(*http.Request) (console.Session, error) { return console.Session{Person: bob}, nil },
		Account: "contosostorage", Command: "hubwatch --account=contosostorage", Now: time.Now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}), s.server.Listener.Addr())
	s.server.Config.Handler = door
	s.server.Start()
	s.url, s.origin = door.URL(), s.server.URL
}

// refOf returns the reference of the alert that an occurrence makes.
func refOf(o alert.Occurrence) alert.Ref {
	return alert.Ref{Hub: strings.ToLower(o.Hub.Name), Day: o.Day(), ID: o.ID}
}

// page returns the address of the page of an alert.
func (s *site) page(name string) string {
	ref, ok := s.refs[name]
	if !ok {
		panic("there is no alert about " + name)
	}
	return fmt.Sprintf("%s/alerts/%s/%s/%s", s.origin, ref.Hub, ref.Day.Format(time.DateOnly), ref.ID)
}

// enter returns a tab that has opened the address with the token.
func (s *site) enter(t testing.TB, l look) *tab {
	t.Helper()
	p := shared.driver.open(t, l)
	p.opens(s.url, http.StatusOK)
	return p
}

// inside returns a tab of a browser that was let in before, and shows nothing yet. The overview,
// which enter shows, takes seconds of a computer if there are many alerts.
func (s *site) inside(t testing.TB, l look) *tab {
	t.Helper()
	l.cookies = s.cookies(t)
	return shared.driver.open(t, l)
}

// manyAlerts returns how many alerts the large table has: ten thousand for benchmarks, and if
// HUBWATCH_TRIALS is set. Azurite takes seconds to read so many for a page, so make test has
// a fifth of them, which are many pages of the list, too.
func manyAlerts(t testing.TB) int {
	if _, measured := t.(*testing.B); measured || os.Getenv("HUBWATCH_TRIALS") != "" {
		return 10_000
	}
	return 2_000
}

// many returns n alerts of all types, on three hubs, in the last 30 days. The newest are about
// devices with hostile names.
func many(n int, now time.Time) (all []alert.Occurrence) {
	for i := range n - len(hostile) {
		d := kinds[i%len(kinds)]
		h := happened{
			detector: d.Name, hub: hubs[i*7%len(hubs)], name: fmt.Sprintf("root-ca-%d", i), actor: "alice@contoso.example",
			at: now.Add(-time.Hour - time.Duration(i)*(29*24*time.Hour/time.Duration(n))),
		}
		if d.On.Unprivileged() {
			h.name = fmt.Sprintf("valve-%d", i)
		}
		all = append(all, h.occurrence())
	}
	for i, name := range hostile {
		all = append(all, happened{detector: "DeviceTokenInvalid", hub: "contoso-hub", name: name, at: now.Add(-time.Duration(i+1) * time.Minute)}.occurrence())
	}
	return all
}

// fleet returns the alerts of a fleet as a person meets them on an ordinary day, for
// pictures.
func fleet(now time.Time) (all []alert.Occurrence) {
	for day := range 30 {
		at := now.AddDate(0, 0, -day).Add(-20 * time.Minute)
		count := 3 + (day*5+day/3*4)%8
		if day == 9 {
			count = 18 // a batch of devices had the wrong clock
		}
		for n := range count {
			kind := []string{"DeviceTokenExpired", "DeviceTokenExpired", "DeviceTokenInvalid", "DeviceCertificateExpired", "DeviceTokenExpired", "DeviceCertificateMismatch"}[(n+day)%6]
			all = append(all, happened{detector: kind, hub: hubs[(n+day)%3], name: fmt.Sprintf("pump-%02d", (n*7+day*3)%60), at: at.Add(-time.Duration(n) * 17 * time.Minute)}.occurrence())
		}
		switch {
		case day%6 == 1:
			all = append(all, happened{detector: "CertificateAdded", hub: hubs[day%3], name: fmt.Sprintf("plant-ca-%d", day), actor: "alice@contoso.example", at: at}.occurrence())
		case day%7 == 3:
			all = append(all, happened{detector: "DiagnosticSettingChanged", hub: hubs[day%3], name: "to-logs", actor: "deploy@contoso.example", at: at}.occurrence())
		case day%9 == 5:
			all = append(all, happened{detector: "CertificateDeleteFailed", hub: hubs[day%3], name: "root-ca", actor: "carol@contoso.example", at: at}.occurrence())
		}
	}
	return append(all,
		happened{detector: "CertificateAdded", hub: "contoso-hub", name: "root-ca-2027", actor: "alice@contoso.example", at: now.Add(-2*time.Hour - 4*time.Minute)}.occurrence(),
		happened{detector: "DiagnosticSettingDeleted", hub: "contoso-hub-west", name: "to-logs", actor: "alice@contoso.example", at: now.Add(-95 * time.Minute)}.occurrence(),
	)
}

// settle closes alerts older than two days, as the people of a fleet do.
func (s *site) settle(t testing.TB, occurrences []alert.Occurrence, now time.Time) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(8)
	done := map[string]bool{}
	for i, o := range occurrences {
		if now.Sub(o.Event.Time) < 36*time.Hour || done[o.ID] {
			continue
		}
		done[o.ID] = true
		c := alert.Change{Status: alert.Resolved, Verdict: alert.TruePositive, Reason: "the device has a new key", By: bob, Via: "console"}
		if i%5 == 0 {
			c = alert.Change{Status: alert.Dismissed, Verdict: alert.Benign, Reason: "planned work", By: bob, Via: "console"}
		}
		group.Go(func() error {
			_, err := s.stores.Alerts.Change(t.Context(), refOf(o), c)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// large is the console on many alerts, which tests share.
func large(t testing.TB) *site {
	t.Helper()
	setUp(t)
	shared.filled.Do(func() {
		shared.large, shared.unfilled = open(context.Background(), "large", many(manyAlerts(t), time.Now()))
	})
	if shared.unfilled != nil {
		t.Fatal(shared.unfilled)
	}
	return shared.large
}
