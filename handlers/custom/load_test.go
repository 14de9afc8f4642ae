package custom

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"hubwatch/handlers/detector"
)

// right is a custom alert without mistakes.
const right = `{
  "$schema": "../../docs/alert.schema.json",
  "enabled": true,
  "alertType": "Contoso_HubKeysListed",
  "severity": "Medium",
  "title": "Keys of a hub were read",
  "description": "Whoever has the keys can do anything with the hub's devices.",
  "remediation": [
    "Ask the caller why."
  ],
  "on": {
    "source": "resources",
    "eventTypes": [
      "Microsoft.Resources.ResourceActionSuccess"
    ],
    "operations": [
      "Microsoft.Devices/IotHubs/listkeys/action"
    ]
  },
  "when": "actor != \"pipeline\"",
  "properties": {
    "Who": "actor"
  },
  "count": {
    "per": "actor",
    "window": "PT15M",
    "max": 10
  },
  "cases": [
    {
      "name": "fires-on-a-person",
      "about": "A person reads the keys.",
      "event": {"id": "1"},
      "want": "alert"
    },
    {
      "name": "silent-on-the-pipeline",
      "about": "The pipeline may.",
      "event": {"id": "1"},
      "want": "silent"
    }
  ]
}
`

// repository returns files of custom alerts, by the names of their folders.
func repository(files map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range files {
		if !strings.Contains(name, "/") {
			name += "/" + FileName
		}
		root["functions/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestLoad(t *testing.T) {
	alerts, err := Load(repository(map[string]string{"HubKeysListed": right}))
	if err != nil || len(alerts) != 1 {
		t.Fatalf("%d alerts, %v", len(alerts), err)
	}
	a := alerts[0]
	if a.Name != "HubKeysListed" || !a.Enabled || a.When != `actor != "pipeline"` || *a.Count.Max != 10 {
		t.Errorf("have %+v", a)
	}
	if r := a.Rule(); r.Name != "HubKeysListed" || r.Width != 15*time.Minute || *r.Max != 10 || r.Key != "actor" {
		t.Errorf("rule %+v", r)
	}
}

// TestFormat checks that what Format writes is what Load reads, and is laid out as people
// lay out such files.
func TestFormat(t *testing.T) {
	alerts, err := Load(repository(map[string]string{"HubKeysListed": right}))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(right, `{"id": "1"}`, "{\n        \"id\": \"1\"\n      }")
	if got := Format(alerts[0]); !bytes.Equal(got, []byte(want)) {
		t.Errorf("have\n%s\nwant\n%s", got, want)
	}
}

// TestDoubts has operations that hubwatch does not know, and those that it does.
func TestDoubts(t *testing.T) {
	const known = `"Microsoft.Devices/IotHubs/listkeys/action"`
	for operation, want := range map[string]string{
		"microsoft.devices/IOTHUBS/listkeys/Action":                   "",
		"Microsoft.Devices/IotHubs/certificates/verify/action":        "",
		"Microsoft.Devices/iotHubs/routing/$testall/Action":           "",
		"Microsoft.Network/privateEndpoints/action":                   "",
		"Microsoft.Devices/IotHubs/certificate/verify/action":         "hubwatch does not know Microsoft.Devices/IotHubs/certificate/verify; did you mean Microsoft.Devices/IotHubs/certificates/verify? If Azure has no",
		"Microsoft.Devices/IotHubs/listkey/action":                    "hubwatch does not know Microsoft.Devices/IotHubs/listkey; did you mean Microsoft.Devices/IotHubs/listkeys? If",
		"Contoso.Frobnication/gadgets/spin/action":                    "hubwatch does not know Contoso.Frobnication/gadgets/spin. If Azure has no such type or action, no event ever comes: see https",
		"Microsoft.Compute/virtualMachines/start/action":              "hubwatch does not know Microsoft.Compute/virtualMachines/start. If",
		"Microsoft.Devices/IotHubs/listkeys/listkeys/listkeys/action": "hubwatch does not know Microsoft.Devices/IotHubs/listkeys/listkeys/listkeys. If",
	} {
		alerts, err := Load(repository(map[string]string{"HubKeysListed": strings.Replace(right, known, `"`+operation+`"`, 1)}))
		if err != nil {
			t.Errorf("%s: %v", operation, err)
			continue
		}
		doubts := alerts[0].Doubts()
		if want == "" {
			if len(doubts) > 0 {
				t.Errorf("%s: %v", operation, doubts)
			}
			continue
		}
		line, column := place([]byte(right), strings.Index(right, known))
		if len(doubts) != 1 || !strings.HasPrefix(doubts[0].Text, "on.operations[0]: "+want) || doubts[0].Line != line || doubts[0].Column != column || doubts[0].File != "functions/HubKeysListed/alert.json" {
			t.Errorf("%s: have %v, want %q", operation, doubts, want)
		}
		if warnings := alerts[0].Explain().Warnings; len(warnings) == 0 || !strings.Contains(warnings[0], want) {
			t.Errorf("%s: explain warns of %q", operation, warnings)
		}
	}
}

// TestKnownOperations checks that hubwatch knows the operations of its own alerts.
func TestKnownOperations(t *testing.T) {
	alerts, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	operations := 0
	for _, a := range alerts {
		for _, m := range a.Doubts() {
			t.Error(m)
		}
		operations += len(a.On.Operations)
	}
	for _, d := range detector.All {
		for _, operation := range d.On.Operations {
			if text := doubt(operation); text != "" {
				t.Errorf("%s: %s", d.Name, text)
			}
		}
	}
	if operations < 50 {
		t.Errorf("%d operations: this proves little", operations)
	}
}

// TestMistakes changes one thing of a right file, and reads where the mistake is said to
// be: at the text that stands between the guillemets.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"severity"`, `«"severty"`, "severty: there is no such member; did you mean severity?"},
		{`"Medium"`, `«"Mediun"`, `severity: want High, Medium, Low or Informational, have "Mediun"; did you mean Medium?`},
		{`"title": "Keys of a hub were read"`, `"title": «7`, "title: want a text, have a number"},
		{`"title": "Keys of a hub were read"`, `"title": «" "`, "title: missing or empty"},
		{`"enabled": true`, `"enabled": «"yes"`, "enabled: want true or false, have a text"},
		{`"enabled": true,`, `"enabled": true, «"enabled": true,`, "enabled: stands twice"},
		{`"Contoso_HubKeysListed"`, `«"Contoso HubKeysListed"`, `alertType: want 3 to 128 letters, digits, dots, hyphens and underscores, have "Contoso HubKeysListed"`},
		{`"Contoso_HubKeysListed"`, `«"IoT_Cert_Expired"`, "alertType: IoT_Cert_Expired is taken by the built-in detector DeviceCertificateExpired"},
		{`"source": "resources"`, `"source": «"resource"`, `on.source: want resources, connections, logs or hub, have "resource"; did you mean resources?`},
		{`"Microsoft.Resources.ResourceActionSuccess"`, `«"Microsoft.Resources.ResourceActionSucces"`, `on.eventTypes[0]: the source resources has no event type "Microsoft.Resources.ResourceActionSucces"; did you mean Microsoft.Resources.ResourceActionSuccess?`},
		{`"Microsoft.Resources.ResourceActionSuccess"`, `"Microsoft.Resources.ResourceWriteSuccess"`, "on.operations[0]: no event of Microsoft.Resources.ResourceWriteSuccess is about Microsoft.Devices/IotHubs/listkeys/action: events of the type ResourceAction... are"},
		{`"Microsoft.Devices/IotHubs/listkeys/action"`, `«"Microsoft.Device/IotHubs/listkeys/action"`, `on.operations[0]: there is no resource provider "Microsoft.Device"; did you mean Microsoft.Devices?`},
		{`"Microsoft.Devices/IotHubs/listkeys/action"`, `«"listkeys"`, `on.operations[0]: want a provider, a type and write, delete or action, for example Microsoft.Devices/IotHubs/listkeys/action, have "listkeys"`},
		{`"operations": [`, `"category": «"Connections", "operations": [`, "on.category: the source resources does not have this member: it is of logs"},
		{`actor != \"pipeline\"`, `actor != \"\u00e9\ud83d\ude00\" && «ofice == 1`, "when: undeclared reference to 'ofice'"},
		{`actor != \"pipeline\"`, `«actor + \"x\"`, "when: want an expression whose value is a bool, have one of type string"},
		{`actor != \"pipeline\"`, `actor.matches(«\"a[\")`, "when: matches: error parsing regexp: missing closing ]: `[`"},
		{`"when": "actor != \"pipeline\""`, `"when": «""`, "when: empty: want an expression, or leave it out"},
		{`"Who": "actor"`, `"Who": «""`, "properties.Who: empty: want an expression"},
		{`"Microsoft.Devices/IotHubs/listkeys/action"`, `«"Microsoft.Devices/IotHub/listkeys/action"`, `on.operations[0]: Microsoft.Devices has no resource type "IotHub"; did you mean IotHubs?`},
		{`"Microsoft.Devices/IotHubs/listkeys/action"`, `«"microsoft.devices/provisioningService/listkeys/action"`, `on.operations[0]: microsoft.devices has no resource type "provisioningService"; did you mean provisioningServices?`},
		{`"Microsoft.Devices/IotHubs/listkeys/action"`, `«"Microsoft.Devices/iotHubs/directMethods/invoke/action"`, "on.operations[0]: Microsoft.Devices/iotHubs/directMethods/invoke/action is an operation on data, of which Azure Resource Manager has no event: the sources logs and hub tell of devices"},
		{`"cases": [`, `"group": {"devices": ["a*", «"# x"]}, "cases": [`, `group.devices[1]: "# x" is no pattern of a device id`},
		{`"Who": "actor"`, `"Who": "actor«.foo"`, "properties.Who: "},
		{`"Who"`, `"who"`, "properties.who: want a name in PascalCase, of 64 letters and digits at most"},
		{`"Who"`, `"ActorObjectId"`, "properties.ActorObjectId: hubwatch itself sets this property: choose another name"},
		{`"per": "actor"`, `"per": "«device"`, "count.per: the source resources never has device: it is always empty"},
		{`"per": "actor"`, `"entityType": "Caller", "per": "actor + «module"`, "count.per: the source resources never has module: it is always empty"},
		{`actor != \"pipeline\"`, `actor != \"é\" && has(«record.a) && record.a`, "when: the source resources never has record: it is always empty"},
		{`"title": "Keys of a hub were read"`, `"title": «"REPLACE: what happened"`, "title: a text that begins with REPLACE is to be replaced before the alert is enabled"},
		{`"about": "The pipeline may."`, `"about": «" REPLACE: why"`, "cases.about: a text that begins with REPLACE"},
		{`"enabled": true,`, `"enabled": true, "$comment": «7,`, "$comment: want a list, have a number"},
		{`"PT15M"`, `«"15M"`, `count.window: want a duration as ISO 8601 has it, for example PT15M or PT1H30M, have "15M"`},
		{`"PT15M"`, `«"PT15S"`, "count.window: want at least 1m0s, have 15s"},
		{`"max": 10`, `"max": «1001`, "count.max: want 0 to 1000, have 1001"},
		{`"operations": [
      "Microsoft.Devices/IotHubs/listkeys/action"
    ]`, `"operations": «[]`, "on.operations: empty: want at least one operation, or leave it out, which is all"},
		{`"source": "resources",
    "eventTypes": [
      "Microsoft.Resources.ResourceActionSuccess"
    ],`, `"source": "connections", "eventTypes": «[],`, "on.eventTypes: want at least one of hubwatch.iothub.connection.token-expired, "},
		{`"source": "resources",
    "eventTypes": [
      "Microsoft.Resources.ResourceActionSuccess"`, `"source": "connections", "eventTypes": ["hubwatch.iothub.connection.token-expired", «"hubwatch.iothub.connection.failed"`, "on.eventTypes[1]: events of the type hubwatch.iothub.connection.failed are made only of messages that are judged again"},
		{`"event": {"id": "1"}`, `"event": «"Microsoft.Devices.DeviceCreated"`, "cases[0].event: want an object, have a text"},
		{`"want": "alert"`, `"want": "alert", "says": {"severity": «""}`, `cases[0].says.severity: want High, Medium, Low or Informational, have ""`},
		{`"Contoso_HubKeysListed"`, `«"certificateAdded"`, "alertType: certificateAdded is the name of the built-in detector CertificateAdded, and people ask for alerts by either"},
		{`"max": 10`, `"max": «1e99`, "count.max: want a whole number, have a number"},
		{`"max": 10`, `"max": «1.5`, "count.max: want a whole number, have a number"},
		{`"want": "silent"`, `"want": «"quiet"`, `cases[1].want: want alert or silent, have "quiet"`},
		{`"silent-on-the-pipeline"`, `«"on-the-pipeline"`, `cases[1].name: a case that wants silent is called silent-..., so that nobody turns its point around by mistake; have "on-the-pipeline"`},
		{`"cases": [`, `"group": «{"devices": ["x"]}, "cases": [`, "group: events of the source resources are about no device"},
		{`"enabled": true,`, `"enabled": true «oops`, "not JSON: "},
	} {
		text := strings.Replace(right, c.old, c.new, 1)
		if text == right {
			t.Fatalf("the file has no %s", c.old)
		}
		before, after, marked := strings.Cut(text, "«")
		_, err := Load(repository(map[string]string{"HubKeysListed": before + after}))
		found := Mistakes(err)
		i := -1
		for j, m := range found {
			if strings.HasPrefix(m.Text, c.want) {
				i = j
			}
		}
		if i < 0 {
			t.Errorf("%s: %v, want %q", c.new, err, c.want)
			continue
		}
		line, column := place([]byte(before), len(before))
		if m := found[i]; marked && (m.Line != line || m.Column != column) {
			t.Errorf("%s: %v, want it at %d:%d", c.new, m, line, column)
		}
	}
}

