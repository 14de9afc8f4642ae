// Command consoleapp is the custom handler of the console's function app: the pages of
// package console for people who sign in with Microsoft Entra. It has one function, and
// its app has no detector.
package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hubwatch/handlers/app"
	"hubwatch/handlers/console"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/host"
	"hubwatch/handlers/remedy"
)

const usage = `This is the custom handler of hubwatch's console, a function app. The Functions host starts
it without arguments and says in %s where to listen.
By hand, hubwatch console serves the same pages on this computer.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	return host.Run(ctx, args, getenv, stdout, stderr, usage, func(ctx context.Context, port string, log *slog.Logger) error {
		c, err := app.ReadConsole(getenv)
		if err != nil {
			return err
		}
		handler, err := newHandler(c, newDoor(c.Issuer, c.ClientID, c.Changes), log)
		if err != nil {
			return err
		}
		return host.Serve(ctx, port, handler)
	})
}

// newHandler returns what answers the Functions host.
func newHandler(c app.ConsoleConfig, d *door, log *slog.Logger) (http.Handler, error) {
	a, err := c.Open()
	if err != nil {
		return nil, err
	}
	var figures fleet.Figures = a.State
	if err := c.Stateless(); err != nil {
		figures = fleet.NoFigures{Err: err}
	}
	pages := console.New(console.Options{
		Alerts: a.Alerts, Suppressions: a.Suppressions, Quarantine: a.Quarantine, Connections: figures, Detectors: a.Detectors,
		Session: d.session, Base: app.ConsolePath, Account: c.Storage.Account(),
		Command: "hubwatch --account=" + remedy.Quote(c.Storage.Account()), StateAccount: c.State.Account(), Now: time.Now, Log: log,
	})
	return host.NewHandler([]host.Function{app.Console(pages)}, broken, log, host.Limits{})
}

// broken is for a request that is not an invocation. The host makes none. Nothing is kept
// of it, since no event is lost.
func broken(_ context.Context, _ host.Invocation, _ int64, reason error) (host.Outcome, error) {
	return host.Outcome{}, reason
}
