package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hubwatch/handlers/custom"
	"hubwatch/handlers/host"
	"hubwatch/handlers/local/azurite"
)

// built is a program as it would be deployed: alone, and not a part of this one.
type built struct {
	name   string
	about  string
	alerts int      // custom alerts that are packed into it; -1 for those of the repository
	tags   []string // of the build
	source string   // of a program that is not hubwatch
}

//go:embed plain.go.txt
var plain string

var programs = []built{
	{"plain", "net/http alone: reads the request and answers a constant", 0, nil, plain},
	{"hubwatch without custom alerts", "as `make app` builds it if none is enabled, without CEL", 0, []string{"-tags", "nocel"}, ""},
	{"hubwatch as shipped", "with the custom alerts that are enabled in the repository", -1, nil, ""},
	{"hubwatch with 100 more", "with 100 custom alerts of one condition each", 100, nil, ""},
}

// build builds the program, as the Makefile does, and returns its path. root is the root of
// the module.
func (b built) build(root, folder string) (string, error) {
	path := filepath.Join(folder, "program")
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path}, b.tags...)
	what := "./handlers"
	if b.source != "" {
		what = filepath.Join(folder, "main.go")
		if err := os.WriteFile(what, []byte(b.source), 0o600); err != nil {
			return "", err
		}
	} else if b.alerts >= 0 {
		overlay, err := b.overlay(root, folder)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	c := exec.Command("go", append(args, what)...) // #nosec G204 -- the programs above
	c.Dir, c.Stderr = root, os.Stderr
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v1")
	return path, c.Run()
}

// overlay returns a file that has the Go compiler see other custom alerts than those of the
// repository (https://pkg.go.dev/cmd/go, "-overlay").
func (b built) overlay(root, folder string) (string, error) {
	alerts, err := rules(b.alerts)
	if err != nil {
		return "", err
	}
	full, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	packed, file := filepath.Join(folder, "alerts.json"), filepath.Join(folder, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(full, "handlers/custom/alerts.json"): packed}})
	if err != nil {
		return "", err
	}
	return file, errors.Join(os.WriteFile(packed, custom.Pack(alerts), 0o600), os.WriteFile(file, text, 0o600))
}

// alone is what was measured of a program.
type alone struct {
	mb           float64   // size of its file
	start, first []float64 // ms to the first answer, and to the first of a custom alert after that
	idle, after  memory    // after the first answer, and after all loads
}

// memory is MiB that are resident, and how many of these are no pages of the program's file.
type memory struct{ all, own []float64 }

func (m *memory) add(pid int) {
	all, own := resident(pid)
	m.all, m.own = append(m.all, float64(all)/1024), append(m.own, float64(own)/1024)
}

func (m memory) String() string { return fmt.Sprintf("%.1f (%.1f)", median(m.all), median(m.own)) }

// measure starts the program, and asks it with each load. Each answer is looked at.
func (a *alone) measure(b built, path, connection string, corpora map[string][]request, each time.Duration) error {
	port := freePort()
	args := []string{path}
	if _, err := exec.LookPath("taskset"); err == nil {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	c := exec.Command(args[0], args[1:]...) // #nosec G204 -- the programs above
	c.Env = append(os.Environ(), "GOMAXPROCS=1", host.PortVariable+"="+port, "AlertsStorage="+connection)
	c.Stdout, c.Stderr = &counter{}, os.Stderr
	begin := time.Now()
	if err := c.Start(); err != nil {
		return err
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	var constant []byte
	if b.source != "" {
		constant = nothing
	}
	if err := firstAnswer(port, &corpora["silent"][0], constant, begin); err != nil {
		return err
	}
	a.start = append(a.start, float64(time.Since(begin).Microseconds())/1000)
	a.idle.add(c.Process.Pid)
	if b.alerts > 0 {
		begin := time.Now()
		r := request{function: "Rule0000", body: invocation(keysListed, "{}", "2026-02-01T08:00:26Z", 0)}
		if err := firstAnswer(port, &r, constant, begin); err != nil {
			return err
		}
		a.first = append(a.first, float64(time.Since(begin).Microseconds())/1000)
	}
	for _, l := range loads {
		f, err := flood(port, corpora[l.kind], l.senders, constant)
		if err != nil {
			return err
		}
		time.Sleep(each)
		if _, err := f.stop(); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	a.after.add(c.Process.Pid)
	return nil
}

// builtTable builds the programs and measures them in turns. Without Azurite there is no table.
func builtTable(root string, programs []built, rounds int, each time.Duration, corpora map[string][]request) (string, error) {
	main, err := azurite.Find(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: without Azurite:", err)
		return "", nil
	}
	service, err := azurite.Start(context.Background(), azurite.Options{Main: main})
	if err != nil {
		return "", err
	}
	table, err := measureBuilt(root, service.ConnectionString(), programs, rounds, each, corpora)
	return table, errors.Join(err, service.Stop())
}

func measureBuilt(root, connection string, programs []built, rounds int, each time.Duration, corpora map[string][]request) (string, error) {
	folder, err := os.MkdirTemp("", "built")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	paths, results := make([]string, len(programs)), make([]alone, len(programs))
	for i, p := range programs {
		fmt.Fprintf(os.Stderr, "building %s\n", p.name)
		own := filepath.Join(folder, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			return "", err
		}
		if paths[i], err = p.build(root, own); err != nil {
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
		file, err := os.Stat(paths[i])
		if err != nil {
			return "", err
		}
		results[i].mb = float64(file.Size()) / 1e6
	}
	for range rounds {
		for i, p := range programs {
			if err := results[i].measure(p, paths[i], connection, corpora, each); err != nil {
				return "", fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Programs as they are deployed, each alone, with Azurite. Medians of %d rounds. In parentheses is the\nmemory that is no page of the program's file.\n\n", rounds)
	b.WriteString(head(builtColumns...))
	for i, p := range programs {
		r := results[i]
		first := ""
		if len(r.first) > 0 {
			first = fmt.Sprintf("%.1f", median(r.first))
		}
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %s | %v | %v |\n", p.name, r.mb, median(r.start), first, r.idle, r.after)
	}
	b.WriteString("\n")
	for _, p := range programs {
		fmt.Fprintf(&b, "- %s: %s\n", p.name, p.about)
	}
	return b.String(), nil
}