// TestAllMistakes checks that one mistake does not hide another, in one file or in two.
func TestAllMistakes(t *testing.T) {
	wrong := strings.NewReplacer(`"Medium"`, `"Mediun"`, `"actor"`, `"actr"`, `"PT15M"`, `"PT15"`).Replace(right)
	alerts, err := Load(repository(map[string]string{"HubKeysListed": right, "KeysListed": wrong, "keys": right, "certificateadded": right}))
	var lines []string
	for _, m := range Mistakes(err) {
		lines = append(lines, fmt.Sprintf("%s:%d %.40s", m.File, m.Line, m.Text))
	}
	want := `functions/KeysListed/alert.json:4 alertType: Contoso_HubKeysListed is take
functions/KeysListed/alert.json:5 severity: want High, Medium, Low or Info
functions/KeysListed/alert.json:22 properties.Who: undeclared reference to 
functions/KeysListed/alert.json:25 count.per: want entityType too, which sa
functions/KeysListed/alert.json:25 count.per: undeclared reference to 'actr
functions/KeysListed/alert.json:26 count.window: want a duration as ISO 860
functions/certificateadded/alert.json:1 the folder's name "certificateadded": wa
functions/certificateadded/alert.json:1 the folder's name certificateadded is ta
functions/keys/alert.json:1 the folder's name "keys": want 3 to 64 l
functions/keys/alert.json:4 alertType: Contoso_HubKeysListed is take`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("have\n%s\nwant\n%s", got, want)
	}
	if len(alerts) != 1 || alerts[0].Name != "HubKeysListed" {
		t.Errorf("%d alerts beside the mistakes, want the right one", len(alerts))
	}
}

