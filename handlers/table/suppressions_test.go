package table

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/local/azurite"
)

var sameTime = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateApproxTime(0)}

// openSuppressions returns a table of suppressions of its own.
func openSuppressions(t testing.TB, connection string) *Suppressions {
	t.Helper()
	return account(t, connection).Suppressions(fmt.Sprintf("suppressions%d", tables.Add(1)))
}

// aSuppression is one with every condition.
func aSuppression() alert.Suppression {
	created := time.Date(2026, 2, 1, 8, 0, 0, 0, time.UTC)
	return alert.Suppression{
		Reason: "rotation every night, see https://contoso.example/?sig=c2VjcmV0", Owner: "team-pki", CreatedBy: alert.Person{Name: "alice@contoso.example", ObjectID: "00000000-0000-0000-0000-0000000000a1"},
		Created: created, Starts: created.Add(time.Hour), Expires: created.AddDate(0, 3, 0),
		AlertType: "IoT_Expired_SAS_Token", Hub: "contoso-hub", EntityType: alert.Device, Entity: "o'brien's pump #1 / é*", Actor: "x' or RowKey ge 'a", Addresses: netip.MustParsePrefix("203.0.113.0/24"),
	}
}

// listed returns what List returns, and fails if a row is broken.
func listed(t testing.TB, s *Suppressions, since time.Time) []alert.Suppression {
	t.Helper()
	all, broken, err := s.List(t.Context(), since)
	if err != nil || len(broken) > 0 {
		t.Fatal(err, broken)
	}
	return all
}

