package remedy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/secret"
)

const (
	hubResource = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-iot/providers/Microsoft.Devices/IotHubs/contoso-hub"
	assignment  = "00000000-0000-0000-0000-000000000a01"
)

// someAlert returns an alert about an entity.
func someAlert(kind alert.EntityType, name string) alert.Alert {
	at := time.Date(2026, 2, 1, 8, 0, 1, 500, time.UTC)
	return alert.Alert{
		ID: "ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39", Type: "IoT_Cert_Expired", Start: at, End: at.Add(90 * time.Minute),
		Finding: alert.Finding{
			Hub:    alert.Hub{Name: "contoso-hub", ResourceID: hubResource, SubscriptionID: "00000000-0000-0000-0000-000000000001"},
			Entity: alert.Entity{Type: kind, Name: name}, Actor: "alice@contoso.example", CorrelationID: "00000000-0000-4000-8001-000000000001",
			Properties: map[string]string{"ActorType": "User", "ActorObjectId": "00000000-0000-0000-0000-0000000000b1"},
		},
	}
}

// echo is a command with one option.
func echo(v ...Part) Command {
	return Command{Goal: Fix, Args: append(Words("az"), Option("--v", v...))}
}

// TestFor checks which commands an alert gets, and in which order.
func TestFor(t *testing.T) {
	commands := []Command{
		{Goal: Undo, Says: "1", Args: Words("az one")},
		{Goal: Investigate, Says: "2", Args: Words("az two")},
		{Goal: Fix, Says: "3", Args: append(Words("az three"), Option("--module", Module))},
		{Goal: Investigate, Says: "4", Args: Words("az four"), On: []alert.EntityType{alert.Device}},
		{Goal: Verify, Says: "5", Args: Words("az five"), On: []alert.EntityType{alert.IoTHub}},
		{Goal: Fix, Says: "6.", Args: append(Words("az six"), Option("--etag", ETag), Option("--device", Device))},
		{Goal: Fix, Says: "7.", Args: append(Words("az seven"), Option("--name", Certificate), Option("--same", Certificate))},
	}
	var got []string
	for _, f := range For(someAlert(alert.Device, "valve-7"), commands) {
		line, err := f.Bash()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Says+" "+line)
	}
	want := []string{
		"2 az two", "4 az four",
		"6. Put the etag that was shown last in place of ETAG. az six --etag=ETAG --device=valve-7",
		"7. Put the name of the certificate, which the list shows, in place of CERTIFICATE. az seven --name=CERTIFICATE --same=CERTIFICATE",
		"1 az one",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if commands[5].Says != "6." {
		t.Error("the command of the detector was changed")
	}
}

