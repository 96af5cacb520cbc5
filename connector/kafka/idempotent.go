package kafka

import (
	"context"
	"slices"
	"time"
)

// Produce writes the messages and waits until all in-sync replicas have them. A
// request that is repeated because its answer was lost writes nothing twice;
// what the caller repeats is written again. Messages of one partition keep
// their order. The errors are Client.Produce's, only that the rest of a batch
// that is refused for good keeps its place.
func (s *Session) Produce(ctx context.Context, msgs []Message) error {
	const op = "produce"
	if err := ctx.Err(); err != nil {
		return wrap(ctx, op, err)
	}
	p := s.idempotent
	if err := p.take(ctx, op); err != nil {
		return err
	}
	defer p.give()
	all := make([]int, len(msgs))
	for i := range all {
		all[i] = i
	}
	places, err := s.client.route(ctx, op, msgs)
	if CodeOf(err) == CodeInvalid {
		return err
	}
	if err != nil {
		return &UnwrittenError{Indexes: all, Err: err}
	}
	if len(msgs) == 0 {
		return nil
	}
	if err := p.tidy(ctx); err != nil {
		return &UnwrittenError{Indexes: all, Err: err}
	}
	d := newDelivery(ctx, p, msgs, places)
	if err := d.run(ctx, time.Now().Add(briefly.unavailable)); err != nil {
		again := slices.Clone(d.poison.Indexes) // refused, but not replaced yet
		for i := range d.left {
			again = append(again, i)
		}
		return &UnwrittenError{Indexes: behind(msgs, again), Err: err}
	}
	if len(d.poison.Indexes) > 0 {
		slices.Sort(d.poison.Indexes)
		return d.poison
	}
	return nil
}
