package verdict

import (
	"os"
	"strconv"
	"testing"
)

// trials returns how many trials to make: HUBWATCH_TRIALS if it is set.
func trials(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("HUBWATCH_TRIALS")
	if text == "" {
		return usual / slowdown
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("HUBWATCH_TRIALS: %v", err)
	}
	return n
}

// step returns of how many faults, or orders, that can be counted a test tries one: usual, or each
// if HUBWATCH_TRIALS is set. A test with several kinds of faults begins each kind with another one.
func step(usual int) int {
	if os.Getenv("HUBWATCH_TRIALS") != "" {
		return 1
	}
	return usual * slowdown
}
