// Command hubwatch watches IoT hubs. The Functions host runs it without
// arguments, as the custom handler of the app that this repository deploys.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"hubwatch/handlers/host"
	"hubwatch/handlers/table"
)

// Exit codes. The Functions host starts a handler again after any code but 0;
// after 200 without counting it as a failure, of which the third stops the host
// (Azure/azure-functions-host, WorkerProcess.OnProcessExited).
const (
	exitFailed  = 1
	exitUsage   = 2
	exitRestart = 200
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	command := map[string]func(context.Context, io.Writer, *slog.Logger) error{"local": tryOut, "demo": demo}
	switch port := getenv(host.PortVariable); {
	case len(args) == 1 && command[args[0]] != nil:
		log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		if err := command[args[0]](ctx, stdout, log); err != nil {
			fmt.Fprintln(stderr, "hubwatch:", err)
			return exitFailed
		}
		return 0
	case len(args) == 0 && port != "":
		log := host.NewLogger(stdout)
		err := serve(ctx, port, getenv, log)
		if ctx.Err() != nil {
			log.Info("stopped by a signal")
			return exitRestart
		}
		fmt.Fprintln(stderr, "hubwatch:", err)
		return exitFailed
	default:
		fmt.Fprintf(stderr, usage, host.PortVariable)
		return exitUsage
	}
}

const usage = `hubwatch is the custom handler of an Azure Functions app. The Functions host starts it without
arguments and says in %s where to listen. By hand, in the root of the repository:

  hubwatch local   shows events becoming alerts on this machine, then listens (make run)
  hubwatch demo    delivers every sample event three times and checks the alerts (make demo)
`

// serve is the custom handler. It always returns an error.
func serve(ctx context.Context, port string, getenv func(string) string, log *slog.Logger) error {
	detectors, err := detectors(getenv)
	if err != nil {
		return err
	}
	store, err := table.Open(tableSettings(getenv))
	if err != nil {
		return err
	}
	functions := map[string]host.Function{host.RelayName: host.Relay(store)}
	for _, d := range detectors {
		functions[d.Name] = host.Detect(d, store)
	}
	return host.Serve(ctx, port, host.NewHandler(functions, store, log, host.Limits{}))
}
