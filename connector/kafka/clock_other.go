//go:build !linux

package kafka

import "time"

var started = time.Now()

// bootClock is Go's monotonic clock, which may stop while the machine sleeps.
func bootClock() time.Duration { return time.Since(started) + 1 }
