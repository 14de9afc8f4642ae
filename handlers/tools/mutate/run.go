package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// selector is added to the source of each mutated package. One program holds all
// mutants, and its environment selects one of them. So there is one compilation,
// and not one for each mutant. If no mutant is selected, the program says which
// expressions are evaluated.
const selector = `package %s

import (
	"os"
	"strconv"
)

var mutant, _ = strconv.Atoi(os.Getenv("HUBWATCH_MUTANT"))

func mutated[T any](first int, original func() T, mutants ...func() T) T {
	if mutant == 0 {
		println("reached", first)
	}
	if i := mutant - first; i >= 0 && i < len(mutants) {
		return mutants[i]()
	}
	return original()
}
`

// rewrite returns text with a choice at each site. The first mutant has the
// number first.
func rewrite(text string, sites []site, first int) string {
	type insertion struct {
		at   int
		text string
	}
	var before, after []insertion
	for _, s := range sites {
		function := "func() " + s.typ + " { return "
		before = append(before, insertion{s.start, fmt.Sprintf("mutated(%d, %s", first, function)})
		choice := " }"
		for _, other := range s.mutants {
			choice += ", " + function + other + " }"
		}
		after = append(after, insertion{s.end, choice + ")"})
		first += len(s.mutants)
	}
	slices.Reverse(after) // Of those that end together the inner one ends first.
	all := append(after, before...)
	slices.SortStableFunc(all, func(a, b insertion) int { return a.at - b.at })
	var b strings.Builder
	done := 0
	for _, i := range all {
		b.WriteString(text[done:i.at] + i.text)
		done = i.at
	}
	return b.String() + text[done:]
}

// binary is the compiled tests of the detectors.
type binary struct{ path, folder string }

// compile compiles the tests of the detectors. files are read instead of the
// source files with the same paths below root. Nothing below root changes.
func compile(root, temporary string, files map[string]string) (binary, error) {
	mutated := map[string]bool{}
	for file := range files {
		mutated[path.Dir(file)] = true
	}
	for folder := range mutated {
		files[folder+"/mutated.go"] = fmt.Sprintf(selector, filepath.Base(folder))
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range files {
		full := filepath.Join(temporary, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			return binary{}, err
		}
		overlay.Replace[filepath.Join(root, name)] = full
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return binary{}, err
	}
	listFile := filepath.Join(temporary, "overlay.json")
	if err := os.WriteFile(listFile, list, 0o600); err != nil {
		return binary{}, err
	}
	b := binary{filepath.Join(temporary, "detector.test"), filepath.Join(root, detectorFolder)}
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", listFile, "-o", b.path, "./"+detectorFolder)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return binary{}, fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return b, nil
}

// command runs the cases of detectors with a mutant; number 0 is none.
func (b binary) command(number int, detectors []string) *exec.Cmd {
	c := exec.Command(b.path, "-test.timeout", "20s", "-test.run", "^TestCases$/^("+strings.Join(detectors, "|")+")$")
	c.Dir = b.folder
	c.Env = append(os.Environ(), "HUBWATCH_MUTANT="+strconv.Itoa(number))
	return c
}

// trace returns the numbers of the expressions that the cases of a detector
// evaluate. It is an error if a case does not pass.
func (b binary) trace(detector string) (map[int]bool, error) {
	c := b.command(0, []string{detector})
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if failed, fatal := failures(out, err); len(failed) > 0 || fatal {
		return nil, fmt.Errorf("the cases of %s do not pass without a mutant:\n%s", detector, out)
	}
	places := map[int]bool{}
	for line := range strings.Lines(stderr.String()) {
		var first int
		if _, err := fmt.Sscanf(line, "reached %d", &first); err == nil {
			places[first] = true
		}
	}
	return places, nil
}

// run runs the cases of the detectors with a mutant and returns those whose own
// cases noticed it. A panic that is not an outcome, or an endless loop, is
// noticed by the detector whose case meets it.
func (b binary) run(number int, detectors []string) ([]string, error) {
	out, err := b.command(number, detectors).Output()
	failed, fatal := failures(out, err)
	switch {
	case !fatal:
		return failed, nil
	case len(detectors) == 1:
		return detectors, nil
	}
	for _, d := range detectors {
		one, err := b.run(number, []string{d})
		if err != nil {
			return nil, err
		}
		failed = append(failed, one...)
	}
	return failed, nil
}

var failedCase = regexp.MustCompile(`(?m)^ +--- FAIL: TestCases/(\w+)/`)

// failures returns the detectors that have a failed case in the output of the
// tests, and whether the tests ended before their end.
func failures(out []byte, err error) (failed []string, fatal bool) {
	for _, m := range failedCase.FindAllSubmatch(out, -1) {
		failed = append(failed, string(m[1]))
	}
	slices.Sort(failed)
	var exit *exec.ExitError
	return slices.Compact(failed), err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1)
}
