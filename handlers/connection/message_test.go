package connection

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/scan"
)

const bom = "\uFEFF"

// sampleRecord is a record of one line, with an id to tell it by and braces,
// brackets and commas where they mean nothing.
func sampleRecord(i int) string {
	return fmt.Sprintf(`{"time":"2026-02-01T10:00:00Z","category":"Connections","operationName":"deviceConnect","n":%d,"properties":"{\"deviceId\":\"a},{b],[\\\"\"}"}`, i)
}

// indented is the same record over several lines.
func indented(i int) string {
	v := jsontext.Value(sampleRecord(i))
	if err := v.Indent(); err != nil {
		panic(err)
	}
	return string(v)
}

// split returns what Records gives: the records, compact, and what was lost.
func split(t testing.TB, message string) (records, lost []string) {
	t.Helper()
	for raw, err := range Records([]byte(message)) {
		if err != nil {
			if err.Error() == "" || len(raw) == 0 {
				t.Errorf("lost %q for %q: want both to say something", raw, err)
			}
			lost = append(lost, string(raw))
			continue
		}
		v := raw.Clone()
		if err := v.Compact(); err != nil {
			t.Errorf("%q is given as a record: %v", raw, err)
		}
		records = append(records, string(v))
	}
	return records, lost
}

func TestRecords(t *testing.T) {
	r := sampleRecord
	const broken = `{"time":"2026-02-01T10:00:00Z","category":"Connections",oops}`
	const open = `{"time":"2026-02-01T10:00:00Z","cate`
	for _, c := range []struct {
		name, message string
		records       []string
		lost          []string
	}{
		{"a message", `{"records":[` + r(1) + `,` + r(2) + `]}`, []string{r(1), r(2)}, nil},
		{"a message of none", `{"records":[]}`, nil, nil},
		{"a message over several lines", "{\r\n  \"records\" : [\r\n " + indented(1) + " ,\r\n " + indented(2) + "\r\n ]\r\n}\r\n", []string{r(1), r(2)}, nil},
		{"members after the records", `{"records":[` + r(1) + `],"EventProcessedUtcTime":"2026-02-01T10:00:00Z","PartitionId":1}`, []string{r(1)}, nil},
		{"members before the records", `{"PartitionId":1,"EventHub":{"records":[1]},"records":[` + r(1) + `]}`, []string{r(1)}, nil},
		{"one record", r(1), []string{r(1)}, nil},
		{"one record over several lines", indented(1), []string{r(1)}, nil},
		{"a record with the word records", `{"category":"records","x":1}`, []string{`{"category":"records","x":1}`}, nil},
		{"an empty object", `{}`, []string{`{}`}, nil},
		{"an array", ` [ ` + r(1) + ` , ` + r(2) + ` ] `, []string{r(1), r(2)}, nil},
		{"nothing", ``, nil, nil},
		{"nothing but space", " \r\n\t", nil, nil},
		{"lines", r(1) + "\n" + r(2) + "\n", []string{r(1), r(2)}, nil},
		{"lines of Windows with gaps", bom + r(1) + "\r\n\r\n" + r(2) + "\r\n" + r(3), []string{r(1), r(2), r(3)}, nil},
		{"lines of messages", `{"records":[` + r(1) + `]}` + "\n" + `{"records":[` + r(2) + `]}`, []string{r(1), r(2)}, nil},

		{"a wrong kind in an array", `[` + r(1) + `,42,` + r(2) + `,null,[],` + r(3) + `]`, []string{r(1), r(2), r(3)}, []string{"42", "null", "[]"}},
		{"a wrong kind in a message", `{"records":[` + r(1) + `,"x",` + r(2) + `]}`, []string{r(1), r(2)}, []string{`"x"`}},
		{"records of a wrong kind", `{"records":{}}`, nil, []string{`{"records":{}}`}},
		{"records that are null", `{"records":null}`, nil, []string{`{"records":null}`}},
		{"the first is broken", `{"records":[` + broken + `,` + r(1) + `]}`, []string{r(1)}, []string{broken}},
		{"one in the middle is broken", `{"records":[` + r(1) + ` , ` + broken + ` , ` + r(2) + `]}`, []string{r(1), r(2)}, []string{broken}},
		{"one in the middle does not end", `{"records":[` + r(1) + `,` + open + `,` + r(2) + `]}`, []string{r(1), r(2)}, []string{open}},
		{"the last is broken", `{"records":[` + r(1) + `,` + broken + `]}`, []string{r(1)}, []string{broken + `]}`}},
		{"two are broken", `[` + broken + `,` + r(1) + `,` + broken + `,` + r(2) + `]`, []string{r(1), r(2)}, []string{broken, broken}},
		{"no comma", `[` + r(1) + r(2) + `]`, []string{r(1), r(2)}, nil},
		{"a comma too many", `[` + r(1) + `,,` + r(2) + `]`, []string{r(1), r(2)}, []string{","}},
		{"something between records", `[` + r(1) + ` oops ,` + r(2) + `]`, []string{r(1), r(2)}, []string{"oops"}},
		{"cut off in a record", `{"records":[` + r(1) + `,` + open, []string{r(1)}, []string{open}},
		{"cut off after a record", `{"records":[` + r(1), []string{r(1)}, []string{`{"records":[` + r(1)}},
		{"cut off after a comma", `{"records":[` + r(1) + `,`, []string{r(1)}, []string{`{"records":[` + r(1) + `,`}},
		{"cut off after the array", `{"records":[` + r(1) + `]`, []string{r(1)}, []string{`{"records":[` + r(1) + `]`}},
		{"something after the message", `{"records":[` + r(1) + `]} oops`, []string{r(1)}, []string{"oops"}},
		{"a broken member after the records", `{"records":[` + r(1) + `],"x":oops}`, []string{r(1)}, []string{`,"x":oops}`}},
		{"a broken line", r(1) + "\n" + broken + "\n" + r(2) + "\n", []string{r(1), r(2)}, []string{broken}},
		{"a line that is cut off", r(1) + "\n" + open + "\n" + r(2) + "\n", []string{r(1), r(2)}, []string{open}},
		{"a line that is cut off after a comma", r(1) + "\n{\"x\":1,\n" + r(2) + "\n", []string{r(1), r(2)}, []string{`{"x":1,`}},
		{"a line that is cut off before a value", r(1) + "\n{\"x\":\r\n" + r(2) + "\r\n" + r(3), []string{r(1), r(2), r(3)}, []string{`{"x":`}},
		{"a line that is not JSON", "oops\n" + r(1), []string{r(1)}, []string{"oops"}},
		{"a broken line of a message", `{"records":[` + r(1) + ",{\"x\":1,\n" + `{"records":[` + r(2) + `]}`, []string{r(1), r(2)}, []string{`{"x":1,`}},
		{"no JSON at all", "<html>", nil, []string{"<html>"}},
		{"a string", `"x"`, nil, []string{`"x"`}},
		{"messages in an array", `[{"records":[` + r(1) + `]}, {"records":[` + r(2) + "," + r(3) + `]}, ` + r(4) + `]`, []string{r(1), r(2), r(3), r(4)}, nil},
		{"messages deeper down", `[[{"records":[` + r(1) + `]}]]`, nil, []string{`[{"records":[` + r(1) + `]}]`}},
		{"a record with records of its own", `{"records":[{"a":1}],"category":"Connections"}`, []string{`{"a":1}`, `{"records":[{"a":1}],"category":"Connections"}`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			records, lost := split(t, c.message)
			if !slices.Equal(records, c.records) {
				t.Errorf("records:\nhave %q\nwant %q", records, c.records)
			}
			if !slices.Equal(lost, c.lost) {
				t.Errorf("lost:\nhave %q\nwant %q", lost, c.lost)
			}
		})
	}
}

