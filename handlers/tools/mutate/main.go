// Command mutate changes each condition and each constant of the detectors, of what
// reads events for several of them, and of the custom alerts, one at a time, and runs
// the cases. If no case notices a change, somebody can make the same mistake unnoticed.
// Run the command in the root of the repository. It changes no file there. It fails if
// the cases notice less than 95 % of the changes (85 % of those of one detector), or if
// reasons.go does not say why a change of the source stays unnoticed. Of the custom alerts
// all together count: one alone that is below is named, with the cases that it lacks.
//
// Arguments are the names of detectors and of custom alerts: then it changes only these, and
// a custom alert is no reason to fail. Without arguments it leaves out drafts of custom
// alerts: those that are off and have texts that begin with REPLACE.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"hubwatch/handlers/detector"
)

func main() {
	root, err := os.Getwd()
	if err == nil {
		err = run(root, os.Args[1:], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

const (
	detectorFolder   = "handlers/detector"
	connectionFolder = "handlers/connection"
	coverageFolder   = "handlers/coverage"
	verdictFolder    = "handlers/verdict"
)

// reader is code below the detectors that reads events for several of them.
type reader struct {
	name  string
	files []string // of its package; the other files read what any event has, or make events
}

// readers are all readers: connection.Classify, which tells why a connection failed, with
// connection.DecodeRecord; verdict.ParseEvent; and coverage.ParseEvent and ParseMissed.
var readers = []reader{
	{"classifier", []string{connectionFolder + "/cause.go", connectionFolder + "/record.go", connectionFolder + "/statement.go"}},
	{"verdicts", []string{verdictFolder + "/event.go"}},
	{"canaries", []string{coverageFolder + "/canary.go"}},
}

// readerOf returns the name of the reader that a file is of; "" for none.
func readerOf(file string) string {
	for _, r := range readers {
		if slices.Contains(r.files, file) {
			return r.name
		}
	}
	return ""
}

// The smallest share of mutants that the cases of a reader, of all custom alerts together, and
// of all detectors together have to kill, and those of one detector. The cases of most detectors
// cannot kill the same few mutants of the code that they share, which is much of a small one.
const least, leastOfOne = 0.95, 0.85

// mutant is the source with one expression changed.
type mutant struct {
	declaration   *declaration
	number, first int // number of the mutant, by which the binary knows it, and of the first mutant of its expression
	line          int
	before, after string // the lines in which the expression stands, joined into one
	// detectors are the detectors whose cases are run. A mutant of a detector's
	// code has to be killed by the cases of each of them. A mutant of a reader has to
	// be killed by the cases of one of them.
	detectors []string
	// survives names the detectors whose cases do not kill the mutant, or the
	// reader.
	survives []string
}

// reader returns the name of the reader that the mutant is of; "" for none.
func (m *mutant) reader() string { return readerOf(m.declaration.file.path) }

// run makes all mutants of the detectors and the custom alerts with these names, of all and
// of the readers if there are none, runs the cases with each and reports to out.
func run(root string, names []string, out io.Writer) error {
	chosen := slices.DeleteFunc(slices.Clone(detector.All), func(d detector.Detector) bool {
		return len(names) > 0 && !slices.Contains(names, d.Name)
	})
	found, tooFew := rules(root, names, out)
	if len(names) > 0 && found+len(chosen) != len(names) {
		return errors.Join(tooFew, fmt.Errorf("%q: want names of detectors or of custom alerts, each once", names))
	}
	if len(chosen) == 0 {
		return tooFew
	}
	return errors.Join(tooFew, source(root, chosen, out))
}

// source makes the mutants of the source of detectors, and of the readers if those are all
// detectors, runs the cases with each and reports to out.
func source(root string, chosen []detector.Detector, out io.Writer) error {
	p, err := load(root, folders...)
	if err != nil {
		return err
	}
	mutants, files := p.mutate(users(p))
	temporary, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	cases, err := compile(root, temporary, files)
	if err != nil {
		return err
	}
	if err := narrow(cases, mutants); err != nil {
		return err
	}
	all := len(chosen) == len(detector.All)
	if !all {
		mutants = only(mutants, chosen)
	}
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for _, m := range mutants {
		group.Go(func() error {
			killers, err := cases.run(m.number, m.detectors)
			if m.reader() == "" {
				m.survives = slices.DeleteFunc(slices.Clone(m.detectors), func(d string) bool { return slices.Contains(killers, d) })
			} else if len(killers) == 0 {
				m.survives = []string{m.reader()}
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if !all {
		return errors.Join(report(out, mutants, reasons), unexplained(mutants, reasons))
	}
	return errors.Join(report(out, mutants, reasons), check(mutants, reasons))
}

// folders are the packages that are loaded, each behind those that it imports.
var folders = []string{connectionFolder, verdictFolder, coverageFolder, detectorFolder}

// users returns the detectors that use each of the declarations to mutate.
func users(p *program) map[*declaration][]string {
	users := map[*declaration][]string{}
	for _, d := range detector.All {
		for used := range p.uses("detector."+d.Name, "detector.Detector.Judge") {
			if used.file.pkg.Name() == "detector" || readerOf(used.file.path) != "" {
				users[used] = append(users[used], d.Name)
			}
		}
	}
	return users
}

// only returns the mutants that the cases of these detectors have to kill. Those of readers
// are not among them, since the cases of any other detector may kill them.
func only(mutants []*mutant, chosen []detector.Detector) (theirs []*mutant) {
	for _, m := range mutants {
		m.detectors = slices.DeleteFunc(slices.Clone(m.detectors), func(name string) bool {
			return !slices.ContainsFunc(chosen, func(d detector.Detector) bool { return d.Name == name })
		})
		if len(m.detectors) > 0 && m.reader() == "" {
			theirs = append(theirs, m)
		}
	}
	return theirs
}

// mutate returns the mutants of the declarations that have users, and the files,
// by path, that hold all of them.
func (p *program) mutate(users map[*declaration][]string) (mutants []*mutant, files map[string]string) {
	sites, first := map[*file][]site{}, map[*file]int{}
	for _, d := range p.declarations {
		if len(users[d]) == 0 {
			continue
		}
		for _, s := range p.sites(d) {
			number := len(mutants) + 1
			if sites[d.file] == nil {
				first[d.file] = number
			}
			sites[d.file] = append(sites[d.file], s)
			for i, other := range s.mutants {
				m := &mutant{declaration: d, number: number + i, first: number, detectors: users[d]}
				m.line, m.before, m.after = d.file.change(s, other)
				mutants = append(mutants, m)
			}
		}
	}
	files = map[string]string{}
	for f := range sites {
		files[f.path] = rewrite(f.text, sites[f], first[f])
	}
	return mutants, files
}

// narrow removes from each mutant the detectors whose cases never evaluate the
// expression. Whether they should evaluate it is tested by the mutants of the
// condition that leads there. If no case evaluates the expression, the mutant
// keeps all detectors, and survives. Every case evaluates the variables of a
// package.
func narrow(cases binary, mutants []*mutant) error {
	evaluated := map[string]map[int]bool{}
	for _, d := range detector.All {
		var err error
		if evaluated[d.Name], err = cases.trace(d.Name); err != nil {
			return err
		}
	}
	for _, m := range mutants {
		own := slices.DeleteFunc(slices.Clone(m.detectors), func(d string) bool { return !evaluated[d][m.first] })
		if len(own) > 0 {
			m.detectors = own
		}
	}
	return nil
}

// report prints the survivors and how many of the mutants are killed. Its error names
// those whose cases kill too few.
func report(out io.Writer, mutants []*mutant, reasons []reason) error {
	made, survive, same := map[string]int{}, map[string]int{}, 0
	for _, m := range mutants {
		judges := m.detectors
		if m.reader() != "" {
			judges = []string{m.reader()}
		}
		known := reasonFor(m, reasons)
		counted := func(judge string) bool { return !known.same || !slices.Contains(m.survives, judge) }
		for _, judge := range judges {
			if counted(judge) {
				made[judge]++
				made["all"]++
			}
		}
		for _, judge := range m.survives {
			if counted(judge) {
				survive[judge]++
				survive["all"]++
			}
		}
		if known.same {
			same++
			continue
		}
		if len(m.survives) > 0 {
			fmt.Fprintf(out, "%s:%d: %s: survives: %s\n  - %s\n  + %s\n  %s\n\n",
				m.declaration.file.path, m.line, m.declaration.name, strings.Join(m.survives, ", "), m.before, m.after, cmp.Or(known.because, "No reason is given."))
		}
	}
	fmt.Fprintf(out, "%d mutants. Those of code that detectors share count once for each detector that evaluates it.\n", len(mutants))
	if same > 0 {
		fmt.Fprintf(out, "%d of them change nothing that the program does (reasons.go says why), and are not counted where they survive.\n", same)
	}
	var errs []error
	var names []string
	for _, d := range detector.All {
		names = append(names, d.Name)
	}
	for _, r := range readers {
		names = append(names, r.name)
	}
	for _, name := range append(names, "all") {
		if made[name] == 0 {
			continue // not chosen
		}
		share := least
		if slices.ContainsFunc(detector.All, func(d detector.Detector) bool { return d.Name == name }) {
			share = leastOfOne
		}
		if err := score(out, name, made[name], survive[name], share); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
