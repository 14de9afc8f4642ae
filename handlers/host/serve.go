package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// PortVariable is the environment variable in which the Functions host says on
// which port it will look for the handler.
const PortVariable = "FUNCTIONS_CUSTOMHANDLER_PORT"

// Exit codes of a handler. The Functions host starts a handler again after any code
// other than 0. It counts every code other than 200 as a failure, and stops at the third
// failure (Azure/azure-functions-host, WorkerProcess.OnProcessExited).
const (
	ExitFailed  = 1
	ExitUsage   = 2
	ExitRestart = 200
)

// lineWait is how long a line of information may be held. So a process that is killed
// loses the lines of its last tenth of a second, and nothing else: what is acknowledged
// is in the tables.
const lineWait = 100 * time.Millisecond

// Run is the process of a handler: it calls serve with the port of the Functions host,
// and returns the exit code. serve returns when ctx is done, and always an error. The
// host starts a handler without arguments. Whoever starts it by hand is told usage,
// which has a %s for the name of the variable that is missing.
func Run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, usage string,
	serve func(ctx context.Context, port string, log *slog.Logger) error) int {
	port := getenv(PortVariable)
	if len(args) > 0 || port == "" {
		fmt.Fprintf(stderr, usage, PortVariable)
		return ExitUsage
	}
	lines := &lineWriter{w: stdout, wait: lineWait}
	defer lines.flush()
	log := newLogger(lines)
	err := serve(ctx, port, log)
	if ctx.Err() != nil {
		log.Info("stopped by a signal")
		return ExitRestart
	}
	fmt.Fprintln(stderr, "hubwatch:", err)
	return ExitFailed
}

// How often Serve looks whether its parent is there, and how long it lets
// running invocations finish.
const (
	parentInterval = time.Second
	drainTimeout   = 3 * time.Second
)

// Serve answers the Functions host on 127.0.0.1:port until ctx is done or the
// process that started this one is gone. It always returns an error: a handler
// that exits with 0 is never started again (Azure/azure-functions-host,
// HttpFunctionInvocationDispatcher).
//
// It looks for its parent itself. The host kills its handler when it stops, but
// not when it is killed, and Linux's own signal on the death of a parent comes
// from the death of the thread that started the process, which for the host is
// one of a pool.
func Serve(ctx context.Context, port string, handler http.Handler) error {
	// Only this machine may call: the host does not authenticate itself.
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		parent := os.Getppid()
		for tick := time.Tick(parentInterval); ctx.Err() == nil; <-tick {
			if os.Getppid() != parent {
				cancel(errors.New("the Functions host is gone"))
			}
		}
	}()

	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10, // the host sends less than 1 KB
		// Longer than the minute after which the host's client drops an idle
		// connection, so that it never sends on one that is closing.
		IdleTimeout: 2 * time.Minute,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain, stop := context.WithTimeout(context.Background(), drainTimeout)
	defer stop()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("%w; invocations that were running: %w", context.Cause(ctx), err)
	}
	return context.Cause(ctx)
}
