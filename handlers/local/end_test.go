package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandVariable makes the test binary the command local.
const commandVariable = "HUBWATCH_TEST_LOCAL"

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		main()
	}
	if os.Getenv(handlerVariable) != "" {
		os.Exit(serveFurther())
	}
	os.Exit(m.Run())
}

// command is the command local as a process of its own. The process and all that
// it starts are one process group.
type command struct {
	*exec.Cmd
	screen *terminal
	stderr bytes.Buffer
	pipe   *os.File // the end that is read
	ended  chan struct{}
}

// start starts the command. What it prints goes through a pipe to the screen.
func start(t *testing.T, args ...string) *command {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &command{Cmd: exec.Command(program, args...), screen: &terminal{more: make(chan struct{}, 1)}, ended: make(chan struct{})}
	c.Env = append(os.Environ(), commandVariable+"=yes", portSetting+"=0")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.pipe, c.Stdout, c.Stderr = read, write, &c.stderr
	err = c.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(c.screen, read)
	go func() {
		defer close(c.ended)
		c.Wait()
	}()
	t.Cleanup(func() { // if the test has failed
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-c.ended
		read.Close()
	})
	return c
}

// end waits until the command ends. It checks the exit code and what is on stderr,
// and that no process is left.
func (c *command) end(t *testing.T, code int, stderr string) {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		t.Fatal("the command does not end")
	}
	if have := c.ProcessState.ExitCode(); have != code || !strings.Contains(c.stderr.String(), stderr) || strings.Contains(c.stderr.String(), "panic") {
		t.Errorf("exit code %d, want %d; said %q, want %q", have, code, c.stderr.String(), stderr)
	}
	if err := syscall.Kill(-c.Process.Pid, 0); err != syscall.ESRCH {
		t.Errorf("processes of the group %d are left: %v", c.Process.Pid, err)
	}
}

// TestSignals ends make run and make demo at each stage with each signal that a
// terminal or a supervisor sends. No process is left. Without HUBWATCH_TRIALS each stage
// gets one of the signals.
func TestSignals(t *testing.T) {
	atRoot(t)
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	stages := []struct {
		name, shows string
		args        []string
	}{
		{name: "while starting", shows: "Starting Azurite"},
		{name: "while publishing", shows: "Publishing "},
		{name: "while listening", shows: "Ctrl-C ends it all"},
		{name: "during the demo", shows: "each delivered 3 times", args: []string{"demo"}},
	}
	for i, stage := range stages {
		for j, signal := range signals {
			if os.Getenv("HUBWATCH_TRIALS") == "" && j != i%len(signals) {
				continue
			}
			t.Run(signal.String()+" "+stage.name, func(t *testing.T) {
				c := start(t, stage.args...)
				c.screen.await(t, 0, stage.shows)
				c.Process.Signal(signal)
				if stage.args == nil {
					c.end(t, 0, "")
				} else {
					c.end(t, 1, "local: "+signal.String()+" signal received\n")
				}
			})
		}
	}
}

// TestClosedPipe ends make run as make run | head -1 does. No process is left.
func TestClosedPipe(t *testing.T) {
	atRoot(t)
	c := start(t)
	c.screen.await(t, 0, "Starting Azurite")
	c.pipe.Close()
	c.end(t, 1, "local: write /dev/stdout: broken pipe\n")
}

// full is a screen that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestNotShown checks that what could not be shown is not a success.
func TestNotShown(t *testing.T) {
	atRoot(t)
	for _, args := range [][]string{nil, {"demo"}} {
		var stderr bytes.Buffer
		if code := run(t.Context(), args, func(name string) string { return map[string]string{portSetting: "0"}[name] }, full{}, &stderr); code != 1 || stderr.String() != "local: no space left on device\n" {
			t.Errorf("%v: exit code %d, said %q", args, code, stderr.String())
		}
	}
}
