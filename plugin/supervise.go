package plugin

import (
	"context"
	"time"
)

// exitGrace is how long the end of a process may trail the end of its streams.
const exitGrace = time.Second

// guard returns nil when until is closed, and an error as soon as the child is
// gone, silent or, where failed is not nil, failed.
func (c *child) guard(until, failed <-chan struct{}) error {
	beat := time.NewTicker(c.spec.HeartbeatInterval)
	defer beat.Stop()
	dog := watchdog{w: c.watcher, seen: c.watcher.seen()}
	for {
		select {
		case <-until:
			return nil
		case <-failed:
			return c.watcher.why()
		case <-c.proc.exited:
			return c.crashed()
		case <-c.watcher.ended:
			return c.crashed()
		case <-c.leaseLost:
			return c.crashed()
		case <-beat.C:
			if dog.tick() {
				c.unresponsive = true
				return &Error{Code: CodeHung, Message: "no heartbeat for three intervals"}
			}
		}
	}
}

// crashed is the error of a child that ended by itself. A broken stream is
// enough: where the process does not follow at once it is of no use any more.
func (c *child) crashed() error {
	c.unresponsive = true
	timer := time.NewTimer(exitGrace)
	defer timer.Stop()
	select {
	case <-c.proc.exited:
		return &Error{Code: CodeCrashed, Message: "the process ended by itself", Err: c.proc.exitErr}
	case <-timer.C:
		return &Error{Code: CodeCrashed, Message: "the process ended its streams"}
	}
}

// drain makes the child finish its work; nil means that nothing was abandoned.
// It goes on though ctx has ended. Whatever keeps the last frame from arriving
// leaves us not knowing what was finished, which counts as abandoned.
func (c *child) drain(ctx context.Context) error {
	// The plugin gives up after DrainTimeout by itself; the rest is for the
	// answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.spec.DrainTimeout+c.spec.KillTimeout)
	defer cancel()
	c.spec.Logger.Info("draining the plugin", "timeout", c.spec.DrainTimeout)
	done := make(chan struct{})
	var drained error
	go func() {
		defer close(done)
		drained = c.remote.drain(ctx, c.spec.DrainTimeout, func(p Progress) {
			c.spec.Logger.Debug("draining", "in_flight", p.InFlight, "held", p.Held)
		})
	}()
	// A connector that fails ends the drain itself, with the better error, and
	// a process that ends breaks the stream after its last frame. Only a hung
	// one has to be left.
	lost := c.guard(done, nil)
	if CodeOf(lost) == CodeHung {
		cancel()
	}
	<-done
	switch CodeOf(drained) {
	case "", CodeAbandoned:
		return drained
	case CodeTimeout:
		c.unresponsive = true
	}
	if lost == nil {
		lost = drained
	}
	return &Error{Code: CodeAbandoned, Abandoned: -1, Message: "the drain did not come to its end", Err: lost}
}
