package demo

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/countersign/countersign/connector/kafka"
)

// feed sends the stream as a pipeline would: at a steady rate, in order, with
// the identity as key, and what is about a challenge only once the result of
// its create has told the challenge's SID. While one step waits for that, the
// others go on.
type feed struct {
	seed    uint64
	steps   []step
	people  []*person
	topic   string
	rate    float64
	send    func(context.Context, []kafka.Message) error
	known   *tracker
	halfway func() error // called once, when half of the stream is out

	sent    atomic.Int64 // records that the broker has
	next    int          // first step that was not looked at yet
	blocked []step       // looked at, and waiting for a result
}

// run sends everything, or as much as ctx allows: its end is no error. It must
// be the only reader of the tracker's signals meanwhile.
func (f *feed) run(ctx context.Context) error {
	pace := rate.NewLimiter(rate.Limit(f.rate), 1)
	for f.next < len(f.steps) || len(f.blocked) > 0 {
		batch := f.pick()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-f.known.changed:
			}
			if err := f.known.err(); err != nil {
				return err
			}
			continue
		}
		for range batch {
			if pace.Wait(ctx) != nil {
				return nil //nolint:nilerr // ctx has ended, or will before the next is due
			}
		}
		if err := f.publish(ctx, batch); err != nil {
			return err
		}
		if err := f.half(); err != nil {
			return err
		}
	}
	return nil
}

// pick returns the next step that can be sent, with the rest of its burst. None
// means that all that are left wait for a result.
func (f *feed) pick() []step {
	for i, s := range f.blocked {
		if f.ready(s) {
			f.blocked = append(f.blocked[:i], f.blocked[i+1:]...)
			return []step{s}
		}
	}
	for f.next < len(f.steps) {
		first := f.next
		f.next++
		if s := f.steps[first]; !f.ready(s) {
			f.blocked = append(f.blocked, s)
			continue
		}
		if b := f.steps[first].burst; b != 0 {
			for f.next < len(f.steps) && f.steps[f.next].burst == b {
				f.next++
			}
		}
		return f.steps[first:f.next]
	}
	return nil
}

func (f *feed) ready(s step) bool {
	if s.alone() {
		return true
	}
	_, known := f.known.end(requestID(f.seed, s.of))
	return known
}

// publish writes the events with what is known now, and waits until the broker
// has them.
func (f *feed) publish(ctx context.Context, batch []step) error {
	messages := make([]kafka.Message, 0, len(batch))
	for _, s := range batch {
		m, err := f.message(s, time.Now())
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	// A record that is on its way when the context ends must still be counted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	if err := f.send(ctx, messages); err != nil {
		return fmt.Errorf("demo: send requests: %w", err)
	}
	f.sent.Add(int64(len(messages)))
	return nil
}

const publishTimeout = 15 * time.Second

func (f *feed) message(s step, now time.Time) (kafka.Message, error) {
	sid := ""
	if !s.alone() {
		if sid, _ = f.known.end(requestID(f.seed, s.of)); sid == "" {
			// The create came to nothing, so there is nothing to ask about it;
			// a pipeline would look what there is.
			s.kind = kindList
		}
	}
	who := f.people[s.person]
	known, err := who.facts(now, sid)
	if err != nil {
		return kafka.Message{}, err
	}
	value, err := write(f.seed, s, known)
	if err != nil {
		return kafka.Message{}, fmt.Errorf("demo: write request %d (%s): %w", s.index, s.kind, err)
	}
	return kafka.Message{Topic: f.topic, Key: []byte(who.identity), Value: value}, nil
}

// half calls halfway once half of the steps have been sent.
func (f *feed) half() error {
	if f.halfway == nil || f.sent.Load() < int64(len(f.steps)+1)/2 {
		return nil
	}
	call := f.halfway
	f.halfway = nil
	return call()
}
