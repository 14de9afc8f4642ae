package verdict

import (
	"math/rand/v2"
	"time"
)

// This is what the tests of package verdict_test have of the simulated day. They use the relay
// and the detectors, which import this package.

// Message is a message of the log.
type Message struct {
	At    time.Time // when it comes
	Hub   string
	Facts []Fact // what its records say
}

// Part returns of how many devices of the simulated day a test has one: of all if HUBWATCH_TRIALS
// is set.
func Part() int { return step(4) }

// ADay returns the messages of a day of so many healthy devices, and 20 attacked ones, whose
// keys begin with 1 and 2. As many devices as gone are cut off for half an hour at noon.
func ADay(devices, gone int) (all []Message) {
	r := rand.New(rand.NewPCG(1, 7))
	const hubs = 2
	log, _ := fleet{sdks: sdks, devices: devices, hubs: hubs, gone: gone}.day(r)
	for _, a := range inOrder(messages(r, log, 0), messages(r, attacks(r, hubs), 0)) {
		m := Message{At: time.Unix(a.at, 0).UTC(), Hub: a.hub}
		for _, e := range a.rows {
			m.Facts = append(m.Facts, e.Fact)
		}
		all = append(all, m)
	}
	return all
}

// NewMemory returns a store in memory.
func NewMemory() interface {
	Store
	Progresses
	Marks() int
} {
	return newMemory()
}

// Marks returns how many marks there are.
func (m *memory) Marks() int { return len(m.marks) }
