package alert

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// started is when the rules of these tests were made.
var started = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

// pipeline is a rule for what a deployment pipeline does every day.
func pipeline() Suppression {
	return Suppression{
		ID: "rule-1", Reason: "rotation every night", Owner: "team-pki@contoso.example", Created: started, Starts: started, Expires: started.AddDate(0, 3, 0),
		AlertType: "IoT_CertificateSuccessfullyAddedToHub", Hub: "contoso-hub", Actor: "pipeline@contoso.example",
	}
}

// rotation is an occurrence that pipeline matches.
func rotation() Occurrence {
	return Occurrence{
		Type: "IoT_CertificateSuccessfullyAddedToHub",
		Finding: Finding{
			Hub: Hub{Name: "contoso-hub"}, Entity: Entity{Certificate, "root-ca"}, Actor: "pipeline@contoso.example", ActorIPAddress: "203.0.113.7",
		},
		Event: Event{Time: started.Add(time.Hour)},
	}
}

// TestSuppressionCheck checks which suppressions people may not make, and that these
// match nothing either.
func TestSuppressionCheck(t *testing.T) {
	if err := pipeline().Check(); err != nil || !pipeline().Matches(rotation()) {
		t.Fatalf("the rule itself: %v", err)
	}
	wide := func(s *Suppression) { s.Hub, s.Actor = "", "" }
	for name, test := range map[string]struct {
		change func(*Suppression)
		want   string // part of the error, "" for none
	}{
		"no reason":            {func(s *Suppression) { s.Reason = " \n" }, "want a reason"},
		"a long reason":        {func(s *Suppression) { s.Reason = strings.Repeat("é", 1001) }, "1001 characters"},
		"the longest reason":   {func(s *Suppression) { s.Reason = strings.Repeat("é", 1000) }, ""},
		"no owner":             {func(s *Suppression) { s.Owner = "\t" }, "want an owner"},
		"a long owner":         {func(s *Suppression) { s.Owner = strings.Repeat("o", 201) }, "201 characters"},
		"no expiry":            {func(s *Suppression) { s.Expires = time.Time{} }, "expires"},
		"no start":             {func(s *Suppression) { s.Starts = time.Time{} }, "starts"},
		"not created":          {func(s *Suppression) { s.Created = time.Time{} }, "created"},
		"no time at all":       {func(s *Suppression) { s.Expires = s.Starts }, "not after its start"},
		"a year":               {func(s *Suppression) { s.Expires = s.Created.AddDate(0, 0, 366) }, ""},
		"longer than a year":   {func(s *Suppression) { s.Expires = s.Created.AddDate(0, 0, 366).Add(1) }, "at most 366 days"},
		"a year from later on": {func(s *Suppression) { s.Starts = s.Starts.AddDate(0, 6, 0); s.Expires = s.Starts.AddDate(0, 7, 0) }, "at most 366 days"},
		"a year from before": {func(s *Suppression) {
			s.Starts = s.Starts.AddDate(0, 0, -2)
			s.Expires = s.Created.AddDate(0, 0, 365)
		}, "at most 366 days"},
		"a type alone":                  {wide, "at least one of"},
		"nothing":                       {func(s *Suppression) { wide(s); s.AlertType = "" }, "at least one of"},
		"a kind of entity alone":        {func(s *Suppression) { wide(s); s.EntityType = Certificate }, "at least one of"},
		"an unknown kind of entity":     {func(s *Suppression) { s.EntityType = "Hub" }, `"Hub": want IoTHub, Certificate`},
		"the entity *":                  {func(s *Suppression) { wide(s); s.Entity = "*" }, "stands for everything"},
		"the entity * beside others":    {func(s *Suppression) { s.Entity = "**" }, "stands for everything"},
		"an entity alone":               {func(s *Suppression) { wide(s); s.Entity = "root*" }, ""},
		"all addresses":                 {func(s *Suppression) { wide(s); s.Addresses = netip.MustParsePrefix("0.0.0.0/0") }, "every address"},
		"all addresses of IPv6":         {func(s *Suppression) { s.Addresses = netip.MustParsePrefix("::/0") }, "every address"},
		"an IPv4 range in another form": {func(s *Suppression) { s.Addresses = netip.MustParsePrefix("::ffff:203.0.113.0/120") }, "in the form of IPv4"},
		"a range alone":                 {func(s *Suppression) { wide(s); s.Addresses = netip.MustParsePrefix("203.0.113.0/24") }, ""},
		"a hidden character":            {func(s *Suppression) { s.Entity = "root\u202eac" }, `"root\u202eac": has a character that cannot be seen`},
		"a control character":           {func(s *Suppression) { s.Actor = "a\x1b[2Jb" }, "cannot be seen"},
		"no name":                       {func(s *Suppression) { s.Hub = strings.Repeat("h", 1001) }, "1001 characters"},
		"a hub alone":                   {func(s *Suppression) { wide(s); s.AlertType, s.Hub = "", "contoso-hub" }, ""},
	} {
		s := pipeline()
		test.change(&s)
		switch err := s.Check(); {
		case (err == nil) != (test.want == ""), err != nil && !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		case err != nil && s.Matches(rotation()):
			t.Errorf("%s: it is refused, and matches", name)
		}
	}
}

