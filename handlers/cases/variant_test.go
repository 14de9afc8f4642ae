package cases

import (
	"slices"
	"strings"
	"testing"

	"hubwatch/handlers/connection"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// TestVariants checks the variants that the rules make of a case, by their names,
// and their outcomes.
func TestVariants(t *testing.T) {
	operations := []string{"Microsoft.Devices/IotHubs/listkeys/action", "Microsoft.Devices/IotHubs/write"}
	all, err := Variants([]Case{fires(), {Name: "silent-other", Want: Outcome{Outcome: Silent}}}, operations)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]string{}
	for _, v := range all {
		what, ok := strings.CutPrefix(v.Name, "fires-plain: ")
		if !ok || outcomes[what] != "" {
			t.Errorf("a variant is called %q", v.Name)
		}
		outcomes[what] = v.want.outcome
	}
	for what, want := range map[string]string{
		"the event type " + event.ResourceWriteSuccess:                         NotDelivered,
		"the event type " + event.ResourceActionFailure:                        NotDelivered,
		"the event type " + connection.Failed:                                  NotDelivered,
		"the event type " + event.ResourceActionSuccess:                        "", // the case fires on it
		"the event type in upper case":                                         Alert,
		"the operation Microsoft.Devices/IotHubs/write":                        NotDelivered,
		"the operation Microsoft.Devices/IotHubs/listkeys/action":              "",
		"the operation in lower case":                                          Alert,
		"without an operation":                                                 Refused,
		"without an id":                                                        Refused,
		"names with escapes":                                                   Alert,
		"a number as resourceUri":                                              Refused,
		"without an actor":                                                     Alert,
		"unreadable members":                                                   "", // the case has none to break
		"the ids in upper case":                                                Alert,
		"a subject that is not an id":                                          Alert,
		"neither is an id: /h/word":                                            Alert,
		"a subject that is not an id, and no resourceUri":                      Alert,
		"a subject that begins otherwise":                                      Alert,
		"a subject that begins otherwise, and a resourceUri that is not an id": Alert,
		"a subject that begins otherwise, and the resourceUri x" + hubID:       Refused,
		"on a provisioning service":                                            NotDelivered,
		"on the hub":                                                           "",
		"without a name":                                                       "", // the hub has its name in its id
		"on the hub/certificates/other":                                        Refused,
		"the hub/certificates/other as the subject":                            Refused,
		"the hub as the subject":                                               "",
	} {
		if outcomes[what] != want {
			t.Errorf("%s: have %q, want %q", what, outcomes[what], want)
		}
	}
	if want := 8 + 9 + 2 + 1 + 1 + 1 + 2 + 1 + 2 + 1 + 2 + 3 + 9 + 2*(len(below)-1); len(all) != want {
		t.Errorf("%d variants, want %d", len(all), want)
	}

	// A resource below a hub is not the hub, and the hub is not a resource below
	// it.
	c := fires()
	c.Event = eventOn(hubID + "/certificates/c")
	if all, err = Variants([]Case{c}, nil); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"on the hub": "", "without a name": Alert, "the hub as the subject": Alert, "another hub as the subject": Alert,
		"neither is an id: /c/word": Alert, "neither is an id: /..": Alert, "neither is an id: ": Alert, "neither is an id: //name": Alert,
		"on the hub/certificates/other": "", "on the hub/certificates/other/versions/1": Refused,
	} {
		i := slices.IndexFunc(all, func(v Variant) bool { return v.Name == "fires-plain: "+what })
		if (i >= 0) != (want != "") || i >= 0 && all[i].want.outcome != want {
			t.Errorf("%s: have %v, want %q", what, i >= 0, want)
		}
	}
}

// TestVariantsAreHeld runs each kind of variant on a detector that fails it.
func TestVariantsAreHeld(t *testing.T) {
	plain := fires()
	id := Judge(listed, plain.Event).Alerts[0].SystemAlertID
	silent := eventOn(strings.TrimSuffix(hubID, "h") + "quiet")
	for name, test := range map[string]struct {
		v    Variant
		want string // a part of the error; "" for none
	}{
		"the alert":         {Variant{Event: plain.Event, want: want{outcome: Alert, ids: []string{id}, has: `"entity":"h"`}}, ""},
		"another alert":     {Variant{Event: plain.Event, want: want{outcome: Alert, ids: []string{"other"}}}, "want those of the case"},
		"other text":        {Variant{Event: plain.Event, want: want{outcome: Alert, has: "by an unknown actor"}}, `lacks "by an unknown actor"`},
		"not delivered":     {Variant{Event: eventOn("/x"), want: notDelivered}, ""},
		"delivered":         {Variant{Event: silent, want: notDelivered}, `the outcome is "silent", want "not delivered"`},
		"refused":           {Variant{Event: eventOn(hubID + "/x"), want: want{outcome: Refused, reason: "resource id", has: "ends before"}}, ""},
		"for other reasons": {Variant{Event: eventOn(hubID + "/x"), want: want{outcome: Refused, reason: "subject: "}}, `begins with "detector Listed: subject: "`},
		"an alert, refused": {Variant{Event: eventOn(hubID + "/certificates/half"), want: want{outcome: Alert}}, `the reason is "detector Listed: half"`},
		"about a hub":       {Variant{Event: eventOn(hubID + "/certificates/half"), want: aboutHub("h", "half", "hub")}, ""},
		"about another hub": {Variant{Event: eventOn(hubID + "/certificates/half"), want: aboutHub("other", "half", "hub")}, `want the hub "other"`},
		"not refused":       {Variant{Event: plain.Event, want: refused}, `the outcome is "alert"`},
	} {
		err := test.v.Run(listed)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestVariantsThatCannotBeMade checks that the case is named.
func TestVariantsThatCannotBeMade(t *testing.T) {
	for name, change := range map[string]func(*Case){
		"not an event":    func(c *Case) { c.Event = []byte(`1`) },
		"also of nothing": func(c *Case) { c.Also = map[string][]string{"none": {"x"}} },
		"invalid UTF-8":   func(c *Case) { c.Event = []byte(strings.Replace(string(c.Event), `"1"`, "\"\xff\"", 1)) },
	} {
		c := fires()
		change(&c)
		if _, err := Variants([]Case{c}, nil); err == nil || !strings.Contains(err.Error(), "case fires-plain: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOperations(t *testing.T) {
	got := Operations([]detector.Detector{
		listed,
		{On: detector.Trigger{Operations: []string{"Microsoft.Devices/IotHubs/certificates/Verify/Action", "Microsoft.Insights/diagnosticSettings/write"}}},
		{On: detector.Trigger{EventTypes: []string{connection.Failed}}},
		{On: detector.Trigger{Operations: []string{"odd", "action"}}},
	})
	for _, want := range []string{
		"Microsoft.Devices/IotHubs/write", "Microsoft.Devices/IotHubs/delete", "Microsoft.Devices/IotHubs/listkeys/action",
		"Microsoft.Devices/IotHubs/certificates/read", "Microsoft.Devices/IotHubs/certificates/Verify/Action",
		"Microsoft.Devices/IotHubs/certificates/generateVerificationCode/action",
		"Microsoft.Devices/provisioningServices/certificates/write", "Microsoft.Web/certificates/delete", "Microsoft.KeyVault/vaults/certificates/write",
		"Microsoft.Insights/diagnosticSettings/read", "odd",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	seen := map[string]bool{}
	for _, operation := range got {
		if operation == "" || seen[strings.ToLower(operation)] {
			t.Errorf("%q is empty, or there twice", operation)
		}
		seen[strings.ToLower(operation)] = true
	}
}
