package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/rogpeppe/go-internal/testscript"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/app"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/local/azurite"
)

var update = flag.Bool("update", false, "rewrite what the scripts and testdata expect")

// TestMain lets the scripts run hubwatch, and the commands that write rows into
// its tables, as processes of their own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hubwatch": main,
		"deliver":  func() { seed(deliver) },
		"hold":     func() { seed(hold) },
		"enter":    func() { seed(enter) },
		"az":       func() { os.Exit(azureCLI(os.Args[1:])) },
	})
}

// seed runs a command that writes into the tables of the settings. Its arguments
// are two texts, a file, and pairs of texts. The first text of a pair is replaced
// in the file by the second, which may have escapes of Go like \u202e.
func seed(write func(a *app.App, first, second string, body []byte) error) {
	err := func() error {
		if len(os.Args) < 4 || len(os.Args)%2 == 1 {
			return fmt.Errorf("want two texts, a file and pairs of texts, have %q", os.Args[1:])
		}
		pairs := os.Args[4:]
		for i := 1; i < len(pairs); i += 2 {
			var err error
			if pairs[i], err = strconv.Unquote(`"` + pairs[i] + `"`); err != nil {
				return err
			}
		}
		a, err := app.Open(os.Getenv)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(os.Args[3])
		if err != nil {
			return err
		}
		return write(a, os.Args[1], os.Args[2], []byte(strings.NewReplacer(pairs...).Replace(string(body))))
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// deliver judges an event, or a message of resource logs, as a function of the
// handler would. If status is not "Active", it gives that status to the alerts.
func deliver(a *app.App, function, status string, body []byte) error {
	j := a.Judge(judge.NewAllRules(a.Suppressions, func(what string, err error) { fmt.Fprintln(os.Stderr, what, err) }))
	redriven, err := j.Redrive(context.Background(), a.Detectors, alert.Quarantined{Function: function, Body: body})
	if err != nil {
		return err
	}
	if len(redriven.Occurrences) == 0 {
		return errors.New(redriven.String())
	}
	for _, o := range redriven.Occurrences {
		ref := alert.Ref{Hub: o.Hub.Name, Day: o.Day(), ID: o.ID}
		if status == string(alert.Active) {
			continue
		}
		if _, err := a.Alerts.Change(context.Background(), ref, alert.Change{
			Status: alert.Status(status), Verdict: alert.Benign, Reason: "planned", By: alert.Person{Name: "bob@contoso.example"}, Via: "test",
		}); err != nil {
			return err
		}
	}
	return nil
}

// azureCLI is az as azidentity calls it. It gives a token for the person in the variable
// AZ_USER, which may have escapes of Go, or says that nobody is signed in. Azurite checks
// the claims of a token, and not its signature.
func azureCLI(args []string) int {
	name, err := strconv.Unquote(`"` + os.Getenv("AZ_USER") + `"`)
	if err != nil || len(args) < 2 || args[0] != "account" || args[1] != "get-access-token" || name == "" {
		fmt.Fprintln(os.Stderr, "ERROR: Please run 'az login' to setup account.")
		return 1
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/local/", "iat": now - 10, "nbf": now - 10, "exp": now + 3600,
		"upn": name, "oid": "00000000-0000-0000-0000-0000000000a0",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	encode := base64.RawURLEncoding.EncodeToString
	fmt.Printf(`{"accessToken": "%s.%s.", "expires_on": %d}`, encode([]byte(`{"alg":"none","typ":"JWT"}`)), encode(claims), now+3600)
	return 0
}

// hold puts an event into the quarantine.
func hold(a *app.App, function, reason string, body []byte) error {
	return a.Quarantine.Quarantine(context.Background(), alert.Quarantined{
		Function: function, EventID: "event-1", Reason: reason, Body: body, Size: int64(len(body)),
	})
}

// enter adds a row to the table with this name, as a person would with another program.
func enter(_ *app.App, name, connection string, row []byte) error {
	service, err := aztables.NewServiceClientFromConnectionString(connection, nil)
	if err != nil {
		return err
	}
	_, err = service.NewClient(name).AddEntity(context.Background(), row, nil)
	return err
}

// TestScripts runs the terminal sessions in testdata/script. Each has tables of its
// own, on an Azurite that also takes tokens.
func TestScripts(t *testing.T) {
	certificate, key, err := azurite.WriteCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	service := startAzurite(t, azurite.Options{CertFile: certificate, KeyFile: key})
	samples, err := filepath.Abs("../local/samples")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody may have switched on or edited the file that the repository has.
	shipped, _ := custom.Ready("UnauthorizedOperations")
	unchanged := filepath.Join(t.TempDir(), custom.FileName)
	if err := os.WriteFile(unchanged, custom.Format(shipped), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			n, now := tables.Add(1), time.Now().UTC()
			bin, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
			env.Vars = append(env.Vars, "BIN="+bin, "SAMPLES="+samples, "SHIPPED="+unchanged, "SSL_CERT_FILE="+certificate, "ENDPOINT="+service.Endpoint(), "KEY="+accountKey(service),
				"AlertsStorage="+service.ConnectionString(), fmt.Sprintf("AlertsTable=alerts%d", n), fmt.Sprintf("QuarantineTable=quarantine%d", n), fmt.Sprintf("SuppressionsTable=suppressions%d", n),
				"TODAY="+now.Format(time.DateOnly), "YESTERDAY="+now.AddDate(0, 0, -1).Format(time.DateOnly), "TOMORROW="+now.AddDate(0, 0, 1).Format(time.DateOnly))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "timeless": timeless, "narrow": narrow, "unnamed": unnamed, "edit": edit,
		},
		UpdateScripts: *update,
	})
}

// accountKey returns the key of Azurite's account.
func accountKey(service *azurite.Service) string {
	_, key, _ := strings.Cut(service.ConnectionString(), "AccountKey=")
	key, _, _ = strings.Cut(key, ";")
	return key
}

// code runs a command and checks its exit code: code 2 hubwatch alerts.
func code(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	have := "0"
	if err != nil {
		have = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if have != args[0] {
		ts.Fatalf("exit code %s, want %s", have, args[0])
	}
}

// stamp finds times.
var stamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)

// timeless copies the output of a command into a file, and writes NOW for each
// time of the last hour: timeless stdout file.
func timeless(ts *testscript.TestScript, _ bool, args []string) {
	text := stamp.ReplaceAllStringFunc(ts.ReadFile(args[0]), func(s string) string {
		if at, err := time.Parse(time.RFC3339Nano, s); err == nil && time.Since(at).Abs() < time.Hour {
			return "NOW"
		}
		return s
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// unnamed writes local:USER for the user of this computer in a file: unnamed file.
func unnamed(ts *testscript.TestScript, _ bool, args []string) {
	text := localUser.ReplaceAllString(ts.ReadFile(args[0]), "local:USER")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// localUser finds the user of this computer.
var localUser = regexp.MustCompile(`local:[^\s"]+`)

// edit replaces a text in a file by another one, as somebody with an editor would:
// edit <file> <text> <other>.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	before := ts.ReadFile(args[0])
	after := strings.ReplaceAll(before, args[1], args[2])
	if after == before {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o600))
}

// narrow checks that no line of a file is longer than helpWidth: narrow stdout.
func narrow(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if len([]rune(strings.TrimRight(line, "\n"))) > helpWidth {
			ts.Fatalf("longer than %d characters: %s", helpWidth, line)
		}
	}
}

// TestInterrupted checks the message and the exit code of Ctrl-C.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"alerts", "list"}, environment("AlertsStorage", "UseDevelopmentStorage=true"), nil, &stdout, &stderr)
	if code != exitInterrupted || stderr.String() != "hubwatch: interrupted\n" || stdout.Len() > 0 {
		t.Errorf("exit code %d, %s%s", code, &stdout, &stderr)
	}
}

// TestHelp checks that the help of every command fits a terminal of 80 columns,
// and that each verb of hubwatch has examples.
func TestHelp(t *testing.T) {
	root := newRoot(&operator{getenv: environment(), now: time.Now}, &screen{})
	for commands := slices.Clone(root.Commands()); len(commands) > 0; commands = commands[1:] {
		command := commands[0]
		commands = append(commands, command.Commands()...)
		path := strings.TrimPrefix(command.CommandPath(), "hubwatch ")
		help := bench{getenv: environment()}.expect(t, 0, path+" --help", "Usage:\n  hubwatch "+path)
		ours := !strings.HasPrefix(path, "completion") && path != "help"
		if ours && !strings.Contains(help, "\nExamples:\n  hubwatch "+path) {
			t.Errorf("hubwatch %s --help has no example", path)
		}
		for line := range strings.Lines(help) {
			if len([]rune(strings.TrimRight(line, "\n"))) > helpWidth && (ours || strings.HasPrefix(line, " ")) {
				t.Errorf("hubwatch %s --help: longer than %d characters: %s", path, helpWidth, line)
			}
		}
	}
}
