package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// waiter prints the results of what was sent. It is made before anything is
// sent, so that it reads from where no result of it can be yet.
type waiter struct {
	client *kafka.Client
	topic  string
	from   []int64 // by partition
	out    io.Writer
}

func newWaiter(ctx context.Context, client *kafka.Client, topic string, out io.Writer) (*waiter, error) {
	ranges, err := client.Ranges(ctx, topic)
	if err != nil {
		return nil, kafkaError(topic, err)
	}
	w := &waiter{client: client, topic: topic, out: out, from: make([]int64, len(ranges))}
	for p, r := range ranges {
		w.from[p] = r.End
	}
	return w, nil
}

// wait returns nil once every event has its result and all of them are good.
func (w *waiter) wait(ctx context.Context, sent []outgoing, timeout time.Duration) error {
	open := map[string]int{} // events without a result, by id
	left, mute := 0, 0
	for _, o := range sent {
		if o.id == "" {
			mute++
			continue
		}
		open[o.id]++
		left++
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	bad := 0
	if left > 0 {
		for rec, err := range follow(ctx, w.client, w.topic, w.from) {
			if err != nil {
				return fmt.Errorf("%d results are still to come: %w", left, err)
			}
			res, _, err := schemas.DecodeResult(rec.Value)
			if err != nil || open[res.RequestID] == 0 {
				continue // somebody else's
			}
			if _, err := fmt.Fprintln(w.out, resultLine(rec, res)); err != nil {
				return err
			}
			if res.Page != nil && !res.Page.Last {
				continue
			}
			open[res.RequestID]--
			left--
			if !succeeded(res.Outcome) {
				bad++
			}
			if left == 0 {
				break
			}
		}
	}
	switch {
	case left > 0:
		return fmt.Errorf("stopped waiting: %d of %d results did not come", left, len(sent))
	case mute > 0:
		return fmt.Errorf("%d events have no usable id: no result can refer to them; see countersign tail --topic deadletters", mute)
	case bad > 0:
		return fmt.Errorf("%d of %d requests did not succeed", bad, len(sent))
	default:
		return nil
	}
}

// succeeded tells the outcomes that a sender hopes for from the others.
func succeeded(o schemas.Outcome) bool {
	switch o {
	case schemas.OutcomeSucceeded, schemas.OutcomeAdopted, schemas.OutcomeDuplicate:
		return true
	default:
		return false
	}
}
