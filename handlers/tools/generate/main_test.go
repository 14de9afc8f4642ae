package main

import "testing"

// TestUpToDate fails if somebody changed a detector, a case or a generated file
// and did not run make generate.
func TestUpToDate(t *testing.T) {
	if err := run("../../..", true); err != nil {
		t.Fatal(err)
	}
}
