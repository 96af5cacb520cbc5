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

// UnwrittenError names the messages that have to be written again after a
// failure that may pass, by their index in the call to Produce: those that were
// not acknowledged, and those of the same key behind them, so that repeating
// just these keeps the order of each key. All others have been written.
type UnwrittenError struct {
	Indexes []int
	Err     error
}

// Error implements error.
func (e *UnwrittenError) Error() string {
	return fmt.Sprintf("kafka: produce: %d message(s) not written: %v", len(e.Indexes), e.Err)
}

// Unwrap gives the cause.
func (e *UnwrittenError) Unwrap() error { return e.Err }

// Produce writes the messages and waits until all in-sync replicas have them.
// Messages of one partition keep their order. A batch that is refused for good
// is cut in halves until the messages at fault stand alone; they are named in
// a *PoisonError and the rest is written, behind what the call had already
// written to the partition. A failure that may pass is an *UnwrittenError. Any
// other error means that nothing has been written. When ctx ends, what has been
// handed to the connection may still be written.
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
	unwritten, err := c.produce(ctx, out, all, poison)
	if err != nil {
		unwritten = append(unwritten, poison.Indexes...) // refused, but not replaced yet
		return &UnwrittenError{Indexes: behind(msgs, unwritten), Err: wrap(ctx, op, c.lacking(err, writes(msgs)...))}
	}
	if len(poison.Indexes) > 0 {
		slices.Sort(poison.Indexes)
		return poison
	}
	return nil
}

// writes are the rights that producing messages needs.
func writes(msgs []Message) []right {
	var out []right
	for i := range msgs {
		if r := onTopic("Write", msgs[i].Topic); !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// behind adds to the indexes the later messages of the same topic and key.
func behind(msgs []Message, indexes []int) []int {
	type place struct{ topic, key string }
	first := map[place]int{}
	again := make(map[int]bool, len(indexes))
	for _, i := range indexes {
		again[i] = true
		p := place{msgs[i].Topic, string(msgs[i].Key)}
		if at, known := first[p]; msgs[i].Key != nil && (!known || i < at) {
			first[p] = i
		}
	}
	var out []int
	for i := range msgs {
		at, known := first[place{msgs[i].Topic, string(msgs[i].Key)}]
		if again[i] || msgs[i].Key != nil && known && i > at {
			out = append(out, i)
		}
	}
	return out
}

// produce writes the messages at idx. With an error it returns the indexes
// that are not known to be written.
func (c *Client) produce(ctx context.Context, msgs []kafkago.Message, idx []int, poison *PoisonError) ([]int, error) {
	if len(idx) == 0 {
		return nil, nil
	}
	part := make([]kafkago.Message, len(idx))
	for i, at := range idx {
		part[i] = msgs[at]
	}
	written := c.writer.WriteMessages(ctx, part...)
	if errors.Is(written, io.ErrClosedPipe) && c.link.isClosed() {
		return idx, errClosed // a closed Writer's word for it
	}
	refused, refusal, err := outcomes(ctx, written, len(part))
	if err != nil {
		return unacknowledged(written, idx), err
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
		return nil, nil
	}
	half := len(again) / 2
	if unwritten, err := c.produce(ctx, msgs, again[:half], poison); err != nil {
		return append(unwritten, again[half:]...), err
	}
	return c.produce(ctx, msgs, again[half:], poison)
}

// unacknowledged are those of idx that a Writer's error does not call written.
func unacknowledged(written error, idx []int) []int {
	each, ok := errors.AsType[kafkago.WriteErrors](written)
	if !ok {
		return slices.Clone(idx)
	}
	var out []int
	for i, e := range each {
		if e != nil {
			out = append(out, idx[i])
		}
	}
	return out
}

// outcomes reads a Writer's error. A failure that may pass is returned as err
// and outweighs the rest, because the caller has to repeat everything then;
// otherwise refused are the messages of batches that were refused for good.
func outcomes(ctx context.Context, written error, n int) (refused []int, refusal, err error) {
	if written == nil {
		return nil, nil, nil
	}
	each, ok := errors.AsType[kafkago.WriteErrors](written)
	if !ok {
		// Nothing was sent, or ctx ended before all answers were there.
		if !isPermanent(ctx, written) {
			return nil, nil, written
		}
		each = slices.Repeat(kafkago.WriteErrors{written}, n)
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
	if m.Partition != nil {
		out.WriterData = *m.Partition // for balancer
	}
	if len(m.Headers) > 0 {
		out.Headers = make([]kafkago.Header, len(m.Headers))
		for i, h := range m.Headers {
			out.Headers[i] = kafkago.Header{Key: h.Key, Value: h.Value}
		}
	}
	return out
}

// balancer lets a Writer put a message where it is pinned to.
func balancer(msg kafkago.Message, partitions ...int) int {
	if pinned, ok := msg.WriterData.(int); ok {
		return pinned
	}
	return kafkago.Murmur2Balancer{}.Balance(msg, partitions...)
}
