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
