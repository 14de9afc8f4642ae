//go:build !race

package reliability

// raceDetector says whether the race detector is on.
const raceDetector = false
