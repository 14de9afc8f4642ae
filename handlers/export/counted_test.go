package export

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
)

// TestCountedEvidence checks how evidence of events that were counted together reads.
func TestCountedEvidence(t *testing.T) {
	at := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	got, err := json.Marshal(NewEvidence(alert.Evidence{
		EventID: "0f", Time: at, Counted: []alert.CountedEvent{{Time: at.Add(-time.Minute), Hash: "0e"}, {Time: at, Hash: "0f"}},
	}))
	const want = `{"eventId":"0f","eventTimeUtc":"2026-02-01T12:00:00Z","properties":{},"count":2,` +
		`"counted":[{"timeUtc":"2026-02-01T11:59:00Z","hash":"0e"},{"timeUtc":"2026-02-01T12:00:00Z","hash":"0f"}]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, want %s, %v", got, want, err)
	}
}