// TestNamesAndTypes has alerts whose type is a name. Whoever names an alert, in a suppression
// for example, gives its type or its name: so one may not be the other of two alerts.
func TestNamesAndTypes(t *testing.T) {
	typed := func(name string) string { return strings.Replace(right, "Contoso_HubKeysListed", name, 1) }
	_, err := Load(repository(map[string]string{"FirstAlert": typed("SECONDALERT"), "SecondAlert": typed("Contoso_Second")}))
	if found := Mistakes(err); len(found) != 1 || found[0].File != "functions/FirstAlert/alert.json" || found[0].Line != 4 ||
		!strings.HasPrefix(found[0].Text, "alertType: SECONDALERT is the name of the custom alert in functions/SecondAlert") {
		t.Errorf("the type is the name of another alert: %v", err)
	}
	if _, err := Load(repository(map[string]string{"FirstAlert": typed("FirstAlert")})); err != nil {
		t.Errorf("the type is the alert's own name: %v", err)
	}
}

// TestEncodings reads files as editors on Windows save them.
func TestEncodings(t *testing.T) {
	for text, want := range map[string]string{
		"\ufeff" + right: "",
		"\xff\xfe{\x00":  "functions/HubKeysListed/alert.json:1:1: the file is in UTF-16: save it in UTF-8",
		"\xfe\xff\x00{":  "functions/HubKeysListed/alert.json:1:1: the file is in UTF-16: save it in UTF-8",
	} {
		if _, err := Load(repository(map[string]string{"HubKeysListed": text})); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%.4q: %v, want %q", text, err, want)
		}
	}
	_, err := Load(repository(map[string]string{"HubKeysListed": "\ufeff" + strings.Replace(right, `{`, `{"oops": 1,`, 1)}))
	if found := Mistakes(err); len(found) != 1 || found[0].Line != 1 || found[0].Column != 2 {
		t.Errorf("behind a byte order mark: %v", err)
	}
}

