package judge

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/host"
)

// recorder is a store of alerts that says the same of every occurrence.
type recorder struct {
	recorded alert.Recorded
	err      error
}

func (r recorder) Record(_ context.Context, occurrences ...alert.Occurrence) ([]alert.Recorded, error) {
	recorded := make([]alert.Recorded, len(occurrences))
	for i := range recorded {
		recorded[i] = r.recorded
	}
	return recorded, r.err
}

// certificateAdded returns an event that CertificateAdded fires on.
func certificateAdded(t *testing.T) jsontext.Value {
	t.Helper()
	data, err := os.ReadFile("../detector/testdata/CertificateAdded/fires-event-grid-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Event jsontext.Value `json:"event"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c.Event
}

// TestFirstErrorFirst holds that an error which comes after another one hides
// nothing: both are said, in the order in which they came.
func TestFirstErrorFirst(t *testing.T) {
	down := errors.New("quarantine is down")
	rejected := alert.Recorded{Outcome: alert.Rejected, Err: errors.New("row of 2 MB")}
	detect := func(raw jsontext.Value) func(Judge) error {
		return func(j Judge) error {
			_, err := j.Detect(detector.CertificateAdded)(t.Context(), host.Invocation{Function: "CertificateAdded", Data: raw})
			return err
		}
	}
	for name, test := range map[string]struct {
		alerts recorder
		run    func(Judge) error
		want   []string // in order
	}{
		"rejected":                            {recorder{recorded: rejected}, detect(certificateAdded(t)), []string{"row of 2 MB", "quarantine is down"}},
		"rejected, and another is not stored": {recorder{recorded: rejected, err: errors.New("alerts are down")}, detect(certificateAdded(t)), []string{"row of 2 MB", "alerts are down"}},
		"cannot be judged":                    {recorder{}, detect(jsontext.Value(`{}`)), []string{"event", "quarantine is down"}},
		"not an event":                        {recorder{}, detect(jsontext.Value(`17`)), []string{"binding", "quarantine is down"}},
		"not an invocation": {recorder{}, func(j Judge) error {
			_, err := j.Broken(t.Context(), host.Invocation{Function: "CertificateAdded"}, 0, errors.New("too long"))
			return err
		}, []string{"too long", "quarantine is down"}},
		"a message that cannot be read": {recorder{}, func(j Judge) error {
			_, err := j.Relay(t.Context(), host.Invocation{Function: RelayName, Data: hubMessages(t, "not JSON")})
			return err
		}, []string{"JSON", "quarantine is down"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.run(Judge{Alerts: test.alerts, Quarantine: &quarantineStore{err: down}})
			if err == nil {
				t.Fatal("no error")
			}
			rest := err.Error()
			for _, part := range test.want {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Errorf("error %q, want %q in it, in this order", err, test.want)
				}
				rest = after
			}
		})
	}
}
