package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
	"hubwatch/handlers/table"
)

// storing is a way to keep alerts, with a service behind it.
type storing struct {
	name     string
	evidence bool // each occurrence has a row of its own, beside the alert
	counts   bool // the occurrences of one alert have one row
	// open returns what stores the nth alert, or the nth occurrence of one alert, on one of
	// some hubs, and returns when it is durable.
	open func(connection, table string) (func(ctx context.Context, n, hubs int, again bool) error, error)
}

// writers are the ways that are compared: the least that a program can do, one AddEntity for
// each alert; the least that keeps evidence that is there if its alert is, both in one
// transaction; and hubwatch, with its evidence, its exact count and the summary of the day.
var writers = []storing{
	{"AddEntity", false, false, func(connection, name string) (func(context.Context, int, int, bool) error, error) {
		client, err := plainTable(connection, name)
		return func(ctx context.Context, n, hubs int, _ bool) error {
			entity, err := plainRow("a|", n, hubs)
			if err != nil {
				return err
			}
			_, err = client.AddEntity(ctx, entity, nil)
			return err
		}, err
	}},
	{"transaction", true, false, func(connection, name string) (func(context.Context, int, int, bool) error, error) {
		client, err := plainTable(connection, name)
		return func(ctx context.Context, n, hubs int, _ bool) error {
			row, err := plainRow("a|", n, hubs)
			if err != nil {
				return err
			}
			evidence, err := plainRow("e|", n, hubs)
			if err != nil {
				return err
			}
			_, err = client.SubmitTransaction(ctx, []aztables.TransactionAction{
				{ActionType: aztables.TransactionTypeAdd, Entity: row}, {ActionType: aztables.TransactionTypeAdd, Entity: evidence},
			}, nil)
			return err
		}, err
	}},
	{"hubwatch", true, true, func(connection, name string) (func(context.Context, int, int, bool) error, error) {
		account, err := table.Open(table.Settings{ConnectionString: connection})
		if err != nil {
			return nil, err
		}
		alerts := account.Alerts(name).Failures()
		return func(ctx context.Context, n, hubs int, again bool) error {
			recorded, err := alerts.Record(ctx, occurrence(n, hubs, again))
			if err == nil && recorded[0].Outcome != alert.New && (recorded[0].Outcome != alert.Counted || !again) {
				err = fmt.Errorf("the alert is %v: %w", recorded[0].Outcome, recorded[0].Err)
			}
			return err
		}, nil
	}},
}

// plainTable makes a table, and returns a client of it.
func plainTable(connection, name string) (*aztables.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = 128, 128 // as hubwatch has it
	service, err := aztables.NewServiceClientFromConnectionString(connection, &aztables.ClientOptions{ClientOptions: policy.ClientOptions{Transport: &http.Client{Transport: transport}}})
	if err != nil {
		return nil, err
	}
	client := service.NewClient(name)
	_, err = client.CreateTable(context.Background(), nil)
	return client, err
}

// plainRow returns the row of the nth alert as a program without evidence would write it, in a
// range of row keys. A row of evidence has less than it, and hubwatch writes more into both.
func plainRow(of string, n, hubs int) ([]byte, error) {
	o := occurrence(n, hubs, false)
	row := map[string]string{"PartitionKey": o.Hub.Key() + "|" + o.Day().Format(time.DateOnly), "RowKey": of + o.ID, "RawEvent": string(o.Event.Raw)}
	if of == "a|" {
		row["AlertType"], row["AlertDisplayName"], row["Severity"], row["Description"] = o.Type, o.DisplayName, string(o.Severity), o.Message
		row["CompromisedEntity"], row["HubName"], row["ResourceId"] = o.Entity.Name, o.Hub.Name, o.Hub.ResourceID
	}
	return json.Marshal(row)
}

// occurrence returns the nth occurrence: of an alert of its own, or of the alert of its hub.
func occurrence(n, hubs int, again bool) alert.Occurrence {
	hub := fmt.Sprintf("contoso-hub-%d", n%hubs)
	device := fmt.Sprintf("device-%d", n)
	if again {
		device = "device"
	}
	o := alert.Occurrence{
		Detector: "DeviceTokenInvalid", Type: "IoT_Invalid_SAS_Token", DisplayName: "Invalid SAS token", Severity: alert.Low,
		Remediation: []string{"Find out who has tried to connect."},
		Finding: alert.Finding{
			Hub:    alert.Hub{Name: hub, ResourceID: "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/" + hub, SubscriptionID: "00000000-0000-0000-0000-000000000001"},
			Entity: alert.Entity{Type: alert.Device, Name: device}, ActorIPAddress: "203.0.113.XXX", Confidence: alert.Stated,
			Message: "Device " + device + " tried to connect to " + hub + " with a SAS token whose signature is not valid.",
		},
		Event: alert.Event{Source: hub, ID: fmt.Sprint(n), Time: time.Date(2026, 2, 1, 10, 0, 0, 0, time.UTC), Raw: []byte(`{"text":"` + strings.Repeat("0123456789", 150) + `"}`)},
	}
	o.ID = alert.ID(o.Type, o.Hub, o.Entity, o.Actor, o.Event.Time)
	return o
}