// TestValues checks where each value comes from.
func TestValues(t *testing.T) {
	with := func(a alert.Alert, pairs ...string) alert.Alert {
		for i := 0; i < len(pairs); i += 2 {
			a.Properties[pairs[i]] = pairs[i+1]
		}
		return a
	}
	certificate := func() alert.Alert { return someAlert(alert.Certificate, "root-ca") }
	actor := func(a alert.Alert, name string) alert.Alert { a.Actor = name; return a }
	role := func(id, scope string) alert.Alert {
		return with(certificate(), "RoleAssignmentId", id, "RoleAssignmentScope", scope, "RolePrincipalId", assignment, "RolePrincipalType", "Group", "ActorRole", "Contributor")
	}
	const application = "00000000-0000-0000-0000-0000000000b2"
	for _, test := range []struct {
		value Value
		alert alert.Alert
		want  string
	}{
		{Hub, certificate(), "contoso-hub"},
		{Group, certificate(), "rg-iot"},
		{Subscription, certificate(), "00000000-0000-0000-0000-000000000001"},
		{HubID, certificate(), hubResource},
		{Certificate, certificate(), "root-ca"},
		{Certificate, someAlert(alert.IoTHub, "contoso-hub"), "CERTIFICATE"},
		{Setting, someAlert(alert.DiagnosticSetting, "logs"), "logs"},
		{Setting, someAlert(alert.IoTHub, "contoso-hub"), "SETTING"},
		{Device, someAlert(alert.Device, `a\/b`), `a\/b`},
		{Device, someAlert(alert.Module, `pump\\1\//agent`), `pump\1/`},
		{Module, someAlert(alert.Module, `pump\\1\//agent`), "agent"},
		{Device, someAlert(alert.Module, "a/b/c"), ""},
		{Module, someAlert(alert.Device, "a/b"), ""},
		{Device, someAlert(alert.IoTHub, "contoso-hub"), ""},
		{Entity, someAlert(alert.Module, "a/b"), "a/b"},
		{CorrelationID, certificate(), "00000000-0000-4000-8001-000000000001"},
		{Caller, certificate(), "alice@contoso.example"},
		{Caller, actor(certificate(), "Alice (00000000-0000-0000-0000-0000000000b1)"), ""},
		{Caller, actor(with(certificate(), "ActorType", "ManagedIdentity"), "id-pipeline (…)"), "00000000-0000-0000-0000-0000000000b1"},
		{Caller, actor(with(certificate(), "ActorType", "Application", "ActorObjectId", ""), application), application},
		{User, certificate(), "00000000-0000-0000-0000-0000000000b1"},
		{User, with(certificate(), "ActorType", "Application"), ""},
		{ServicePrincipal, certificate(), ""},
		{ServicePrincipal, with(certificate(), "ActorType", "ManagedIdentity"), ""},
		{ServicePrincipal, with(certificate(), "ActorType", "Application"), "00000000-0000-0000-0000-0000000000b1"},
		{Application, with(certificate(), "ActorApplicationId", application), ""},
		{Application, with(certificate(), "ActorType", "Application", "ActorApplicationId", application), application},
		{RoleAssignment, certificate(), "ROLE_ASSIGNMENT_ID"},
		{RoleAssignment, role(assignment, "/subscriptions/s"), "/subscriptions/s" + roleAssignments + assignment},
		{RoleAssignment, role(assignment, "/"), roleAssignments + assignment},
		{RoleAssignment, role(assignment, ""), "ROLE_ASSIGNMENT_ID"},
		{RoleAssignment, role("rid", "/subscriptions/s"), "ROLE_ASSIGNMENT_ID"},
		{RoleAssignment, role("/subscriptions/s"+roleAssignments+assignment, ""), "/subscriptions/s" + roleAssignments + assignment},
		{Scope, role(assignment, "/subscriptions/s"), "/subscriptions/s"},
		{Scope, role("", "/subscriptions/s"), ""},
		{Principal, role(assignment, "/subscriptions/s"), assignment},
		{Principal, role("rid", "/subscriptions/s"), ""},
		{PrincipalType, role(assignment, "/subscriptions/s"), "Group"},
		{Role, role(assignment, "/subscriptions/s"), "Contributor"},
		{Role, with(role(assignment, "/subscriptions/s"), "RoleDefinitionId", "d"), "d"},
		{HourBefore, certificate(), "2026-02-01T07:00:01Z"},
		{HourAfter, certificate(), "2026-02-01T10:30:01Z"},
		{WeekBefore, certificate(), "2026-01-25T08:00:01Z"},
		{WeekAfter, certificate(), "2026-02-08T09:30:01Z"},
		{Start, certificate(), "2026-02-01T08:00:01Z"},
		{AlertType, certificate(), "IoT_Cert_Expired"},
		{Reference, certificate(), "contoso-hub/2026-02-01/ad9a240b-7e46-8612-a6cd-3c8ecbb9fe39"},
		{Copy, certificate(), "certificate-ad9a240b.cer"},
		{ETag, certificate(), "ETAG"},
	} {
		got, err := test.value.in(test.alert)
		if got != test.want || err != nil {
			t.Errorf("%s is %q, %v; want %q", test.value.name, got, err, test.want)
		}
	}
}

