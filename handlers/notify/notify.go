// Package notify tells people of alerts. It has one file for each way to tell them.
package notify

import (
	"context"
	"errors"
	"time"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/export"
)

// Channel is a way to tell people of an alert.
type Channel interface {
	// Name names the channel in settings, logs and rows. It has no secret.
	Name() string
	// Send tells m. An error that wraps ErrNever says that it can never be sent; any
	// other error says that it may be tried again. No error has a secret of the channel.
	Send(ctx context.Context, m Message) error
}

// Message is what is told: one raising, a digest, or a test.
type Message struct {
	ID      string // of the raising: the id of its CloudEvent
	Kind    Kind
	Time    time.Time
	Alert   export.Alert   // of a digest: the gravest
	Count   int            // of a digest: how many raisings; 0 otherwise
	Alerts  []export.Alert // of a digest: the gravest few
	Channel string         // of Failed: the channel that does not work
	Reason  string         // of Failed: why
	// Past are the parts of the channel, for example recipients, that need this message no more.
	Past map[string]bool
}

// Kind is what a message is about.
type Kind string

// The kinds of messages.
const (
	Raised   Kind = "raised"   // an alert is new
	Reopened Kind = "reopened" // an alert that was closed is active again
	Digest   Kind = "digest"   // a hub raised many alerts in a short time
	Failed   Kind = "failed"   // another channel can never be told something
	Test     Kind = "test"     // nothing happened: a person tries the channel
)

// ErrNever says that a message can never be sent, however often it is tried.
var ErrNever = errors.New("can never be sent")

// Partial is the error of a channel that has several parts, for example recipients, of which
// some were told and the others were not.
type Partial struct {
	Told []string // the parts that were told, in names without a secret
	Err  error    // about the others; it wraps ErrNever if none of them can ever be told
}

// Error implements error.
func (p *Partial) Error() string { return p.Err.Error() }

// Unwrap returns what is wrong with the parts that were not told.
func (p *Partial) Unwrap() error { return p.Err }

// Configured is a channel as the settings want it.
type Configured struct {
	Channel
	Setting string         // the name of the setting that has it
	Least   alert.Severity // alerts that matter less are not told there
}

// rank orders severities. What is not known is told as if it were grave.
func rank(s alert.Severity) int {
	switch s {
	case alert.Informational:
		return 0
	case alert.Low:
		return 1
	case alert.Medium:
		return 2
	}
	return 3
}

// wants reports whether the channel is told of alerts of a severity.
func (c Configured) wants(s alert.Severity) bool { return rank(s) >= rank(c.Least) }
