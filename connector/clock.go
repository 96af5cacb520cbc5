package connector

import (
	"sync"
	"time"
)

// apiClock is the API's clock as its answers show it. An answer's Date header
// (RFC 9110, section 6.6.1) has a resolution of one second and was written
// somewhere between the call's begin and its end, so one answer proves an
// interval; only what lies outside of it is known to be skew. One odd Date must
// not expire every request, and nothing must stay wrong for lack of calls: it
// takes two answers that agree, and the knowledge fades. The zero value knows
// nothing. It is safe for concurrent use.
type apiClock struct {
	mu   sync.Mutex
	last time.Duration // what the latest answer proved
	skew time.Duration // what the latest two agree on; positive: the API is ahead
	at   time.Time     // of the latest answer
}

const (
	// minSkew is how far off the API's clock must be before it is followed.
	minSkew = 2 * time.Second
	// clockMemory is how long the knowledge lasts without a new answer.
	clockMemory = time.Minute
)

// saw takes the clock from an answer to a call that went from began to ended.
func (c *apiClock) saw(date, began, ended time.Time) {
	if date.IsZero() {
		return
	}
	proved := time.Duration(0)
	if ahead := date.Sub(ended); ahead >= minSkew {
		proved = ahead
	} else if behind := began.Sub(date.Add(time.Second)); behind >= minSkew {
		proved = -behind
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = 0
	if (proved > 0) == (c.last > 0) && (proved < 0) == (c.last < 0) && ended.Sub(c.at) < clockMemory {
		c.skew = proved
		if proved.Abs() > c.last.Abs() {
			c.skew = c.last
		}
	}
	c.last, c.at = proved, ended
}

// now is the API's time at our time.
func (c *apiClock) now(ours time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ours.Sub(c.at) >= clockMemory {
		return ours
	}
	return ours.Add(c.skew)
}
