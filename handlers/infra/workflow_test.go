package infra

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// The tests of this file check what the workflows may do, and that the Makefile
// has what they run. Workflows run on GitHub with a token, so they are code like
// any other. actionlint checks their syntax (make lint).

// workflow has the parts of a file of .github/workflows that these tests check
// (https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax).
type workflow struct {
	text        string
	tree        any             // all of it
	comments    yaml.CommentMap // by path, such as $.jobs.check.steps[0].uses
	Permissions any             `yaml:"permissions"`
	Jobs        map[string]job  `yaml:"jobs"`
}

type job struct {
	RunsOn      string            `yaml:"runs-on"`
	Permissions any               `yaml:"permissions"`
	Env         map[string]string `yaml:"env"`
	Steps       []struct {
		Uses string         `yaml:"uses"`
		With map[string]any `yaml:"with"`
		Run  string         `yaml:"run"`
	} `yaml:"steps"`
}

// parseWorkflow reads the text of a workflow.
func parseWorkflow(text string) (workflow, error) {
	w := workflow{text: text, comments: yaml.CommentMap{}}
	if err := yaml.UnmarshalWithOptions([]byte(text), &w, yaml.CommentToMap(w.comments)); err != nil {
		return w, err
	}
	return w, yaml.Unmarshal([]byte(text), &w.tree)
}

// readWorkflows returns all workflows by the names of their files.
func readWorkflows(t *testing.T) map[string]workflow {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, ".github/workflows"))
	if err != nil {
		t.Fatal(err)
	}
	workflows := map[string]workflow{}
	for _, entry := range entries {
		w, err := parseWorkflow(readFile(t, ".github/workflows/"+entry.Name()))
		if err != nil {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
		workflows[entry.Name()] = w
	}
	return workflows
}

// scripts returns the shell scripts of the workflow, job by job.
func (w workflow) scripts() (scripts []string) {
	for _, name := range slices.Sorted(maps.Keys(w.Jobs)) {
		for _, step := range w.Jobs[name].Steps {
			if step.Run != "" {
				scripts = append(scripts, step.Run)
			}
		}
	}
	return scripts
}

// words calls visit with all keys of a tree, and with all values that are not
// trees themselves, as text.
func words(tree any, visit func(string)) {
	switch node := tree.(type) {
	case map[string]any:
		for key, value := range node {
			visit(key)
			words(value, visit)
		}
	case []any:
		for _, value := range node {
			words(value, visit)
		}
	case nil:
	default:
		visit(fmt.Sprint(node))
	}
}

var (
	pinned     = regexp.MustCompile(`^([\w-]+/[\w/-]+)@[0-9a-f]{40}$`)
	release    = regexp.MustCompile(`^ v\d+\.\d+\.\d+$`)
	image      = regexp.MustCompile(`^[a-z]+-\d+\.\d+$`)
	credential = regexp.MustCompile(`\b(secrets|github\.token|GITHUB_TOKEN|pull_request_target|workflow_run)\b`)
)

// followWorkflow follows the commands of a workflow and checks its permissions.
// actions has the actions that other workflows use; followWorkflow adds the
// actions of this workflow. All workflows pin an action to the same commit.
func (s *script) followWorkflow(w workflow, actions map[string]string) {
	if permissions, _ := w.Permissions.(map[string]any); len(permissions) != 1 || permissions["contents"] != "read" {
		s.add("it may do %v: want it to begin with reading only", w.Permissions)
	}
	words(w.tree, func(word string) {
		if m := credential.FindString(word); m != "" {
			s.add("it has to do with %s: there is no secret, and no run for others with the rights of this repository", m)
		}
	})
	for name, job := range w.Jobs {
		if !image.MatchString(job.RunsOn) {
			s.add("%s runs on %s, which is not one version", name, job.RunsOn)
		}
		permissions, ok := job.Permissions.(map[string]any)
		if job.Permissions != nil && !ok {
			s.add("%s may do %v", name, job.Permissions)
		}
		for what, level := range permissions {
			if level != "read" && level != "none" && (what != "id-token" || level != "write") {
				s.add("%s may do more than read and ask for a token of its own: %s: %v", name, what, level)
			}
		}
		for variable := range job.Env {
			s.defined[variable] = true
		}
		for i, step := range job.Steps {
			if step.Uses == "" {
				continue
			}
			action := pinned.FindStringSubmatch(step.Uses)
			version := ""
			for _, c := range w.comments[fmt.Sprintf("$.jobs.%s.steps[%d].uses", name, i)] {
				if c.Position == yaml.CommentLinePosition {
					version = strings.Join(c.Texts, "")
				}
			}
			if action == nil || !release.MatchString(version) {
				s.add("%s is not pinned to a commit with its version behind it", step.Uses)
				continue
			}
			if before := actions[action[1]]; before != "" && before != step.Uses+version {
				s.add("%s is %s elsewhere", step.Uses, before)
			}
			actions[action[1]] = step.Uses + version
			if action[1] == "actions/checkout" && step.With["persist-credentials"] != false {
				s.add("a checkout leaves its token in the repository")
			}
		}
	}
	for _, commands := range w.scripts() {
		if strings.Contains(commands, "${{") {
			s.add("an expression is a part of a script, which it can change: %s", commands)
			continue
		}
		s.run(commands)
	}
	if s.count == 0 {
		s.add("no commands were found")
	}
}