// TestRefusals checks which values are refused, and that a person is told why, with
// what they cannot see in the open.
func TestRefusals(t *testing.T) {
	named := func(name string) alert.Alert { return someAlert(alert.Device, name) }
	changed := func(change func(*alert.Alert)) alert.Alert {
		a := named("valve-7")
		change(&a)
		return a
	}
	property := func(name, value string) alert.Alert {
		return changed(func(a *alert.Alert) {
			a.Properties["RoleAssignmentId"], a.Properties["RoleAssignmentScope"] = assignment, "/subscriptions/s"
			a.Properties[name] = value
		})
	}
	const up = "/subscriptions/s/../t"
	for _, test := range []struct {
		value Value
		alert alert.Alert
		want  string
	}{
		{Device, named("@.bashrc"), `the device id, "@.bashrc", begins with @, so az would read the file of that name`},
		{Device, named("@"), `the device id, "@", begins with @, so az would read the file of that name`},
		{Device, named("a\u202eb"), `the device id, "a\u202eb", has characters that cannot be seen`},
		{Device, named(`a\u202eb`), `the device id, "a\u202eb", has characters that cannot be seen`},
		{Device, someAlert(alert.Module, `a\u202eb/c`), `the device id, "a\u202eb", has characters that cannot be seen`},
		{Device, named("a\nb"), `the device id, "a\u000ab", has characters that cannot be seen`},
		{Device, named("a\x1b[2J"), `the device id, "a\u001b[2J", has characters that cannot be seen`},
		{Device, named("a\x00"), `the device id, "a\u0000", has characters that cannot be seen`},
		{Device, named("a\u00a0b"), `the device id, "a\u00a0b", has characters that cannot be seen`},
		{Device, named("a\xffb"), `the device id, "a` + "\ufffd" + `b", has bytes that are not UTF-8`},
		{Device, named("a\ufffdb"), `the device id, "a` + "\ufffd" + `b", has bytes that are not UTF-8`},
		{Device, named(strings.Repeat("a", 257)), `the device id, "` + strings.Repeat("a", 80) + `…", is longer than 256 bytes`},
		{Module, someAlert(alert.Module, "a/@b"), `the module id, "@b", begins with @, so az would read the file of that name`},
		{Hub, changed(func(a *alert.Alert) { a.Hub.Name = "a$(b)" }), `the name of the hub, "a$(b)", is not a name that an IoT hub can have`},
		{Group, changed(func(a *alert.Alert) { a.Hub.ResourceID = strings.Replace(hubResource, "rg-iot", "a b", 1) }), `the resource group, "a b", is not a name that a resource group can have`},
		{Subscription, changed(func(a *alert.Alert) { a.Hub.ResourceID = strings.Replace(hubResource, "00000000-", "S-", 1) }), `the subscription, "S-0000-0000-0000-000000000001", is not a GUID`},
		{HubID, changed(func(a *alert.Alert) { a.Hub.ResourceID += "/certificates/x" }), `the resource id of the hub, "` + hubResource[:80] + `…", is not the resource id of an IoT hub`},
		{HubID, changed(func(a *alert.Alert) { a.Hub.ResourceID = strings.Replace(hubResource, "rg-iot", "a'b", 1) }), `the resource id of the hub, "` + strings.Replace(hubResource, "rg-iot", "a'b", 1)[:80] + `…", is not the resource id of an IoT hub`},
		{CorrelationID, changed(func(a *alert.Alert) { a.CorrelationID = "' or 1 eq 1" }), `the correlation id, "' or 1 eq 1", is not a GUID`},
		{Caller, changed(func(a *alert.Alert) { a.Actor = "o'brien@contoso.example" }), `the actor, "o'brien@contoso.example", has a ', which az does not escape in its filter`},
		{User, property("ActorObjectId", "../me"), `the object id of the actor, "../me", is not a GUID`},
		{Scope, property("RoleAssignmentScope", up), `the scope of the role assignment, "` + up + `", is not a scope of Azure`},
		{RoleAssignment, property("RoleAssignmentScope", up), `the id of the role assignment, "` + (up + roleAssignments + assignment)[:80] + `…", is not the id of a role assignment`},
		{RoleAssignment, property("RoleAssignmentId", "/subscriptions/s"), `the id of the role assignment, "/subscriptions/s", is not the id of a role assignment`},
		{PrincipalType, property("RolePrincipalType", "Everybody"), `the kind of who has the role, "Everybody", is not User, Group or ServicePrincipal`},
		{AlertType, changed(func(a *alert.Alert) { a.Type = "a b" }), `the type of the alert, "a b", is not the type of an alert`},
		{Copy, changed(func(a *alert.Alert) { a.ID = "../../.profile" }), `the name of the copy, "certificate-../../.p.cer", is not made of the id of an alert`},
	} {
		all := For(test.alert, []Command{echo(test.value)})
		if len(all) != 1 {
			t.Errorf("%s: %d commands, want one that is refused", test.value.name, len(all))
			continue
		}
		for shell, render := range map[string]func() (string, error){"bash": all[0].Bash, "PowerShell": all[0].PowerShell} {
			if line, err := render(); line != "" || err == nil || err.Error() != test.want {
				t.Errorf("%s: %q, %v\nwant %s", shell, line, err, test.want)
			}
		}
	}
}

