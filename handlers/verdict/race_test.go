//go:build race

package verdict

// slowdown is how many times as slow the race detector makes a test, about.
const slowdown = 10
