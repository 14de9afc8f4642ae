package functions

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// readyPoll is the interval of GET / until the handler answers
// (Azure/azure-functions-host, HttpWorkerChannel.DelayUntilWokerInitialized).
const readyPoll = 25 * time.Millisecond

// streamLimit bounds the wait for the last output of a dead handler whose own
// children still hold its stdout or stderr.
const streamLimit = time.Second

// killReason says why the host itself ended a handler process.
type killReason int32

const (
	notKilled   killReason = iota
	killTimeout            // an invocation timed out; the restart is not counted
	killInit               // it did not become ready; counted as an error
	killStop               // the host stops
)

// worker is one run of the handler process.
type worker struct {
	process *exec.Cmd
	wire    *wire
	killed  atomic.Int32

	ready      chan struct{} // closed once GET / was answered
	initFailed chan struct{} // closed if that took too long
	exited     chan struct{} // closed when the process is gone and its output read
	replaced   chan struct{} // closed when the next worker takes over
	exitCode   int           // valid after exited; 128+n for signal n
}

// startWorker starts the handler with the environment that the host documents
// (learn.microsoft.com, custom handlers) plus the older aliases it still sets.
func startWorker(cmd command, root string, port int, output *console) (*worker, error) {
	id := newUUID()
	env := maps.Clone(cmd.environment)
	env["FUNCTIONS_CUSTOMHANDLER_PORT"] = fmt.Sprint(port)
	env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"] = id
	env["FUNCTIONS_HTTPWORKER_PORT"] = fmt.Sprint(port)
	env["FUNCTIONS_HTTPWORKER_ID"] = id
	env["FUNCTIONS_APP_ROOT_PATH"] = root

	w := &worker{
		process:    exec.Command(cmd.path, cmd.arguments...),
		wire:       &wire{address: net.JoinHostPort("127.0.0.1", fmt.Sprint(port))},
		ready:      make(chan struct{}),
		initFailed: make(chan struct{}),
		exited:     make(chan struct{}),
		replaced:   make(chan struct{}),
	}
	w.process.Dir = cmd.dir
	w.process.Env = variableList(env)
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		outRead.Close()
		outWrite.Close()
		return nil, err
	}
	w.process.Stdout, w.process.Stderr = outWrite, errWrite
	err = w.process.Start()
	outWrite.Close()
	errWrite.Close()
	if err != nil {
		outRead.Close()
		errRead.Close()
		return nil, err
	}
	var streams sync.WaitGroup
	streams.Go(func() { eachLine(outRead, output.stdout) })
	streams.Go(func() { eachLine(errRead, output.stderr) })
	go w.wait(&streams, outRead, errRead)
	return w, nil
}

// wait collects the exit code and the last output. It closes the pipes, so that
// the readers end even if a child of the handler still holds the other end.
func (w *worker) wait(streams *sync.WaitGroup, pipes ...*os.File) {
	w.process.Wait()
	limit := time.AfterFunc(streamLimit, func() {
		for _, pipe := range pipes {
			pipe.SetReadDeadline(time.Unix(1, 0))
		}
	})
	streams.Wait()
	limit.Stop()
	for _, pipe := range pipes {
		pipe.Close()
	}
	w.exitCode = w.process.ProcessState.ExitCode()
	if status, ok := w.process.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		w.exitCode = 128 + int(status.Signal())
	}
	w.wire.close()
	close(w.exited)
}

// kill ends the process with SIGKILL; the host never sends SIGTERM. Only the
// first reason is remembered, and only if the process has not exited by itself
// before.
func (w *worker) kill(reason killReason) {
	select {
	case <-w.exited:
		return
	default:
	}
	w.killed.CompareAndSwap(int32(notKilled), int32(reason))
	w.process.Process.Kill()
}

func (w *worker) killReason() killReason { return killReason(w.killed.Load()) }

// gone reports whether the process has exited in a way after which the host
// starts another one.
func (w *worker) gone() bool {
	select {
	case <-w.exited:
		return w.exitCode != 0 || w.killReason() != notKilled
	default:
		return false
	}
}

// awaitReady asks GET / until any HTTP status comes back. Only a refused
// connection means "not yet"; any other error counts as ready
// (Azure/azure-functions-host, DefaultHttpWorkerService.IsWorkerReady).
func (w *worker) awaitReady(limit time.Duration) {
	expired := time.AfterFunc(limit, func() {
		close(w.initFailed)
		w.kill(killInit)
	})
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	request := []byte("GET / HTTP/1.1\r\nHost: " + w.wire.address + "\r\n\r\n")
	for {
		_, err := w.wire.do("GET", request)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			if expired.Stop() {
				close(w.ready)
			}
			return
		}
		select {
		case <-poll.C:
		case <-w.initFailed:
			return
		case <-w.replaced:
			expired.Stop()
			return
		}
	}
}

// console takes the handler's output.
type console struct {
	logger     *slog.Logger
	copy       io.Writer // every line, verbatim; may be nil
	errorsOnly bool

	mu sync.Mutex
}

func (c *console) stdout(line string) {
	c.tee(line)
	c.logger.Info(line, "category", consoleCategory)
}

const consoleCategory = "Host.Function.Console"

// stderr chooses the level of a line as the host does
// (Azure/azure-functions-host, WorkerProcess.ParseErrorMessageAndLog).
func (c *console) stderr(line string) {
	c.tee(line)
	lower := strings.ToLower(line)
	level := slog.LevelInfo
	switch {
	case strings.Contains(lower, "warn"):
		level = slog.LevelWarn
	case c.errorsOnly, strings.Contains(lower, "error"), strings.Contains(lower, "fail"),
		strings.Contains(lower, "severe"), strings.Contains(lower, "unhandled exception"):
		level = slog.LevelError
	}
	c.logger.Log(context.Background(), level, line, "category", consoleCategory)
}

func (c *console) tee(line string) {
	if c.copy == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	io.WriteString(c.copy, line+"\n")
}

func eachLine(r io.Reader, f func(string)) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			f(strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			return
		}
	}
}

// newUUID returns a random version 4 UUID in lower case.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
