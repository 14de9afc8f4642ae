package relay

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"testing"

	"hubwatch/handlers/verdict"
)

// BenchmarkStage stages and relays batches of eight messages of a hundred records, and
// decodes the same bytes with encoding/json to compare: the messages alone, and with the
// JSON inside of their properties, which staging reads too. One record in a hundred is a
// failed connection where all is well, and each is when a token of many devices expires.
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
		for name, deep := range map[string]bool{"encoding-json": false, "encoding-json-properties": true} {
			run(name, func() error {
				for _, message := range batch {
					if err := plain(message, deep); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
}

// plain decodes a message with encoding/json, and the JSON inside of its
// properties too if deep.
func plain(message []byte, deep bool) error {
	var v struct {
		Records []struct {
			Time              string `json:"time"`
			ResourceID        string `json:"resourceId"`
			OperationName     string `json:"operationName"`
			Category          string `json:"category"`
			Level             string `json:"level"`
			ResultType        string `json:"resultType"`
			ResultDescription string `json:"resultDescription"`
			Properties        string `json:"properties"`
			Location          string `json:"location"`
		} `json:"records"`
	}
	if err := stdjson.Unmarshal(message, &v); err != nil {
		return err
	}
	if len(v.Records) != 100 {
		return errors.New("records are missing")
	}
	for _, r := range v.Records {
		var p struct {
			DeviceID        string `json:"deviceId"`
			ModuleID        string `json:"moduleId"`
			SDKVersion      string `json:"sdkVersion"`
			Protocol        string `json:"protocol"`
			AuthType        string `json:"authType"`
			MaskedIPAddress string `json:"maskedIpAddress"`
			StatusCode      string `json:"statusCode"`
		}
		if deep {
			if err := stdjson.Unmarshal([]byte(r.Properties), &p); err != nil {
				return err
			}
		}
	}
	return nil
}
