package kafka

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootClock goes on while the machine sleeps, as Go's own clock does not. A
// machine that wakes up must not take its lease for a fresh one.
func bootClock() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		// Linux has had it since 2.6.39. Without a clock there is no lease.
		return 1<<63 - 1
	}
	return time.Duration(now.Nano())
}
