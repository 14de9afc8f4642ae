package custom

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// patience is how long an expression may take to be compiled, or to be run on one event,
// on a machine that is busy with other tests. The bounds themselves take some
// milliseconds.
const patience = 2 * time.Second

// TestHostileExpressionsAreRefused compiles expressions that nobody writes by mistake.
func TestHostileExpressionsAreRefused(t *testing.T) {
	nested := func(open, inside, shut string, n int) string {
		return strings.Repeat(open, n) + inside + strings.Repeat(shut, n)
	}
	for _, c := range []struct{ name, text string }{
		{"too long", strings.Repeat("hub == 'a' || ", 400) + "true"},
		{"parentheses", nested("(", "true", ")", 2000)},
		{"lists", nested("[", "1", "]", 2000) + " == []"},
		{"maps", nested("{1:", "1", "}", 1300) + " == {}"},
		{"negations", strings.Repeat("!(", 1300) + "true" + strings.Repeat(")", 1300)},
		{"sums", strings.Repeat("1 + ", 900) + "1 == 1"},
		{"conditions", strings.Repeat("true ? true : ", 280) + "true"},
		{"calls", nested("string(", "hub", ")", 500) + " == hub"},
		{"indexes", "data" + strings.Repeat("[0]", 1300) + " == 1"},
		{"members", "data" + strings.Repeat(".a", 2000) + " == 1"},
		{"open parentheses", strings.Repeat("(", 4000)},
		{"open everything", strings.Repeat("([{", 1300)},
		{"loops in loops in loops", "[1].all(a, [1].all(b, [1].all(c, true)))"},
		{"a pattern from the event", "hub.matches(subject)"},
		{"a pattern that is put together", "hub.matches('a' + 'b')"},
		{"a pattern in a condition", "hub.matches(true ? 'a' : 'b')"},
		{"a pattern that repeats", "hub.matches('(a{1000}){1000}')"},
		{"a long pattern", "hub.matches('" + strings.Repeat("[a-z]?", 600) + "')"},
		{"a pattern of the function", "matches(hub, subject)"},
		{"the name of a time zone", "time.getHours('Europe/Berlin') == 1"},
		{"a time zone from the event", "time.getHours(hub) == 1"},
		{"functions that are not there", "hub.replace('a', hub) == ''"},
		{"the clock", "now() > time"},
		{"another type", "1"},
		{"bytes that are not text", "\xff\xfe"},
		{"a null character", "hub == '\x00' \x00"},
	} {
		start := time.Now()
		_, faults := compile(c.text, boolValue)
		if took := time.Since(start); took > patience {
			t.Errorf("%s: took %v", c.name, took)
		}
		if len(faults) == 0 {
			t.Errorf("%s: is compiled", c.name)
		}
	}
}