// TestFileThatCannotBeRead has a folder by the name of a file, beside a file with a mistake.
func TestFileThatCannotBeRead(t *testing.T) {
	alerts, err := Load(repository(map[string]string{"FirstAlert/alert.json/x": "", "HubKeysListed": right, "OtherAlert": "{"}))
	found := Mistakes(err)
	if len(alerts) != 1 || len(found) < 2 || found[0].File != "functions/FirstAlert/alert.json" || !strings.HasPrefix(found[0].Text, "the file cannot be read: ") || found[1].File != "functions/OtherAlert/alert.json" {
		t.Errorf("%d alerts, %v", len(alerts), err)
	}
}

// TestVariablesThatASourceLacks counts by a variable, which each source has or not.
func TestVariablesThatASourceLacks(t *testing.T) {
	for source, on := range map[Source]string{
		Resources:   onKeys,
		Connections: `"on": {"source": "connections"}`,
		Logs:        `"on": {"source": "logs", "category": "TwinQueries"}`,
		Hub:         `"on": {"source": "hub", "eventTypes": ["Microsoft.Devices.DeviceCreated"]}`,
	} {
		for _, name := range variableNames {
			text := `{"alertType": "Contoso_Test", "severity": "Low", "title": "T", "description": "D.", "remediation": ["R."], ` + on + `, "message": "string(` + name + ` == null)",
			"cases": [{"name": "fires-a", "about": "A.", "event": {}, "want": "alert"}, {"name": "silent-a", "about": "A.", "event": {}, "want": "silent"}]}`
			if name != "data" {
				text = strings.Replace(text, "== null", "== "+name, 1)
			}
			_, err := Load(repository(map[string]string{"TestAlert": text}))
			if wrong := slices.Contains(lacking[source], name); (err != nil) != wrong || wrong && len(Mistakes(err)) != 1 {
				t.Errorf("%s of %s: %v", name, source, err)
			}
		}
	}
	// A name that a loop gives is no variable.
	alertOf(t, onKeys+`, "when": "['a'].exists(device, device == actor)"`)
}

