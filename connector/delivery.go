package connector

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// group is what a lane commits at once: the events of the records that
// finished since the last commit, what the lane notes for itself, and the
// position that they make true.
type group struct {
	outputs  []output
	books    []kafka.Message // ledger entries and, last, the position record
	position position
}

func (g group) committed() kafka.Position {
	return kafka.Position{Offset: g.position.frontier, Metadata: g.position.metadata()}
}

// delivery makes a lane's groups durable. It is the seam between lanes and the
// way they deliver.
type delivery interface {
	// fence ends what a former owner of the partition has under way. It comes
	// before anything is read.
	fence(ctx context.Context) error
	// anchor makes a first committed offset where the group has none, if commits
	// alone would not prove that there was one.
	anchor(ctx context.Context, pos kafka.Position) error
	// commit returns nil when every event is readable and the position is
	// committed; on an error the lane keeps the group and must not count any of
	// its records as done.
	commit(ctx context.Context, g group) error
}

// transactor is the part of a kafka.Session that exactlyOnce needs.
type transactor interface {
	Fence(ctx context.Context) error
	Transact(ctx context.Context, msgs []kafka.Message, pos kafka.Position) error
}

// exactlyOnce puts a group into one transaction: a read_committed reader sees
// all of it or nothing.
type exactlyOnce struct {
	session transactor
	log     *slog.Logger
}

func (d exactlyOnce) fence(ctx context.Context) error { return d.session.Fence(ctx) }

// A position record and an offset come to be together or not at all.
func (d exactlyOnce) anchor(context.Context, kafka.Position) error { return nil }

func (d exactlyOnce) commit(ctx context.Context, g group) error {
	outputs := g.outputs
	return persist(ctx, d.log, "commit transaction", func() error {
		for {
			err := d.session.Transact(ctx, append(messages(outputs), g.books...), g.committed())
			poison, ok := errors.AsType[*kafka.PoisonError](err)
			if !ok {
				return err
			}
			// Nothing of the transaction is left, so it is repeated whole.
			whole, refused := oneOfEachList(outputs, poison)
			replaced, err := substitute(whole, refused)
			if err != nil {
				return err
			}
			d.log.Error("events refused by the broker, writing substitutes", "count", len(poison.Indexes), "error", poison)
			outputs = replaced
		}
	})
}

// oneOfEachList leaves of a list of which the broker refuses a record the first alone,
// to be replaced: part of a list beside the word that it failed would be two answers.
func oneOfEachList(outputs []output, poison *kafka.PoisonError) ([]output, *kafka.PoisonError) {
	lists, refused := map[*schemas.Result]bool{}, map[int]bool{}
	for _, i := range poison.Indexes {
		if i >= len(outputs) {
			return outputs, poison
		}
		refused[i] = true
		lists[outputs[i].list] = true
	}
	delete(lists, nil)
	left := &kafka.PoisonError{Err: poison.Err}
	var out []output
	for i, o := range outputs {
		first, ofList := lists[o.list]
		if ofList && !first {
			continue
		}
		if ofList {
			lists[o.list] = false
		}
		if ofList || refused[i] {
			left.Indexes = append(left.Indexes, len(out))
		}
		out = append(out, o)
	}
	return out, left
}

// substitute is outputs with fallbacks for those that the broker refuses.
func substitute(outputs []output, poison *kafka.PoisonError) ([]output, error) {
	out := append([]output(nil), outputs...)
	for _, i := range poison.Indexes {
		if i >= len(out) || out[i].fallback == nil {
			return nil, poison
		}
		msg, err := out[i].fallback()
		if err != nil {
			return nil, errors.Join(poison, err)
		}
		out[i] = output{msg: msg}
	}
	return out, nil
}

// sink is the part of a kafka.Session that atLeastOnce needs.
type sink interface {
	Produce(ctx context.Context, msgs []kafka.Message) error
	Commit(ctx context.Context, pos kafka.Position) error
}

// atLeastOnce publishes the events, then the ledger entries, then the position
// record, and commits the offset after that. A crash in between publishes again;
// it never loses, and neither the ledger nor the position tells of what is not
// there.
type atLeastOnce struct {
	sink sink
	log  *slog.Logger
}

func (d atLeastOnce) fence(context.Context) error { return nil }

// The position record is written before the offset. Without an earlier offset, a
// crash in between would look as if the group had lost its own.
func (d atLeastOnce) anchor(ctx context.Context, pos kafka.Position) error {
	return d.sink.Commit(ctx, pos)
}

// commit tries until it has succeeded, the context ends or the partition is
// lost. What was published is not published again when only a later step has to
// be repeated.
func (d atLeastOnce) commit(ctx context.Context, g group) error {
	left := g.outputs
	if err := persist(ctx, d.log, "publish events", func() (err error) {
		left, err = d.publish(ctx, left)
		return err
	}); err != nil {
		return err
	}
	books := make([]output, len(g.books))
	for i, m := range g.books {
		books[i] = output{msg: m}
	}
	entries := max(0, len(books)-1)
	for _, left := range [][]output{books[:entries], books[entries:]} {
		if err := persist(ctx, d.log, "write ledger and position", func() (err error) {
			left, err = d.publish(ctx, left)
			return err
		}); err != nil {
			return err
		}
	}
	return persist(ctx, d.log, "commit position", func() error { return d.sink.Commit(ctx, g.committed()) })
}

const (
	persistBase = 50 * time.Millisecond
	persistCap  = 5 * time.Second
)

func persist(ctx context.Context, log *slog.Logger, what string, do func() error) error {
	ceiling := persistBase
	for {
		err := do()
		if err == nil || !worthRepeating(err) || ctx.Err() != nil {
			return err
		}
		log.Warn("could not commit, trying again", "step", what, "error", err)
		if !sleep(ctx, jitter(ceiling)) {
			return err
		}
		ceiling = min(2*ceiling, persistCap)
	}
}

// worthRepeating: a broker that is away or refuses for now is waited for, for
// as long as the lane lives. Rights, passwords and certificates count too, because
// they are mended.
func worthRepeating(err error) bool {
	return kafka.CodeOf(err) == kafka.CodeUnknownTopic || awayOrRefuses(err)
}

// awayOrRefuses: the brokers do not answer, or not this client.
func awayOrRefuses(err error) bool {
	return kafka.CodeOf(err) == kafka.CodeUnavailable || kafka.Refused(err)
}

// publish writes the events and returns those that are still to be written,
// with the reason. What the broker refuses for good is replaced by its
// fallback, so that nothing poisons a commit.
func (d atLeastOnce) publish(ctx context.Context, outputs []output) ([]output, error) {
	for len(outputs) > 0 {
		err := d.sink.Produce(ctx, messages(outputs))
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
		replaced, err := substitute(outputs, &kafka.PoisonError{Indexes: all(len(outputs)), Err: poison.Err})
		if err != nil {
			return outputs, err
		}
		d.log.Error("events refused by the broker, writing substitutes", "count", len(outputs), "error", poison)
		outputs = replaced
	}
	return nil, nil
}

func messages(outputs []output) []kafka.Message {
	msgs := make([]kafka.Message, len(outputs))
	for i := range outputs {
		msgs[i] = outputs[i].msg
	}
	return msgs
}

func all(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func pick(outputs []output, indexes []int) []output {
	out := make([]output, len(indexes))
	for i, at := range indexes {
		out[i] = outputs[at]
	}
	return out
}
