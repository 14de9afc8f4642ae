package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/judge"
	"hubwatch/handlers/secret"
)

// tellers are the functions that tell somebody of alerts. What they tell goes to services of the
// user, so here their failures are no failures of hubwatch.
var tellers = []string{judge.NotifyName, judge.SentinelName}

// untold says in one line why somebody cannot be told of alerts, each reason once. It reads what
// the handler prints.
type untold struct {
	screen io.Writer
	// failed is closed when the first is said.
	failed chan struct{}

	mu   sync.Mutex
	said map[string]bool
}

func newUntold(screen io.Writer) *untold {
	return &untold{screen: screen, failed: make(chan struct{}), said: map[string]bool{}}
}

// from returns a writer of lines of the handler that passes them on to file.
func (u *untold) from(file io.Writer) io.Writer {
	return writer(func(p []byte) (int, error) {
		u.line(p)
		return file.Write(p)
	})
}

type writer func([]byte) (int, error)

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) { return w(p) }

// line looks at a line of the handler's log.
func (u *untold) line(p []byte) {
	var said struct{ Level, Function, Error string }
	if err := json.Unmarshal(p, &said, json.MatchCaseInsensitiveNames(true)); err != nil || said.Level != slog.LevelError.String() || said.Error == "" || !slices.Contains(tellers, said.Function) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	first := len(u.said) == 0
	for reason := range strings.SplitSeq(said.Error, secret.Visible("\n")) { // as the log writes the end of a line
		key := strings.Map(func(r rune) rune { // Seconds that are left make no other reason.
			if unicode.IsDigit(r) {
				return -1
			}
			return r
		}, reason)
		if !u.said[key] {
			u.said[key] = true
			fmt.Fprintf(u.screen, "%s cannot tell of alerts, and goes on trying: %s\n", said.Function, printable(reason))
		}
	}
	if first {
		close(u.failed)
	}
}

// quiet returns a log without what the host says of these functions.
func (u *untold) quiet(log *slog.Logger) *slog.Logger {
	return slog.New(withoutTellers{cmp.Or(log, slog.New(slog.DiscardHandler)).Handler()})
}

// withoutTellers drops records with the attribute function of one of tellers.
type withoutTellers struct{ slog.Handler }

// WithAttrs implements slog.Handler.
func (h withoutTellers) WithAttrs(attrs []slog.Attr) slog.Handler {
	if slices.ContainsFunc(attrs, func(a slog.Attr) bool { return a.Key == "function" && slices.Contains(tellers, a.Value.String()) }) {
		return slog.DiscardHandler
	}
	return withoutTellers{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h withoutTellers) WithGroup(name string) slog.Handler {
	return withoutTellers{h.Handler.WithGroup(name)}
}

// wait waits until somebody is told, by what done waits for, or it is said why not.
func (u *untold) wait(ctx context.Context, done func(context.Context) error) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-u.failed:
			stop()
		case <-waiting.Done():
		}
	}()
	if err := done(waiting); err != nil && (ctx.Err() != nil || waiting.Err() == nil) {
		return err
	}
	return nil
}
