//go:build !race

// The race detector takes memory of its own.

package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestStartAllocatesLittle counts what the packages of hubwatch allocate before main begins.
// An instance that wakes up for an event waits for it. What only some events need is made
// when it is needed.
func TestStartAllocatesLittle(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, "-test.run", "^$")
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1") // https://pkg.go.dev/runtime#hdr-Environment_Variables
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sum, packages := 0, 0
	for _, m := range regexp.MustCompile(`(?m)^init (\S+) @.* clock, (\d+) bytes,`).FindAllStringSubmatch(string(out), -1) {
		if !strings.HasPrefix(m[1], module) {
			continue
		}
		bytes, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		sum, packages = sum+bytes, packages+1
		if bytes > 120_000 {
			t.Errorf("%s allocates %d bytes, want at most 120,000", m[1], bytes)
		}
	}
	if t.Logf("%d bytes in %d packages", sum, packages); packages < 10 || sum > 600_000 {
		t.Errorf("%d packages allocate %d bytes, want at most 600,000", packages, sum)
	}
}