// TestVariables checks that the names are those of the variables that have types.
func TestVariables(t *testing.T) {
	var names []string
	for _, v := range variables {
		names = append(names, v.name)
	}
	if !slices.Equal(names, variableNames) {
		t.Errorf("have %v, want %v", variableNames, names)
	}
}

// TestComments reads comments in each object that may have them.
func TestComments(t *testing.T) {
	text := strings.NewReplacer(`"enabled"`, `"$comment": ["one", "two"], "enabled"`, `"source"`, `"$comment": "of on", "source"`,
		`"per"`, `"$comment": [], "per"`, `"name"`, `"$comment": "of a case", "name"`).Replace(right)
	alerts, err := Load(repository(map[string]string{"HubKeysListed": text}))
	if err != nil {
		t.Fatal(err)
	}
	if a := alerts[0]; len(a.Comment) != 2 || a.On.Comment[0] != "of on" || a.Cases[1].Comment[0] != "of a case" {
		t.Errorf("%+v", a)
	}
}

func TestCasesOfBothKinds(t *testing.T) {
	for _, want := range []string{`"want": "alert"`, `"want": "silent"`} {
		_, err := Load(repository(map[string]string{"HubKeysListed": strings.Replace(right, want, `"want": "none"`, 1)}))
		if word := strings.Trim(want[8:], `"`); err == nil || !strings.Contains(err.Error(), "there is no case that wants "+word) {
			t.Errorf("without a case of %s: %v", word, err)
		}
	}
}

