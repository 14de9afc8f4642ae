package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
)

// siteSetting is the variable with the address of make run.
const siteSetting = "HUBWATCH_SITE"

// tryOut is make run. It shows the alerts of the sample events. Then it listens
// for more events and shows their results, until ctx is done.
func tryOut(ctx context.Context, getenv func(string) string, stdout io.Writer, log *slog.Logger) error {
	number, err := port(getenv)
	if err != nil {
		return err
	}
	length, err := minute(getenv)
	if err != nil {
		return err
	}
	events, messages, err := allSamples()
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, "Starting Azurite, the handler, and stand-ins for the Functions host, Event Grid\nand an event hub.\n")
	w := newWatcher(ctx, stdout)
	s, err := startSite(ctx, siteOptions{
		port: number, minute: length, relayed: w.relayed, messages: w.messages, settled: w.settled, untold: newUntold(stdout), log: log,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.writeSettings(); err != nil {
		return err
	}
	defer os.Remove(settingsFile)
	fmt.Fprintf(stdout, "Publishing %d sample events and %d messages of the Connections log.\n", len(events), len(messages))
	if err := s.publish(ctx, events, messages); err != nil {
		return err
	}
	alerts, err := s.alerts(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nThe table alerts now has:\n\n")
	show(stdout, alerts)
	console, err := s.startConsole(ctx, log)
	if err != nil {
		return err
	}
	if err := w.begin(s); err != nil {
		return err
	}
	fmt.Fprintf(stdout, `
Look at the alerts in the browser:

  %[5]s

Send an event of your own, in the Event Grid or the CloudEvents schema, or a
message of the Connections log. What becomes of it is shown here.

  curl %[1]s/api/events \
    --data-binary @%[2]s/certificate-added.json
  curl %[1]s/eventhub/messages \
    --data-binary @%[2]s/logs/night-shift.json

Read the alerts as an operator does, in another terminal:

  %[3]s --local alerts list
  %[3]s --local quarantine list

The log of the handler is in %[4]s. Ctrl-C ends it all.
`, s.url, samplesFolder, hubwatchCommand, logFile, console)
	select {
	case <-ctx.Done():
		return nil
	case <-s.functions.Done():
		return fmt.Errorf("the handler does not run any more, see %s: %w", logFile, s.functions.Err())
	}
}

// writeSettings writes where the tables and the site are, for hubwatch --local: lines of
// a name, "=" and a value. Only this user may read the file, since it has the key of
// Azurite.
func (s *site) writeSettings() error {
	text := fmt.Sprintf("%s=%s\n%s=%s\n", storageSetting, s.azurite.ConnectionString(), siteSetting, s.url)
	if err := os.WriteFile(settingsFile, []byte(text), 0o600); err != nil {
		return fmt.Errorf("settings for hubwatch --local: %w", err)
	}
	return nil
}
