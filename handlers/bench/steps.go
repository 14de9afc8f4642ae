package main

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
	"hubwatch/handlers/relay"
	"hubwatch/handlers/scan"
	"hubwatch/handlers/verdict"
)

// singleSteps measures what decodings and relays do.
func singleSteps(rounds int, corpora map[string][]request) (string, error) {
	text, err := decodings(rounds, corpora)
	if err != nil {
		return "", err
	}
	more, err := relays(rounds)
	return text + more, err
}

// decodings compares what it takes to decode and judge a request with what it takes to see
// that the same bytes are JSON, and says so in a sentence for each kind.
func decodings(rounds int, corpora map[string][]request) (text string, err error) {
	byName := map[string]detector.Detector{}
	for _, d := range detectors {
		byName[d.Name] = d
	}
	for _, kind := range []string{"silent", "firing"} {
		list := corpora[kind]
		size := 0
		for i := range list {
			size += len(list[i].body)
		}
		var judged, valid []float64
		for range rounds {
			err := errors.Join(each(&judged, list, func(r *request) bool {
				var d scan.Doc
				if !d.Scan(r.body, "Metadata", event.MostValues) {
					return false
				}
				v := byName[r.function].JudgeScanned(d.Root().Get("Data").Get("event"))
				if r.title == "" {
					return v.Err == nil && len(v.Occurrences) == 0
				}
				return v.Err == nil && len(v.Occurrences) == 1 && v.Occurrences[0].DisplayName == r.title
			}), each(&valid, list, func(r *request) bool { return stdjson.Valid(r.body) }))
			if err != nil {
				return "", fmt.Errorf("decode and judge, %s: %w", kind, err)
			}
		}
		text += fmt.Sprintf("- decode and judge, %s: %.1f µs for %d bytes, %v of `json.Valid`\n", kind, median(judged), size/len(list), newRatio(judged, valid))
	}
	return text, nil
}

// relays compares what it takes to stage the records of log messages with what it takes
// to read the same bytes with encoding/json, and to make events of the failed connections
// instead of rows. It says so in a sentence for each share of failed connections, and for
// ids of devices that are their own keys or not (connection.DeviceKey).
func relays(rounds int) (text string, err error) {
	now := time.Date(2026, 2, 2, 0, 0, 0, 0, time.UTC) // a time after those of the records
	for _, mix := range []struct {
		failed int // of a hundred
		device string
		ids    string // what the ids are
	}{
		{1, "pump-%04d", "ids of 9 characters"}, {1, "00000000-0000-4000-8000-%012d", "UUIDs as ids"}, {1, "contoso-plant-0001-line-0001-pum%04d", "other ids of 36 characters"},
		{100, "pump-%04d", "ids of 9 characters"}, {100, "contoso-plant-0001-line-0001-pum%04d", "other ids of 36 characters"},
	} {
		batch, size := logs(mix.failed, mix.device)
		batches := [][][]byte{batch}
		want := recordsOfBatch * mix.failed / 100
		var staged, relayed, plain []float64
		for range rounds {
			// The three differ by less than a processor that others use too does from one second
			// to the next. Others can only make a turn longer. So the shortest of some short turns
			// counts, in which each reads a hundred batches. A turn is long enough for the garbage
			// that it makes to be collected.
			const turn = 100 * time.Millisecond
			var took [3][]float64
			for range 8 {
				err := errors.Join(during(turn, &took[0], batches, func(batch *[][]byte) bool {
					s := relay.Stage(*batch, verdict.Defaults(), now)
					refused := s.Expiries
					for _, n := range s.Refused {
						refused += n
					}
					return refused == want
				}), during(turn, &took[1], batches, func(batch *[][]byte) bool {
					return len(relay.Relay(*batch).Events) == want
				}), during(turn, &took[2], batches, func(batch *[][]byte) bool {
					n := 0
					for _, message := range *batch {
						n += readLog(message)
					}
					return n == recordsOfBatch
				}))
				if err != nil {
					return "", fmt.Errorf("stage log records, %d %% failed: %w", mix.failed, err)
				}
			}
			staged, relayed, plain = append(staged, slices.Min(took[0])), append(relayed, slices.Min(took[1])), append(plain, slices.Min(took[2]))
		}
		text += fmt.Sprintf("- stage log records, %d %% failed, %s: %.2f µs for %d bytes, %v times the records of `encoding/json` into structs; %v of the time that it takes to make events of the failed ones instead\n",
			mix.failed, mix.ids, median(staged)/recordsOfBatch, size/recordsOfBatch, newRatio(plain, staged), newRatio(staged, relayed))
	}
	return text, nil
}

