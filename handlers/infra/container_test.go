package infra

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDevelopmentContainer checks that the development container has the Go
// version of go.mod, the Node version of the workflow ci, and everything that the
// README says is needed.
func TestDevelopmentContainer(t *testing.T) {
	golang := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "go.mod"))
	if golang == nil {
		t.Fatal("go.mod does not say which Go it needs")
	}
	node := ""
	for _, step := range readWorkflows(t)["ci.yml"].Jobs["check"].Steps {
		if version, ok := step.With["node-version"]; ok {
			node = fmt.Sprint(version)
		}
	}
	var container struct {
		Image    string
		Features map[string]map[string]any
	}
	if err := readJSON(root+"/.devcontainer/devcontainer.json", &container); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{
		"ghcr.io/devcontainers/features/go:1":                                 {"version": golang[1]},
		"ghcr.io/devcontainers/features/node:1":                               {"version": node},
		"ghcr.io/devcontainers/features/azure-cli:1":                          {},
		"ghcr.io/jlaundry/devcontainer-features/azure-functions-core-tools:1": {},
	}
	if diff := cmp.Diff(want, container.Features); diff != "" {
		t.Errorf("the features differ (-want +devcontainer.json):\n%s", diff)
	}
	// Core Tools are not packaged for Debian 13 (Azure/azure-functions-core-tools#4641).
	if want := "mcr.microsoft.com/devcontainers/base:bookworm"; container.Image != want {
		t.Errorf("the image is %s, want %s", container.Image, want)
	}
	for _, page := range []string{"README.md", ".github/CONTRIBUTING.md"} {
		for what, needed := range map[string]string{"Go": golang[1], "Node": node} {
			for _, m := range regexp.MustCompile(what+` (\d[\d.]*\d)`).FindAllStringSubmatch(readFile(t, page), -1) {
				if m[1] != needed {
					t.Errorf("%s says %s, want %s %s", page, m[0], what, needed)
				}
			}
		}
	}
}
