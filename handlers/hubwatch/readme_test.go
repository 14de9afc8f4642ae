package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hubwatch/handlers/local/azurite"
)

// TestReadmeSession types the commands of README.md about the alert of its first screen,
// and compares what they write. A line of three dots stands for any lines, and an
// ellipsis for the rest of a word. The page shows lines of 80 characters, and the test
// compares words.
func TestReadmeSession(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	samples := map[string]string{"CertificateAdded": "certificate-added.json", "CertificateDeleted": "certificate-deleted.json"}
	for function, sample := range samples {
		body, err := os.ReadFile(filepath.Join("../local/samples", sample))
		if err != nil {
			t.Fatal(err)
		}
		if err := deliver(b.App, function, "Active", body); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n## Handle an alert\n")
	_, session, _ := strings.Cut(rest, "```console\n$ build/hubwatch --local ")
	session, _, _ = strings.Cut(session, "```")
	steps := strings.Split(session, "$ build/hubwatch --local ")
	if len(steps) != 3 {
		t.Fatalf("%d commands: does this test still find them?", len(steps))
	}
	for _, step := range steps {
		line, want, _ := strings.Cut(step, "\n")
		var stdout, stderr strings.Builder
		if code := run(t.Context(), readBash(t, line), b.getenv, nil, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("%s: exit code %d, %s", line, code, stderr.String())
		}
		if !matchesPage(want, stdout.String()) {
			t.Errorf("%s\nthe page has:\n%s\nit writes:\n%s", line, want, stdout.String())
		}
	}
}

// matchesPage reports whether a text is what a page shows of it.
func matchesPage(page, text string) bool {
	var pattern strings.Builder
	for word := range strings.FieldsSeq(page) {
		switch rest, cut := strings.CutSuffix(word, "…"); {
		case word == "...":
			pattern.WriteString(`(.*\s)?`)
		case cut:
			pattern.WriteString(regexp.QuoteMeta(rest) + `\S+\s+`)
		default:
			pattern.WriteString(regexp.QuoteMeta(word) + `\s+`)
		}
	}
	return regexp.MustCompile(`(?s)^` + pattern.String() + `$`).MatchString(text)
}

// TestReadmeChangesMany tries the flags of the README with which many alerts are changed at once.
func TestReadmeChangesMany(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	body, err := os.ReadFile("../local/samples/logs/night-shift.json")
	if err != nil {
		t.Fatal(err)
	}
	body = []byte(strings.NewReplacer("CONTOSO-HUB", "PLANT-HUB", "contoso-hub", "plant-hub").Replace(string(body)))
	if err := deliver(b.App, "RelayResourceLogs", "Active", body); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?m)^\\| `hubwatch (alerts set)` .*`(--[^`]+)` \\|$").FindSubmatch(page)
	if m == nil {
		t.Fatal("there are no flags of alerts set: does this test still find them?")
	}
	var stdout, stderr strings.Builder
	code := run(t.Context(), readBash(t, string(m[1])+" "+string(m[2])), b.getenv, nil, &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "1 alert would be changed. Nothing was written.") {
		t.Errorf("alerts set %s: exit code %d, %s%s", m[2], code, &stdout, &stderr)
	}
}

// TestReadmeSuppressions types the commands of README.md that suppress alerts.
func TestReadmeSuppressions(t *testing.T) {
	b := newBench(t, startAzurite(t, azurite.Options{}))
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n## Suppress what you expect\n")
	_, block, _ := strings.Cut(rest, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	block = strings.NewReplacer("\\\n", " ", "$HUB", "contoso-hub", "$APP", "hubwatch-contoso").Replace(block)
	n := 0
	for line := range strings.Lines(block) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "hubwatch ")
		var stdout, stderr strings.Builder
		if code := run(t.Context(), append(readBash(t, command), "--yes"), b.getenv, nil, &stdout, &stderr); !ok || code != 0 || !strings.Contains(stdout.String(), "\nAdded suppression ") {
			t.Errorf("%s: exit code %d, %s%s", command, code, stdout.String(), stderr.String())
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d commands: does this test still find them?", n)
	}
}

// TestPagesNameVerbs checks the commands of all pages, in blocks of code and within sentences: the
// verbs are there, and so are the flags.
func TestPagesNameVerbs(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../.github/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	code := regexp.MustCompile("(?s)```.*?```|`[^`]+`|\n    hubwatch [^\n]+")
	command := regexp.MustCompile(`(?:^|[\s(\x60])(?:build/|go run \./handlers/)?hubwatch ([a-z-][^\n\x60]*)`)
	flag := regexp.MustCompile(`(?:^|\s)--([a-z-]+)`)
	n := 0
	for _, file := range files {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range code.FindAllString(strings.NewReplacer("\\\n", " ", "--name hubwatch ", "").Replace(string(page)), -1) {
			for _, m := range command.FindAllStringSubmatch(block, -1) {
				n++
				line, _, _ := strings.Cut(m[1], " #")
				line = regexp.MustCompile(`\$\([^)]*\)`).ReplaceAllString(line, "") // another command
				words, _, _ := strings.Cut(line, " --")
				verb, _, err := newRoot(&operator{}, &screen{}).Find(strings.Fields(words))
				if err != nil || verb.Name() == "hubwatch" && !strings.HasPrefix(line, "--") {
					t.Errorf("%s: hubwatch %s: there is no such verb (%v)", filepath.Base(file), line, err)
					continue
				}
				_ = verb.ParseFlags(nil) // it takes over the flags of all verbs
				for _, f := range flag.FindAllStringSubmatch(line, -1) {
					if verb.Flags().Lookup(f[1]) == nil && f[1] != "help" {
						t.Errorf("%s: hubwatch %s: there is no flag --%s", filepath.Base(file), line, f[1])
					}
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("%d commands: does this test still find them?", n)
	}
}
