package kafka

import (
	"context"
	"time"
)

const (
	transientAttempts = 20
	transientBase     = 10 * time.Millisecond
	transientCap      = 500 * time.Millisecond
)

// retryTransient repeats do while it reports CodeUnavailable. The first
// contact with a fresh broker answers "not available" or "loading" for a
// moment, for groups and transactions alike; after about eight seconds the
// last error is reported as it is.
func retryTransient(ctx context.Context, do func() error) error {
	delay := transientBase
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt == transientAttempts || CodeOf(err) != CodeUnavailable {
			return err
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		delay = min(2*delay, transientCap)
	}
}