// TestKeep checks how a copy is kept.
func TestKeep(t *testing.T) {
	c := echo(Certificate)
	c.Keep = true
	f := For(someAlert(alert.Certificate, "root ca"), []Command{c})[0]
	bash, err := f.Bash()
	if want := "az --v='root ca' | base64 --decode > certificate-ad9a240b.cer"; bash != want || err != nil {
		t.Errorf("%s, %v\nwant %s", bash, err, want)
	}
	line, err := f.PowerShell()
	want := `[IO.File]::WriteAllBytes("$PWD/certificate-ad9a240b.cer", [Convert]::FromBase64String((az '--v=root ca')))`
	if line != want || err != nil {
		t.Errorf("%s, %v\nwant %s", line, err, want)
	}
}

// TestTemplate checks that each value has a name that no shell does anything with.
func TestTemplate(t *testing.T) {
	c := echo(Certificate, Text(" of "), Hub)
	if got, want := c.Template(), "az --v='CERTIFICATE of HUB'"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestPowerShellRefuses checks which arguments PowerShell cannot pass to a batch file.
func TestPowerShellRefuses(t *testing.T) {
	for name, want := range map[string]string{
		"valve-7": "az --v=valve-7",
		"a.b":     "az '--v=a.b'",
		"a'b":     "az '--v=a''b'",
		"a\u2019": "az '--v=a\u2019\u2019'",
		"$(a)b c": "az '--v=$(a)b c'",
		"a & b":   "az '--v=a & b'",
		"$a#*?,:": "az '--v=$a#*?,:'",
		"$(a)":    "", "a&b": "", "a|b": "", "a<b": "", "a>b": "", "a^b": "", `a"b`: "", "a%b": "", "a!b": "", `a\b`: "", `a b\`: "", "a %b": "", `a "b`: "",
	} {
		line, err := For(someAlert(alert.Device, name), []Command{echo(Device)})[0].PowerShell()
		if line != want || (err == nil) != (want != "") {
			t.Errorf("%q: %s, %v\nwant %s", name, line, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), ", which PowerShell on Windows cannot pass to az as it is: use bash") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzBash gives commands with any name to bash, which has to hand over exactly the
// name, or to nobody.
func FuzzBash(f *testing.F) {
	for _, name := range names {
		f.Add(name)
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		all := For(someAlert(alert.Device, name), []Command{{Args: append(Words("az"), Word(Device), Option("--device-id", Text("x="), Device))}})
		if name == "" {
			return // An alert without a device has no such command.
		}
		line, err := all[0].Bash()
		if err != nil {
			if !sees(name) {
				return
			}
			t.Fatalf("%q is refused: %v", name, err)
		}
		if !sees(name) || secret.Visible(line) != line {
			t.Errorf("%q is not refused: %s", name, line)
		}
		command := exec.CommandContext(t.Context(), "bash", "-c", `az() { printf '%s\0' "$@"; }; `+line)
		command.Dir = folder
		out, err := command.Output()
		if want := name + "\x00--device-id=x=" + name + "\x00"; string(out) != want || err != nil {
			t.Errorf("%s\nis %q, %v, want %q", line, out, err, want)
		}
	})
}

// names are names that some layer between a person and az could misread.
var names = []string{
	"valve-7", "$(reboot)", "`reboot`", "-x", "--help", "a'b", "''", "a;b", "a&&b", "a|b", "~", "~root", "*", "?", "[a]", "{a,b}", "!!", "#", "a b", " a ", "\\", "a\\",
	"$HOME", "${HOME}", "%PATH%", "a=b", "a@b", "@a", "@", "\u2018a\u2019", "\u201a\u201b", "ü", "a\tb", "a\nb", "\x00", "\u202e", `\u202e`, `\\ua`, "\xff", "\ufffd", strings.Repeat("a", 256), strings.Repeat("a", 257),
}

// sees reports whether a person sees a name as it is, the table keeps it as it is, and
// az takes it as it is.
func sees(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return secret.Hidden(r) || r == utf8.RuneError }) &&
		!regexp.MustCompile(`\\u[0-9a-f]{4}`).MatchString(name) && name[0] != '@' && len(name) <= 256
}

