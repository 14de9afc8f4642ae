// Command mutate changes each condition and each constant of the detectors and of
// the classifier of failed connections, one at a time, and runs the cases. If no
// case notices a change, somebody can make the same mistake unnoticed. Run the
// command in the root of the repository. It changes no file there. It fails if
// the cases notice less than 95 % of the changes, or if reasons.go does not say
// why a change stays unnoticed.
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
		err = run(root, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

const (
	detectorFolder   = "handlers/detector"
	connectionFolder = "handlers/connection"
	verdictFolder    = "handlers/verdict"
)

// classifier is the name for connection.Classify, which tells why a connection
// failed, and connection.DecodeRecord, which reads the record for it.
const classifier = "classifier"

// classifierFiles are the files of the classifier. The other files of their
// package read what any event has.
var classifierFiles = []string{connectionFolder + "/cause.go", connectionFolder + "/record.go", connectionFolder + "/statement.go"}

// least is the smallest share of mutants that the cases of a detector, or of the
// classifier, have to kill.
const least = 0.95

// mutant is the source with one expression changed.
type mutant struct {
	declaration   *declaration
	number, first int // number of the mutant, by which the binary knows it, and of the first mutant of its expression
	line          int
	before, after string // the lines in which the expression stands, joined into one
	// detectors are the detectors whose cases are run. A mutant of a detector's
	// code has to be killed by the cases of each of them. A mutant of the
	// classifier has to be killed by the cases of one of them.
	detectors []string
	// survives names the detectors whose cases do not kill the mutant, or the
	// classifier.
	survives []string
}

func (m *mutant) ofClassifier() bool {
	return slices.Contains(classifierFiles, m.declaration.file.path)
}

// run makes all mutants, runs the cases with each and reports to out.
func run(root string, out io.Writer) error {
	p, err := load(root, connectionFolder, verdictFolder, detectorFolder)
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
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for _, m := range mutants {
		group.Go(func() error {
			killers, err := cases.run(m.number, m.detectors)
			if !m.ofClassifier() {
				m.survives = slices.DeleteFunc(slices.Clone(m.detectors), func(d string) bool { return slices.Contains(killers, d) })
			} else if len(killers) == 0 {
				m.survives = []string{classifier}
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return report(out, mutants, reasons)
}

// users returns the detectors that use each of the declarations to mutate.
func users(p *program) map[*declaration][]string {
	users := map[*declaration][]string{}
	for _, d := range detector.All {
		for used := range p.uses("detector."+d.Name, "detector.Detector.Judge") {
			if used.file.pkg.Name() == "detector" || slices.Contains(classifierFiles, used.file.path) {
				users[used] = append(users[used], d.Name)
			}
		}
	}
	return users
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

// report prints the survivors and how many of the mutants are killed. Its error
// says what must be better.
func report(out io.Writer, mutants []*mutant, reasons []reason) error {
	made, survive := map[string]int{}, map[string]int{}
	for _, m := range mutants {
		judges := m.detectors
		if m.ofClassifier() {
			judges = []string{classifier}
		}
		for _, judge := range judges {
			made[judge]++
			made["all"]++
		}
		for _, judge := range m.survives {
			survive[judge]++
			survive["all"]++
		}
		if len(m.survives) > 0 {
			fmt.Fprintf(out, "%s:%d: %s: survives: %s\n  - %s\n  + %s\n  %s\n\n",
				m.declaration.file.path, m.line, m.declaration.name, strings.Join(m.survives, ", "), m.before, m.after, cmp.Or(reasonFor(m, reasons), "No reason is given."))
		}
	}
	fmt.Fprintf(out, "%d mutants. Those of code that detectors share count once for each detector that evaluates it.\n", len(mutants))
	var errs []error
	var names []string
	for _, d := range detector.All {
		names = append(names, d.Name)
	}
	for _, name := range append(names, classifier, "all") {
		killed := made[name] - survive[name]
		share := float64(killed) / float64(made[name])
		fmt.Fprintf(out, "%-26s %5d mutants %5d killed %4d survive %6.1f %%\n", name, made[name], killed, survive[name], 100*share)
		if share < least {
			errs = append(errs, fmt.Errorf("%s: less than %.0f %% are killed", name, 100*least))
		}
	}
	return errors.Join(append(errs, check(mutants, reasons)...)...)
}
