package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scan is what govulncheck writes, without the findings.
const scan = `
{"config": {"protocol_version": "v1.0.0", "scanner_name": "govulncheck", "scanner_version": "v1.9.0",
	"db": "file:///m/golang.org/x/vulndb@v0.0.0-20260102030405-0123456789ab/data/osv", "db_last_modified": "0001-01-01T00:00:00Z",
	"go_version": "go1.26.8", "scan_level": "symbol", "scan_mode": "source"}}
{"SBOM": {"go_version": "go1.26.8", "modules": [{"path": "hubwatch"}]}}
{"progress": {"message": "Checking the code against the vulnerabilities..."}}
{"osv": {"schema_version": "1.3.1", "id": "GO-2026-0001", "summary": "Something in x"}}
`

// found returns a finding of a function that the code calls. fixed is the version
// that fixes it, or "" if no version does.
func found(id, module, fixed string) string {
	if fixed != "" {
		fixed = `"fixed_version": "` + fixed + `", `
	}
	return `{"finding": {"osv": "` + id + `", ` + fixed + `"trace": [
		{"module": "` + module + `", "version": "v1.0.0", "package": "x/y", "function": "Parse"},
		{"module": "hubwatch", "package": "hubwatch/handlers/host", "function": "read", "position": {"filename": "handlers/host/request.go", "line": 29}}]}}`
}

func TestJudge(t *testing.T) {
	reason := func(id string) map[string]string { return map[string]string{id: "only with an option that is not set"} }
	for _, test := range []struct {
		name      string
		report    string
		explained map[string]string
		fault     string // "" for none
		says      string
	}{
		{"nothing", scan, nil, "", "go1.26.8, database of 2026-01-02"},
		{"live database", strings.NewReplacer("@v0.0.0-20260102030405-0123456789ab", "", "0001-01-01", "2026-03-04").Replace(scan), nil, "", "database of 2026-03-04"},
		{"not called", scan + `{"finding": {"osv": "GO-2026-0001", "trace": [{"module": "x", "version": "v1.0.0", "package": "x/y"}]}}`, nil, "", "can be reached: 0,"},
		{"fixed in a module", scan + found("GO-2026-0001", "x", "v1.2.3"), nil, "GO-2026-0001 Something in x, in x/y of x v1.0.0, reached from handlers/host/request.go:29, is fixed in v1.2.3: upgrade", ""},
		{"not fixed", scan + found("GO-2026-0001", "x", ""), nil, "is not fixed", ""},
		{"explained", scan + found("GO-2026-0001", "x", ""), reason("GO-2026-0001"), "", "request.go:29: only with an option that is not set"},
		{"another explained", scan + found("GO-2026-0001", "x", ""), reason("GO-2026-0002"), "is not fixed", ""},
		{"explained and gone", scan, reason("GO-2026-0001"), "GO-2026-0001 is explained and not found", ""},
		{"fixed by a newer Go that go.mod asks for", scan + found("GO-2026-0001", "stdlib", "v1.26.10"), nil, "", "request.go:29: fixed in go1.26.10, and go.mod asks for go1.26.11\nthis machine builds with go1.26.8,"},
		{"fixed by a newer Go than go.mod asks for", scan + found("GO-2026-0001", "stdlib", "v1.26.12"), nil, "is fixed in go1.26.12: raise the toolchain in go.mod, which is go1.26.11", ""},
		{"not fixed by any Go", scan + found("GO-2026-0001", "stdlib", ""), nil, "is not fixed", ""},
		{"a report that contradicts itself", strings.ReplaceAll(scan, "go1.26.8", "go1.26.11") + found("GO-2026-0001", "stdlib", "v1.26.9"), nil, "is found in go1.26.11", ""},
		{"no report", "", nil, "does not say what was scanned", ""},
		{"half a report", scan[:200], nil, "unexpected EOF", ""},
		{"empty database", strings.ReplaceAll(scan, `"osv":`, `"other":`), nil, "cannot be whole", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := []string{filepath.Join(t.TempDir(), "report.json"), filepath.Join(t.TempDir(), "go.mod")}
			for i, content := range []string{test.report, "module hubwatch\n\ngo 1.26.0\n\ntoolchain go1.26.11\n"} {
				if err := os.WriteFile(args[i], []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			err := run(args, &out, test.explained)
			if (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%v, want %q", err, test.fault)
			}
			if !strings.Contains(out.String(), test.says) {
				t.Errorf("it prints %q, want %q", out.String(), test.says)
			}
		})
	}
}

// TestModuleSaysWhichGo checks that go.mod names the Go version that judge needs.
func TestModuleSaysWhichGo(t *testing.T) {
	module, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !toolchain.Match(module) {
		t.Error("go.mod has no toolchain line, which says with which Go to build what ships")
	}
	report := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(report, []byte(scan), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{report, report}, nil, nil); err == nil || !strings.Contains(err.Error(), "no toolchain line") {
		t.Errorf("a go.mod without a toolchain: %v", err)
	}
	if err := run(nil, nil, nil); err == nil {
		t.Error("no arguments are not refused")
	}
}
