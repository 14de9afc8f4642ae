package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hubwatch/handlers/custom"
)

// newRules returns the verbs about custom alerts.
func newRules(o *operator) *cobra.Command {
	var files ruleFiles
	command := group(&cobra.Command{
		Use:   "rules",
		Short: "Write custom alerts, and check, test and explain them",
		Long: `rules is about custom alerts: files functions/<Name>/alert.json, each of which
says in a condition what is worth an alert. It reads the files, and no settings.
Run it in the root of the repository, and "make generate" after a change.`,
		Example: `  hubwatch rules new HubKeysTaken
  hubwatch rules check && hubwatch rules test
  hubwatch rules explain HubKeysTaken`,
	}, newRulesList(o, &files), newRulesNew(&files), newRulesCheck(&files), newRulesTest(&files), newRulesExplain(&files))
	command.PersistentFlags().StringVar(&files.folder, "functions", "functions", "the `folder` of the functions")
	return command
}

// ruleFiles are the files of custom alerts.
type ruleFiles struct{ folder string }

// load returns the alerts without mistakes. Its errors tell of all mistakes.
func (f ruleFiles) load() ([]custom.Alert, error) {
	folder := filepath.Clean(f.folder)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("there is no folder %s: run this in the root of the repository, or name the folder with --functions", folder)
	}
	return custom.LoadFrom(os.DirFS(filepath.Dir(folder)), filepath.Base(folder))
}

// pick returns the alerts that a person names, all if none is named.
func pick(alerts []custom.Alert, names []string) (picked []custom.Alert, err error) {
	if len(names) == 0 {
		return alerts, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(alerts, func(a custom.Alert) bool { return strings.EqualFold(a.Name, name) })
		if i < 0 {
			err = errors.Join(err, fmt.Errorf("there is no custom alert %s", name))
			continue
		}
		picked = append(picked, alerts[i])
	}
	return picked, err
}

// writeMistakes writes mistakes, a line each, those of the alerts with the names, or of
// all. It returns how many there are. err without mistakes is returned as it is.
func (f ruleFiles) writeMistakes(w io.Writer, err error, names []string) (int, error) {
	mistakes := custom.Mistakes(err)
	if err != nil && len(mistakes) == 0 {
		return 0, err
	}
	n := 0
	for _, m := range mistakes {
		of := path.Base(path.Dir(m.File))
		if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, of) }) {
			continue
		}
		n++
		if _, err := fmt.Fprintln(w, printable(f.placed(m).Error())); err != nil {
			return n, err
		}
	}
	return n, nil
}

// placed returns m with the path of its file from the working folder on.
func (f ruleFiles) placed(m custom.Mistake) custom.Mistake {
	m.File = filepath.ToSlash(filepath.Join(filepath.Dir(filepath.Clean(f.folder)), m.File))
	return m
}

// complete completes the names of custom alerts.
func (f *ruleFiles) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	alerts, _ := f.load()
	var names []string
	for _, a := range alerts {
		names = append(names, a.Name+"\t"+a.Title)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
