package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages returns the repository's pages by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../.github/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found[file] = string(text)
		}
	}
	return found
}

// TestPagesOfTheRoot checks that handlers/infra reads the commands of all pages in the root.
func TestPagesOfTheRoot(t *testing.T) {
	test, err := os.ReadFile("infra/shell_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for page := range pages(t) {
		if filepath.Dir(page) == ".." && !strings.Contains(string(test), `"`+filepath.Base(page)+`"`) {
			t.Errorf("TestPagesHaveShell of handlers/infra does not read %s", page)
		}
	}
}

// TestPagesNameTestsThatAreThere checks the pages that say which test proves
// what. A claim whose test was renamed or removed is a claim without a test.
func TestPagesNameTestsThatAreThere(t *testing.T) {
	declared := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declaration.FindAllSubmatch(text, -1) {
			declared[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\w+)`").FindAllStringSubmatch(text, -1) {
			named++
			if !declared[m[1]] {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("the pages name %d tests: does this test still find them?", named)
	}
}

// TestLinksLeadSomewhere checks the links from page to file and from page to
// heading.
func TestLinksLeadSomewhere(t *testing.T) {
	headings := func(text string) (anchors []string) {
		for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
			anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
			anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
		}
		return anchors
	}
	all := pages(t)
	for page, text := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			path, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, ":") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s links to %s: %v", page, m[1], err)
					continue
				}
			}
			if anchor != "" && !slices.Contains(headings(all[target]), anchor) {
				t.Errorf("%s links to %s, and there is no such heading", page, m[1])
			}
		}
	}
}