// TestCostlyExpressions runs expressions whose cost depends on the event, on an event that
// is as large as it may be. Each is stopped, or is done in time.
func TestCostlyExpressions(t *testing.T) {
	numbers := "[" + strings.Repeat("1,", 20_000) + "1]"
	large := func(data string) jsontext.Value {
		return jsontext.Value(strings.Replace(listed, `"correlationId"`, data+`, "correlationId"`, 1))
	}
	for _, c := range []struct{ name, when, data, want string }{
		{"a loop", "data.l.all(x, x == 1)", `"l": ` + numbers, "costs more than"},
		{"a loop in a loop", "data.l.all(x, data.l.all(y, x == y))", `"l": ` + numbers, "costs more than"},
		{"lists of lists", "size(data.l.map(x, data.l.map(y, data.l))) > 0", `"l": ` + numbers, "costs more than"},
		{"comparisons of all", "data.s.all(x, data == data)", `"s": [` + strings.Repeat("1,", 500) + `1], "l": ` + numbers, "costs more than"},
		{"a list that is looked through", "data.s.all(x, !('a' in data.l))", `"s": [` + strings.Repeat("1,", 500) + `1], "l": ` + numbers, "costs more than"},
		{"long texts put together", strings.Repeat("data.t + ", 20) + "'' != ''", `"t": "` + strings.Repeat("a", 120_000) + `"`, "costs more than"},
		{"long texts in a loop", "data.s.all(x, (data.t + data.t).size() > 0)", `"s": [` + strings.Repeat("1,", 500) + `1], "t": "` + strings.Repeat("a", 100_000) + `"`, "costs more than"},
		{"long texts that are split", "data.s.all(x, data.t.split('').size() > 0)", `"s": [` + strings.Repeat("1,", 500) + `1], "t": "` + strings.Repeat("a", 100_000) + `"`, "costs more than"},
		{"a pattern on a long text", "data.t.matches('(a?){50}b')", `"t": "` + strings.Repeat("a", mostMatched+1) + `"`, "this regular expression reads 985 at most"},
		{"a short pattern on a long text", "data.t.matches('a*b')", `"t": "` + strings.Repeat("a", mostMatched+1) + `"`, "this regular expression reads 4096 at most"},
		{"a pattern in a loop", "data.s.all(x, !data.t.matches('(a|aa|a?){20}b$'))", `"s": [` + strings.Repeat("1,", 5000) + `1], "t": "` + strings.Repeat("a", 1_000) + `"`, "costs more than"},
		{"more than it reads", "data.t == ''", `"t": "` + strings.Repeat("a", mostData) + `"`, "an expression reads"},
		{"deep data", "data == data", `"d": ` + strings.Repeat("[", mostLevels-1) + strings.Repeat("]", mostLevels-1), ""},
		{"deeper data", "data == data", `"d": ` + strings.Repeat("[", mostLevels) + strings.Repeat("]", mostLevels), "more than 100 levels"},
		{"brackets in a text", "data == data", `"d": "\"` + strings.Repeat("[", 5000) + `"`, ""},
		{"a division by zero", "1 / (size(hub) - 11) == 1", `"t": ""`, "division by zero"},
		{"a number that is too large", "9223372036854775807 + size(hub) > 0", `"t": ""`, "overflow"},
		{"another type", "data.t", `"t": "a"`, "want a value of type bool, have one of type string"},
	} {
		a := alertOf(t, onKeys+fmt.Sprintf(`, "when": %q`, c.when))
		d := a.Detector()
		start := time.Now()
		v := d.Judge(large(c.data))
		if took := time.Since(start); took > patience {
			t.Errorf("%s: took %v", c.name, took)
		} else {
			t.Logf("%s: %v, %v", c.name, took, v.Err)
		}
		switch {
		case c.want == "" && v.Err != nil, c.want != "" && (v.Err == nil || !strings.Contains(v.Err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, v.Err, c.want)
		case c.want != "" && len(v.Occurrences) > 0:
			t.Errorf("%s: an alert beside the error", c.name)
		}
	}
}

// TestEvaluationsYield checks that an evaluation of many steps lets others run again and again, and
// not only at the ends of its time slices, of which it has a few.
func TestEvaluationsYield(t *testing.T) {
	long := jsontext.Value(strings.Replace(listed, `"correlationId"`, `"l": [`+strings.Repeat("1,", 5_000)+`1], "t": "`+strings.Repeat("a", 900)+`", "correlationId"`, 1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for when, least := range map[string]int{"data.l.all(x, data.l.all(y, x == y))": 20, "data.l.all(x, !data.t.matches('(a|aa|a?){20}b$'))": 5} { // after each pattern
		d := alertOf(t, onKeys+fmt.Sprintf(`, "when": %q`, when)).Detector()
		d.Judge(long) // which compiles it
		turns, end, ended := 0, make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-end:
					return
				default:
					turns++
					runtime.Gosched()
				}
			}
		}()
		d.Judge(long)
		close(end)
		<-ended
		if turns < least {
			t.Errorf("%s: %d turns of others, want at least %d", when, turns, least)
		}
	}
}

// TestCostOfRecords checks that the records of one event together cost no more than an
// event may.
func TestCostOfRecords(t *testing.T) {
	a := alertOf(t, `"on": {"source": "logs", "category": "TwinQueries"}, "when": "record.properties.l.all(x, record.properties.l.all(y, x == y)) || true"`)
	var records []string
	for i := range 60 {
		records = append(records, record("TwinQueries", "query", `{"l": [`+strings.Repeat("1,", 5000)+`1]}`, i))
	}
	start := time.Now()
	v := a.Detector().Judge(logs(t, "TwinQueries", records...))
	if took := time.Since(start); took > 2*patience {
		t.Errorf("took %v", took)
	} else {
		t.Log(took)
	}
	if v.Err == nil || !strings.Contains(v.Err.Error(), "59 further records cannot be judged") {
		t.Errorf("%v", v.Err)
	}
	deep := record("TwinQueries", "query", `{"l": `+strings.Repeat("[", mostLevels)+strings.Repeat("]", mostLevels)+`}`, 0)
	if v := a.Detector().Judge(logs(t, "TwinQueries", deep)); v.Err == nil || !strings.Contains(v.Err.Error(), "properties of the record: more than 100 levels") {
		t.Errorf("deep properties: %v", v.Err)
	}
	// Each record alone is stopped as well. Those behind the bound are not even begun.
	d := alertOf(t, `"on": {"source": "logs", "category": "TwinQueries"}, "when": "record.properties.l.all(x, x == 1)"`).Detector()
	records = nil
	for i := range 60 {
		records = append(records, record("TwinQueries", "query", `{"l": [`+strings.Repeat("1,", 2000)+`1]}`, i))
	}
	v = d.Judge(logs(t, "TwinQueries", records...))
	if n := len(v.Occurrences); v.Err == nil || !strings.Contains(v.Err.Error(), "the event costs more than") || n == 0 || n > 50 {
		t.Errorf("%d occurrences, %v", n, v.Err)
	}
}
