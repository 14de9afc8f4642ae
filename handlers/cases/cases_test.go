package cases

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/detector"
	"hubwatch/handlers/event"
)

// listed is a detector for the tests of this package. It reports that the keys of
// a hub were listed, unless the hub is called quiet. Of a certificate that is called
// half it finds a part only.
var listed = detector.Detector{
	Name: "Listed", AlertType: "Listed", Severity: alert.Low,
	On: detector.Trigger{
		EventTypes:      []string{event.ResourceActionSuccess},
		Operations:      []string{"Microsoft.Devices/IotHubs/listkeys/action"},
		SubjectContains: "/providers/Microsoft.Devices/IotHubs/",
	},
	Detect: func(e event.Event) ([]alert.Finding, error) {
		id, err := event.ParseResourceID(e.Subject)
		if err != nil || id.Name == "quiet" {
			return nil, err
		}
		if id.ChildName == "half" {
			err = errors.New("half")
		}
		return []alert.Finding{{
			Hub: alert.Hub{Name: id.Name, ResourceID: id.Resource()}, Entity: alert.Entity{Type: alert.IoTHub, Name: id.Name}, Message: "Listed.",
		}}, err
	},
}

const hubID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h"

func eventOn(id string) jsontext.Value {
	return jsontext.Value(`{"id": "1", "eventType": "` + event.ResourceActionSuccess + `", "eventTime": "2026-02-01T08:00:00Z", "subject": "` + id + `",
		"data": {"operationName": "Microsoft.Devices/IotHubs/listkeys/action", "resourceUri": "` + id + `"}}`)
}

func fires() Case {
	c := Case{Name: "fires-plain", About: "The point.", From: "https://example.com/", Event: eventOn(hubID)}
	c.Want = Judge(listed, c.Event)
	return c
}

