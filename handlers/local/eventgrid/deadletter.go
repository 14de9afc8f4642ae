package eventgrid

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"hubwatch/handlers/local/netjson"
)

// deadLetter writes an undelivered event to a file of its own. If there is no
// folder, deadLetter only logs the event. The name of the file consists of the
// subscription's name and a new id, and of nothing in the event.
func (d *delivery) deadLetter(reason string) {
	folder := d.topic.options.DeadLetters
	if folder == "" {
		d.log(slog.LevelError, "event dropped: "+reason)
		return
	}
	content, err := d.deadLetterText(reason)
	if err == nil {
		err = writeFile(folder, d.subscription.Name+"-"+rand.Text()+".json", content)
	}
	if err != nil {
		d.lastError = fmt.Errorf("dead letter: %w", err)
		d.log(slog.LevelError, "event lost: "+reason)
		return
	}
	d.log(slog.LevelError, "event dead-lettered: "+reason)
}

// deadLetterText is the event with Event Grid's own members after it, spelled
// in lower case in a CloudEvent
// (learn.microsoft.com/azure/event-grid/delivery-and-retry, dead-letter event).
func (d *delivery) deadLetterText(reason string) ([]byte, error) {
	members, err := netjson.SplitObject(d.event.text)
	if err != nil {
		return nil, err
	}
	add := func(name string, value []byte) {
		if d.event.cloud {
			name = strings.ToLower(name)
		}
		members = append(members, netjson.Member{Name: name, Value: value})
	}
	add("deadLetterReason", netjson.AppendText(nil, reason))
	add("deliveryAttempts", fmt.Append(nil, d.attempts))
	add("lastDeliveryOutcome", netjson.AppendText(nil, d.outcome()))
	if d.lastStatus != 0 {
		add("lastHttpStatusCode", fmt.Append(nil, d.lastStatus))
	}
	add("publishTime", netjson.AppendText(nil, d.published.Format(netjson.UTCTime)))
	add("lastDeliveryAttemptTime", netjson.AppendText(nil, d.lastAttempt.Format(netjson.UTCTime)))
	return append(netjson.AppendObject(nil, members), '\n'), nil
}

// outcome is Event Grid's name for the result of the last attempt.
func (d *delivery) outcome() string {
	switch d.lastStatus {
	case 0:
		if errors.Is(d.lastError, context.DeadlineExceeded) {
			return "TimedOut"
		}
		return "SocketError"
	case http.StatusBadRequest:
		return "BadRequest"
	case http.StatusUnauthorized:
		return "Unauthorized"
	case http.StatusForbidden:
		return "Forbidden"
	case http.StatusNotFound:
		return "NotFound"
	case http.StatusRequestTimeout:
		return "TimedOut"
	case http.StatusRequestEntityTooLarge:
		return "PayloadTooLarge"
	case http.StatusServiceUnavailable:
		return "Busy"
	}
	return "GenericError"
}

// writeFile makes the folder if needed. The file gets its name only when it is
// complete.
func writeFile(folder, name string, content []byte) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(folder, ".dead-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), filepath.Join(folder, name))
	}
	if err != nil {
		os.Remove(temporary.Name())
	}
	return err
}