// TestSuppressionMatches checks each condition, with names that differ in letter case,
// and with what an attacker would do to be taken for the pipeline.
func TestSuppressionMatches(t *testing.T) {
	device := func(name string) func(*Suppression, *Occurrence) {
		return func(s *Suppression, o *Occurrence) {
			s.Entity, s.EntityType, o.Entity = name, Device, Entity{Device, "Pump-1"}
		}
	}
	entity := func(name string) func(*Suppression, *Occurrence) {
		return func(s *Suppression, _ *Occurrence) { s.Entity = name }
	}
	from := func(prefix, address string) func(*Suppression, *Occurrence) {
		return func(s *Suppression, o *Occurrence) {
			s.Addresses, o.ActorIPAddress = netip.MustParsePrefix(prefix), address
		}
	}
	for name, test := range map[string]struct {
		change func(*Suppression, *Occurrence)
		want   bool
	}{
		"another type":                        {func(_ *Suppression, o *Occurrence) { o.Type = "IoT_CertificateSuccessfullyDeletedFromHub" }, false},
		"any type":                            {func(s *Suppression, o *Occurrence) { s.AlertType, o.Type = "", "of our own" }, true},
		"the hub in capitals":                 {func(_ *Suppression, o *Occurrence) { o.Hub.Name = "CONTOSO-HUB" }, true},
		"another hub":                         {func(_ *Suppression, o *Occurrence) { o.Hub.Name = "contoso-hub-west" }, false},
		"an actor in capitals":                {func(_ *Suppression, o *Occurrence) { o.Actor = "Pipeline@Contoso.example" }, true},
		"another actor":                       {func(_ *Suppression, o *Occurrence) { o.Actor = "mallory@contoso.example" }, false},
		"an actor that looks alike":           {func(s *Suppression, o *Occurrence) { s.Actor, o.Actor = "pipeline-svc", "pipeline-\u017fvc" }, false},
		"no actor":                            {func(_ *Suppression, o *Occurrence) { o.Actor = "" }, false},
		"another kind":                        {func(s *Suppression, _ *Occurrence) { s.EntityType = DiagnosticSetting }, false},
		"the kind":                            {func(s *Suppression, _ *Occurrence) { s.EntityType = Certificate }, true},
		"the entity":                          {entity("ROOT-CA"), true},
		"another entity":                      {entity("root-c"), false},
		"a beginning":                         {entity("Root*"), true},
		"the whole name":                      {entity("root-ca*"), true},
		"another beginning":                   {entity("oot*"), false},
		"a * inside":                          {entity("root*ca"), false},
		"a * in front":                        {entity("*ca"), false},
		"a device":                            {device("Pump-1"), true},
		"a device in another case":            {device("pump-1"), false},
		"devices":                             {device("Pump-*"), true},
		"devices in another case":             {device("pump-*"), false},
		"a range":                             {from("203.0.113.0/24", "203.0.113.7"), true},
		"an IPv4 address in the form of IPv6": {from("203.0.113.0/24", "::ffff:203.0.113.7"), true},
		"another range":                       {from("192.0.2.0/24", "203.0.113.7"), false},
		"a masked address":                    {from("203.0.113.0/24", "203.0.113.XXX"), false},
		"a redacted address":                  {from("203.0.113.0/24", "REDACTED-1a2b3c"), false},
		"no address":                          {from("203.0.113.0/24", ""), false},
		"the first moment":                    {func(_ *Suppression, o *Occurrence) { o.Event.Time = started }, true},
		"before the start":                    {func(_ *Suppression, o *Occurrence) { o.Event.Time = started.Add(-1) }, false},
		"the last moment":                     {func(s *Suppression, o *Occurrence) { o.Event.Time = s.Expires.Add(-1) }, true},
		"expired":                             {func(s *Suppression, o *Occurrence) { o.Event.Time = s.Expires }, false},
		"ended before":                        {func(s *Suppression, o *Occurrence) { s.Ended = o.Event.Time }, false},
		"ended later":                         {func(s *Suppression, o *Occurrence) { s.Ended = o.Event.Time.Add(1) }, true},
		"ended after its end":                 {func(s *Suppression, o *Occurrence) { o.Event.Time, s.Ended = s.Expires, s.Expires.AddDate(1, 0, 0) }, false},
	} {
		s, o := pipeline(), rotation()
		test.change(&s, &o)
		if have := s.Matches(o); have != test.want {
			t.Errorf("%s: matches: %v", name, have)
		}
	}
}