func TestRun(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Case)
		want   []string // parts of the error; none for no error
	}{
		"right": {func(*Case) {}, nil},
		"right with others": {func(c *Case) {
			c.Also = map[string][]string{"data.operationName": {"Microsoft.Devices/IotHubs/listkeys/action"}}
		}, nil},
		"without about": {func(c *Case) { c.About = "" }, []string{"about and from must say"}},
		"without from":  {func(c *Case) { c.From = "" }, []string{"about and from must say"}},
		"fires, and wants silence": {func(c *Case) {
			c.Event, c.Want = eventOn(strings.TrimSuffix(hubID, "h")+"quiet"), Outcome{Outcome: Silent}
		}, []string{"the case is called fires-…", `["alert"] and not "silent"`}},
		"silent, and wants an alert":  {func(c *Case) { c.Name = "silent-plain" }, []string{"the case is called silent-…"}},
		"refused, and wants an alert": {func(c *Case) { c.Name = "refused-plain" }, []string{"the case is called refused-…"}},
		"no such word":                {func(c *Case) { c.Name = "alerts-plain" }, []string{"the case is called alerts-…"}},
		"another entity":              {func(c *Case) { c.Want.Alerts[0].Entity = "other" }, []string{"-want +got", `"other"`, `"h"`}},
		"another outcome":             {func(c *Case) { c.Event = eventOn("/subscriptions") }, []string{"-want +got", "not delivered"}},
		"the reason in part": {func(c *Case) {
			c.Name, c.Event, c.Want = "refused-plain", eventOn(hubID+"/x"), Outcome{Outcome: Refused, Error: "ends before the name"}
		}, nil},
		"an alert with a reason": {func(c *Case) {
			c.Event = eventOn(hubID + "/certificates/half")
			c.Want.Error = "half"
		}, nil},
		"an alert without its reason": {func(c *Case) { c.Event = eventOn(hubID + "/certificates/half") }, []string{"-want +got", "half"}},
		"another reason": {func(c *Case) {
			c.Name, c.Event, c.Want = "refused-plain", eventOn(hubID+"/x"), Outcome{Outcome: Refused, Error: "ends behind"}
		}, []string{"ends behind", "ends before the name"}},
		"others differ": {func(c *Case) {
			c.Also = map[string][]string{"eventType": {event.ResourceActionFailure}}
		}, []string{"with eventType=" + event.ResourceActionFailure, "not delivered"}},
		"others of no member":      {func(c *Case) { c.Also = map[string][]string{"data.none": {"x"}} }, []string{"also: data.none: no member none to replace"}},
		"others of not an object":  {func(c *Case) { c.Also = map[string][]string{"subject.none": {"x"}} }, []string{"also: subject.none: "}},
		"everything that is wrong": {func(c *Case) { c.From, c.Name, c.Also = "", "x", map[string][]string{"x": {"y"}} }, []string{"about and from", "called x-…", "also: x"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := fires()
			test.change(&c)
			err := Run(listed, c)
			if (err == nil) != (test.want == nil) {
				t.Fatalf("the error is %v, want %q", err, test.want)
			}
			for _, part := range test.want {
				// cmp.Diff uses no-break spaces in some runs and not in others.
				if text := strings.ReplaceAll(err.Error(), "\u00a0", " "); !strings.Contains(text, part) {
					t.Errorf("the error does not say %q:\n%s", part, text)
				}
			}
		})
	}
}

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		event jsontext.Value
		want  string
	}{
		"alert":         {eventOn(hubID), Alert},
		"silent":        {eventOn(strings.TrimSuffix(hubID, "h") + "quiet"), Silent},
		"not delivered": {eventOn("/subscriptions"), NotDelivered},
		"refused":       {eventOn(hubID + "/x"), Refused},
		"not an event":  {jsontext.Value(`{}`), Refused},
	} {
		if got := Judge(listed, test.event); got.Outcome != test.want || (got.Error == "") != (test.want != Refused) || (len(got.Alerts) > 0) != (test.want == Alert) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestReplace(t *testing.T) {
	const object = `{"a": {"b": "x", "c": [1]}, "d": null}`
	for name, test := range map[string]struct {
		path  string
		value any
		want  string // "" for an error
	}{
		"a string":           {"d", "y", `{"a":{"b":"x","c":[1]},"d":"y"}`},
		"deeper":             {"a.b", "y", `{"a":{"b":"y","c":[1]},"d":null}`},
		"a number":           {"a", 1, `{"a":1,"d":null}`},
		"null":               {"a", nil, `{"a":null,"d":null}`},
		"not there":          {"e", "y", ""},
		"not there, deeper":  {"a.e", "y", ""},
		"below an array":     {"a.c.e", "y", ""},
		"below null":         {"d.e", "y", ""},
		"what is not a JSON": {"a", func() {}, ""},
	} {
		got, err := Replace(jsontext.Value(object), strings.Split(test.path, "."), test.value)
		if string(got) != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: have %s, %v; want %s", name, got, err, test.want)
		}
	}
}

// TestRead checks that a case that was written is read as it was, and that the
// error names a wrong file.
func TestRead(t *testing.T) {
	c := fires()
	data, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	root := fstest.MapFS{"Listed/fires-plain.json": {Data: data}, "Listed/notes.txt": {Data: []byte("x")}, "Other/fires-other.json": {Data: []byte("x")}}
	list, err := Read(root, "Listed")
	if err != nil || len(list) != 1 {
		t.Fatalf("have %d cases, %v; want one", len(list), err)
	}
	if err := list[0].Event.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	if err := c.Event.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, list[0]); diff != "" {
		t.Errorf("the case differs (-written +read):\n%s", diff)
	}
	if list, err := Read(root, "Nobody"); len(list) != 0 || err != nil {
		t.Errorf("without a folder: %v, %v", list, err)
	}
	for name, text := range map[string]string{"broken": `{"about": "`, "a member that no case has": `{"abuot": ""}`} {
		root["Listed/fires-second.json"] = &fstest.MapFile{Data: []byte(text)}
		if _, err := Read(root, "Listed"); err == nil || !strings.Contains(err.Error(), "Listed/fires-second.json") {
			t.Errorf("%s: the error is %v, want it to name the file", name, err)
		}
	}
}
