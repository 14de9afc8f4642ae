// Command hubwatch watches IoT hubs. The Functions host runs it without
// arguments, as the custom handler of the app that this repository deploys.
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

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
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

// command is what hubwatch does by hand. args are those after its name.
type command func(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer, log *slog.Logger) error

// commands are all of them, by name.
var commands = map[string]command{
	"quarantine": quarantine,
}

// errUsage is wrapped by the error of a command that was called in a way that it
// does not know.
var errUsage = errors.New("usage")

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if port := getenv(host.PortVariable); len(args) == 0 && port != "" {
		log := host.NewLogger(stdout)
		err := serve(ctx, port, getenv, log)
		if ctx.Err() != nil {
			log.Info("stopped by a signal")
			return exitRestart
		}
		fmt.Fprintln(stderr, "hubwatch:", err)
		return exitFailed
	}
	err := errUsage
	if len(args) > 0 && commands[args[0]] != nil {
		log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		err = commands[args[0]](ctx, args[1:], getenv, stdout, log)
	}
	if err == nil {
		return 0
	}
	if err != errUsage {
		fmt.Fprintln(stderr, "hubwatch:", err)
	}
	if errors.Is(err, errUsage) {
		fmt.Fprintf(stderr, usage, host.PortVariable)
		return exitUsage
	}
	return exitFailed
}

const usage = `hubwatch is the custom handler of an Azure Functions app. The Functions host starts it without
arguments and says in %s where to listen. By hand, with the settings AlertsStorage or AlertsStorage__tableServiceUri of the app in the environment:

  hubwatch quarantine list [--all]     lists what could not be judged; with --all also what has been redriven
  hubwatch quarantine show <id>        shows one event, whole; the beginning of an id is enough
  hubwatch quarantine redrive <id>|--all [--dry-run] [--delete]
                                       has it judged again, and marks or deletes what is judged

What looks at a deployment is a command of its own, which is not deployed: go run ./handlers/doctor -h
`

// functions returns every function of the app by name: one for each detector, and
// the relay.
func functions(detectors []detector.Detector, store alert.Store) map[string]host.Function {
	all := map[string]host.Function{host.RelayName: host.Relay(store)}
	for _, d := range detectors {
		all[d.Name] = host.Detect(d, store)
	}
	return all
}

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
	return host.Serve(ctx, port, host.NewHandler(functions(detectors, store), store, log, host.Limits{}))
}
