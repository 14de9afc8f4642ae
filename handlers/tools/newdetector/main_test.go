package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

const repository = "../../.."

// copied returns a copy of the sources, which a test may change.
func copied(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "host.json", "Makefile", "README.md"} {
		content, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"docs", "functions", "handlers", "infra"} {
		if err := os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join(repository, name))); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// list returns the files below a folder.
func list(t *testing.T, root string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// command runs a command in a folder and returns what it printed, and whether it
// ended with 0.
func command(t *testing.T, folder string, words ...string) (string, bool) {
	t.Helper()
	c := exec.CommandContext(t.Context(), words[0], words[1:]...)
	c.Dir = folder
	// The copies share what is compiled already, with each other and with the sources.
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false -vet=off")
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err == nil
}

// TestNewDetector begins a detector in a copy of the sources, and goes on as an
// author would. The tree builds at once, the tests say what is missing, and the
// cases are filled in.
func TestNewDetector(t *testing.T) {
	root := copied(t)
	before := list(t, root)
	var out strings.Builder
	if err := run(root, []string{"CertificateRenamed"}, &out); err != nil {
		t.Fatal(err)
	}
	const source = "handlers/detector/certificate_renamed.go"
	cases := []string{
		"handlers/detector/testdata/CertificateRenamed/fires-event-grid-schema.json",
		"handlers/detector/testdata/CertificateRenamed/silent-opposite-outcome.json",
	}
	want := append([]string{source}, cases...)
	var added []string
	for _, file := range list(t, root) {
		if !slices.Contains(before, file) {
			added = append(added, file)
		}
	}
	if !slices.Equal(added, want) {
		t.Errorf("it adds %q, want %q", added, want)
	}
	for _, file := range append(want, "handlers/detector/all.go") {
		if !strings.Contains(out.String(), file+"\n") {
			t.Errorf("it does not say that it wrote %s:\n%s", file, out.String())
		}
	}
	if diff, ok := command(t, root, "gofmt", "-l", "handlers/detector"); diff != "" || !ok {
		t.Errorf("gofmt would change:\n%s", diff)
	}
	if said, ok := command(t, root, "go", "vet", "./handlers/detector"); !ok {
		t.Fatalf("it does not build:\n%s", said)
	}
	folder, tests := filepath.Join(root, "handlers/detector"), filepath.Join(t.TempDir(), "detector.test")
	if said, ok := command(t, root, "go", "test", "-c", "-o", tests, "./handlers/detector"); !ok {
		t.Fatalf("the tests do not build:\n%s", said)
	}
	if said, ok := command(t, folder, tests, "-test.run", "^(TestAllIsComplete|TestNames|TestCaseFolders|TestTriggerLimits)$"); !ok {
		t.Errorf("what needs no author is not right:\n%s", said)
	}
	said, ok := command(t, folder, tests, "-test.run", "^TestTexts$")
	if ok || !strings.Contains(said, "CertificateRenamed: Title") || !strings.Contains(said, "CertificateRenamed: Description") {
		t.Errorf("nothing says what is missing:\n%s", said)
	}

	// The author fills in the cases and has them say what they want.
	for _, file := range cases {
		path := filepath.Join(root, file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		filled := strings.NewReplacer(`"about": ""`, `"about": "The point."`, `"from": ""`, `"from": "https://example.com/"`).Replace(string(text))
		if err := os.WriteFile(path, []byte(filled), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // The second run finds nothing to change.
		said, _ = command(t, folder, tests, "-test.v", "-test.run", "^TestCases$/^CertificateRenamed$", "-update")
		for _, name := range []string{"fires-event-grid-schema", "silent-opposite-outcome"} {
			if !strings.Contains(said, "--- PASS: TestCases/CertificateRenamed/"+name) {
				t.Errorf("the case %s does not pass:\n%s", name, said)
			}
		}
	}
	for file, want := range map[string]string{cases[0]: "alert", cases[1]: "not delivered"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Want struct {
				Outcome string `json:"outcome"`
			} `json:"want"`
		}
		if err := json.Unmarshal(text, &c); err != nil || c.Want.Outcome != want {
			t.Errorf("%s wants %q, %v", file, c.Want.Outcome, err)
		}
	}

	// A second detector of the same name is refused. Letter case does not matter.
	for _, name := range []string{"CertificateRenamed", "CertificateREnamed"} {
		if err := run(root, []string{name}, &out); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("%s is there, and another is begun: %v", name, err)
		}
	}
}

// TestNamesThatAreRefused checks that run writes nothing for a name that a
// detector cannot have.
func TestNamesThatAreRefused(t *testing.T) {
	root := copied(t)
	before := list(t, root)
	for _, test := range []struct{ name, want string }{
		{"", "want the name"},
		{"Ab", "3 to 64 letters"},
		{"A" + strings.Repeat("b", 64), "3 to 64 letters"},
		{"certificateRenamed", "the first a capital"},
		{"Certificate-Renamed", "3 to 64 letters"},
		{"Certificate Renamed", "3 to 64 letters"},
		{"../CertificateRenamed", "3 to 64 letters"},
		{"CertificateRenamed2", "3 to 64 letters"},
		{"Größe", "without accents"},
		{"CertificateAdded", "already"},
		{"CERTIFICATEADDED", "already"},
		{"RelayResourceLogs", "already"},
		{"Detector", "already"},
		{"Trigger", "already"},
		{"All", "already"},
		{"TestCases", "already"},
		{"DeviceTest", "device_test.go"},
		{"DeviceWindows", "device_windows.go"},
	} {
		var out strings.Builder
		if err := run(root, []string{test.name}, &out); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.name, err, test.want)
		}
	}
	if err := run(root, nil, nil); err == nil {
		t.Error("no name is not refused")
	}
	if err := run(root, []string{"CertificateRenamed", "CertificateMoved"}, nil); err == nil {
		t.Error("two names are not refused")
	}
	if after := list(t, root); !slices.Equal(after, before) {
		t.Errorf("it wrote %d files", len(after)-len(before))
	}
	if said, ok := command(t, repository, "make", "--no-print-directory", "detector"); ok || !strings.Contains(said, "make detector NAME=") {
		t.Errorf("make detector without a name: %s", said)
	}
}

func TestFileName(t *testing.T) {
	for name, want := range map[string]string{
		"CertificateRenamed": "certificate_renamed.go",
		"Abc":                "abc.go",
		"SASTokenLeaked":     "sas_token_leaked.go",
		"IoTHubKeyListed":    "iot_hub_key_listed.go",
		"DeviceSAS":          "device_sas.go",
	} {
		if got := fileName(name); got != want {
			t.Errorf("%s is in %s, want %s", name, got, want)
		}
	}
}

func TestListed(t *testing.T) {
	got, err := listed([]byte("package p\n\n// All.\nvar All = []int{\n\tA, // the first\n}\n"), "B")
	if want := "package p\n\n// All.\nvar All = []int{\n\tA, // the first\n\tB,\n}\n"; string(got) != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, source := range []string{"package p\n\nvar Every = []int{}\n", "package p\n\nvar All = every()\n", "no Go"} {
		if got, err := listed([]byte(source), "B"); err == nil {
			t.Errorf("%q becomes %q", source, got)
		}
	}
}
