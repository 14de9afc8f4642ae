package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"hubwatch/handlers/console"
	"hubwatch/handlers/table"
)

// startConsole serves the console of the site, and returns the address for the browser.
func (s *site) startConsole(ctx context.Context, log *slog.Logger) (string, error) {
	by, err := table.Settings{ConnectionString: s.azurite.ConnectionString()}.Person(ctx)
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	door := console.NewLocal(console.New(console.Options{
		Alerts: s.stores.Alerts, Suppressions: s.stores.Suppressions, Quarantine: s.stores.Quarantine, Connections: s.stores.State, Detectors: s.stores.Detectors,
		Session: func(*http.Request) (console.Session, error) { return console.Session{Person: by}, nil },
		Account: "make run", Command: hubwatchCommand + " --local", Now: time.Now, Log: log,
	}), listener.Addr())
	s.console = &http.Server{Handler: door, ReadHeaderTimeout: 10 * time.Second}
	go s.console.Serve(listener)
	return door.URL(), nil
}
