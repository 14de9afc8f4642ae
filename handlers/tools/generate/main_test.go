package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpToDate fails if somebody changed a detector, a case or a generated file
// and did not run make generate.
func TestUpToDate(t *testing.T) {
	if err := run("../../..", true); err != nil {
		t.Fatal(err)
	}
}

// generated returns a folder with the cases of the detectors, which the catalogue
// lists, and with all that run writes from there.
func generated(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	const cases = "handlers/detector/testdata"
	if err := os.CopyFS(filepath.Join(root, cases), os.DirFS(filepath.Join("../../..", cases))); err != nil {
		t.Fatal(err)
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestCheck changes a file that run wrote. -check has to name the file and to
// leave it as it is. run has to write it again.
func TestCheck(t *testing.T) {
	root := generated(t)
	if err := run(root, true); err != nil {
		t.Fatalf("right after it was written: %v", err)
	}
	for _, name := range []string{"functions/CertificateAdded/function.json", "functions/RelayResourceLogs/function.json", "handlers/consoleapp/functions/Console/function.json", "infra/subscriptions.json", "docs/alerts.md", "docs/cost.md"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(root, name)
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for what, damage := range map[string]func() error{
				"changed": func() error { return os.WriteFile(file, []byte("by hand"), 0o600) },
				"removed": func() error { return os.Remove(file) },
			} {
				if err := damage(); err != nil {
					t.Fatal(err)
				}
				damaged, _ := os.ReadFile(file)
				if err := run(root, true); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: -check says %v, want it to name %s", what, err, name)
				}
				if after, _ := os.ReadFile(file); string(after) != string(damaged) {
					t.Errorf("%s: -check wrote the file", what)
				}
				if err := run(root, false); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if after, err := os.ReadFile(file); string(after) != string(before) {
					t.Errorf("%s: it is not written again: %v", what, err)
				}
			}
		})
	}
}

// TestStrays leaves the function of a detector that no longer exists. run and
// -check both report it, and neither removes it.
func TestStrays(t *testing.T) {
	root := generated(t)
	if err := os.CopyFS(filepath.Join(root, "functions/Gone"), os.DirFS(filepath.Join(root, "functions/CertificateAdded"))); err != nil {
		t.Fatal(err)
	}
	for _, check := range []bool{true, false} {
		if err := run(root, check); err == nil || !strings.Contains(err.Error(), "functions/Gone/function.json") {
			t.Errorf("-check=%t: %v, want it to name the function that is not generated", check, err)
		}
	}
}

// TestCasesAreRead checks that the catalogue is not written without a case that
// cannot be read.
func TestCasesAreRead(t *testing.T) {
	root := generated(t)
	if err := os.WriteFile(filepath.Join(root, "handlers/detector/testdata/CertificateAdded/fires-half.json"), []byte(`{"about": "`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(root, false); err == nil || !strings.Contains(err.Error(), "fires-half.json") {
		t.Errorf("%v, want it to name the case", err)
	}
}