// FuzzPowerShell reads the lines for PowerShell by its rules for single quotes.
func FuzzPowerShell(f *testing.F) {
	for _, name := range names {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" {
			return
		}
		line, err := For(someAlert(alert.Device, name), []Command{{Args: append(Words("az"), Option("--device-id", Device))}})[0].PowerShell()
		if err != nil {
			return
		}
		got, want := readPowerShell(line), []string{"az", "--device-id=" + name}
		if !slices.Equal(got, want) || !sees(name) {
			t.Errorf("%s\nis %q, want %q", line, got, want)
		}
	})
}

// readPowerShell splits a line into words by the rules of about_Parsing and
// about_Quoting_Rules
// (https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_quoting_rules):
// a word in single quotes is as it stands, two single quotes in it are one, and each of
// ' and U+2018 to U+201B is a single quote, which may also end what another began. Any
// other word may only have characters that mean themselves. Otherwise the result is nil.
func readPowerShell(line string) (words []string) {
	isQuote := func(r rune) bool { return r == '\'' || r >= 0x2018 && r <= 0x201b }
	for rest := []rune(line); len(rest) > 0; {
		var word []rune
		if quoted := isQuote(rest[0]); quoted {
			for rest = rest[1:]; ; rest = rest[1:] {
				if len(rest) == 0 {
					return nil
				}
				if isQuote(rest[0]) {
					if len(rest) < 2 || !isQuote(rest[1]) {
						rest = rest[1:]
						break
					}
					rest = rest[1:] // The second of the two stands for both.
				}
				word = append(word, rest[0])
			}
		} else {
			for len(rest) > 0 && rest[0] != ' ' {
				if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=", rest[0]) {
					return nil
				}
				word, rest = append(word, rest[0]), rest[1:]
			}
		}
		words = append(words, string(word))
		if len(rest) == 0 {
			break
		}
		if rest[0] != ' ' {
			return nil
		}
		rest = rest[1:]
	}
	return words
}

// TestCopyIsDecoded runs the command that keeps a certificate, with a stand-in for az.
func TestCopyIsDecoded(t *testing.T) {
	c := Command{Keep: true, Args: Words("az")}
	line, err := For(someAlert(alert.Certificate, "root-ca"), []Command{c})[0].Bash()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "bash", "-c", "az() { echo AAEC/w==; }; "+line)
	command.Dir = t.TempDir()
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(command.Dir, "certificate-ad9a240b.cer"))
	if want := []byte{0, 1, 2, 255}; !bytes.Equal(got, want) || err != nil {
		t.Errorf("the copy is %x, %v, want %x", got, err, want)
	}
}
