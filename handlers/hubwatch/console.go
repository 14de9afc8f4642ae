package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"hubwatch/handlers/console"
	"hubwatch/handlers/fleet"
	"hubwatch/handlers/remedy"
)

// newConsole returns the verb that serves the console.
func newConsole(o *operator) *cobra.Command {
	var port int
	var open bool
	var state string
	command := &cobra.Command{
		Use:   "console",
		Short: "Show alerts in the browser, from this computer",
		Long: `console serves pages about the alerts on 127.0.0.1, until Ctrl-C ends it, and
prints their address. It reads and changes the tables as you do: what you may
not do with the other commands, you may not do there.

The address has a token. Whoever has it and uses this computer may do what you
may. It is good until the console ends. Only this computer can reach the
console; there is no flag for another address.

With --account, name the account of the state with --state-account: the page
about the Connections log is read from there. The other pages do not need it.

The same is there as JSON below /api/, for programs that send the token in the
header Authorization: Bearer. docs/exports.md describes the documents.`,
		Example: `  hubwatch console --account contosostorage --state-account contosostate --open
  hubwatch --local console`,
		Args: none,
		RunE: func(command *cobra.Command, _ []string) error {
			if port < 0 || port > 65535 {
				return &usageError{command, errors.New("--port: want a number from 0 to 65535")}
			}
			ctx := command.Context()
			c, err := o.config()
			if err != nil {
				return err
			}
			var figures fleet.Figures
			if err := o.stateIn(&c, state); err != nil {
				figures = fleet.NoFigures{Err: err}
			}
			a, by, err := openAs(ctx, c)
			if err != nil {
				return err
			}
			if figures == nil {
				figures = a.State
			}
			listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return err
			}
			handler := console.New(console.Options{
				Alerts: a.Alerts, Suppressions: a.Suppressions, Quarantine: a.Quarantine, Connections: figures, Detectors: a.Detectors,
				Session: func(*http.Request) (console.Session, error) { return console.Session{Person: by}, nil },
				Account: c.Storage.Account(), Command: o.called(), StateAccount: state, Now: o.now, Log: slog.New(slog.NewTextHandler(command.ErrOrStderr(), nil)),
			})
			local := console.NewLocal(handler, listener.Addr())
			server := &http.Server{Handler: local, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
			context.AfterFunc(ctx, func() { _ = server.Close() })
			fmt.Fprintf(command.OutOrStdout(), "%s\n", local.URL())
			fmt.Fprintln(command.ErrOrStderr(), "This is the address of the console. Ctrl-C ends it.")
			if open {
				if err := browse(ctx, local.URL()); err != nil {
					complain(command.ErrOrStderr(), fmt.Errorf("--open: %w", err))
				}
			}
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	command.Flags().IntVar(&port, "port", 0, "`port` of 127.0.0.1 (default any free one)")
	addStateAccount(command, &state)
	command.Flags().BoolVar(&open, "open", false, "open it in the browser")
	return command
}

// called returns how a person calls hubwatch for the same tables.
func (o *operator) called() string {
	switch {
	case o.local:
		return "build/hubwatch --local"
	case o.account != "":
		return "hubwatch --account=" + remedy.Quote(o.account)
	}
	return "hubwatch"
}

// browse opens an address in the browser of this computer.
func browse(ctx context.Context, url string) error {
	program, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		program = "open"
	case "windows":
		program, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	return exec.CommandContext(ctx, program, args...).Start() // #nosec G204 -- a program of the system, and an address of our own
}
