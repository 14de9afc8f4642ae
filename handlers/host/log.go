package host

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"hubwatch/handlers/secret"
)

// NewLogger returns the log of a handler: one JSON object a line. The host takes
// lines from stdout as information and from stderr as errors, and adds no
// invocation id to either (Azure/azure-functions-host, WorkerProcess). Every
// string is without secrets and hidden characters, and of bounded length.
func NewLogger(w io.Writer) *slog.Logger { return newLogger(&lineWriter{w: w}) }

func newLogger(w *lineWriter) *slog.Logger {
	return slog.New(&lines{w: w, Handler: slog.NewJSONHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindString {
				a.Value = slog.StringValue(clean(a.Value.String()))
			} else if s, ok := a.Value.Any().(cleaned); ok {
				a.Value = slog.StringValue(string(s))
			}
			return a
		},
	})})
}

// lineWriter writes whole lines for whoever comes.
type lineWriter struct {
	w io.Writer
	// wait is how long a line may be held, so that it is written together with those
	// that follow: a call of the system costs as much as a fifth of an invocation.
	wait time.Duration

	mu   sync.Mutex
	held []byte // lines; a timer runs if there are any
}

// mostHeld is how many bytes of lines are held at most.
const mostHeld = 32 << 10

// Write holds a line, or writes it with all that are held.
func (l *lineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wait == 0 {
		return l.w.Write(line)
	}
	if len(l.held) == 0 {
		time.AfterFunc(l.wait, l.flush)
	}
	l.held = append(l.held, line...)
	if len(l.held) >= mostHeld {
		l.write()
	}
	return len(line), nil
}

// flush writes what is held.
func (l *lineWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

// write is flush for a caller that holds the lock.
func (l *lineWriter) write() {
	if len(l.held) > 0 {
		_, _ = l.w.Write(l.held) // who could be told that the log cannot be written?
		l.held = l.held[:0]
	}
}

// invocationMessage is the message of the line of an invocation.
const invocationMessage = "invocation"

// cleaned is a text that clean has returned, so that it need not be cleaned again.
type cleaned string

// lines is a slog.Handler that writes what its Handler, a slog.JSONHandler, would
// write. It does so itself for texts and numbers, without reflection and without
// memory, and leaves all other lines to that Handler.
//
// It writes a warning or an error at once, and a line of information when its writer
// likes.
type lines struct {
	slog.Handler
	w *lineWriter
}

// lineBuffers are for the lines that are being written.
var lineBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 1024)) }}

// Handle implements slog.Handler.
func (l *lines) Handle(ctx context.Context, r slog.Record) error {
	if r.Level > slog.LevelInfo {
		defer l.w.flush()
	}
	buffer := lineBuffers.Get().(*[]byte)
	defer lineBuffers.Put(buffer)
	b, ok := appendLine((*buffer)[:0], r)
	*buffer = b
	if !ok {
		return l.Handler.Handle(ctx, r)
	}
	_, err := l.w.Write(b)
	return err
}

// appendLine appends a line, or reports that it is not one of texts and numbers.
func appendLine(b []byte, r slog.Record) ([]byte, bool) {
	if r.Time.IsZero() {
		return b, false
	}
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b = append(b, `","msg":`...)
	message := r.Message
	if message != invocationMessage {
		message = clean(message)
	}
	b, ok := appendText(b, message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "" || !ok {
			ok = false
			return false
		}
		b = append(b, ',')
		if b, ok = appendText(b, a.Key); !ok {
			return false
		}
		b = append(b, ':')
		switch a.Value.Kind() {
		case slog.KindString:
			if s := a.Value.String(); isNumber(s) {
				b = append(append(append(b, '"'), s...), '"')
			} else {
				b, ok = appendText(b, clean(s))
			}
		case slog.KindInt64:
			b = strconv.AppendInt(b, a.Value.Int64(), 10)
		case slog.KindFloat64:
			f := a.Value.Float64()
			if ok = f == 0 || f >= 1e-6 && f < 1e21; ok { // encoding/json writes others with an exponent
				b = strconv.AppendFloat(b, f, 'f', -1, 64)
			}
		case slog.KindAny:
			var s cleaned
			if s, ok = a.Value.Any().(cleaned); ok {
				b, ok = appendText(b, string(s))
			}
		default:
			ok = false
		}
		return ok
	})
	return append(b, "}\n"...), ok
}

// appendText appends s as a JSON string, or reports that some character of s needs
// more thought than a backslash.
func appendText(b []byte, s string) ([]byte, bool) {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c >= utf8.RuneSelf:
			return b, false
		case c == '"' || c == '\\':
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"'), true
}

// mostClean is how many bytes of a foreign text are told.
const mostClean = 4000

// clean makes a foreign string fit for a log: without secrets, readable, and bounded.
func clean(s string) string {
	if isNumber(s) {
		return s
	}
	return cut(secret.Visible(secret.RedactString(s))) // before the cut, which may make a secret unrecognizable
}

// cut bounds the length of a text that is clean.
func cut(s string) string {
	if len(s) > mostClean {
		s = strings.ToValidUTF8(s[:mostClean], "") + "…"
	}
	return s
}

// isNumber reports whether s is a GUID or the hash of something, as the ids of invocations
// and of events are. Hexadecimal digits and hyphens make no credential that anybody
// could recognize.
func isNumber(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-' {
			return false
		}
	}
	return len(s) <= 64
}