// TestSuppressionMatchesAlert checks what a suppression would have hidden: alerts at
// any time, and only if each of their addresses is in the range.
func TestSuppressionMatchesAlert(t *testing.T) {
	alert := Alert{Type: rotation().Type, Finding: rotation().Finding, Start: started.AddDate(0, 0, -20), LastActorIPAddress: "203.0.113.9", ActorIPAddresses: []string{"203.0.113.7", "203.0.113.8", "203.0.113.9"}}
	near := pipeline()
	near.Addresses = netip.MustParsePrefix("203.0.113.0/24")
	for name, test := range map[string]struct {
		rule   Suppression
		change func(*Alert)
		want   bool
	}{
		"before its start":       {pipeline(), func(*Alert) {}, true},
		"another hub":            {pipeline(), func(a *Alert) { a.Hub.Name = "contoso-hub-west" }, false},
		"all addresses":          {near, func(*Alert) {}, true},
		"another address":        {near, func(a *Alert) { a.ActorIPAddresses[1] = "192.0.2.8" }, false},
		"another last address":   {near, func(a *Alert) { a.LastActorIPAddress = "192.0.2.8" }, false},
		"more addresses":         {near, func(a *Alert) { a.MoreActorIPAddresses = true }, false},
		"more addresses, anyone": {pipeline(), func(a *Alert) { a.MoreActorIPAddresses = true }, true},
		"too wide":               {Suppression{AlertType: alert.Type}, func(*Alert) {}, false},
		"no times yet":           {Suppression{Hub: "contoso-hub"}, func(*Alert) {}, true},
	} {
		a := alert
		a.ActorIPAddresses = append([]string{}, alert.ActorIPAddresses...)
		test.change(&a)
		if have := test.rule.MatchesAlert(a); have != test.want {
			t.Errorf("%s: matches: %v", name, have)
		}
	}
}

// TestParseAddresses checks the forms in which people write an address or a range.
func TestParseAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.7": "203.0.113.7/32", "203.0.113.7/24": "203.0.113.0/24", "2001:db8::1": "2001:db8::1/128", "2001:DB8::/32": "2001:db8::/32",
		"::ffff:203.0.113.7": "203.0.113.7/32", "::ffff:203.0.113.7/120": "203.0.113.0/24", "0.0.0.0/0": "0.0.0.0/0",
		"": "", "203.0.113.XXX": "", "203.0.113": "", "203.0.113.0/33": "", "fe80::1%eth0": "", "contoso.example": "", "203.0.113.7 ": "", "203.0.113.1-203.0.113.9": "",
	} {
		have, err := ParseAddresses(text)
		if (err != nil) != (want == "") || err == nil && have.String() != want {
			t.Errorf("%q: %v, error %v, want %q", text, have, err, want)
		}
	}
}

// TestSuppressionState looks at suppressions at several times.
func TestSuppressionState(t *testing.T) {
	s := pipeline()
	ended, never := s, s
	ended.Ended = started.Add(time.Hour)
	never.Ended = started.Add(-time.Hour) // before it started
	late := s
	late.Ended = s.Expires.Add(time.Hour)
	for _, test := range []struct {
		s    Suppression
		at   time.Time
		want string
	}{
		{s, started.Add(-1), "later"}, {s, started, "active"}, {s, s.Expires.Add(-1), "active"}, {s, s.Expires, "expired"},
		{ended, started.Add(-1), "later"}, {ended, ended.Ended.Add(-1), "active"}, {ended, ended.Ended, "ended"}, {ended, s.Expires.AddDate(1, 0, 0), "ended"},
		{never, started.Add(-1), "ended"}, {late, s.Expires.Add(time.Minute), "expired"},
	} {
		if have := test.s.State(test.at); have != test.want {
			t.Errorf("ended %s: at %s it is %s, want %s", test.s.Ended, test.at, have, test.want)
		}
	}
}