// recordsOfBatch is how many records logs returns: eight messages of a hundred.
const recordsOfBatch = 800

// logs returns the messages of a batch, as Azure Monitor writes them, and how many bytes
// they have. The records are of one minute of a hub. Of a hundred, as many as failed are of
// sessions whose token has expired, and the others of connections. device is the format of
// the ids of devices.
func logs(failed int, device string) (batch [][]byte, size int) {
	hub := strings.ToUpper("/subscriptions/" + subscription + "/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub")
	for m := range recordsOfBatch / 100 {
		var records []string
		for i := range 100 {
			operation, result := "deviceConnect", `"level":"Information"`
			id := fmt.Sprintf(device, 100*m+i)
			properties := fmt.Sprintf(`{"deviceId":%q,"protocol":"Mqtt","authType":null,"maskedIpAddress":"203.0.113.XXX","statusCode":null}`, id)
			if i < failed {
				operation, result = "deviceDisconnect", `"level":"Error","resultType":"401003","resultDescription":"IotHubUnauthorized"`
				auth := text(map[string]any{"scope": "device", "type": "sas", "issuer": "iothub", "acceptingIpFilterRule": nil})
				properties = fmt.Sprintf(`{"deviceId":%q,"sdkVersion":".NET/1.21.2 (.NET 8.0)","protocol":"Mqtt","authType":%s,"maskedIpAddress":"203.0.113.XXX","statusCode":"401"}`, id, text(auth))
			}
			records = append(records, fmt.Sprintf(`{"time":"2026-02-01T10:00:%02dZ","resourceId":%q,"operationName":%q,"category":"Connections",%s,"properties":%s,"location":"westeurope"}`,
				i*60/100, hub, operation, result, text(properties)))
		}
		message := []byte(`{"records":[` + strings.Join(records, ",") + `]}`)
		batch, size = append(batch, message), size+len(message)
	}
	return batch, size
}

// readLog reads a message with encoding/json into structs, and returns how many records
// it has. It leaves their properties, which are JSON in a string, as they are.
func readLog(message []byte) int {
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
		return 0
	}
	return len(v.Records)
}

// each appends the microseconds of CPU that f takes for an element of list. It returns an error
// if f says of an element that it did not come out right.
func each[T any](times *[]float64, list []T, f func(*T) bool) error {
	return during(200*time.Millisecond, times, list, f)
}

// during is each for a time, after which it ends with the list that it is in. First it collects
// garbage and reads the list once. So the garbage of whatever ran before, and what that has left in
// the caches of the processor, do not count here.
func during[T any](d time.Duration, times *[]float64, list []T, f func(*T) bool) error {
	read := func() error {
		for i := range list {
			if !f(&list[i]) {
				return fmt.Errorf("element %d is not read as it has to be", i)
			}
		}
		return nil
	}
	runtime.GC()
	if err := read(); err != nil {
		return err
	}
	start, before := time.Now(), spent()
	n := 0
	for time.Since(start) < d {
		if err := read(); err != nil {
			return err
		}
		n += len(list)
	}
	*times = append(*times, float64(spent()-before)/1000/float64(n))
	return nil
}

// spent returns the nanoseconds of CPU that this process has used.
func spent() int64 {
	var u syscall.Rusage
	fail(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}
