package detector_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"hubwatch/handlers/cases"
	"hubwatch/handlers/detector"
)

// TestNamesThatLookLikeSecretsAreNames gives each of two things a name that is legal
// and looks like a credential. They are two alerts, each with its name as it is in
// every text that a person reads.
func TestNamesThatLookLikeSecretsAreNames(t *testing.T) {
	for _, test := range []struct {
		detector detector.Detector
		file     string
		name     string // in the file
		others   []string
	}{
		{detector.CertificateAdded, "fires-named-like-a-token", "eyJhbGciOi.one.1", []string{"eyJhbGciOi.two.2", "Bearer-1.eyJhbGciOi.x.y"}},
		{detector.DiagnosticSettingChanged, "fires-named-like-a-signature", "sig=aaa", []string{"sig=bbb", "AccountKey=aaa", "password=x"}},
		{detector.DeviceTokenInvalid, "fires-device-named-like-a-signature", "sig=pump1", []string{"sig=pump2", "gw,sig=1", "gw,sig=2", "SharedAccessKey=1", "eyJhbGciOi.one.1"}},
	} {
		list, err := cases.Read(os.DirFS("testdata"), test.detector.Name)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, c := range list {
			if c.Name != test.file {
				continue
			}
			for _, name := range append(test.others, test.name) {
				v := test.detector.Judge(bytes.ReplaceAll(c.Event, []byte(test.name), []byte(name)))
				if v.Err != nil || len(v.Occurrences) != 1 {
					t.Fatalf("%s: %d occurrences, %v", name, len(v.Occurrences), v.Err)
				}
				o := v.Occurrences[0]
				if o.Entity.Name != name || !strings.Contains(o.Message, name) {
					t.Errorf("%s is called %q in %q", name, o.Entity.Name, o.Message)
				}
				if other, ok := seen[o.ID]; ok {
					t.Errorf("%s and %s are one alert", name, other)
				}
				seen[o.ID] = name
			}
		}
		if len(seen) != len(test.others)+1 {
			t.Errorf("%s: %d alerts, want %d", test.detector.Name, len(seen), len(test.others)+1)
		}
	}
}

// TestLongTextsLeaveTheCause gives a record a member of 40,000 characters that the
// message repeats. The message still says the cause, and no credential of the member.
func TestLongTextsLeaveTheCause(t *testing.T) {
	list, err := cases.Read(os.DirFS("testdata"), "DeviceTokenInvalid")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.Name != "fires-device-named-like-a-signature" {
			continue
		}
		for _, long := range []string{strings.Repeat("P", 40_000), "Bearer " + strings.Repeat("PLACEHOLDER1", 4_000)} {
			raw := bytes.Replace(c.Event, []byte(`\"Mqtt\"`), []byte(`\"`+long+`\"`), 1)
			if bytes.Equal(raw, c.Event) {
				t.Fatal("the case has no protocol")
			}
			v := detector.DeviceTokenInvalid.Judge(raw)
			if len(v.Occurrences) != 1 {
				t.Fatalf("%d occurrences, %v", len(v.Occurrences), v.Err)
			}
			message := v.Occurrences[0].Message
			if len(message) > 1_000 || !strings.Contains(message, "its SAS token is invalid") || strings.Contains(message, "HOLDER") {
				t.Errorf("the message is %.300s", message)
			}
		}
		return
	}
	t.Fatal("the case is missing")
}
