package relay

import (
	"strings"
	"testing"

	"hubwatch/handlers/scan"
)

// sameCanonical checks that what appendCanonical takes becomes what canonical returns. It
// reports whether it is taken.
func sameCanonical(t *testing.T, raw []byte) bool {
	t.Helper()
	var doc scan.Doc
	if !doc.Scan(raw, "", 10_000) {
		return false
	}
	got, ok := appendCanonical([]byte("before"), doc.Root())
	if !ok {
		return false
	}
	want, err := canonical(nil, raw)
	if err != nil || string(got) != "before"+string(want) {
		t.Errorf("%q becomes %q, want %q (%v)", raw, got, want, err)
	}
	return true
}

// TestCanonical checks which records have a canonical form that is made in one pass: those
// of hubs have.
func TestCanonical(t *testing.T) {
	var members strings.Builder
	for i := range mostMembers {
		members.WriteString(`"` + strings.Repeat("n", i) + `":0,`)
	}
	for raw, want := range map[string]bool{
		failure(1): true, success(1): true,
		` { "b" : [ 1 , { "b" : "" , "a" : null } , [ ] ] , "a" : "é\n\"\\" , "" : true } `: true,
		`{"a":1.0}`: false, `{"a":1e3}`: false, `{"a":-0}`: false, `{"a":-1}`: false, `{"a":10}`: true,
		`{"a":"\/"}`: false, `{"a":"\u0041"}`: false, `{"a":"\\u0041"}`: true, "{\"a\":\"\xff\"}": false, `{"a":"\ud800"}`: false,
		"{\"\ue000\":1,\"\U00010000\":2}":                     false,
		`{` + strings.TrimSuffix(members.String(), ",") + `}`: true, `{` + members.String() + `"a":0}`: false,
	} {
		if got := sameCanonical(t, []byte(raw)); got != want {
			t.Errorf("%.300s: %v, want %v", raw, got, want)
		}
	}
	if b, ok := appendCanonical(nil, scan.Value{}); ok || len(b) > 0 {
		t.Errorf("nothing becomes %q", b)
	}
}

// FuzzCanonical looks for texts of which the two ways make different forms.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(failure(1)))
	f.Add([]byte(`{"b":[1,"x",{"é":2,"d":[]}],"a":"\b\f\n\r\t\"\\","c":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) { sameCanonical(t, raw) })
}
