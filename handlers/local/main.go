// Command local shows hubwatch on one machine: the handler as it is deployed,
// Azurite, and stand-ins for the Functions host, Event Grid and an event hub.
// make run and make demo call it, in the root of the repository.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// portSetting is the variable with the port on which make run listens.
const portSetting = "HUBWATCH_PORT"

// defaultPort is the port of the real host under func start.
const defaultPort = "7071"

const usage = `local shows hubwatch on this machine. In the root of the repository:

  make run     shows events becoming alerts, then listens (local)
  make demo    delivers every sample event three times and checks the alerts
               (local demo)

make run listens on the port %s of 127.0.0.1, or on the one that
%s names; 0 is any free one.
`

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	switch {
	case len(args) == 0:
		err = tryOut(ctx, getenv, stdout, log)
	case len(args) == 1 && args[0] == "demo":
		err = demo(ctx, stdout, log)
	default:
		fmt.Fprintf(stderr, usage, defaultPort, portSetting)
		return 2
	}
	if err == nil || ctx.Err() != nil { // Ctrl-C is how it ends
		return 0
	}
	fmt.Fprintln(stderr, "local:", err)
	return 1
}

// port reads the port to listen on.
func port(getenv func(string) string) (int, error) {
	text := cmp.Or(getenv(portSetting), defaultPort)
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a port", portSetting, text)
	}
	return int(n), nil
}
