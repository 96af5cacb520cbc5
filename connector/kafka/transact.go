package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// defaultTransactionTimeout is below the design's ten seconds because Apache
// Kafka looks for transactions that have timed out every ten seconds only: an
// abandoned one delays read_committed readers by the sum of both.
const defaultTransactionTimeout = 4 * time.Second

// farewell is how long the end of ctx may be put off to abort a transaction
// that would hold up the readers of its partitions until it times out.
const farewell = time.Second

var (
	errUnfenced = errors.New("no Fence before it")
	errFenced   = errors.New("a producer of the same transactional id has taken over")
)

// Fence makes this session the partition's only producer: a predecessor's open
// transaction is aborted, and it cannot write any more. Call it before the
// first Transact and before Position is read, so that what is read stays true.
// It waits for brokers that are away for as long as ctx lives.
func (s *Session) Fence(ctx context.Context) error {
	p := s.txn
	if err := p.take(ctx, p.op("start")); err != nil {
		return err
	}
	defer p.give()
	return s.persist(ctx, func() error { return p.begin(ctx) })
}

// Transact writes the messages and commits the partition's position in one
// transaction, which exists only within the call and is known to
// read_committed readers at once or never.
//
//   - nil: committed.
//   - *PoisonError: nothing is committed; the messages it names are refused for
//     good.
//   - CodeFenced, CodeOwnershipLost: the session is over. With CodeFenced the
//     transaction may be committed, and the successor sees which.
//   - CodeCanceled: ctx has ended, and it is not known whether the transaction
//     is committed.
//   - any other: nothing is committed, and the call may be repeated.
//
// A commit that the broker does not answer is settled before the call returns,
// and while the broker is away that takes as long as ctx lives. Other failures
// are waited out for a few seconds. pos must differ from every other position
// that has been committed for the partition, at least in its metadata.
func (s *Session) Transact(ctx context.Context, msgs []Message, pos Position) error {
	p := s.txn
	op := p.op("transact")
	if len(pos.Metadata) > math.MaxInt16 {
		return &Error{Code: CodeTooLarge, Op: op, Err: errors.New("metadata is over 32,767 bytes")}
	}
	if err := p.take(ctx, op); err != nil {
		return err
	}
	defer p.give()
	switch {
	case p.fenced:
		return &Error{Code: CodeFenced, Op: op, Err: errFenced}
	case p.id < 0:
		return &Error{Code: CodeInvalid, Op: op, Err: errUnfenced}
	}
	err := s.transact(ctx, op, msgs, pos)
	if CodeOf(err) == CodeFenced {
		p.fenced = true
	}
	return err
}

func (s *Session) transact(ctx context.Context, op string, msgs []Message, pos Position) error {
	p := s.txn
	places, err := s.client.route(ctx, op, msgs)
	if err != nil {
		return err
	}
	d := newDelivery(ctx, p, msgs, places)
	if err := p.tidy(ctx); err != nil {
		return err
	}
	if len(d.poison.Indexes) > 0 && len(d.queues) == 0 {
		return d.poison
	}
	err = p.fill(ctx, d, offsets{
		group: s.group, generation: s.generation, member: s.member, at: place{s.topic, s.partition}, pos: pos,
	})
	if err == nil && len(d.poison.Indexes) == 0 {
		return p.commit(ctx, func(ctx context.Context) (bool, error) {
			now, err := s.Position(ctx)
			return now == pos, err
		})
	}
	if CodeOf(err) == CodeFenced {
		return err
	}
	if ended := s.giveUp(ctx); CodeOf(ended) == CodeFenced {
		return ended
	}
	if err != nil {
		return err
	}
	slices.Sort(d.poison.Indexes)
	return d.poison
}

// giveUp aborts a transaction whose commit has not been asked for. Where that
// fails, the next call does it before anything else.
func (s *Session) giveUp(ctx context.Context) error {
	patiently := patience{unavailable: s.txn.limit - s.txn.budget()}
	if ctx.Err() != nil {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		ctx, patiently = late, patience{}
	}
	err := s.txn.abort(ctx, patiently)
	if err != nil {
		s.log.Warn("could not abort a transaction: it holds up readers until it times out",
			"partition", s.partition, "error", err)
	}
	return err
}

func transactionalID(group, topic string, partition int) string {
	return fmt.Sprintf("%s-%s-%d", group, topic, partition)
}
