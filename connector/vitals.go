package connector

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// unwellAfter is how long a lane may be held up before the connector is not
// ready any more. No new call is made once a commit has taken as long.
const unwellAfter = 5 * time.Second

// What a lane asks of the brokers.
const (
	stepTakeOver = "cannot take the partition over"
	stepFetch    = "cannot fetch"
	stepCommit   = "cannot commit"
	noLease      = "the group's coordinator does not confirm the membership, so nothing is called"
)

// vitals are what a lane's session shows of the brokers. It is the session, with
// an eye on how long each step takes to succeed.
type vitals struct {
	*kafka.Session
	began time.Time

	mu   sync.Mutex
	held map[string]*held // by step
}

// held is a step that has not succeeded yet.
type held struct {
	since time.Time
	err   error // of the last attempt that ended, or that goes on; nil: none has
}

func newVitals(s *kafka.Session, now time.Time) *vitals {
	return &vitals{Session: s, began: now, held: map[string]*held{}}
}

func (v *vitals) begin(step string) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held[step] == nil {
		v.held[step] = &held{since: time.Now()}
	}
}

func (v *vitals) end(step string, err error) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil || !worthRepeating(err) {
		// Done, or over for a reason that ends the lane.
		delete(v.held, step)
	} else if h := v.held[step]; h != nil {
		h.err = err
	}
}

// unwell says what has held the lane up for too long, and since when; empty:
// nothing.
func (v *vitals) unwell(now time.Time) (why string, since time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, step := range []string{stepTakeOver, stepCommit, stepFetch} {
		h := v.held[step]
		switch {
		case h == nil || now.Sub(h.since) < unwellAfter:
		case h.err == nil:
			return fmt.Sprintf("partition %d: %s: no answer", v.Partition(), step), h.since
		default:
			return fmt.Sprintf("partition %d: %s: %v", v.Partition(), step, h.err), h.since
		}
	}
	if now.Sub(v.began) > unwellAfter && v.Lease().Left() <= 0 {
		return fmt.Sprintf("partition %d: %s", v.Partition(), noLease), v.began
	}
	return "", time.Time{}
}

// telling is ctx for what a step asks: why it goes on, where it does, is told as it
// happens, for a step can take as long as the brokers need.
func (v *vitals) telling(ctx context.Context, step string) context.Context {
	if v == nil {
		return ctx
	}
	return kafka.OnRetry(ctx, func(err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if h := v.held[step]; h != nil {
			h.err = err
		}
	})
}

// during takes a step.
func (v *vitals) during(ctx context.Context, step string, do func(context.Context) error) error {
	v.begin(step)
	err := do(v.telling(ctx, step))
	v.end(step, err)
	return err
}

// Fetch implements source.
func (v *vitals) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (out kafka.Fetched, err error) {
	err = v.during(ctx, stepFetch, func(ctx context.Context) error {
		out, err = v.Session.Fetch(ctx, offset, maxBytes, maxWait)
		return err
	})
	return out, err
}

// Range implements source. A lane asks for it where a fetch leaves something open.
func (v *vitals) Range(ctx context.Context) (out kafka.Range, err error) {
	err = v.during(ctx, stepFetch, func(ctx context.Context) error {
		out, err = v.Session.Range(ctx)
		return err
	})
	return out, err
}

// Transact implements transactor.
func (v *vitals) Transact(ctx context.Context, msgs []kafka.Message, pos kafka.Position) error {
	return v.during(ctx, stepCommit, func(ctx context.Context) error { return v.Session.Transact(ctx, msgs, pos) })
}

// Produce implements sink.
func (v *vitals) Produce(ctx context.Context, msgs []kafka.Message) error {
	return v.during(ctx, stepCommit, func(ctx context.Context) error { return v.Session.Produce(ctx, msgs) })
}

// Commit implements sink.
func (v *vitals) Commit(ctx context.Context, pos kafka.Position) error {
	return v.during(ctx, stepCommit, func(ctx context.Context) error { return v.Session.Commit(ctx, pos) })
}

// unwell is what has held up one of the lanes the longest.
func (c *Connector) unwell(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	worst, first := "", now
	for v := range c.vitals {
		if why, since := v.unwell(now); why != "" && since.Before(first) {
			worst, first = why, since
		}
	}
	return worst
}
