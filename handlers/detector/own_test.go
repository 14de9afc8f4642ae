package detector_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

const (
	ofGroup = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/"
	ofApp   = ofGroup + "Microsoft.Web/sites/hubwatch-contoso"
	ofStore = ofGroup + "Microsoft.Storage/storageAccounts/hubwatchabc"
)

// onOwn reports each deletion of a part of hubwatch.
var onOwn = detector.Detector{
	Name: "OnOwn", AlertType: "Hubwatch_OnOwn", Severity: alert.High,
	On: detector.Trigger{EventTypes: []string{event.ResourceDeleteSuccess}, Own: true},
	Detect: func(e event.Event) ([]alert.Finding, error) {
		f, _, err := detector.Operation(e)
		if err != nil {
			return nil, err
		}
		return []alert.Finding{f}, nil
	},
}

func deletionOf(subject string) jsontext.Value {
	return jsontext.Value(fmt.Sprintf(`{"id": "1", "topic": "/subscriptions/s", "subject": %q, "eventType": "Microsoft.Resources.ResourceDeleteSuccess",
		"eventTime": "2026-02-01T08:00:00Z", "data": {"operationName": "a.b/c/delete", "resourceUri": %[1]q}}`, subject))
}

// TestOwnResources says of which resources hubwatch is made.
func TestOwnResources(t *testing.T) {
	own, err := detector.ParseOwn("HubwatchABC, theirs," + ofApp)
	if err != nil {
		t.Fatal(err)
	}
	d := own.Of(onOwn)
	for subject, entity := range map[string]string{
		ofApp:                         "sites/hubwatch-contoso",
		ofApp + "/functions/Verdicts": "sites/hubwatch-contoso/functions/Verdicts",
		strings.ToUpper(ofApp):        "SITES/HUBWATCH-CONTOSO",
		ofApp + "-console":            "sites/hubwatch-contoso-console",
		strings.ToLower(ofStore):      "storageaccounts/hubwatchabc",
		ofStore + "/tableServices/default/tables/alerts":                                                                       "storageAccounts/hubwatchabc/tableServices/default/tables/alerts",
		ofGroup + "Microsoft.EventGrid/topics/hubwatch-contoso-connections":                                                    "topics/hubwatch-contoso-connections",
		ofGroup + "Microsoft.EventGrid/topics/hubwatch-contoso-connections/providers/Microsoft.EventGrid/eventSubscriptions/a": "topics/hubwatch-contoso-connections/providers/Microsoft.EventGrid/eventSubscriptions/a",
		strings.ToLower(ofGroup) + "microsoft.eventgrid/systemtopics/Theirs/eventSubscriptions/a":                              "systemtopics/Theirs/eventSubscriptions/a",
	} {
		v := d.Judge(deletionOf(subject))
		if v.Err != nil || len(v.Occurrences) != 1 {
			t.Errorf("%s: %v, %d alerts, want 1", subject, v.Err, len(v.Occurrences))
			continue
		}
		o := v.Occurrences[0]
		if o.Hub != (alert.Hub{Name: "hubwatch-contoso", ResourceID: ofApp, SubscriptionID: "00000000-0000-0000-0000-000000000001"}) ||
			o.Entity != (alert.Entity{Type: alert.Resource, Name: entity}) || o.Properties["TargetResourceId"] != subject {
			t.Errorf("%s: the alert is about %v of %v, property %q", subject, o.Entity, o.Hub, o.Properties["TargetResourceId"])
		}
	}
	for _, subject := range []string{
		ofGroup + "Microsoft.Web/sites/hubwatch-contosos",                           // begins with the name, without a hyphen
		ofGroup + "Microsoft.Storage/storageAccounts/hubwatchabcd",                  // begins with a name that is listed
		ofGroup + "Microsoft.Storage/storageAccounts/others",                        // in the same group
		strings.Replace(ofApp, "rg-iot", "rg-other", 1),                             // the same name elsewhere
		strings.Replace(ofApp, "000000000001", "000000000002", 1),                   // and in another subscription
		"/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot", // the group
		ofGroup + "Microsoft.Devices/IotHubs/contoso-hub",
	} {
		if v := d.Judge(deletionOf(subject)); v.Err != nil || len(v.Occurrences) != 0 || !v.Matched {
			t.Errorf("%s: %v, %d alerts, want none", subject, v.Err, len(v.Occurrences))
		}
	}
}

// TestOwnOfNothing checks that a detector stays as it is if nothing is known of the
// deployment, and that other detectors always do.
func TestOwnOfNothing(t *testing.T) {
	none, err := detector.ParseOwn(" ")
	if err != nil {
		t.Fatal(err)
	}
	subject := ofGroup + "Microsoft.Storage/storageAccounts/others"
	v := none.Of(onOwn).Judge(deletionOf(subject))
	if len(v.Occurrences) != 1 || v.Occurrences[0].Hub.ResourceID != subject {
		t.Errorf("%v, %v, want an alert about the resource", v.Err, v.Occurrences)
	}
	own, err := detector.ParseOwn(ofApp)
	if err != nil {
		t.Fatal(err)
	}
	other := onOwn
	other.On.Own = false
	if v := own.Of(other).Judge(deletionOf(subject)); len(v.Occurrences) != 1 || v.Occurrences[0].Hub.ResourceID != subject {
		t.Errorf("%v, %v, want an alert of a detector that is not about hubwatch", v.Err, v.Occurrences)
	}
}

// TestOwnErrors checks that an event about a part of hubwatch is quarantined if it cannot be
// judged, that one about somebody else's resource is not if it can be told to be, and that
// one that tells nothing is.
func TestOwnErrors(t *testing.T) {
	own, err := detector.ParseOwn(ofApp)
	if err != nil {
		t.Fatal(err)
	}
	failing := onOwn
	failing.Detect = func(e event.Event) ([]alert.Finding, error) {
		findings, err := onOwn.Detect(e)
		return findings, errors.Join(err, errors.New("planted"))
	}
	for subject, want := range map[string]bool{
		ofApp: true, ofGroup + "Microsoft.Storage/storageAccounts/others": false, "nonsense": true,
	} {
		if v := own.Of(failing).Judge(deletionOf(subject)); (v.Err != nil) != want {
			t.Errorf("%s: %v, want an error: %t", subject, v.Err, want)
		}
	}
}

// TestParseOwnNamesMistakes checks the errors of a wrong list.
func TestParseOwnNamesMistakes(t *testing.T) {
	for list, want := range map[string]string{
		"hubwatch-contoso":              "lacks the resource id of the function app",
		ofStore:                         "want that of the function app",
		ofApp + "/functions/a":          "want that of the function app",
		ofApp + ", " + ofApp:            "has two resource ids",
		ofApp + ",":                     "has nothing between two commas, or at its end",
		"Microsoft.Web/sites/hubwatch":  "does not begin with /",
		ofGroup + "Microsoft.Web/sites": "ends before the name of its resource",
	} {
		if _, err := detector.ParseOwn(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
	}
}
