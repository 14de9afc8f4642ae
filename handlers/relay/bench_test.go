package relay

import (
	"fmt"
	"testing"

	"hubwatch/handlers/verdict"
)

// BenchmarkStage stages and relays batches of eight messages of a hundred records. make bench
// compares that with encoding/json. One record in a hundred is a failed connection where all
// is well, and each is when a token of many devices expires.
// Where all devices renew their tokens, each has three records: the end of its session,
// the same said in other words, and the connection that follows.
func BenchmarkStage(b *testing.B) {
	renewal := func(i int) string {
		switch i % 3 {
		case 0:
			return failure(i)
		case 1:
			return record("deviceDisconnect", `"level":"Error","resultType":"404104","resultDescription":"DeviceConnectionClosedRemotely"`, fmt.Sprintf(`{"deviceId":"dev-%d","protocol":"Mqtt","authType":"{\"scope\":\"device\",\"type\":\"sas\",\"issuer\":\"iothub\"}","maskedIpAddress":"203.0.113.XXX"}`, i))
		}
		return success(i)
	}
	for _, mix := range []struct {
		name    string
		expired int // of the records of a batch
		record  func(i int) string
	}{
		{"failed=1%", 8, func(i int) string {
			if i%100 == 0 {
				return failure(i)
			}
			return success(i)
		}},
		{"failed=100%", 800, failure},
		{"renewals", 267, renewal},
	} {
		var batch [][]byte
		size, n := 0, 0
		for range 8 {
			var records []string
			for range 100 {
				records = append(records, mix.record(n))
				n++
			}
			batch = append(batch, message(records...))
			size += len(batch[len(batch)-1])
		}
		run := func(name string, f func() error) {
			b.Run(mix.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "records/s")
			})
		}
		run("stage", func() error {
			if s := Stage(batch, verdict.Defaults(), stageTime); s.Expiries != mix.expired {
				return fmt.Errorf("%d expiries", s.Expiries)
			}
			return nil
		})
		run("relay", func() error {
			if n := len(Relay(batch).Events); n != mix.expired {
				return fmt.Errorf("%d events", n)
			}
			return nil
		})
	}
}
