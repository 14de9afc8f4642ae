package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const hostFile = `{"customHandler": {"description": {"defaultExecutablePath": "hubwatch"}}}`

// folder makes an app of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSameBytes packs the same files twice, the second time with other times,
// other permissions and in another place.
func TestSameBytes(t *testing.T) {
	files := map[string]string{"host.json": hostFile, "hubwatch": "the handler", "A/function.json": "{}", "B/function.json": "{}"}
	first, err := pack(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	other := folder(t, files)
	for name := range files {
		path := filepath.Join(other, name)
		if err := os.Chtimes(path, time.Time{}, time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second, err := pack(other)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same files made two different packages")
	}
}

func TestRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no host.json":        {map[string]string{"hubwatch": ""}, "host.json"},
		"no executable":       {map[string]string{"host.json": hostFile}, "no hubwatch"},
		"executable not said": {map[string]string{"host.json": "{}", "hubwatch": ""}, "defaultExecutablePath"},
		"executable with ./":  {map[string]string{"host.json": strings.Replace(hostFile, "hubwatch", "./hubwatch", 1), "hubwatch": ""}, "without ./"},
		"local settings":      {map[string]string{"host.json": hostFile, "hubwatch": "", "local.settings.json": "{}"}, "secrets"},
		"hidden file":         {map[string]string{"host.json": hostFile, "hubwatch": "", "A/.env": ""}, "hidden"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pack(folder(t, test.files)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	dir := folder(t, map[string]string{"host.json": hostFile, "hubwatch": ""})
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := pack(dir); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a link: %v", err)
	}
	if err := run(nil, nil); err == nil {
		t.Error("no arguments are not refused")
	}
}