// storingSenders is how many senders store at once. Each waits until what it has sent is
// durable before it sends more.
const storingSenders = 64

// store lets the senders store for a while and returns how many alerts a second they
// stored.
func store(w storing, connection, name string, hubs int, again bool, each time.Duration) (rate float64, stored int, err error) {
	put, err := w.open(connection, name)
	if err != nil {
		return 0, 0, err
	}
	for n := range hubs { // the first alerts of their hubs
		if err := put(context.Background(), n, hubs, again); err != nil {
			return 0, 0, err
		}
	}
	var next, done atomic.Int64
	next.Store(int64(hubs))
	errs := make([]error, storingSenders)
	start := time.Now()
	var wait sync.WaitGroup
	for i := range storingSenders {
		wait.Go(func() {
			for time.Since(start) < each && errs[i] == nil {
				if errs[i] = put(context.Background(), int(next.Add(1)-1), hubs, again); errs[i] == nil {
					done.Add(1)
				}
			}
		})
	}
	wait.Wait()
	return float64(done.Load()) / time.Since(start).Seconds(), int(done.Load()) + hubs, errors.Join(errs...)
}

// stores compares the writers on each service and returns the table. root is the folder of
// the module, where Azurite may be.
func stores(root string, rounds int, each time.Duration) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "Alerts stored a second, by %d senders, each of which waits until its alert is durable. Medians of %d rounds.\n\n", storingSenders, rounds)
	b.WriteString(head(storeColumns...))
	tables := 0
	row := func(service string, connect func() (connection string, stop func())) error {
		for _, hubs := range []int{1, 50} {
			for _, again := range []bool{false, true} {
				rates := make([][]float64, len(writers))
				for range rounds {
					for i, w := range writers {
						connection, stop := connect()
						tables++
						name := fmt.Sprintf("alerts%d", tables)
						rate, stored, err := store(w, connection, name, hubs, again, each)
						if err == nil {
							err = w.check(connection, name, stored, hubs, again)
						}
						stop()
						if err != nil {
							return fmt.Errorf("%s, %s: %w", service, w.name, err)
						}
						rates[i] = append(rates[i], rate)
					}
				}
				what := map[bool]string{false: "new alerts", true: "occurrences of one alert a hub"}[again]
				fmt.Fprintf(&b, "| %s | %d | %s | %.0f | %.0f | %.0f | %v | %v |\n", service, hubs, what,
					median(rates[0]), median(rates[1]), median(rates[2]), newRatio(rates[2], rates[0]), newRatio(rates[2], rates[1]))
			}
		}
		return nil
	}
	for _, delay := range []time.Duration{2 * time.Millisecond, 10 * time.Millisecond} {
		if err := row(fmt.Sprintf("stand-in, answers after %v", delay), func() (string, func()) {
			_, connection, stop := startShelf(delay)
			return connection, stop
		}); err != nil {
			return "", err
		}
	}
	main, err := azurite.Find(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: without Azurite:", err)
		return b.String(), nil
	}
	service, err := azurite.Start(context.Background(), azurite.Options{Main: main})
	if err != nil {
		return "", err
	}
	err = row("Azurite", func() (string, func()) { return service.ConnectionString(), func() {} })
	return b.String(), errors.Join(err, service.Stop())
}

// check returns an error if a table does not hold what was acknowledged, all of it and no more.
// It counts the rows through the SDK.
func (w storing) check(connection, name string, stored, hubs int, again bool) error {
	alerts, evidence := stored, 0
	if w.evidence {
		evidence = stored
	}
	if w.counts && again {
		alerts = hubs
	}
	service, err := aztables.NewServiceClientFromConnectionString(connection, nil)
	if err != nil {
		return err
	}
	a, e := 0, 0
	for pages := service.NewClient(name).NewListEntitiesPager(nil); pages.More(); {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return err
		}
		for _, entity := range page.Entities {
			var row struct{ RowKey string }
			if err := json.Unmarshal(entity, &row); err != nil {
				return err
			}
			switch {
			case strings.HasPrefix(row.RowKey, "a|"):
				a++
			case strings.HasPrefix(row.RowKey, "e|"):
				e++
			}
		}
	}
	if a != alerts || e != evidence {
		return fmt.Errorf("%d alerts and %d rows of evidence are kept, want %d and %d", a, e, alerts, evidence)
	}
	return nil
}
