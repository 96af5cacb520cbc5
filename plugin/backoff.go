package plugin

import (
	"math/rand/v2"
	"time"
)

// backoff spaces restarts: the pause doubles with each failure in a row, and
// half of it is random, so that hosts which lost something together don't come
// back together. It is not safe for concurrent use.
type backoff struct {
	min, max time.Duration
	next     time.Duration // ceiling of the next pause; zero: min
}

// pause returns the next pause: between half and all of the ceiling.
func (b *backoff) pause() time.Duration {
	if b.next < b.min {
		b.next = b.min
	}
	ceiling := b.next
	if b.next > b.max/2 {
		b.next = b.max
	} else {
		b.next *= 2
	}
	half := ceiling / 2
	return half + rand.N(ceiling-half+1) //nolint:gosec // spreading restarts needs no secrecy
}

// reset starts over. A plugin that ran for longer than the longest pause earns
// it; a shorter run is part of a crash loop.
func (b *backoff) reset(ran time.Duration) {
	if ran > b.max {
		b.next = 0
	}
}
