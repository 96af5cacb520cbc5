package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// PoisonError names the messages that a broker refuses for good, by their
// index in the call to Produce. All others of the call have been written.
type PoisonError struct {
	Indexes []int
	Err     error // the first refusal
}

// Error implements error.
func (e *PoisonError) Error() string {
	return fmt.Sprintf("kafka: produce: %d message(s) refused for good: %v", len(e.Indexes), e.Err)
}

// Unwrap gives the cause.
func (e *PoisonError) Unwrap() error { return e.Err }

// Produce writes the messages and waits until all in-sync replicas have them.
// Messages of one partition keep their order. A batch that is refused for good
// is cut in halves until the messages at fault stand alone; they are named in
// a *PoisonError and the rest is written. Any other error means that some
// messages may have been written and some not.
func (c *Client) Produce(ctx context.Context, msgs []Message) error {
	out := make([]kafkago.Message, len(msgs))
	all := make([]int, len(msgs))
	for i := range msgs {
		out[i], all[i] = toKafka(&msgs[i]), i
	}
	poison := &PoisonError{}
	if err := c.produce(ctx, out, all, poison); err != nil {
		return wrap("produce", err)
	}
	if len(poison.Indexes) > 0 {
		slices.Sort(poison.Indexes)
		return poison
	}
	return nil
}

func (c *Client) produce(ctx context.Context, msgs []kafkago.Message, idx []int, poison *PoisonError) error {
	if len(idx) == 0 {
		return nil
	}
	part := make([]kafkago.Message, len(idx))
	for i, at := range idx {
		part[i] = msgs[at]
	}
	failed, permanent, err := outcomes(c.writer.WriteMessages(ctx, part...), len(part))
	if err == nil {
		return nil
	}
	if !permanent {
		return err
	}
	again := make([]int, len(failed))
	for i, at := range failed {
		again[i] = idx[at]
	}
	if len(again) == 1 {
		poison.Indexes = append(poison.Indexes, again[0])
		if poison.Err == nil {
			poison.Err = &Error{Code: classify(err), Op: "produce", Err: err}
		}
		return nil
	}
	half := len(again) / 2
	if err := c.produce(ctx, msgs, again[:half], poison); err != nil {
		return err
	}
	return c.produce(ctx, msgs, again[half:], poison)
}

// outcomes reads a Writer's error: which messages failed, whether every
// failure is permanent, and one of the failures.
func outcomes(err error, n int) (failed []int, permanent bool, first error) {
	if err == nil {
		return nil, false, nil
	}
	var each kafkago.WriteErrors
	if !errors.As(err, &each) {
		// Refused before anything was sent, as a whole.
		failed = make([]int, n)
		for i := range failed {
			failed[i] = i
		}
		return failed, isPermanent(err), err
	}
	permanent = true
	for i, e := range each {
		if e == nil {
			continue
		}
		failed = append(failed, i)
		if first == nil {
			first = e
		}
		permanent = permanent && isPermanent(e)
	}
	return failed, permanent, first
}

func isPermanent(err error) bool {
	switch classify(err) {
	case CodeTooLarge, CodeInvalid:
		return true
	default:
		return false
	}
}

func toKafka(m *Message) kafkago.Message {
	out := kafkago.Message{Topic: m.Topic, Key: m.Key, Value: m.Value, Time: m.Timestamp}
	if out.Time.IsZero() {
		out.Time = time.Now()
	}
	if len(m.Headers) > 0 {
		out.Headers = make([]kafkago.Header, len(m.Headers))
		for i, h := range m.Headers {
			out.Headers[i] = kafkago.Header{Key: h.Key, Value: h.Value}
		}
	}
	return out
}
