package console

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/fleet"
)

// TestConnections checks what is shown of renewals, refused connections and sentences: of
// all hubs, of one, and of other days.
func TestConnections(t *testing.T) {
	h := open(few())
	page := visible(pageAt(t, h, "/connections"))
	holds(t, page, "1,235 renewed", "70 taken up from another network", "2 refused with an invalid token", "3 refused with an expired token", "10 refused for another reason",
		"Day (UTC) Hub Renewed Elsewhere Wrong certificate Expired certificate Invalid token Expired token Other",
		"2026-02-08 contoso-hub 34 2 9 2026-02-08 plant-hub 1 1 2026-02-02 contoso-hub 1,200 70 3",
		"Times Sentence 10 the sun is 7 the moon is in the way",
		"hubwatch connections --since=2026-02-02")
	if strings.Contains(page, "5,000") {
		t.Error("the page has the figures of another day")
	}
	page = visible(pageAt(t, h, "/connections?hub=Plant-Hub&days=1"))
	holds(t, page, "Connections › Plant-Hub", "1 renewed", "2026-02-08 plant-hub 1 1", "8 the sun is", "hubwatch connections --since=2026-02-08 --hub=Plant-Hub")
	if strings.Contains(page, "contoso-hub") {
		t.Error("the page of a hub has the figures of another one")
	}
	holds(t, visible(pageAt(t, h, "/connections?days=30")), "6,235 renewed", "2026-01-31 contoso-hub 5,000")
	holds(t, visible(pageAt(t, h, "/hub?hub=contoso-hub")), "Open alerts", "Connections", "2026-02-08 34 2 9 2026-02-02 1,200 70 3", "More about its Connections log")
	holds(t, visible(pageAt(t, open(few(), func(o *Options) { o.StateAccount = "contosostate" }), "/connections")), "hubwatch connections --since=2026-02-02 --state-account=contosostate")
	holds(t, visible(pageAt(t, open(&store{}), "/connections")), "No Connections log was heard yet.")
	silent := few()
	silent.figures = nil
	holds(t, visible(pageAt(t, open(silent), "/connections")), "No connection was refused, and no token was renewed.")
	holds(t, visible(pageAt(t, open(silent), "/hub?hub=contoso-hub")), "In a week, no connection was refused, and no token was renewed.")
	for _, days := range []string{"2", "-1", "x"} {
		if w := get(t, h, "/connections?days="+days); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "want one of [1 7 30]") {
			t.Errorf("days %s: %d", days, w.Code)
		}
	}
}

// TestConnectionsWithoutState checks that the pages say why there are no figures, and show
// the rest.
func TestConnectionsWithoutState(t *testing.T) {
	s := few()
	s.figuresErr = errors.New(`table "verdicts202602": read: 403 AuthorizationPermissionMismatch`)
	h := open(s)
	for address, rest := range map[string]string{"/connections": "Coverage says when each log was heard.", "/hub?hub=contoso-hub": "The same in a terminal"} {
		page := visible(pageAt(t, h, address))
		holds(t, page, "The storage account could not be read. Renewals and refused connections are not shown.", "403 AuthorizationPermissionMismatch", rest)
		if strings.Contains(page, "no token was renewed") || strings.Contains(page, "1,200") {
			t.Errorf("%s: the page has figures that could not be read", address)
		}
	}
	if w := get(t, h, "/api/connections"); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "AuthorizationPermissionMismatch") {
		t.Errorf("the API: %d %s", w.Code, w.Body)
	}
	missing := open(few(), func(o *Options) {
		o.Connections = fleet.NoFigures{Err: errors.New("--account: want --state-account as well")}
	})
	holds(t, visible(pageAt(t, missing, "/connections")), "want --state-account as well")
	pageAt(t, open(s), "/hubs")
}

// TestAPIConnections checks the figures as programs read them.
func TestAPIConnections(t *testing.T) {
	h := open(few())
	days := document[[]fleet.ConnectionsDocument](t, get(t, h, "/api/connections?hub=Contoso-Hub&since=2026-02-08"))
	want := []fleet.ConnectionsDocument{{
		HubName: "contoso-hub", Day: "2026-02-08", Renewals: 34, Refused: map[string]int{"tokenInvalid": 2, "unclassified": 9}, Unknown: map[string]int{"the moon is in the way": 7, "the sun is": 2},
	}}
	if diff := cmp.Diff(want, days); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if days := document[[]fleet.ConnectionsDocument](t, get(t, h, "/api/connections")); len(days) != 3 || days[0].Elsewhere != 70 || days[2].HubName != "plant-hub" {
		t.Errorf("of all hubs: %+v", days)
	}
	if text := get(t, h, "/api/connections?since=2026-02-02").Body.String(); !strings.Contains(text, `"unknown": {}`) {
		t.Errorf("a day without sentences: %s", text)
	}
	if w := get(t, h, "/api/connections?since=yesterdayish"); w.Code != http.StatusBadRequest {
		t.Errorf("a mistake: %d", w.Code)
	}
}
