package judge

import (
	"context"
	"time"

	"hubwatch/handlers/coverage"
	"hubwatch/handlers/host"
)

// Names of the functions that tell people of alerts.
const (
	NotifyName   = "Notify"   // tells the channels of a raising
	SentinelName = "Sentinel" // sends a raising to Microsoft Sentinel
)

// Notifier tells people of raisings.
type Notifier interface {
	// Notify is the work of the function that tells the channels of a raising.
	Notify(ctx context.Context, in host.Invocation) (host.Outcome, error)
	// Digests tells the digests whose time is over. Its error says what is tried again.
	Digests(ctx context.Context, in host.Invocation) (host.Outcome, error)
	// Expire drops what need not be remembered any more of who was told what, and returns how
	// many days that were.
	Expire(ctx context.Context, now time.Time) (dropped int, err error)
}

// Notify is the work of the function that tells the channels of a raising. A canary comes here
// too, and nobody is told of it.
func (j Judge) Notify(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	if out, mine, err := j.arriveAlerts(ctx, in, j.arrive); mine {
		return out, err
	}
	return j.Notifier.Notify(ctx, in)
}

// Hearer hears of raisings.
type Hearer interface {
	// Notify is the work of a function that hears of a raising.
	Notify(ctx context.Context, in host.Invocation) (host.Outcome, error)
}

// Sentinel is the work of the function that sends a raising to Microsoft Sentinel. A canary comes
// here too, and is not sent there.
func (j Judge) Sentinel(ctx context.Context, in host.Invocation) (host.Outcome, error) {
	reach := func(ctx context.Context, out *host.Outcome, c coverage.Canary) error {
		return j.reach(ctx, out, c, coverage.Branch{Function: SentinelName, Type: coverage.CanaryType})
	}
	if out, mine, err := j.arriveAlerts(ctx, in, reach); mine {
		return out, err
	}
	return j.SIEM.Notify(ctx, in)
}
