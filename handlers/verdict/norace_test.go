//go:build !race

package verdict

// slowdown is 1 without the race detector.
const slowdown = 1
