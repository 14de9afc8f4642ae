package judge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/export"
)

// posted is a Topic that keeps what is published, and answers as it is told.
type posted struct {
	events  [][]byte
	refused map[int]error
	err     error
}

func (p *posted) Publish(_ context.Context, events [][]byte) (map[int]error, error) {
	for _, e := range events {
		p.events = append(p.events, slices.Clone(e))
	}
	return p.refused, p.err
}

// TestSettleTells checks when an event of a raising is published, and what becomes of the
// event that raised if that fails.
func TestSettleTells(t *testing.T) {
	raising := &alert.Raising{Alert: alert.Alert{ID: "00000000-0000-8000-8000-000000000001", Type: "Contoso", Finding: alert.Finding{Hub: alert.Hub{Name: "contoso-hub"}}}}
	down := errors.New("the topic is away")
	for name, c := range map[string]struct {
		alert.Recorded
		topic  posted
		told   int
		found  int
		reason string
		err    string
	}{
		"raised":              {alert.Recorded{Outcome: alert.New, Raising: raising}, posted{}, 2, 2, "", ""},
		"delivered again":     {alert.Recorded{Outcome: alert.Known, Raising: raising}, posted{}, 2, 2, "", ""},
		"counted":             {alert.Recorded{Outcome: alert.Counted}, posted{}, 0, 2, "", ""},
		"rejected":            {alert.Recorded{Outcome: alert.Rejected, Err: errors.New("row of 2 MB")}, posted{}, 0, 0, "2 MB", ""},
		"recorded, not told":  {alert.Recorded{Outcome: alert.New, Err: errors.New("no hub")}, posted{}, 0, 2, "no hub", ""},
		"the topic is away":   {alert.Recorded{Outcome: alert.New, Raising: raising}, posted{err: down}, 2, 0, "", "the topic is away"},
		"the topic refuses 1": {alert.Recorded{Outcome: alert.New, Raising: raising}, posted{refused: map[int]error{1: down}}, 2, 0, "", "nobody is told"},
	} {
		j := Judge{Alerts: recorder{recorded: c.Recorded}, Teller: Telling{&c.topic, "/hubwatch/contoso/alerts"}}
		found, reason, err := j.settle(t.Context(), detector.Detector{}, detector.Verdict{Occurrences: make([]alert.Occurrence, 2)})
		if len(found) != c.found || len(c.topic.events) != c.told || !says(reason, c.reason) || !says(err, c.err) {
			t.Errorf("%s: %d found, %d told, reason %v, error %v; want %d, %d, %q, %q", name, len(found), len(c.topic.events), reason, err, c.found, c.told, c.reason, c.err)
		}
		for _, raw := range c.topic.events {
			var e export.CloudEvent
			if err := json.Unmarshal(raw, &e); err != nil || e.ID != raising.Alert.ID+"/0" || e.Type != export.TypeRaised || e.Source != "/hubwatch/contoso/alerts" || e.Data.HubName != "contoso-hub" {
				t.Errorf("%s: %v, published %s", name, err, raw)
			}
		}
		j.Teller = nil
		if found, _, err := j.settle(t.Context(), detector.Detector{}, detector.Verdict{Occurrences: make([]alert.Occurrence, 1)}); err != nil || len(found) != min(c.told+c.found, 1) {
			t.Errorf("%s, without a teller: %d found, error %v", name, len(found), err)
		}
	}
}

// says reports whether an error says a text; no text is no error.
func says(err error, text string) bool {
	if text == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), text)
}

// TestNobodyIsToldLate redrives what could not be told of an alert. It stays in the
// quarantine, with what to do.
func TestNobodyIsToldLate(t *testing.T) {
	for _, name := range []string{NotifyName, SentinelName} {
		r, err := Judge{}.Redrive(t.Context(), nil, alert.Quarantined{Function: name, Body: []byte(`{}`)})
		if err != nil || len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0], name+" tells of alerts that are in the table") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
