//go:build !race

package table

// slowdown is 1 without the race detector.
const slowdown = 1