// TestRecordsAreParts checks that records are not copied.
func TestRecordsAreParts(t *testing.T) {
	message := []byte(`{"records":[` + sampleRecord(1) + `]}`)
	for raw, err := range Records(message) {
		if err != nil || &raw[0] != &message[12] {
			t.Errorf("the record is not a part of the message (error %v)", err)
		}
	}
}

func TestRecordsStops(t *testing.T) {
	for _, message := range []string{
		`[` + sampleRecord(1) + `,` + sampleRecord(2) + `]`,
		`{"records":[1,2]}`, sampleRecord(1) + "\n" + sampleRecord(2), "x\n{y\n{z",
	} {
		n := 0
		for range Records([]byte(message)) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%q: %d records before the first", message, n)
		}
	}
}

// TestRecordsInLinearTime goes through 1 MB of what makes the splitter look for
// an end in vain. In quadratic time it would not come back before the test binary
// is stopped.
func TestRecordsInLinearTime(t *testing.T) {
	for _, piece := range []string{
		`[`, `{"a":`, `,{"a":[`, "{\"a\":\n", "{\"records\":[x\n", `{"records":[`, `,{"category":1,"a":[`, `,{`, "\n{", `"`, `,{"category":"`,
	} {
		message := bytes.Repeat([]byte(piece), 1<<20/len(piece))
		pieces := 0
		for range Records(message) {
			pieces++
		}
		if pieces == 0 {
			t.Errorf("nothing was said of 1 MB of %q", piece)
		}
	}
}

// seeds returns the messages of the relay's cases and the records of the
// detectors' cases.
func seeds(t testing.TB) (messages [][]byte) {
	t.Helper()
	add := func(pattern string, of func(data []byte)) {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (error %v)", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			of(data)
		}
	}
	add("../relay/testdata/*.jsonl", func(data []byte) { messages = append(messages, data) })
	add("../relay/testdata/*.json", func(data []byte) {
		var c struct{ Messages []json.RawMessage }
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Messages {
			var s string
			if json.Unmarshal(m, &s) == nil {
				m = json.RawMessage(s)
			}
			messages = append(messages, m)
		}
	})
	add("../detector/testdata/Device*/*.json", func(data []byte) {
		var c struct {
			Event struct{ Data json.RawMessage }
		}
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, c.Event.Data)
	})
	return messages
}

