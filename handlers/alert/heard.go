package alert

import (
	"context"
	"time"
)

// Source is a way by which hubwatch hears of a hub.
type Source string

// The sources.
const (
	Changes     Source = "changes"     // events of Azure Resource Manager that came to a detector
	Connections Source = "connections" // records of the Connections log, also of connections that succeeded
	HubEvents   Source = "events"      // events that the hub itself publishes and that came to a detector
	// Resources are events of Azure Resource Manager about what is no hub, for example a part of
	// hubwatch: in place of the name of a hub is that of the resource.
	Resources Source = "resources"
)

// LogSource is the source of the records of a further log category, as
// event.LogCategories spells it: those that came to the relay and that a detector wants.
func LogSource(category string) Source { return Source("log." + category) }

// Heard is when hubwatch last heard of a hub by one source. "No alerts" means little if
// nothing is heard.
type Heard struct {
	Hub    string // as the keys of the table have it: in lower case
	Source Source
	Event  time.Time // of the newest event, UTC, and never later than Seen
	Seen   time.Time // when an event last came, UTC; zero, as Event, if none ever did
}

// Listener remembers when hubs were last heard of.
type Listener interface {
	// Hear remembers that an event of a hub, which happened at a time, came now. It
	// may leave out what comes within a minute of the last, and takes no memory then. It
	// takes two seconds at most. An error means that it may not be remembered. The next
	// event makes up for that, so an event is never refused because of it.
	Hear(ctx context.Context, hub string, source Source, at time.Time) error
}
