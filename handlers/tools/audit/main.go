// Command audit judges what govulncheck found. A vulnerability that this code can
// reach is an error, unless explained says why it harms nobody here. An
// explanation without a finding is an error too. A vulnerability of the standard
// library counts only if the Go that go.mod asks for has not fixed it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// explained says for each vulnerability that govulncheck finds to be reachable,
// by its id in Go's database, why it harms nobody here. If only the live database
// has the vulnerability, raise the pinned database in the Makefile too, so that
// both find the same.
var explained = map[string]string{}

func main() {
	if err := run(os.Args[1:], os.Stdout, explained); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

// run prints which database was searched, and the findings. It returns an error
// for each finding that needs work.
func run(args []string, stdout io.Writer, explained map[string]string) error {
	if len(args) != 2 {
		return errors.New("want two arguments: what govulncheck -format json wrote, and go.mod")
	}
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := read(file)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	module, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	wanted := toolchain.FindSubmatch(module)
	if wanted == nil {
		return fmt.Errorf("%s: no toolchain line, which says with which Go to build what ships", args[1])
	}
	return r.judge(stdout, string(wanted[1]), explained)
}

var toolchain = regexp.MustCompile(`(?m)^toolchain (go\S+)$`)

// report has the parts of govulncheck's output that judge needs
// (golang.org/x/vuln/internal/govulncheck describes its messages).
type report struct {
	config   config
	known    map[string]string  // titles of all vulnerabilities of the modules in use, of any version, by id
	findings map[string]finding // those that the code can reach, by id
}

type config struct {
	Scanner  string    `json:"scanner_version"`
	Database string    `json:"db"`
	Modified time.Time `json:"db_last_modified"`
	Go       string    `json:"go_version"`
}

type finding struct {
	ID    string `json:"osv"`
	Fixed string `json:"fixed_version"` // "" if it is not fixed
	Trace []struct {
		Module   string `json:"module"`
		Version  string `json:"version"`
		Package  string `json:"package"`
		Function string `json:"function"`
		Position struct {
			File string `json:"filename"`
			Line int    `json:"line"`
		} `json:"position"`
	} `json:"trace"` // from what is vulnerable to what calls it
}

// read reads a report. It returns an error if the report does not say which
// database was searched: an empty report would then prove nothing.
func read(in io.Reader) (report, error) {
	r := report{known: map[string]string{}, findings: map[string]finding{}}
	for decoder := json.NewDecoder(in); ; {
		var message struct {
			Config  *config
			OSV     *struct{ ID, Summary string }
			Finding *finding
		}
		if err := decoder.Decode(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return report{}, err
		}
		if message.Config != nil {
			r.config = *message.Config
		}
		if o := message.OSV; o != nil {
			r.known[o.ID] = o.Summary
		}
		// A finding without a function is about a module or package that is in
		// use. The code does not call its vulnerable part.
		if f := message.Finding; f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "" {
			if _, again := r.findings[f.ID]; !again {
				r.findings[f.ID] = *f
			}
		}
	}
	switch {
	case r.config.Go == "" || r.config.Database == "":
		return report{}, errors.New("it does not say what was scanned with which database")
	case len(r.known) == 0:
		return report{}, fmt.Errorf("the database %s knows of no vulnerability of any Go: it cannot be whole", r.config.Database)
	}
	return r, nil
}

// pseudoVersion matches the time in the version of a module that has no release.
var pseudoVersion = regexp.MustCompile(`@v\d+\.\d+\.\d+-(\d{4})(\d{2})(\d{2})\d{6}-`)

// date returns the day of the database. If the database is a module, only the
// version of the module has the day.
func (c config) date() string {
	if m := pseudoVersion.FindStringSubmatch(c.Database); m != nil {
		return strings.Join(m[1:], "-")
	}
	if c.Modified.Year() > 1 {
		return c.Modified.UTC().Format(time.DateOnly)
	}
	return "unknown date"
}

// judge prints the report and returns what is wrong. wanted is the Go that go.mod
// asks for. A machine may check with an older Go, if it was told to use it. judge
// then prints what the newer Go has fixed, and does not count it as a fault of
// this code.
func (r report) judge(stdout io.Writer, wanted string, explained map[string]string) error {
	fmt.Fprintf(stdout, "govulncheck %s with %s, database of %s (%s)\n", r.config.Scanner, r.config.Go, r.config.date(), r.config.Database)
	var faults []error
	older, excused := 0, 0
	for _, id := range slices.Sorted(maps.Keys(r.findings)) {
		f := r.findings[id]
		where := f.Trace[0]
		what := fmt.Sprintf("%s %s, in %s of %s %s", id, r.known[id], where.Package, where.Module, where.Version)
		if caller := f.Trace[len(f.Trace)-1]; caller.Position.Line > 0 {
			what += fmt.Sprintf(", reached from %s:%d", caller.Position.File, caller.Position.Line)
		}
		fixed := "go" + strings.TrimPrefix(f.Fixed, "v")
		switch {
		case explained[id] != "":
			excused++
			fmt.Fprintf(stdout, "%s: %s\n", what, explained[id])
		case f.Fixed == "":
			faults = append(faults, fmt.Errorf("%s, is not fixed: do without it, or say in handlers/tools/audit why it harms nobody", what))
		case where.Module != "stdlib":
			faults = append(faults, fmt.Errorf("%s, is fixed in %s: upgrade the module", what, f.Fixed))
		case version.Compare(fixed, wanted) > 0:
			faults = append(faults, fmt.Errorf("%s, is fixed in %s: raise the toolchain in go.mod, which is %s", what, fixed, wanted))
		case version.Compare(r.config.Go, wanted) < 0:
			older++
			fmt.Fprintf(stdout, "%s: fixed in %s, and go.mod asks for %s\n", what, fixed, wanted)
		default:
			faults = append(faults, fmt.Errorf("%s, is said to be fixed in %s, and is found in %s", what, fixed, r.config.Go))
		}
	}
	if older > 0 {
		fmt.Fprintf(stdout, "this machine builds with %s, which is older than what go.mod asks for: do not deploy what was built here\n", r.config.Go)
	}
	for _, id := range slices.Sorted(maps.Keys(explained)) {
		if _, found := r.findings[id]; !found {
			faults = append(faults, fmt.Errorf("%s is explained and not found: remove the explanation from handlers/tools/audit", id))
		}
	}
	fmt.Fprintf(stdout, "vulnerabilities that can be reached: %d, explained: %d, fixed by the Go that go.mod asks for: %d\n", len(r.findings), excused, older)
	return errors.Join(faults...)
}
