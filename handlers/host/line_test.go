package host

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/secret"
)

// TestLinesAreThoseOfSlog checks that a line which is written without slog.JSONHandler
// is what that would have written.
func TestLinesAreThoseOfSlog(t *testing.T) {
	at := time.Date(2026, 2, 1, 8, 0, 0, 123456789, time.UTC)
	texts := []string{"", "plain", `"quoted" \ back`, "é", "a\nb\tc", "\x7f", "a\u202eb", "a\xffb", "<&>", "sig=PLACEHOLDERSIGNATURE", "\u2028", "token", strings.Repeat("x", 5000)}
	var attributes []slog.Attr
	for _, s := range texts {
		attributes = append(attributes, slog.String("text", s), slog.Any("text", cleaned(clean(s))), slog.String(s, "key"))
	}
	for _, f := range []float64{0, 0.001, 1.5, 12, 1e-7, 1e6, 1e21, -1, 20000.123} {
		attributes = append(attributes, slog.Float64("f", f))
	}
	attributes = append(attributes, slog.Int("n", -5), slog.Int("n", 1<<60), slog.Bool("b", true), slog.Any("counts", map[string]int{"a": 1}),
		slog.Group("g", slog.Int("n", 1)), slog.Duration("d", time.Second), slog.Any("error", context.Canceled))
	for _, a := range attributes {
		for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelInfo + 1} {
			for _, message := range append(texts, invocationMessage) {
				r := slog.NewRecord(at, level, message, 0)
				r.AddAttrs(slog.String("before", "x"), a, slog.Int("behind", 7))
				var got, want bytes.Buffer
				handler := newLogger(&lineWriter{w: &got}).Handler().(*lines)
				if err := handler.Handle(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				handler.w.w = &want
				if err := handler.Handler.Handle(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if got.String() != want.String() {
					t.Errorf("%s\nwant\n%s", got.String(), want.String())
				}
			}
		}
	}
}

// TestNumbersAreClean checks that what is told without a search is what the search
// leaves.
func TestNumbersAreClean(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, random.IntN(65))
		for i := range b {
			b[i] = "0123456789abcdef-"[random.IntN(17)]
		}
		if s := string(b); !isNumber(s) || secret.Visible(secret.RedactString(s)) != s {
			t.Errorf("%s is kept, and would be %s", s, secret.Visible(secret.RedactString(s)))
		}
	}
	for _, s := range []string{strings.Repeat("a", 65), "g", "A", "0 1", "é", "a=b"} {
		if isNumber(s) {
			t.Errorf("%s is taken for a number", s)
		}
	}
}

// TestLinesAreHeld checks when lines are written that may be held: after the time, at
// once if there are many, and at once if one is a warning, in their order.
func TestLinesAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		w := &lineWriter{w: &b, wait: lineWait}
		log := newLogger(w)
		count := func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return strings.Count(b.String(), "\n")
		}
		expect := func(when string, want int) {
			t.Helper()
			if got := count(); got != want {
				t.Errorf("%s: %d lines, want %d", when, got, want)
			}
		}
		log.Info("1")
		log.Info("2")
		expect("at once", 0)
		time.Sleep(lineWait)
		synctest.Wait()
		expect("after the time", 2)
		log.Info("3")
		log.Warn("4")
		expect("with a warning", 4)
		log.Info("5", "counts", map[string]int{"a": 1})
		log.Error("6", "counts", map[string]int{"a": 1})
		expect("with an error", 6)
		for i := range 1000 {
			log.Info(fmt.Sprint(i))
		}
		if got := count(); got < 500 {
			t.Errorf("%d lines of 1,006 are written: the rest is more than may be held", got)
		}
		w.flush()
		expect("at the end", 1006)
		for i, line := range strings.Split(b.String(), "\n")[:6] {
			if !strings.Contains(line, fmt.Sprintf(`"msg":"%d"`, i+1)) {
				t.Errorf("line %d is %s", i+1, line)
			}
		}
	})
}

// TestAnswerWithoutReflection checks that an answer to an event is what the JSON package makes
// of it.
func TestAnswerWithoutReflection(t *testing.T) {
	for _, notes := range [][]string{nil, {"x"}, {"a", "", "c"}, {`a "quoted" \ text`, "line\nbreak\u0000", "pump-é 😀 <&>", "\u2028"}} {
		want, err := json.Marshal(result{Outputs: map[string]*response{}, Logs: notes}, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := encode(Outcome{}, notes); err != nil || string(got) != string(want) {
			t.Errorf("%q: %s, error %v, want %s", notes, got, err, want)
		}
	}
}