func TestWorkflows(t *testing.T) {
	actions := map[string]string{}
	for name, w := range readWorkflows(t) {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.followWorkflow(w, actions)
			for _, fault := range s.faults {
				t.Error(fault)
			}
		})
	}
}

// TestWorkflowsFollowed plants mistakes into the workflows, and expects a
// complaint about each.
func TestWorkflowsFollowed(t *testing.T) {
	workflows := readWorkflows(t)
	for _, test := range []struct{ name, file, old, new, want string }{
		{"branch of an action", "ci.yml", "actions/setup-go@7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5 # v6.2.0", "actions/setup-go@v6", "not pinned"},
		{"short commit", "ci.yml", "@7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5", "@7a3fe6cf", "not pinned"},
		{"no version", "ci.yml", " # v6.2.0", "", "not pinned"},
		{"version in the line before", "ci.yml", "      - uses: actions/setup-node@6044e13b5dc448c55e2357c09f80417699197238 # v6.2.0", "      # v6.2.0\n      - uses: actions/setup-node@6044e13b5dc448c55e2357c09f80417699197238", "not pinned"},
		{"image", "ci.yml", "uses: actions/setup-go@7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5", "uses: docker://golang:1.26", "not pinned"},
		{"another commit of the same action", "deploy.yml", "7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5", "de0fac2e4500dabe0009e67214ff5f5447ce83dd", "elsewhere"},
		{"token left behind", "ci.yml", "persist-credentials: false", "persist-credentials: true", "leaves its token"},
		{"no permissions", "ci.yml", "permissions:\n  contents: read\n", "", "reading only"},
		{"all permissions", "ci.yml", "permissions:\n  contents: read\n", "permissions: write-all\n", "reading only"},
		{"permission to write", "ci.yml", "  contents: read\n", "  contents: write\n", "reading only"},
		{"one more permission", "deploy.yml", "      id-token: write", "      packages: write\n      id-token: write", "packages: write"},
		{"all permissions of a job", "deploy.yml", "    permissions:\n      contents: read\n      id-token: write", "    permissions: write-all", "deploy may do write-all"},
		{"secret", "deploy.yml", "${{ vars.AZURE_CLIENT_ID }}", "${{ secrets.AZURE_CLIENT_ID }}", "secrets"},
		{"all secrets", "deploy.yml", "    environment: $", "    secrets: inherit\n    environment: $", "secrets"},
		{"rights for everybody", "ci.yml", "  pull_request:", "  pull_request_target:", "pull_request_target"},
		{"expression in a script", "deploy.yml", `make publish APP="$APP"`, `make publish APP="${{ inputs.app }}"`, "part of a script"},
		{"target that is not there", "ci.yml", "make check", "make checks", "no target checks"},
		{"variable that is not there", "audit.yml", "VULNDB=live", "DB=live", "does not know DB"},
		{"variable of the shell that is not there", "deploy.yml", "      PARAMETERS: infra/${{ inputs.environment }}.bicepparam\n", "", "$PARAMETERS is used and not defined"},
		{"nothing denied", "deploy.yml", "denyWriteAndDelete", "none", `denies others ["none"]`},
		{"version of the machine", "ci.yml", "ubuntu-24.04", "ubuntu-latest", "not one version"},
		{"lines kept apart", "deploy.yml", "run: >-", "run: |", "denies others []"},
		{"quote that does not end", "deploy.yml", `make publish APP="$APP"`, `make publish APP="$APP`, "without closing quote"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := workflows[test.file].text
			changed, err := parseWorkflow(strings.ReplaceAll(text, test.old, test.new))
			if err != nil || changed.text == text {
				t.Fatalf("%s with %q for %q: %v", test.file, test.new, test.old, err)
			}
			s, actions := newScript(t), map[string]string{}
			s.followWorkflow(workflows["ci.yml"], actions)
			s.followWorkflow(changed, actions)
			if !slices.ContainsFunc(s.faults, func(f string) bool { return strings.Contains(f, test.want) }) {
				t.Errorf("want a complaint with %q, have %q", test.want, []string(s.faults))
			}
		})
	}
}
