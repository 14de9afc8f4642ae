package event

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// unusual returns raw with the first name of each object written with an escape, so
// that the package scan does not understand it: the JSON package then reads it.
func unusual(raw jsontext.Value) jsontext.Value {
	d := jsontext.NewDecoder(strings.NewReader(string(raw)), Lenient)
	var out []byte
	for done := int64(0); ; {
		token, err := d.ReadToken()
		if err != nil {
			return append(out, raw[done:]...)
		}
		kind, n := d.StackIndex(d.StackDepth())
		piece := raw[done:d.InputOffset()]
		done = d.InputOffset()
		if name := token.String(); kind == '{' && n == 1 && name != "" && name[0] < 0x80 && name[0] != '"' && name[0] != '\\' {
			if before, after, ok := strings.Cut(string(piece), `"`); ok && after[0] == name[0] {
				piece = jsontext.Value(before + `"\u00` + hexByte(name[0]) + after[1:])
			}
		}
		out = append(out, piece...)
	}
}

func hexByte(b byte) string {
	return string([]byte{"0123456789abcdef"[b>>4], "0123456789abcdef"[b&15]})
}

// TestBothWaysAgree checks that an event, and the operation in it, is the same whether
// it was scanned or read by the JSON package. It uses the events of all cases, each
// also with its data as a string or in base64.
func TestBothWaysAgree(t *testing.T) {
	names, err := filepath.Glob("../detector/testdata/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var c struct{ Event json.RawMessage }
		if err := json.Unmarshal(file, &c); err != nil {
			t.Fatal(err)
		}
		raw := jsontext.Value(c.Event)
		slow := unusual(raw)
		want, wantErr := decode(raw)
		got, err := Decode(raw)
		same(t, name, got, want, err, wantErr)
		if wantErr != nil {
			continue
		}
		other, err := Decode(slow)
		if err != nil || string(slow) == string(raw) || other.Scanned().Kind() != jsontext.KindInvalid || got.Scanned().Kind() == jsontext.KindInvalid {
			t.Errorf("%s: read in the other way: error %v, %s", name, err, slow)
		}
		operation, err := got.Operation()
		for _, e := range []Event{other, {Data: got.Data}, {Data: other.Data}} {
			o, otherErr := e.Operation()
			same(t, name, operation, o, err, otherErr)
			text, err := got.OperationName()
			otherText, otherErr := e.OperationName()
			same(t, name, text, otherText, err, otherErr)
		}
		compared++
	}
	if compared < 300 {
		t.Errorf("%d events were compared: does this test still find them?", compared)
	}
}

// same fails the test unless two ways of reading give the same.
func same(t *testing.T, name string, got, want any, err, wantErr error) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Event{}), cmpopts.IgnoreFields(Event{}, "Raw")); diff != "" || !reflect.DeepEqual(textOf(err), textOf(wantErr)) {
		t.Errorf("%s: error %v, want %v (-want +got):\n%s", name, err, wantErr, diff)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzBothWays looks for events, and operations in them, that are not the same whether they were
// scanned or read by the JSON package, or of which only one of the two complains.
func FuzzBothWays(f *testing.F) {
	for _, c := range readCases(f) {
		f.Add([]byte(c))
	}
	f.Add([]byte(`{"specversion":"1.0","id":"1","type":"t","subject":"s","time":"2026-02-01T08:00:00Z","data":{"operationName":"P/T/write","claims":{"name":null,"upn":"a"},"httpRequest":"{}"},"data_base64":1}`))
	f.Add([]byte(`{"eventType":"t","id":"\ud800","subject":"` + "\xff" + `","eventTime":"2026-02-01T08:00:00Z","data":{"operationName":"\u0050","authorization":null,"httpRequest":{"clientIpAddress":1}}}`))
	for _, member := range []string{"id", "subject", "data", "eventType", "eventTime", "topic", "specversion", "type", "time", "source", "data_base64"} {
		for _, value := range []string{"true", "1", "{}", "[]", "null", `"\u0061"`, `""`} {
			f.Add([]byte(`{"id":"1","eventType":"t","subject":"s","eventTime":"2026-02-01T08:00:00Z","data":{"` + member + `":` + value + `},"` + member + `":` + value + `}`))
			f.Add([]byte(`{"` + member + `":` + value + `}`))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		want, wantErr := decode(raw)
		got, err := Decode(raw)
		same(t, "the event", got, want, err, wantErr)
		if err != nil || wantErr != nil {
			return
		}
		operation, err := got.Operation()
		plain, plainErr := DecodeOperation(want.Data)
		if diff := cmp.Diff(plain, operation, cmpopts.IgnoreUnexported(Event{})); diff != "" || textOf(err) != textOf(plainErr) {
			t.Errorf("the operation: error %v, want %v (-want +got):\n%s", err, plainErr, diff)
		}
		name, err := got.OperationName()
		plainName, plainErr := OperationName(want.Data)
		if name != plainName || textOf(err) != textOf(plainErr) {
			t.Errorf("the operation is %q, %v, want %q, %v", name, err, plainName, plainErr)
		}
	})
}

// BenchmarkDecode reads the event of each case, and the operation in it where there is one.
func BenchmarkDecode(b *testing.B) {
	list, size := readCases(b), 0
	for _, raw := range list {
		size += len(raw)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, raw := range list {
			if e, err := Decode(raw); err == nil {
				_, _ = e.Operation()
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/event")
}
