package infra

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tests of this file hold the workflows to what they may do and to what the
// Makefile has: code that runs on GitHub with a token is a part of this code.

// readWorkflows returns the texts of all workflows by the names of their files.
func readWorkflows(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, ".github/workflows"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(root, ".github/workflows", entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts[entry.Name()] = string(data)
	}
	return texts
}

var (
	uses        = regexp.MustCompile(`^(?:- )?uses: *(.*)$`)
	pinned      = regexp.MustCompile(`^([\w-]+/[\w/-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	environment = regexp.MustCompile(`(?m)^      ([A-Z_]+): \$\{\{`)
	credential  = regexp.MustCompile(`\b(secrets|github\.token|GITHUB_TOKEN|pull_request_target|workflow_run)\b`)
)

// followWorkflow follows the commands of a workflow and looks at what it may do.
// actions has the actions that were seen before, and gets those of this one: one
// action is pinned in one way.
func (s *script) followWorkflow(text string, actions map[string]string) {
	if !strings.Contains(text, "\npermissions:\n  contents: read\n\n") {
		s.add("it does not begin with reading only")
	}
	for _, m := range environment.FindAllStringSubmatch(text, -1) {
		s.defined[m[1]] = true
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		// A comment is no code, but for the one that says the version of an action.
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		if m := credential.FindString(line); m != "" {
			s.add("it has to do with %s: there is no secret, and no run for others with the rights of this repository", m)
		}
		code, _, _ := strings.Cut(line, " #")
		if strings.HasSuffix(code, "write") && code != "id-token: write" || strings.Contains(code, "write-all") {
			s.add("it may do more than read and ask for a token of its own: %s", code)
		}
		if image, ok := strings.CutPrefix(code, "runs-on:"); ok && !regexp.MustCompile(`^ [a-z]+-\d+\.\d+$`).MatchString(image) {
			s.add("it runs on%s, which is not one version", image)
		}
		if m := uses.FindStringSubmatch(line); m != nil {
			action := pinned.FindStringSubmatch(m[1])
			if action == nil {
				s.add("%s is not pinned to a commit with its version behind it", m[1])
				continue
			}
			if before := actions[action[1]]; before != "" && before != m[1] {
				s.add("%s is %s elsewhere", m[1], before)
			}
			actions[action[1]] = m[1]
			if action[1] == "actions/checkout" && !strings.HasPrefix(strings.Join(lines[i+1:], "\n"), "        with:\n          persist-credentials: false\n") {
				s.add("a checkout leaves its token in the repository")
			}
		}
	}
	for _, commands := range s.scripts(lines) {
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

// scripts returns the scripts of a workflow.
func (s *script) scripts(lines []string) []string {
	var scripts []string
	for i := 0; i < len(lines); i++ {
		trimmed := strings.TrimPrefix(strings.TrimSpace(lines[i]), "- ")
		script, ok := strings.CutPrefix(trimmed, "run:")
		if !ok {
			continue
		}
		script = strings.TrimSpace(script)
		if separator, block := map[string]string{"|": "\n", ">-": " "}[script]; block {
			script = ""
			for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "          ") {
				i++
				script += strings.TrimSpace(lines[i]) + separator
			}
		} else if script == "" || strings.ContainsAny(script[:1], `|>"'&*!`) {
			s.add("a script is written in a way that is not followed here: run: %s", script)
			continue
		}
		scripts = append(scripts, script)
	}
	return scripts
}

func TestWorkflows(t *testing.T) {
	actions := map[string]string{}
	for name, text := range readWorkflows(t) {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			s.followWorkflow(text, actions)
			for _, fault := range s.faults {
				t.Error(fault)
			}
		})
	}
}

// TestWorkflowsRunWhatCIRuns holds that a change is checked by the same commands
// wherever it is.
func TestWorkflowsRunWhatCIRuns(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	if err != nil {
		t.Fatal(err)
	}
	makes := regexp.MustCompile(`(?m)^make .*$`).FindAllString(string(data), -1)
	if len(makes) == 0 {
		t.Fatal(".ci/run makes nothing")
	}
	var s script
	have := s.scripts(strings.Split(readWorkflows(t)["ci.yml"], "\n"))
	for _, want := range makes {
		if !slices.Contains(have, want) {
			t.Errorf(".ci/run runs %q, ci.yml only %q", want, have)
		}
	}
}

// TestWorkflowsFollowed plants mistakes into the workflows.
func TestWorkflowsFollowed(t *testing.T) {
	texts := readWorkflows(t)
	for _, test := range []struct{ name, file, old, new, want string }{
		{"branch of an action", "ci.yml", "actions/setup-go@7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5 # v6.2.0", "actions/setup-go@v6", "not pinned"},
		{"short commit", "ci.yml", "@7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5", "@7a3fe6cf", "not pinned"},
		{"no version", "ci.yml", " # v6.2.0", "", "not pinned"},
		{"image", "ci.yml", "uses: actions/setup-go@7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5", "uses: docker://golang:1.26", "not pinned"},
		{"another commit of the same action", "deploy.yml", "7a3fe6cf4cb3a834922a1244abfce67bcef6a0c5", "de0fac2e4500dabe0009e67214ff5f5447ce83dd", "elsewhere"},
		{"token left behind", "ci.yml", "persist-credentials: false", "persist-credentials: true", "leaves its token"},
		{"no permissions", "ci.yml", "permissions:\n  contents: read\n", "", "reading only"},
		{"all permissions", "ci.yml", "permissions:\n  contents: read\n", "permissions: write-all\n", "more than read"},
		{"permission to write", "ci.yml", "  contents: read\n", "  contents: write\n", "more than read"},
		{"one more permission", "deploy.yml", "      id-token: write", "      packages: write\n      id-token: write", "packages: write"},
		{"secret", "deploy.yml", "${{ vars.AZURE_CLIENT_ID }}", "${{ secrets.AZURE_CLIENT_ID }}", "secrets"},
		{"all secrets", "deploy.yml", "    environment:", "    secrets: inherit\n    environment:", "secrets"},
		{"rights for everybody", "ci.yml", "  pull_request:", "  pull_request_target:", "pull_request_target"},
		{"expression in a script", "deploy.yml", `make publish APP="$APP"`, `make publish APP="${{ inputs.app }}"`, "part of a script"},
		{"target that is not there", "ci.yml", "make check", "make checks", "no target checks"},
		{"variable that is not there", "audit.yml", "VULNDB=live", "DB=live", "does not know DB"},
		{"version of the machine", "ci.yml", "ubuntu-24.04", "ubuntu-latest", "not one version"},
		{"folded script", "deploy.yml", "run: >-", "run: >", "not followed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.ReplaceAll(texts[test.file], test.old, test.new)
			if changed == texts[test.file] {
				t.Fatalf("%s has no %q to change", test.file, test.old)
			}
			s, actions := newScript(t), map[string]string{}
			s.followWorkflow(texts["ci.yml"], actions)
			s.followWorkflow(changed, actions)
			if !slices.ContainsFunc(s.faults, func(f string) bool { return strings.Contains(f, test.want) }) {
				t.Errorf("want a complaint with %q, have %q", test.want, []string(s.faults))
			}
		})
	}
}
