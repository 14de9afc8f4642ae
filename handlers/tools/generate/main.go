// Command generate writes every file that is derived from Go values: a
// function.json for each function, the filters of the event subscriptions, the
// catalogue of alerts, the bill of a deployment and how far it is from the limits of Azure. It also packs the custom alerts of
// functions/*/alert.json, after it has run their cases. Run it in the root of the
// repository. With -check it writes nothing and names the files that are not up
// to date.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hubwatch/handlers/app"
	"hubwatch/handlers/custom"
	"hubwatch/handlers/judge"
	"hubwatch/handlers/tools/cost"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail if a file is not up to date")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run writes the files below root, or compares them.
func run(root string, check bool) error {
	alerts, err := custom.Load(os.DirFS(root))
	for _, a := range alerts {
		err = errors.Join(err, a.Test())
	}
	if err != nil {
		return fmt.Errorf("custom alerts:\n%w", err)
	}
	files, err := derive(root, alerts)
	if err != nil {
		return err
	}
	stale, err := strays(root, files)
	if err != nil {
		return err
	}
	if !check {
		if stale, err = removeDisabled(root, alerts, stale); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(root, path)
		have, err := os.ReadFile(full)
		if err == nil && bytes.Equal(have, files[path]) {
			continue
		}
		if check {
			stale = append(stale, path)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, files[path], 0o644); err != nil {
			return err
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("not up to date: %q: run make generate, and remove the folders of functions that are gone", stale)
	}
	return nil
}

// derive returns the generated files by their paths below root.
func derive(root string, alerts []custom.Alert) (files map[string][]byte, err error) {
	files = map[string][]byte{"handlers/custom/alerts.json": custom.Pack(alerts)}
	detectors := app.With(alerts)
	for _, f := range app.Functions(detectors, judge.Judge{}) {
		if files[functionFile(f.Name)], err = f.JSON(); err != nil {
			return nil, err
		}
	}
	// The console is an app of its own, so its function does not stand with the others.
	console := app.Console(nil)
	if files["handlers/consoleapp/"+functionFile(console.Name)], err = console.JSON(); err != nil {
		return nil, err
	}
	subscriptions, err := app.Subscriptions(detectors)
	if err != nil {
		return nil, err
	}
	files["infra/subscriptions.json"] = indent(subscriptions)
	catalogue, err := catalogue(root, detectors, alerts)
	if err != nil {
		return nil, err
	}
	files["docs/alerts.md"] = catalogue
	if files["docs/cost.md"], err = cost.Page(); err != nil {
		return nil, err
	}
	if files["docs/limits.md"], err = cost.Limits(); err != nil {
		return nil, err
	}
	return files, nil
}

func functionFile(name string) string { return "functions/" + name + "/function.json" }

// strays returns the function.json files of functions that do not exist. The host
// would offer these functions, and the handler would not know them.
func strays(root string, files map[string][]byte) ([]string, error) {
	var found []string
	for _, folder := range []string{"functions", "handlers/consoleapp/functions"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*", "function.json"))
		if err != nil {
			return nil, err
		}
		found = append(found, files...)
	}
	var stray []string
	for _, full := range found {
		path, err := filepath.Rel(root, full)
		if err != nil {
			return nil, err
		}
		if _, ok := files[filepath.ToSlash(path)]; !ok {
			stray = append(stray, path)
		}
	}
	return stray, nil
}

// removeDisabled removes the function.json of custom alerts that are not enabled: their
// alert.json says what was meant. It returns the strays that are left.
func removeDisabled(root string, alerts []custom.Alert, strays []string) (left []string, err error) {
	disabled := map[string]bool{}
	for _, a := range alerts {
		disabled[functionFile(a.Name)] = !a.Enabled
	}
	for _, path := range strays {
		if !disabled[filepath.ToSlash(path)] {
			left = append(left, path)
		} else if err := os.Remove(filepath.Join(root, path)); err != nil {
			return nil, err
		}
	}
	return left, nil
}

func indent(v any) []byte {
	b, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil { // the values are this package's own
		panic(err)
	}
	return append(b, '\n')
}
