package alert

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestOutcomeWords(t *testing.T) {
	for outcome, want := range map[Outcome]string{
		New: "new", Counted: "counted", Reopened: "reopened", Known: "known", Rejected: "rejected", 0: "outcome 0", 6: "outcome 6",
	} {
		if got := outcome.String(); got != want {
			t.Errorf("outcome %d is %q, want %q", int(outcome), got, want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for text, want := range map[string]Status{"Active": Active, "inprogress": InProgress, "RESOLVED": Resolved, "Dismissed": Dismissed, "": "", "Closed": "", " Active": ""} {
		got, err := ParseStatus(text)
		if got != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q: want Active, InProgress, Resolved or Dismissed", text)) {
			t.Errorf("%q is the status %q, error %v, want %q", text, got, err, want)
		}
	}
}

const someID = "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39"

func TestRef(t *testing.T) {
	day := Day(someDay)
	for _, test := range []struct {
		ref  Ref
		text string
	}{
		{Ref{"contoso-hub", day, someID}, "contoso-hub/2026-02-01/" + someID},
		{Ref{"contoso-hub", time.Date(2026, 2, 1, 23, 30, 0, 0, time.FixedZone("", -60*60)), someID}, "contoso-hub/2026-02-02/" + someID},
		{Ref{"", time.Time{}, someID}, someID},
		{Ref{"contoso-hub", time.Time{}, someID}, someID},
		{Ref{"", day, someID}, someID},
	} {
		if got := test.ref.String(); got != test.text {
			t.Errorf("%+v is %q, want %q", test.ref, got, test.text)
		}
		back, err := ParseRef(test.text)
		if err != nil || back.String() != test.text {
			t.Errorf("%q comes back as %q, error %v", test.text, back, err)
		}
	}
	a := Alert{ID: someID, Finding: Finding{Hub: Hub{Name: "Contoso-Hub"}}, Start: someDay}
	if got, want := a.Ref(), (Ref{"contoso-hub", day, someID}); got != want {
		t.Errorf("the reference of an alert is %+v, want %+v", got, want)
	}
}

func TestParseRef(t *testing.T) {
	got, err := ParseRef("Contoso-Hub/2026-02-01/" + strings.ToUpper(someID))
	if want := (Ref{"Contoso-Hub", Day(someDay), someID}); err != nil || got != want {
		t.Errorf("have %+v, error %v, want %+v", got, err, want)
	}
	for text, want := range map[string]string{
		"":                             "is not the id of an alert",
		"contoso-hub":                  "is not the id of an alert",
		someID[1:]:                     "is not the id of an alert",
		someID + "0":                   "is not the id of an alert",
		" " + someID:                   "is not the id of an alert",
		"contoso-hub/2026-02-01":       "or the id alone",
		"contoso-hub/" + someID:        "or the id alone",
		"a/b/2026-02-01/" + someID:     "or the id alone",
		"/2026-02-01/" + someID:        "want <hub>/<yyyy-mm-dd>/<id>",
		"contoso-hub//" + someID:       "want <hub>/<yyyy-mm-dd>/<id>",
		"contoso-hub/today/" + someID:  "want <hub>/<yyyy-mm-dd>/<id>",
		"contoso-hub/2026-2-1/x":       "want <hub>/<yyyy-mm-dd>/<id>",
		"contoso-hub/2026-02-30/x":     "want <hub>/<yyyy-mm-dd>/<id>",
		"contoso-hub/2026-02-01/":      "is not the id of an alert",
		"contoso-hub/2026-02-01/event": "is not the id of an alert",
	} {
		got, err := ParseRef(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) || got != (Ref{}) {
			t.Errorf("%q is %+v, error %v, want %q and the text in it", text, got, err, want)
		}
	}
}

func TestQueryMatches(t *testing.T) {
	a := Alert{
		Type: someType, Severity: Medium, Status: Active, End: someDay, Start: someDay.Add(-time.Hour),
		Finding:          Finding{Hub: someHub, Entity: someEntity, Actor: someActor, ActorIPAddress: "203.0.113.XXX"},
		ActorIPAddresses: []string{"::ffff:203.0.113.9"},
	}
	for _, test := range []struct {
		query Query
		want  bool
	}{
		{Query{}, true},
		{Query{Hub: "contoso-hub"}, true}, {Query{Hub: "CONTOSO-hub"}, true}, {Query{Hub: "contoso"}, false},
		{Query{Type: someType}, true}, {Query{Type: strings.ToLower(someType)}, true}, {Query{Type: "IoT_Cert_Expired"}, false},
		{Query{Severity: Medium}, true}, {Query{Severity: High}, false},
		{Query{Statuses: []Status{Active}}, true}, {Query{Statuses: []Status{Resolved, "ACTIVE"}}, true}, {Query{Statuses: []Status{Resolved}}, false},
		{Query{EntityType: someEntity.Type}, true}, {Query{EntityType: IoTHub}, false},
		{Query{Address: netip.MustParsePrefix("203.0.113.0/24")}, true}, {Query{Address: netip.MustParsePrefix("203.0.113.9/32")}, true},
		{Query{Address: netip.MustParsePrefix("192.0.2.0/24")}, false}, {Query{Suppressed: true}, false},
		{Query{Entity: "ROOT-CA"}, true}, {Query{Entity: "root-ca2"}, false},
		{Query{Actor: "Alice@contoso.example"}, true}, {Query{Actor: "alice"}, false},
		{Query{Since: someDay}, true}, {Query{Until: someDay}, true}, {Query{Since: someDay, Until: someDay}, true},
		{Query{Since: someDay.Add(1)}, false}, {Query{Until: someDay.Add(-1)}, false},
		{Query{Since: someDay.Add(-time.Minute), Until: someDay.Add(time.Minute)}, true},
		{Query{Hub: someHub.Name, Type: someType, Severity: Medium, Statuses: []Status{Active}, Entity: someEntity.Name, Actor: someActor, Since: someDay, Until: someDay}, true},
		{Query{Hub: someHub.Name, Type: someType, Severity: Medium, Statuses: []Status{Active}, Entity: someEntity.Name, Actor: "bob", Since: someDay, Until: someDay}, false},
	} {
		if got := test.query.Matches(a); got != test.want {
			t.Errorf("%+v matches: %v, want %v", test.query, got, test.want)
		}
	}
}

// TestSuppressedAlertsAreApart checks that a list shows the suppressed alerts or the
// others.
func TestSuppressedAlertsAreApart(t *testing.T) {
	hidden := Alert{SuppressedBy: "rule"}
	if (Query{}).Matches(hidden) || !(Query{Suppressed: true}).Matches(hidden) {
		t.Error("a suppressed alert is in the list of the others, or not in its own")
	}
}