// sameRecords compares what a Reader reads of a message, and a Decoder of its records,
// with what Records and DecodeRecord say of it. It reports whether the message was scanned.
func sameRecords(t *testing.T, message []byte) (scanned bool) {
	t.Helper()
	type read struct {
		Raw, Err string
		Record   Record
		Wrong    string
	}
	var want, got []read
	for raw, err := range Records(message) {
		r, wrong := DecodeRecord(raw)
		want = append(want, read{string(raw), fmt.Sprint(err), r, fmt.Sprint(wrong)})
	}
	var reader Reader
	var decoder Decoder
	for p := range reader.Records([]byte(`{"records":[{"a":1,"b":[2,3]},{"category":"x"}],"c":4}`)) { // so that something is left of it
		_, _ = decoder.Decode(p.Raw)
	}
	for p, err := range reader.Records(message) {
		r, wrong := decoder.Decode(p.Raw)
		if p.Scanned != (scan.Value{}) {
			scanned = true
			if !bytes.Equal(p.Scanned.Raw(), p.Raw) {
				t.Errorf("scanned %q, want %q", p.Scanned.Raw(), p.Raw)
			}
			r, wrong = decoder.DecodeScanned(p.Scanned)
		}
		b, _ := json.Marshal(r) // the texts are good until the next record is read
		r = Record{}
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, read{string(p.Raw), fmt.Sprint(err), r, fmt.Sprint(wrong)})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q (-one by one +in one pass):\n%s", message, diff)
	}
	return scanned
}

// TestReader checks which messages are read in one pass, and that all are read as Records
// reads them.
func TestReader(t *testing.T) {
	record := `{"category":"Connections","time":"2026-02-01T08:00:00Z","properties":"{\"deviceId\":\"d\",\"authType\":\"{\\\"type\\\":\\\"%s\\\"}\"}"}`
	one, other := fmt.Sprintf(record, "sas"), fmt.Sprintf(record, "x509")
	for message, want := range map[string]bool{
		`{"records":[` + one + `,` + other + `,` + one + `]}`:        true,
		"\uFEFF {\"a\":{\"records\":1},\"records\":[" + one + "]}\n": true,
		`{"records":[` + one + `,7,"x",null,[` + one + `],{}]}`:      true,
		`{"records":[]}`: false, `{"records":{}}`: false, `{"records":7}`: false, `[` + one + `]`: false, one: false, one + "\n" + other: false,
		`{"records":[` + one + `],"category":"x"}`:                                     false,
		`{"Category":"x","records":[` + one + `]}`:                                     false,
		`{"records":[` + one + `],"records":[` + one + `]}`:                            false,
		`{"records":[` + one + `,{"a":1,"a":2}]}`:                                      false,
		`{"records":[` + one + `,{"a":}]}`:                                             false,
		`{"records":[` + one + `]} {"records":[` + one + `]}`:                          false,
		`{"records":[` + one + `,{"a":[0` + strings.Repeat(",0", mostScanned) + `]}]}`: false,
	} {
		if got := sameRecords(t, []byte(message)); got != want {
			t.Errorf("%.200s: scanned %v, want %v", message, got, want)
		}
	}
}

func FuzzRecords(f *testing.F) {
	for _, m := range seeds(f) {
		f.Add(m)
	}
	f.Add([]byte("[{},\n{\"a\":\n[{\"category\":1},x,{\"category\":2}]"))
	f.Fuzz(func(t *testing.T, message []byte) {
		before := bytes.Clone(message)
		good := 0
		for raw, err := range Records(message) {
			if err != nil {
				if len(raw) == 0 {
					t.Errorf("nothing was lost because of %v", err)
				}
				continue
			}
			good++
			if raw.Kind() != '{' || !raw.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
				t.Errorf("%q is given as a record", raw)
			}
			r, err := DecodeRecord(raw)
			if err != nil {
				continue
			}
			if c := Classify(r); c.PassedOver == "" && (c.Cause == "" || c.Rule == "" || c.Stated != (c.Text != "")) {
				t.Errorf("%q is classified as %+v", raw, c)
			}
			_, _ = r.Hub()
			_ = r.Subject()
		}
		if !bytes.Equal(before, message) {
			t.Error("the message was changed")
		}
		sameRecords(t, message)
		// Of an array that is sound nothing else is lost than what is not an object.
		var elements []json.RawMessage
		if trimmed := strings.TrimSpace(string(message)); strings.HasPrefix(trimmed, "[") && json.Unmarshal(message, &elements) == nil {
			want := 0
			for _, e := range elements {
				if strings.HasPrefix(strings.TrimSpace(string(e)), "{") {
					want++
				}
			}
			if good != want {
				t.Errorf("%d records of an array with %d objects", good, want)
			}
		}
	})
}
