package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// a *PoisonError and the rest is written, behind what the call had already
// written to the partition. Any other error means that some messages may have
// been written and some not. When ctx ends, what has been handed to the
// connection may still be written.
func (c *Client) Produce(ctx context.Context, msgs []Message) error {
	const op = "produce"
	if err := ctx.Err(); err != nil {
		return wrap(ctx, op, err)
	}
	out := make([]kafkago.Message, len(msgs))
	all := make([]int, len(msgs))
	for i := range msgs {
		if msgs[i].Topic == "" {
			return &Error{Code: CodeInvalid, Op: op, Err: fmt.Errorf("message %d has no topic", i)}
		}
		out[i], all[i] = toKafka(&msgs[i]), i
	}
	poison := &PoisonError{}
	if err := c.produce(ctx, out, all, poison); err != nil {
		return wrap(ctx, op, err)
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
	written := c.writer.WriteMessages(ctx, part...)
	if errors.Is(written, io.ErrClosedPipe) && c.link.isClosed() {
		return errClosed // a closed Writer's word for it
	}
	refused, refusal, err := outcomes(ctx, written, len(part))
	if err != nil {
		return err
	}
	again := make([]int, len(refused))
	for i, at := range refused {
		again[i] = idx[at]
	}
	if len(again) == 1 {
		poison.Indexes = append(poison.Indexes, again[0])
		if poison.Err == nil {
			poison.Err = wrap(ctx, "produce", refusal)
		}
		return nil
	}
	half := len(again) / 2
	if err := c.produce(ctx, msgs, again[:half], poison); err != nil {
		return err
	}
	return c.produce(ctx, msgs, again[half:], poison)
}

// outcomes reads a Writer's error. A failure that may pass is returned as err
// and outweighs the rest, because the caller has to repeat everything then;
// otherwise refused are the messages of batches that were refused for good.
func outcomes(ctx context.Context, written error, n int) (refused []int, refusal, err error) {
	if written == nil {
		return nil, nil, nil
	}
	var each kafkago.WriteErrors
	if !errors.As(written, &each) {
		// Nothing was sent, or ctx ended before all answers were there.
		if !isPermanent(ctx, written) {
			return nil, nil, written
		}
		refused = make([]int, n)
		for i := range refused {
			refused[i] = i
		}
		return refused, written, nil
	}
	for i, e := range each {
		switch {
		case e == nil:
		case !isPermanent(ctx, e):
			return nil, nil, e
		default:
			refused = append(refused, i)
			if refusal == nil {
				refusal = e
			}
		}
	}
	return refused, refusal, nil
}

func isPermanent(ctx context.Context, err error) bool {
	switch classify(ctx, err) {
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
