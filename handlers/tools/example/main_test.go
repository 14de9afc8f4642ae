package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRead checks what is read from a page, and what is said about one without an example.
func TestRead(t *testing.T) {
	const page = "# x\n\n```sh\nnot this\n```\n" + section + "\n\nWords.\n\n```sh\nmake hubwatch\nhubwatch rules new A\n```\n\n" +
		"Put this into `functions/Abc/alert.json`:\n\n```json\n{\n}\n```\n\n```sh\nmake generate\n```\n\n## Other\n\n```sh\nnor this\n```\n"
	got, err := read([]byte(page))
	if err != nil {
		t.Fatal(err)
	}
	want := example{"functions/Abc/alert.json", []step{{commands: []string{"make hubwatch", "hubwatch rules new A"}}, {content: "{\n}\n"}, {commands: []string{"make generate"}}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(example{}, step{})); diff != "" {
		t.Errorf("the example differs (-want +got):\n%s", diff)
	}
	for wrong, said := range map[string]string{
		strings.Replace(page, section, "## Something", 1):                   "no heading",
		strings.Replace(page, "`functions/", "`", 1):                        "names no file",
		strings.NewReplacer("```sh", "```", "```json", "```").Replace(page): "has no commands",
	} {
		if _, err := read([]byte(wrong)); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("want an error that says %q, have %v", said, err)
		}
	}
}

// TestDo checks that a step that does not work is an error with what it printed.
func TestDo(t *testing.T) {
	root := t.TempDir()
	if err := (step{content: "{}"}).do(t.Context(), root, "a.json"); err != nil {
		t.Fatal(err)
	}
	if err := (step{commands: []string{"test -e a.json && cp a.json b.json"}}).do(t.Context(), root, "a.json"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "b.json")); err != nil || string(text) != "{}" {
		t.Errorf("b.json has %q, %v", text, err)
	}
	err := (step{commands: []string{"echo because; exit 3"}}).do(t.Context(), root, "a.json")
	if err == nil || !strings.Contains(err.Error(), "because") || !strings.Contains(err.Error(), "exit 3") {
		t.Errorf("a command that fails: %v", err)
	}
}
