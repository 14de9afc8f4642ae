package host

import (
	"io"
	"log/slog"
	"strings"

	"hubwatch/handlers/secret"
)

// NewLogger returns the log of a handler: one JSON object a line. The host takes
// lines from stdout as information and from stderr as errors, and adds no
// invocation id to either (Azure/azure-functions-host, WorkerProcess). Every
// string is without secrets and hidden characters, and of bounded length.
func NewLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindString {
				a.Value = slog.StringValue(clean(a.Value.String()))
			}
			return a
		},
	}))
}

// clean makes a foreign string fit for a log: without secrets, readable, and bounded.
func clean(s string) string {
	const most = 4000
	s = secret.Visible(secret.RedactString(s)) // before the cut, which may make a secret unrecognizable
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
