package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"hubwatch/handlers/alert"
	"hubwatch/handlers/table"
)

func TestExitCode(t *testing.T) {
	missing := fmt.Errorf("alert x: %w", alert.ErrNotFound)
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("broken"), 1},
		{errSaid, 1},
		{&usageError{&cobra.Command{}, errors.New("x")}, 2},
		{&ambiguousError{"x"}, 2},
		{errors.Join(missing, &ambiguousError{"x"}), 2},
		{missing, 3},
		{fmt.Errorf("suppression x: %w", alert.ErrNoSuppression), 3},
		{fmt.Errorf("read: %w", &table.SignInError{}), 4},
		{fmt.Errorf("read: %w", &table.ServiceError{Status: 403, Code: "AuthorizationPermissionMismatch"}), 4},
		{fmt.Errorf("read: %w", &table.ServiceError{Status: 401, Code: "InvalidAuthenticationInfo"}), 4},
		{fmt.Errorf("read: %w", &table.ServiceError{Status: 503, Code: "ServerBusy"}), 1},
		{fmt.Errorf("x: %w", &alert.Conflict{}), 5},
		{fmt.Errorf("x: %w", &alert.Illegal{From: alert.Resolved, To: alert.Dismissed}), 1},
		{said(exitFound), 10},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: exit code %d, want %d", test.err, got, test.want)
		}
	}
}

// TestTally: several reasons why alerts were not changed are a failure.
func TestTally(t *testing.T) {
	a := alert.Alert{ID: "x"}
	illegal, conflict, gone := &alert.Illegal{From: alert.Resolved, To: alert.Dismissed}, &alert.Conflict{}, fmt.Errorf("x: %w", alert.ErrNotFound)
	for _, test := range []struct {
		errs []error
		want int
		text string
	}{
		{nil, 0, "1 alert changed"},
		{[]error{illegal, illegal}, 1, "1 alert changed, 2 refused"},
		{[]error{conflict}, 5, "1 alert changed, 1 changed by somebody else"},
		{[]error{gone}, 3, "1 alert changed, 1 gone"},
		{[]error{gone, conflict}, 1, "1 alert changed, 1 changed by somebody else, 1 gone"},
	} {
		tally := tally{verb: "changed"}
		var out strings.Builder
		tally.add(&out, a, "changed", nil)
		for _, err := range test.errs {
			tally.add(&out, a, "", err)
		}
		if got := exitCode(tally.err()); got != test.want || tally.String() != test.text {
			t.Errorf("%v: exit code %d, %q, want %d, %q", test.errs, got, tally, test.want, test.text)
		}
	}
}

func TestAdvised(t *testing.T) {
	dial := func(ip string) error {
		return fmt.Errorf("read: %w", &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 443}, Err: errors.New("refused")})
	}
	other := errors.New("table: 404")
	for _, test := range []struct {
		err   error
		local bool
		want  string // a part
	}{
		{dial("127.0.0.1"), false, "start Azurite"},
		{dial("127.0.0.1"), true, "start make run again"},
		{dial("192.0.2.1"), false, "nothing answers at 192.0.2.1:443 (refused): see whether this computer is online"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Name: "contosostorag.table.core.windows.net"}}, false, "there is no host contosostorag.table.core.windows.net: see whether the name"},
		{other, false, "table: 404"},
		{other, true, "table: 404"},
	} {
		if got := (&operator{local: test.local}).advised(test.err).Error(); !strings.Contains(got, test.want) {
			t.Errorf("%v, local %v: %s, want %s", test.err, test.local, got, test.want)
		}
	}
}

// full is a file system without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestOutputIsLost checks that a command whose output is lost does not end with 0.
func TestOutputIsLost(t *testing.T) {
	for _, args := range []string{"check", "--help", "--version", "alerts list --help"} {
		var stderr strings.Builder
		code := run(t.Context(), strings.Fields(args), environment("AlertsStorage", "UseDevelopmentStorage=true"), nil, full{}, &stderr)
		if code != exitFailed || stderr.String() != "hubwatch: output: no space left on device\n" {
			t.Errorf("hubwatch %s: exit code %d, %s", args, code, &stderr)
		}
	}
}

// TestColors checks who gets colours, and that they change no width.
func TestColors(t *testing.T) {
	for _, test := range []struct {
		plain bool
		env   []string
		want  bool
	}{
		{false, []string{"TERM", "xterm"}, true},
		{true, []string{"TERM", "xterm"}, false},
		{false, []string{"NO_COLOR", "1"}, false},
		{false, []string{"TERM", "dumb"}, false},
	} {
		if got := (&operator{plain: test.plain, getenv: environment(test.env...)}).colors(); got != test.want {
			t.Errorf("--no-color %v, %q: colours %v", test.plain, test.env, got)
		}
	}
	a := someAlert()
	a.Status = alert.Resolved
	var colored, plain strings.Builder
	if err := alertGrid([]alert.Alert{a}).write(&screen{Writer: &colored, color: true}, 80); err != nil {
		t.Fatal(err)
	}
	if err := alertGrid([]alert.Alert{a}).write(&screen{Writer: &plain}, 80); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(colored.String(), "\x1b[33mMedium\x1b[0m    \x1b[2mResolved\x1b[0m") {
		t.Errorf("no colours in %q", colored.String())
	}
	if got := strings.NewReplacer("\x1b[33m", "", "\x1b[2m", "", "\x1b[0m", "").Replace(colored.String()); got != plain.String() {
		t.Errorf("with colours %q, without %q", got, plain.String())
	}
}
