package connector

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// group is what a lane commits at once: the events of the records that
// finished since the last commit and the position that they make true.
type group struct {
	outputs  []output
	position position
}

// committer makes a lane's group durable. When it returns nil, every event is
// readable and the position is committed; on an error the lane keeps the group
// and must not count any of its records as done. It is the seam between lanes
// and the way they deliver.
type committer interface {
	commit(ctx context.Context, g group) error
}

// sink is the part of a kafka.Session that commits need.
type sink interface {
	Produce(ctx context.Context, msgs []kafka.Message) error
	Commit(ctx context.Context, pos kafka.Position) error
}

// atLeastOnce publishes first and commits the position after that. A crash in
// between publishes again; it never loses.
type atLeastOnce struct {
	sink sink
	log  *slog.Logger
}

// commit tries until it has succeeded, the context ends or the partition is
// lost. What was published is not published again when only the commit of the
// position has to be repeated.
func (c atLeastOnce) commit(ctx context.Context, g group) error {
	left := g.outputs
	if err := c.persist(ctx, "publish events", func() (err error) {
		left, err = c.publish(ctx, left)
		return err
	}); err != nil {
		return err
	}
	pos := kafka.Position{Offset: g.position.frontier, Metadata: g.position.metadata()}
	return c.persist(ctx, "commit position", func() error { return c.sink.Commit(ctx, pos) })
}

const (
	persistBase = 50 * time.Millisecond
	persistCap  = 5 * time.Second
)

func (c atLeastOnce) persist(ctx context.Context, what string, do func() error) error {
	ceiling := persistBase
	for {
		err := do()
		if err == nil || !worthRepeating(err) || ctx.Err() != nil {
			return err
		}
		c.log.Warn("could not commit, trying again", "step", what, "error", err)
		if !sleep(ctx, jitter(ceiling)) {
			return err
		}
		ceiling = min(2*ceiling, persistCap)
	}
}

// worthRepeating: a broker that is away or refuses for now is waited for, for
// as long as the lane lives. Denied counts too, because rights come back.
func worthRepeating(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.CodeUnavailable, kafka.CodeDenied, kafka.CodeUnknownTopic:
		return true
	default:
		return false
	}
}

// publish writes the events and returns those that are still to be written,
// with the reason. What the broker refuses for good is replaced by its
// fallback, so that nothing poisons a commit.
func (c atLeastOnce) publish(ctx context.Context, outputs []output) ([]output, error) {
	for len(outputs) > 0 {
		msgs := make([]kafka.Message, len(outputs))
		for i := range outputs {
			msgs[i] = outputs[i].msg
		}
		err := c.sink.Produce(ctx, msgs)
		if err == nil {
			return nil, nil
		}
		if unwritten, ok := errors.AsType[*kafka.UnwrittenError](err); ok {
			return pick(outputs, unwritten.Indexes), err
		}
		poison, ok := errors.AsType[*kafka.PoisonError](err)
		if !ok {
			return outputs, err
		}
		outputs = pick(outputs, poison.Indexes)
		for i := range outputs {
			if outputs[i].fallback == nil {
				return outputs, err
			}
			msg, failed := outputs[i].fallback()
			if failed != nil {
				return outputs, errors.Join(err, failed)
			}
			outputs[i] = output{msg: msg}
		}
		c.log.Error("events refused by the broker, writing substitutes", "count", len(outputs), "error", err)
	}
	return nil, nil
}

func pick(outputs []output, indexes []int) []output {
	out := make([]output, len(indexes))
	for i, at := range indexes {
		out[i] = outputs[at]
	}
	return out
}
