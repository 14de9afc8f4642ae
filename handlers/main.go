// Command handlers is the custom handler of the function app that this repository
// deploys, and nothing else. The Functions host starts it without arguments.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"hubwatch/handlers/app"
	"hubwatch/handlers/host"
	"hubwatch/handlers/judge"
)

// memoryLimit is where the Go runtime begins to collect garbage more often. Without a
// limit it lets the heap grow to twice of what is in use
// (https://go.dev/doc/gc-guide#Memory_limit). It is a soft limit: host.Limits and
// TestMemoryIsBounded hold the bound, which docs/design.md states. The smallest
// instance has 512 MB for the handler and the Functions host together
// (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#instance-sizes).
const memoryLimit = 128 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	return host.Run(ctx, args, getenv, stdout, stderr, usage, func(ctx context.Context, port string, log *slog.Logger) error {
		return serve(ctx, port, getenv, log)
	})
}

const usage = `This is the custom handler of hubwatch, a function app. The Functions host starts it without
arguments and says in %s where to listen.
By hand, in the root of the repository:

  make run                      shows events becoming alerts on this machine
  go run ./handlers/hubwatch    is the command for people: alerts, quarantine, doctor
`

// serve is the custom handler. It always returns an error.
func serve(ctx context.Context, port string, getenv func(string) string, log *slog.Logger) error {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	a, err := app.Open(getenv)
	if err != nil {
		return err
	}
	j := a.Judge(judge.NewRules(a.Suppressions, func(what string, err error) { log.Warn(what, "error", err.Error()) }))
	handler, err := host.NewHandler(app.Functions(a.Detectors, j), j.Broken, log, host.Limits{})
	if err != nil {
		return err
	}
	return host.Serve(ctx, port, handler)
}
