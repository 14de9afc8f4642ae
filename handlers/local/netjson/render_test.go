package netjson

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// TestRender checks values that the host was seen to rewrite, and numbers around
// which .NET changes its format.
func TestRender(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"white space and order", " { \"b\" : 1 ,\n\"a\" : [ true , null ] } ", `{"b":1,"a":[true,null]}`},
		{"repeated name", `{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{"text", `"caf\u00e9 <b>&'\u0001\u0085\u2028\u2029\ud83d\ude00\/\"\\\n\t\b\f\r"`, `"café <b>&'\u0001\u0085\u2028\u2029😀/\"\\\n\t\b\f\r"`},
		{"lone surrogate", `"\ud800"`, "\"\ufffd\""},
		{"trailing zero", `900.50`, `900.5`},
		{"big integer", `12345678901234567890123`, `12345678901234567890123`},
		{"negative zero integer", `-0`, `0`},
		{"negative zero", `-0.0`, `-0.0`},
		{"overflow", `1e999`, `"Infinity"`},
		{"negative overflow", `-1e999`, `"-Infinity"`},
		{"small", `0.00000001`, `1E-08`},
		{"four zeros", `0.0001`, `0.0001`},
		{"five zeros", `0.00001`, `1E-05`},
		{"exponent", `1e5`, `100000.0`},
		{"whole double", `1.0`, `1.0`},
		{"fifteen digits", `1e14`, `100000000000000.0`},
		{"sixteen digits", `1e15`, `1E+15`},
		{"pi", `3.141592653589793`, `3.141592653589793`},
		{"many digits", `-1234567890123456.75`, `-1234567890123456.8`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Render([]byte(test.raw))
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for _, raw := range []string{``, `1`, `{`, `{"a":1} x`, `{"a"}`, `[1,]`, `[1] []`, `{]`} {
		if members, err := SplitObject([]byte(raw)); err == nil {
			t.Errorf("object %q gave %v", raw, members)
		}
		if elements, err := SplitArray([]byte(raw)); err == nil {
			t.Errorf("array %q gave %v", raw, fmt.Sprint(elements))
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.50,"é"],"a":null}`, `[-0,-0.0,1e400,1E-8]`, `"\ud800"`, `{}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		first, err := Render(raw)
		if err != nil {
			return
		}
		second, err := Render(first)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%q renders as %q and then as %q, %v", raw, first, second, err)
		}
		// A number may be larger than Go reads.
		if v := jsontext.Value(first); !v.IsValid(jsontext.AllowDuplicateNames(true)) {
			t.Errorf("%q renders as %q, which is not JSON", raw, first)
		}
	})
}
