package verdict_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/verdict"
)

// told is what the detectors made of events: the newest version of each occurrence.
type told map[counted]alert.Tally

// counted is an occurrence, whatever its version.
type counted struct {
	alert, item string
	hub         bool // it is about a hub
	entity      string
	day         time.Time
}

// hear gives an event to the detectors that are for its type.
func (a told) hear(raw jsontext.Value, detectors []detector.Detector) error {
	for _, d := range detectors {
		v := d.Judge(raw)
		if v.Err != nil {
			return fmt.Errorf("%s: %w", d.Name, v.Err)
		}
		for _, o := range v.Occurrences {
			tally := o.Tally
			if tally.Item == "" {
				tally = alert.Tally{Item: o.Event.ID, N: 1, Seq: 1}
			}
			k := counted{o.ID, tally.Item, o.Entity.Type == alert.IoTHub, o.Entity.Name, o.Day()}
			if tally.Seq > a[k].Seq {
				a[k] = tally
			}
		}
	}
	return nil
}

// Publish implements verdict.Publisher. The type of an event says which detectors it is for.
func (a told) Publish(_ context.Context, notices []verdict.Notice) error {
	for _, n := range notices {
		raw, err := n.Event()
		if err != nil {
			return err
		}
		if err := a.hear(raw, forType(n.EventType())); err != nil {
			return err
		}
	}
	return nil
}

// forType returns the detectors of a type of event.
func forType(kind string) (list []detector.Detector) {
	for _, d := range detector.All {
		for _, of := range d.On.EventTypes {
			if of == kind {
				list = append(list, d)
			}
		}
	}
	return list
}

// count returns the alerts of the first day: those about attacked devices, about other
// devices, and about hubs, and how many items these are.
func (a told) count() (attacked, others, hubs, items int) {
	alerts := map[string]counted{}
	for k, v := range a {
		if v.N == 0 || !k.day.Equal(time.Unix(0, 0)) {
			continue
		}
		alerts[k.alert] = k
		if k.hub {
			items++
		}
	}
	devices := map[string]bool{}
	for _, k := range alerts {
		switch {
		case k.hub:
			hubs++
		case strings.HasPrefix(k.entity, "02"):
			devices[k.entity] = true
		default:
			others++
		}
	}
	return len(devices), others, hubs, items
}

// record returns a record of the Connections log as Azure Monitor writes it.
func record(hub string, f verdict.Fact) string {
	operation, level, result, address := "deviceConnect", "Error", `"resultType":"401003","resultDescription":"IotHubUnauthorized",`, "192.0.2.XXX"
	switch {
	case f.Sign == connection.Connect:
		level, result = "Information", ""
	case f.Sign == connection.Expiry:
		operation = "deviceDisconnect"
	case f.Cause == connection.TokenExpired:
		result = `"resultType":"401003","resultDescription":"Unauthorized: the SAS token has expired",`
	}
	if f.Address == 2 {
		address = "203.0.113.XXX"
	}
	return fmt.Sprintf(`{"time":%q,"resourceId":"/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/RESOURCEGROUPS/RG-IOT/PROVIDERS/MICROSOFT.DEVICES/IOTHUBS/%s",`+
		`"operationName":%q,"category":"Connections","level":%q,%s"properties":"{\"deviceId\":\"%x\",\"protocol\":\"Mqtt\",\"authType\":\"{\\\"scope\\\":\\\"device\\\",`+
		`\\\"type\\\":\\\"sas\\\",\\\"issuer\\\":\\\"iothub\\\"}\",\"maskedIpAddress\":%s}","location":"westeurope"}`,
		time.Unix(f.Second, 0).UTC().Format(time.RFC3339), strings.ToUpper(hub), operation, level, result, f.Device[:], `\"`+address+`\"`)
}

// message returns a message as Azure Monitor writes it.
func message(m verdict.Message) []byte {
	records := make([]string, len(m.Facts))
	for i, f := range m.Facts {
		records[i] = record(m.Hub, f)
	}
	return []byte(`{"records":[` + strings.Join(records, ",") + "]}")
}

// before gives messages to the relay of the time before verdicts, which makes an event of each
// failed connection, and these to the detectors. It is still the way of a message that is
// redriven.
func before(t *testing.T, all []verdict.Message) told {
	t.Helper()
	alerts := told{}
	detectors := forType(connection.Failed)
	for _, m := range all {
		result := relay.Relay([][]byte{message(m)})
		if len(result.Unreadable) > 0 {
			t.Fatal(result.Unreadable[0].Err)
		}
		for _, raw := range result.Events {
			if err := alerts.hear(raw, detectors); err != nil {
				t.Fatal(err)
			}
		}
	}
	return alerts
}

// judged gives messages to the relay, judges each minute until nothing is marked, and gives
// what is published to the detectors.
func judged(t *testing.T, all []verdict.Message) told {
	t.Helper()
	s := verdict.Defaults()
	s.SameNetwork, s.Storm = true, s.Storm/verdict.Part()
	store, alerts := verdict.NewMemory(), told{}
	var now time.Time
	stager := verdict.Stager{Settings: s, Store: store, Now: func() time.Time { return now }}
	noter := verdict.Noter{Store: store, Now: stager.Now}
	judge := verdict.Judge{Settings: s, Store: store, Publisher: alerts}
	for minute := 0; len(all) > 0 || store.Marks() > 0; minute++ {
		now = time.Unix(int64(60*minute), 0).UTC()
		for len(all) > 0 && !all[0].At.After(now) {
			staging := relay.Stage([][]byte{message(all[0])}, s, now)
			if len(staging.Unreadable) > 0 {
				t.Fatal(staging.Unreadable[0].Err)
			}
			if err := stager.Stage(t.Context(), staging.Rows, staging.Marks); err != nil {
				t.Fatal(err)
			}
			if err := noter.Note(t.Context(), "of "+all[0].Hub, now); err != nil {
				t.Fatal(err)
			}
			all = all[1:]
		}
		var err error
		if judge.Clock, err = (verdict.Clock{Store: store}).Tick(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if _, err := judge.Run(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	return alerts
}

// TestNoise counts the alerts of a simulated day, from the messages of Azure Monitor to what the
// detectors find: before there were verdicts, with them, and with an outage that cuts off half of
// the fleet for half an hour. docs/noise.md has the numbers. Without HUBWATCH_TRIALS there are a
// fourth of the ten thousand devices, and a fourth of the usual number is a storm.
func TestNoise(t *testing.T) {
	devices := 10_000 / verdict.Part()
	day := verdict.ADay(devices, 0)
	outage := verdict.ADay(devices, devices/2)
	for _, test := range []struct {
		name                          string
		alerts                        told
		attacked, others, hubs, items int
	}{
		{"before", before(t, day), 20, devices / 2, 0, 0},
		{"with verdicts", judged(t, day), 20, 0, 0, 0},
		{"with an outage", judged(t, outage), 20, 0, 2, 6},
	} {
		attacked, others, hubs, items := test.alerts.count()
		t.Logf("%s: alerts about %d attacked devices and %d others, and %d about hubs, of %d ten minutes", test.name, attacked, others, hubs, items)
		if attacked != test.attacked || others != test.others || hubs != test.hubs || items != test.items {
			t.Errorf("%s: want %d, %d, %d, %d", test.name, test.attacked, test.others, test.hubs, test.items)
		}
	}
}
