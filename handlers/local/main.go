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
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// With a reader for SIGPIPE, writing to a closed pipe is an error. Without one it
	// ends this process at once, and the processes that it has started go on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// portSetting is the variable with the port on which make run listens.
const portSetting = "HUBWATCH_PORT"

// minuteSetting is the variable with how long a minute of the timers takes, in the form of
// Go: 60s for the time of the clock. defaultMinute lets an operator see at once what is due.
const (
	minuteSetting = "HUBWATCH_MINUTE"
	defaultMinute = "1s"
)

// defaultPort is the port of the real host under func start.
const defaultPort = "7071"

const usage = `local shows hubwatch on this machine. In the root of the repository:

  make run     shows events becoming alerts, then listens (local)
  make demo    delivers every sample event three times and checks the alerts,
               in a copy that has the README's alert too (local demo)

make run listens on the port %s of 127.0.0.1, or on the one that
%s names; 0 is any free one. A minute of its timers takes %s, or
what %s says. While it runs, "build/hubwatch --local" reads its tables.
`

// run is main without the process: it returns the exit code. make run ends with 0
// when ctx is done. Nothing else that is ended early ends with 0.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	working, end := context.WithCancelCause(ctx)
	defer end(nil)
	var level slog.LevelVar
	level.Set(slog.LevelWarn)
	context.AfterFunc(working, func() { level.Set(silent) })
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: &level}))
	stdout = &screen{stdout, end}
	var err error
	switch {
	case len(args) == 0:
		err = tryOut(working, getenv, stdout, log)
		if ctx.Err() != nil { // Ctrl-C is how it ends
			return 0
		}
	case len(args) == 1 && args[0] == "demo":
		err = demo(working, stdout, log)
	default:
		fmt.Fprintf(stderr, usage, defaultPort, portSetting, defaultMinute, minuteSetting)
		return 2
	}
	if cause := context.Cause(working); cause != nil {
		err = cause
	}
	if err != nil {
		fmt.Fprintln(stderr, "local:", err)
		return 1
	}
	return 0
}

// silent is above every level of the log. What is cut off when everything ends is
// not an error to report.
const silent = slog.LevelError + 1

// screen passes on what is written. When that fails, for example because the
// other end of a pipe was closed, screen ends the work: nobody reads it.
type screen struct {
	io.Writer
	end context.CancelCauseFunc
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil {
		s.end(err)
	}
	return n, err
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

// minute reads how long a minute of the timers takes.
func minute(getenv func(string) string) (time.Duration, error) {
	text := cmp.Or(getenv(minuteSetting), defaultMinute)
	d, err := time.ParseDuration(text)
	if err != nil || d < 100*time.Millisecond || d > time.Hour {
		return 0, fmt.Errorf("%s: %q: want a time between 100ms and 1h, for example 60s", minuteSetting, text)
	}
	return d, nil
}
