package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// children returns the processes that this one has started, by their ids.
func children(t *testing.T) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Skip("this system does not list the children of a process")
	}
	var ids []string
	for _, task := range tasks {
		list, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		ids = append(ids, strings.Fields(string(list))...)
	}
	return strings.Join(ids, " ")
}

// playground makes a folder like the root of the repository, with links to the
// files that make run needs. A test can replace each of them.
func playground(t *testing.T) string {
	t.Helper()
	atRoot(t)
	repository, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, link := range []string{"handlers/local/samples", "infra/subscriptions.json", "build/azurite", "build/app/handler"} {
		path := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(repository, link), path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(root, appFolder), os.DirFS("functions")); err != nil {
		t.Fatal(err)
	}
	hostFile, err := os.ReadFile("host.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	put(t, appFolder+"/host.json", string(hostFile))
	return root
}

// put replaces a file, or a link to one.
func put(t *testing.T, path, content string) {
	t.Helper()
	gone(t, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func gone(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// TestStartFailures: one line says what is missing or broken, and no process is
// left.
func TestStartFailures(t *testing.T) {
	tests := []struct {
		name  string
		port  string
		spoil func(t *testing.T)
		want  []string // parts of what is said
	}{
		{name: "port that is none", port: "http", want: []string{`HUBWATCH_PORT: "http" is not a port`}},
		{name: "port out of range", port: "65536", want: []string{`HUBWATCH_PORT: "65536" is not a port`}},
		{name: "elsewhere", spoil: func(t *testing.T) { t.Chdir(t.TempDir()) }, want: []string{"no samples", "root of the repository"}},
		{name: "no Node.js", spoil: func(t *testing.T) { t.Setenv("PATH", t.TempDir()) }, want: []string{"Node.js 20", `"node"`}},
		{name: "no Azurite", spoil: func(t *testing.T) { gone(t, "build/azurite") }, want: []string{"azurite is not installed", "make run"}},
		{name: "broken Azurite", spoil: func(t *testing.T) {
			gone(t, "build/azurite")
			put(t, "build/azurite/node_modules/azurite/dist/src/table/main.js", "process.exit(3)")
		}, want: []string{"azurite: exited: exit status 3: see build/local.log"}},
		{name: "log that cannot be written", spoil: func(t *testing.T) {
			if err := os.Mkdir(logFile, 0o755); err != nil {
				t.Fatal(err)
			}
		}, want: []string{"open build/local.log: is a directory"}},
		{name: "no app", spoil: func(t *testing.T) { gone(t, appFolder) }, want: []string{"build/app/host.json", "make app builds"}},
		{name: "no host.json", spoil: func(t *testing.T) { gone(t, appFolder+"/host.json") }, want: []string{"build/app/host.json", "make app builds"}},
		{name: "broken host.json", spoil: func(t *testing.T) { put(t, appFolder+"/host.json", `{"version":`) }, want: []string{"build/app/host.json: "}},
		{name: "no custom handler", spoil: func(t *testing.T) { put(t, appFolder+"/host.json", `{}`) }, want: []string{"build/app/host.json: no customHandler"}},
		{name: "no handler", spoil: func(t *testing.T) { gone(t, appFolder+"/handler") }, want: []string{"there is no handler in build/app", "make app builds"}},
		{name: "handler that ends", spoil: func(t *testing.T) { put(t, appFolder+"/handler", "#!/bin/sh\nexit 3\n") },
			want: []string{"the handler does not start, see build/local.log: ", "exited with code 3"}},
		{name: "no functions", spoil: func(t *testing.T) {
			gone(t, appFolder+"/RelayResourceLogs")
			for _, folder := range globbed(t, appFolder+"/*/function.json") {
				gone(t, folder)
			}
		}, want: []string{"no functions found in build/app"}},
		{name: "broken function.json", spoil: func(t *testing.T) { put(t, appFolder+"/CertificateAdded/function.json", `{"bindings":[`) },
			want: []string{"'CertificateAdded'", "build/app/CertificateAdded/function.json: "}},
		{name: "wrong function.json", spoil: func(t *testing.T) { put(t, appFolder+"/CertificateAdded/function.json", `{"bindings":[{"type":"x"}]}`) },
			want: []string{"'CertificateAdded'", "build/app/CertificateAdded/function.json: "}},
		{name: "no relay", spoil: func(t *testing.T) { gone(t, appFolder+"/RelayResourceLogs") }, want: []string{"event hub", "RelayResourceLogs"}},
		{name: "broken subscriptions", spoil: func(t *testing.T) { put(t, subscriptionsFile, `[`) }, want: []string{"infra/subscriptions.json"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			playground(t)
			before := children(t)
			if test.spoil != nil {
				test.spoil(t)
			}
			if test.port == "" {
				test.port = "0"
			}
			failsToStart(t, test.port, test.want)
			if after := children(t); after != before {
				t.Errorf("processes %s are left", after)
			}
		})
	}
	t.Run("busy port", func(t *testing.T) {
		playground(t)
		before := children(t)
		other, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		_, number, _ := net.SplitHostPort(other.Addr().String())
		failsToStart(t, number, []string{other.Addr().String() + " is in use", "HUBWATCH_PORT"})
		if after := children(t); after != before {
			t.Errorf("processes %s are left", after)
		}
		if _, err := os.Stat(logFile); err == nil {
			t.Errorf("%s is left", logFile)
		}
	})
}

// failsToStart runs make run and wants exit code 1 and one line on stderr.
func failsToStart(t *testing.T, port string, want []string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), nil, func(name string) string { return map[string]string{portSetting: port}[name] }, &stdout, &stderr)
	said := ""
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "local: ") { // other lines are the host's log
			said += line
		}
	}
	if code != 1 || strings.Count(said, "\n") != 1 {
		t.Errorf("exit code %d and\n%s\nwant 1 and one line", code, stderr.String())
	}
	for _, part := range want {
		if !strings.Contains(said, part) {
			t.Errorf("said %q, want %q", said, part)
		}
	}
}

// TestAzuriteSaysWhy checks that the log has what a broken Azurite prints.
func TestAzuriteSaysWhy(t *testing.T) {
	playground(t)
	gone(t, "build/azurite")
	put(t, "build/azurite/node_modules/azurite/dist/src/table/main.js", "throw new Error('too old')")
	failsToStart(t, "0", []string{logFile})
	text, err := os.ReadFile(logFile)
	if err != nil || !strings.Contains(string(text), "too old") {
		t.Errorf("%s has %q, %v", logFile, text, err)
	}
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestUsage covers wrong arguments.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"demo", "demo"}, {"-h"}, {"run"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, os.Getenv, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "make demo") {
			t.Errorf("%v: exit code %d, %s", args, code, fmt.Sprint(stderr.String()))
		}
	}
}
