package alert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestChangeCheck(t *testing.T) {
	for _, test := range []struct {
		change Change
		want   string // part of the error, "" if there is none
	}{
		{Change{Status: Resolved, Reason: "rotated"}, ""},
		{Change{Verdict: Benign, Reason: "planned"}, ""},
		{Change{Reason: "asked alice"}, ""},
		{Change{Status: Resolved, Reason: strings.Repeat("é", mostReason)}, ""},
		{Change{}, "want a status, a verdict or a reason"},
		{Change{Status: "Closed", Reason: "x"}, `status "Closed": want Active, InProgress, Resolved or Dismissed`},
		{Change{Verdict: "Right", Reason: "x"}, `verdict "Right": want TruePositive, Benign or FalsePositive`},
		{Change{Status: Resolved}, "want a reason"},
		{Change{Status: Resolved, Reason: " \n"}, "want a reason"},
		{Change{Status: Resolved, Reason: strings.Repeat("é", mostReason+1)}, "1001 characters, want at most 1000"},
	} {
		err := test.change.Check()
		if got := fmt.Sprint(err); (err == nil) != (test.want == "") || err != nil && !strings.Contains(got, test.want) {
			t.Errorf("%.60v: error %v, want %q", test.change, err, test.want)
		}
	}
}

// TestTransitions checks from which status people may go to which.
func TestTransitions(t *testing.T) {
	const own = "under review"
	for from, allowed := range map[Status]string{
		Active: "Active InProgress Resolved Dismissed", InProgress: "Active InProgress Resolved Dismissed",
		Resolved: "Active Resolved", Dismissed: "Active Dismissed", own: "Active InProgress Resolved Dismissed",
	} {
		for _, to := range Statuses {
			err := Change{Status: to, Verdict: FalsePositive}.Follows(from, "")
			var illegal *Illegal
			switch want := strings.Contains(allowed, string(to)); {
			case want && err != nil:
				t.Errorf("from %s to %s: %v", from, to, err)
			case !want && (!errors.As(err, &illegal) || illegal.From != from || illegal.To != to || !strings.Contains(err.Error(), "want Active first")):
				t.Errorf("from %s to %s: error %v, want that Active comes first", from, to, err)
			}
		}
	}
	for _, test := range []struct {
		change Change
		had    Verdict
		ok     bool
	}{
		{Change{Status: Dismissed}, "", false}, {Change{Status: Dismissed}, Benign, true}, {Change{Status: Dismissed, Verdict: Benign}, "", true},
		{Change{Status: Resolved}, "", true}, {Change{Verdict: Benign}, "", true}, {Change{Reason: "asked alice"}, "", true},
	} {
		if err := test.change.Follows(Active, test.had); (err == nil) != test.ok {
			t.Errorf("%+v after verdict %q: error %v", test.change, test.had, err)
		}
	}
}

// TestConflict checks that the loser of a race learns who won it, when, and why.
func TestConflict(t *testing.T) {
	ref := Ref{"contoso-hub", Day(someDay), someID}
	at := time.Date(2026, 2, 1, 10, 12, 0, 0, time.UTC)
	for _, test := range []struct {
		last History
		want string
	}{
		{History{Number: 1, Time: at, From: Active, To: Resolved, Reason: "rotated", By: Person{Name: "bob@contoso.example"}}, `: bob@contoso.example set it to Resolved at 2026-02-01T10:12:00Z ("rotated"): nothing was saved`},
		{History{Number: 2, Time: at, From: Active, To: Active, Reason: "asked", By: Person{ObjectID: "00000000-0000-0000-0000-00000000000b"}}, ": 00000000-0000-0000-0000-00000000000b changed it at "},
		{History{}, ": somebody else changed it meanwhile"},
	} {
		var err error = fmt.Errorf("change: %w", &Conflict{ref, test.last})
		var conflict *Conflict
		if want := "alert contoso-hub/2026-02-01/" + someID + test.want; !errors.As(err, &conflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// TestChoosing checks which statuses a change chooses from.
func TestChoosing(t *testing.T) {
	for _, test := range []struct {
		change Change
		asked  []Status
		want   string
	}{
		{Change{Status: Resolved}, nil, "[Active InProgress]"},
		{Change{Status: Dismissed}, nil, "[Active InProgress]"},
		{Change{Status: InProgress}, nil, "[Active]"},
		{Change{Status: Active}, nil, "[InProgress Resolved Dismissed]"},
		{Change{Status: Resolved}, []Status{Dismissed}, "[Dismissed]"},
		{Change{Verdict: Benign}, nil, "[]"},
	} {
		if got := test.change.Choosing(Query{Hub: "h", Statuses: test.asked}); fmt.Sprint(got.Statuses) != test.want || got.Hub != "h" {
			t.Errorf("%+v chooses %+v, want %s", test.change, got, test.want)
		}
	}
}

// TestForesee checks what a change would make of an alert.
func TestForesee(t *testing.T) {
	a := Alert{ID: someID, Finding: Finding{Hub: someHub}, Start: someDay, Status: Active, Verdict: Benign, Changes: 2, StatusReason: "asked", StatusBy: Person{Name: "bob"}}
	zero, two := 0, 2
	after, err := Change{Status: Resolved, Seen: &two}.Foresee(a)
	if err != nil || after.Status != Resolved || after.Verdict != Benign || a.Status != Active {
		t.Errorf("%s, %s, %v", after.Status, after.Verdict, err)
	}
	if after, err := (Change{Verdict: FalsePositive}).Foresee(a); err != nil || after.Status != Active || after.Verdict != FalsePositive {
		t.Errorf("%s, %s, %v", after.Status, after.Verdict, err)
	}
	var conflict *Conflict
	if after, err := (Change{Status: Resolved, Seen: &zero}).Foresee(a); !errors.As(err, &conflict) || conflict.Last.By.Name != "bob" || after.Status != Active {
		t.Errorf("%s, %v", after.Status, err)
	}
	a.Status = Dismissed
	var illegal *Illegal
	if after, err := (Change{Status: Resolved}).Foresee(a); !errors.As(err, &illegal) || after.Status != Dismissed {
		t.Errorf("%s, %v", after.Status, err)
	}
}
