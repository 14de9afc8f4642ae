// Command local shows hubwatch on one machine: the handler as it is deployed,
// Azurite, and stand-ins for the Functions host, Event Grid and an event hub.
// make run and make demo call it, in the root of the repository.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `local shows hubwatch on this machine. In the root of the repository:

  make run    shows events becoming alerts, then listens (local)
  make demo   delivers every sample event three times and checks the alerts (local demo)
`

var errUsage = errors.New("usage")

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err := errUsage
	switch {
	case len(args) == 0:
		err = tryOut(ctx, stdout, log)
	case len(args) == 1 && args[0] == "demo":
		err = demo(ctx, stdout, log)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(stderr, usage)
		return 2
	}
	fmt.Fprintln(stderr, "local:", err)
	return 1
}