func TestGroupFile(t *testing.T) {
	text := strings.NewReplacer(`"resources"`, `"hub"`, "Microsoft.Resources.ResourceActionSuccess", "Microsoft.Devices.DeviceCreated",
		"actor", "device", `"cases"`, `"group": {"file": "devices.txt"}, "cases"`).Replace(right)
	text = strings.Replace(text, `,
    "operations": [
      "Microsoft.Devices/IotHubs/listkeys/action"
    ]`, "", 1)
	alerts, err := Load(repository(map[string]string{"HubKeysListed": text, "HubKeysListed/devices.txt": "\ufeffthermo-*\r\n\nlamp\n"}))
	if err != nil || strings.Join(alerts[0].Group.listed, "|") != "thermo-*|lamp" {
		t.Errorf("%+v, %v", alerts, err)
	}
	_, err = Load(repository(map[string]string{"HubKeysListed": text, "HubKeysListed/devices.txt": "thermo-*\n# lamps\n\nl\xffmp\nlämp\n"}))
	var lines []string
	for _, m := range Mistakes(err) {
		lines = append(lines, fmt.Sprintf("%s:%d %.25s", m.File, m.Line, m.Text))
	}
	if got := strings.Join(lines, "\n"); got != `functions/HubKeysListed/devices.txt:2 "# lamps" is no pattern o
functions/HubKeysListed/devices.txt:4 "l\xffmp" is no pattern o
functions/HubKeysListed/devices.txt:5 "lämp" is no pattern of a` {
		t.Errorf("have\n%s", got)
	}
	_, err = Load(repository(map[string]string{"HubKeysListed": text, "HubKeysListed/devices.txt": "\xff\xfel\x00"}))
	if err == nil || !strings.HasPrefix(err.Error(), "functions/HubKeysListed/devices.txt:1:1: the file is in UTF-16: save it in UTF-8") {
		t.Errorf("in UTF-16: %v", err)
	}
	for _, name := range []string{"devices.txt", "../x", "a/b", "."} {
		_, err := Load(repository(map[string]string{"HubKeysListed": strings.Replace(text, "devices.txt", name, 1)}))
		if err == nil || !strings.Contains(err.Error(), "group.file: ") {
			t.Errorf("the file %q is not there: %v", name, err)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"PT15M": 15 * time.Minute, "PT05M": 5 * time.Minute, "PT1H30M": 90 * time.Minute, "P1D": 24 * time.Hour, "PT90S": 90 * time.Second,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
		if again, err := parseDuration(FormatDuration(want)); err != nil || again != want {
			t.Errorf("%v is written %s, which is read as %v, %v", want, FormatDuration(want), again, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "15M", "PT15", "PT-5M", "P1W", "PT1.5M", "P1DT", "PT9999999M", "pt5m"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

// TestUnreadable checks that what cannot be read is an error, and never a panic.
func TestUnreadable(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "null", `"x"`, "{} {}", `{"on": {"source": null}}`, `{"cases": [1]}`, strings.Repeat("[", 1000), "{\"when\": \"\\ud800\"}", "{\"\xff\": 1}"} {
		if _, err := Load(repository(map[string]string{"HubKeysListed": text})); len(Mistakes(err)) == 0 {
			t.Errorf("%.20q: %v, want mistakes", text, err)
		}
	}
	if err := join(nil); err != nil || errors.Join() != nil {
		t.Errorf("no mistakes are %v", err)
	}
}