// TestSuppressionsComeBack adds suppressions, lists and ends them.
func TestSuppressionsComeBack(t *testing.T) {
	s := openSuppressions(t, emulator(t).ConnectionString())
	if all := listed(t, s, time.Time{}); len(all) > 0 {
		t.Errorf("a table that does not exist has %v", all)
	}
	if _, err := s.End(t.Context(), "00", alert.Person{}); !errors.Is(err, alert.ErrNoSuppression) {
		t.Errorf("ended what is not there: %v", err)
	}
	first, second := aSuppression(), aSuppression()
	second.Created, second.Expires = second.Created.Add(time.Minute), second.Expires.AddDate(0, -2, 0)
	first, err := s.Add(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if second, err = s.Add(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if first.ID == "" || first.ID == second.ID || strings.Contains(first.Reason, "c2VjcmV0") || !strings.HasPrefix(first.Reason, "rotation every night, see https://contoso.example/?sig=REDACTED-") {
		t.Errorf("added %+v", first)
	}
	if diff := cmp.Diff([]alert.Suppression{first, second}, listed(t, s, time.Time{}), sameTime); diff != "" {
		t.Errorf("listed (-added +listed):\n%s", diff)
	}
	for since, want := range map[time.Time]int{
		second.Expires: 2, second.Expires.Truncate(24*time.Hour).AddDate(0, 0, 1): 1, first.Expires: 1, first.Expires.AddDate(0, 0, 1): 0,
	} {
		if all := listed(t, s, since); len(all) != want {
			t.Errorf("since %s: %d suppressions, want %d", since, len(all), want)
		}
	}

	at, bob := first.Starts.Add(time.Hour), alert.Person{Name: "bob@contoso.example", ObjectID: "00000000-0000-0000-0000-0000000000a2"}
	s.now = func() time.Time { return at }
	first.EndedBy, first.Ended = bob, at
	ended, err := s.End(t.Context(), strings.ToUpper(first.ID), bob)
	if diff := cmp.Diff(first, ended, sameTime); err != nil || diff != "" {
		t.Errorf("error %v; ended (-want +have):\n%s", err, diff)
	}
	s.now = func() time.Time { return at.Add(time.Hour) }
	if again, err := s.End(t.Context(), first.ID, alert.Person{Name: "mallory@contoso.example"}); err != nil || again.EndedBy != bob || !again.Ended.Equal(at) {
		t.Errorf("ended again: %+v, error %v", again, err)
	}
	if diff := cmp.Diff([]alert.Suppression{first, second}, listed(t, s, time.Time{}), sameTime); diff != "" {
		t.Errorf("listed after the end (-want +listed):\n%s", diff)
	}

	wide := aSuppression()
	wide.Hub, wide.Entity, wide.Actor, wide.Addresses = "", "", "", netip.Prefix{}
	if _, err := s.Add(t.Context(), wide); err == nil || len(listed(t, s, time.Time{})) != 2 {
		t.Errorf("added %+v, error %v", wide, err)
	}
}

// TestSuppressionsOfHand reads rows that people have typed. What is not a suppression is
// reported by its row and column, and the others are read.
func TestSuppressionsOfHand(t *testing.T) {
	s := openSuppressions(t, emulator(t).ConnectionString())
	if _, err := s.table.client.CreateTable(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	base := map[string]any{
		"Reason": "a reason", "Owner": "team-pki", "CreatedUtc": "2026-02-01", "StartsUtc": "2026-02-01 08:00", "ExpiresUtc": "2026-03-01T00:00:00", "HubName": "contoso-hub",
	}
	set := func(pairs ...any) map[string]any {
		row := map[string]any{}
		for name, value := range base {
			row[name] = value
		}
		for i := 0; i < len(pairs); i += 2 {
			if row[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
				delete(row, pairs[i].(string))
			}
		}
		return row
	}
	for i, test := range []struct {
		what string
		row  map[string]any
		want string // part of what is reported, or "" if the row is read
	}{
		{"a row as it should be", set(), ""},
		{"blanks, letter case and types", set("hubname", "\tCONTOSO-hub ", "HubName", nil, "Owner", 4711, "EntityType", " device", "AddressRange", "203.0.113.7"), ""},
		{"it expires before its day", set("ExpiresUtc", "2026-02-20"), ""},
		{"nothing", map[string]any{}, "want a reason"},
		{"no expiry", set("ExpiresUtc", nil), "expires"},
		{"no time", set("ExpiresUtc", "next month"), `column ExpiresUtc: "next month" is not a time`},
		{"prolonged by hand", set("ExpiresUtc", "2026-03-02T00:00:00Z"), "column ExpiresUtc: it is after the day in the row key"},
		{"a type alone", set("HubName", nil, "AlertType", "IoT_Expired_SAS_Token"), "want at least one of"},
		{"a column that is misspelled", set("Entitiy", "root-ca"), "column Entitiy: it is not known"},
		{"a column of a later version", set("Detector", "CertificateAdded"), "column Detector: it is not known"},
		{"a column twice", set("hubName", "other"), "column HubName: it is there twice"},
		{"an unknown kind", set("EntityType", "Hub"), `column EntityType: "Hub" is not a kind of entity`},
		{"a masked address", set("AddressRange", "203.0.113.XXX"), `column AddressRange: "203.0.113.XXX": want an IP address`},
		{"an id that is not in the key", set("Id", "other"), "column Id: want the end of the row key"},
		{"hostile text", set("Entity", "a\u202eb\x07"), "cannot be seen"},
		{"ended by hand", set("EndedUtc", "soon"), "column EndedUtc"},
	} {
		row := test.row
		row["PartitionKey"], row["RowKey"] = suppressionPartition, fmt.Sprintf("20260301|%02d", i)
		entity, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.table.client.AddEntity(t.Context(), entity, nil); err != nil {
			t.Fatal(err)
		}
		all, broken, err := s.List(t.Context(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case test.want == "":
			if len(all) != 1 || len(broken) != 0 || !strings.EqualFold(all[0].Hub, "contoso-hub") || all[0].ID != fmt.Sprintf("%02d", i) {
				t.Errorf("%s: %+v, %v", test.what, all, broken)
			}
		case len(all) != 0 || len(broken) != 1 || !strings.Contains(broken[0].Error(), test.want) || !strings.Contains(broken[0].Error(), fmt.Sprintf("20260301|%02d", i)):
			t.Errorf("%s: %+v, %v, want %q", test.what, all, broken, test.want)
		}
		if _, err := s.table.client.DeleteEntity(t.Context(), suppressionPartition, fmt.Sprintf("20260301|%02d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"no key of a suppression": "other", "no id": "20260301|"} {
		entity := fmt.Sprintf(`{"PartitionKey":"rule","RowKey":%q,"HubName":"contoso-hub"}`, value)
		if _, err := decodeSuppression([]byte(entity)); err == nil {
			t.Errorf("%s is a suppression", name)
		}
	}
}

// TestSuppressionsFaults makes each request of adding and ending fail once. What was
// added is there once, and what was ended has ended.
func TestSuppressionsFaults(t *testing.T) {
	bob := alert.Person{Name: "bob@contoso.example"}
	for _, fault := range []azurite.Fault{azurite.Drop, azurite.Lose, azurite.Busy, azurite.LoseBroken} {
		for at := 1; ; at++ {
			var made atomic.Bool
			connection, _ := through(t, func(n int, _ *http.Request) azurite.Fault {
				if n == at && made.CompareAndSwap(false, true) {
					return fault
				}
				return azurite.Pass
			})
			s := openSuppressions(t, connection)
			added, err := s.Add(t.Context(), aSuppression())
			if err != nil {
				t.Fatal(err)
			}
			if ended, err := s.End(t.Context(), added.ID, bob); err != nil || ended.EndedBy != bob {
				t.Fatalf("fault %d in request %d: %+v, error %v", fault, at, ended, err)
			}
			if !made.Load() {
				break // every request has had the fault
			}
			if all := listed(t, s, time.Time{}); len(all) != 1 || all[0].EndedBy != bob {
				t.Errorf("fault %d in request %d: %+v", fault, at, all)
			}
		}
	}
}

// TestSuppressionsUnread checks that what cannot be read is an error, and not an empty
// list, and that a caller who has no time does not wait.
func TestSuppressionsUnread(t *testing.T) {
	connection, _ := through(t, func(int, *http.Request) azurite.Fault { return azurite.Hang })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if all, _, err := openSuppressions(t, connection).List(ctx, time.Time{}); err == nil {
		t.Errorf("%+v, without an error", all)
	}
	wrongKey := strings.Replace(emulator(t).ConnectionString(), "AccountKey=", "AccountKey=AAAA", 1)
	_, _, err := openSuppressions(t, wrongKey).List(t.Context(), time.Time{})
	var answer *ServiceError
	if !errors.As(err, &answer) {
		t.Errorf("with a wrong key: error %v", err)
	}
}

// TestTwoPeopleEndASuppression lets carol end a suppression between bob's reading and
// writing of it. It has ended when carol ended it, and bob is told so.
func TestTwoPeopleEndASuppression(t *testing.T) {
	bob, carol := alert.Person{Name: "bob@contoso.example"}, alert.Person{Name: "carol@contoso.example"}
	s := openSuppressions(t, emulator(t).ConnectionString())
	added, err := s.Add(t.Context(), aSuppression())
	if err != nil {
		t.Fatal(err)
	}
	var meanwhile sync.Once
	connection, _ := through(t, func(_ int, r *http.Request) azurite.Fault {
		if r.Method == http.MethodPost {
			meanwhile.Do(func() {
				if _, err := s.End(t.Context(), added.ID, carol); err != nil {
					t.Error(err)
				}
			})
		}
		return azurite.Pass
	})
	ended, err := account(t, connection).Suppressions(s.table.name).End(t.Context(), added.ID, bob)
	if all := listed(t, s, time.Time{}); err != nil || ended.EndedBy != carol || len(all) != 1 || all[0].EndedBy != carol {
		t.Errorf("bob is told that %q ended it, error %v; the table has %+v", ended.EndedBy, err, all)
	}
}

// TestEndOfWhatWouldEndLater ends a suppression that somebody typed a later end for.
func TestEndOfWhatWouldEndLater(t *testing.T) {
	s := openSuppressions(t, emulator(t).ConnectionString())
	added, err := s.Add(t.Context(), aSuppression())
	if err != nil {
		t.Fatal(err)
	}
	now, bob := added.Starts.Add(time.Hour), alert.Person{Name: "bob@contoso.example"}
	s.now = func() time.Time { return now.AddDate(0, 0, 7) }
	if _, err := s.End(t.Context(), added.ID, alert.Person{}); err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return now }
	if ended, err := s.End(t.Context(), added.ID, bob); err != nil || !ended.Ended.Equal(now) || ended.EndedBy != bob {
		t.Errorf("ended by %q at %s, error %v", ended.EndedBy, ended.Ended, err)
	}
}
