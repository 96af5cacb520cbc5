package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/addoffsetstotxn"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/txnoffsetcommit"
)

// offsets is what a transaction commits for the group.
type offsets struct {
	group      string
	generation int
	member     string
	at         place
	pos        Position
}

// attempt is how long one request may take that has to be done by the deadline:
// not longer than half of what is given to the whole, so that an answer that
// was lost leaves time for asking again.
func (p *producer) attempt(deadline time.Time) time.Duration {
	return max(min(p.budget()/2, time.Until(deadline)), time.Millisecond)
}

// budget is how long a transaction may fill. What is left of the limit then is
// for ending it before the broker does, which fences the producer.
func (p *producer) budget() time.Duration { return p.limit * 3 / 5 }

// fill writes the messages and the offsets into a transaction.
func (p *producer) fill(ctx context.Context, d *delivery, o offsets) error {
	deadline := time.Now().Add(p.budget())
	patiently := within(deadline)
	p.open = true
	if len(d.queues) > 0 {
		if err := patiently.retry(ctx, func() error { return p.addPartitions(ctx, deadline, sortedPlaces(d.queues)) }); err != nil {
			return err
		}
	}
	var written, committed error
	var wg sync.WaitGroup
	wg.Go(func() { written = d.run(ctx, deadline) })
	wg.Go(func() {
		committed = within(deadline).retry(ctx, func() error { return p.addOffsets(ctx, deadline, o.group) })
		if committed == nil {
			committed = within(deadline).retry(ctx, func() error { return p.commitOffsets(ctx, deadline, o) })
		}
	})
	wg.Wait()
	if gravity(committed) > gravity(written) {
		return committed
	}
	return written
}

func (p *producer) addPartitions(ctx context.Context, deadline time.Time, places []place) error {
	op := p.op("add partitions to a transaction")
	req := &addpartitionstotxn.Request{TransactionalID: p.txn, ProducerID: p.id, ProducerEpoch: p.epoch}
	for _, at := range places {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Name != at.topic {
			req.Topics = append(req.Topics, addpartitionstotxn.RequestTopic{Name: at.topic})
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, int32(at.partition))
	}
	res, err := p.ask(ctx, p.attempt(deadline), req)
	if err != nil {
		return wrap(ctx, op, err)
	}
	covered := 0
	var worst error
	for _, t := range res.(*addpartitionstotxn.Response).Results {
		for _, r := range t.Results {
			covered++
			if err := wrap(ctx, op, p.client.lacking(p.said(r.ErrorCode), onTopic("Write", t.Name), onTxn(p.txn))); gravity(err) > gravity(worst) {
				worst = err
			}
		}
	}
	if worst == nil && covered < len(places) {
		worst = wrap(ctx, op, errUncovered)
	}
	return worst
}

func (p *producer) addOffsets(ctx context.Context, deadline time.Time, group string) error {
	op := p.op("add offsets to a transaction")
	res, err := p.ask(ctx, p.attempt(deadline), &addoffsetstotxn.Request{
		TransactionalID: p.txn, ProducerID: p.id, ProducerEpoch: p.epoch, GroupID: group,
	})
	if err != nil {
		return wrap(ctx, op, err)
	}
	return wrap(ctx, op, p.client.lacking(p.said(res.(*addoffsetstotxn.Response).ErrorCode), onGroup("Read", group), onTxn(p.txn)))
}

func (p *producer) commitOffsets(ctx context.Context, deadline time.Time, o offsets) error {
	op := p.op("commit offsets in a transaction")
	res, err := p.ask(ctx, p.attempt(deadline), &txnoffsetcommit.Request{
		TransactionalID: p.txn, GroupID: o.group, ProducerID: p.id, ProducerEpoch: p.epoch,
		GenerationID: int32(o.generation), MemberID: o.member,
		Topics: []txnoffsetcommit.RequestTopic{{Name: o.at.topic, Partitions: []txnoffsetcommit.RequestPartition{{
			Partition: int32(o.at.partition), CommittedOffset: o.pos.Offset,
			CommittedLeaderEpoch: -1, CommittedMetadata: o.pos.Metadata,
		}}}},
	})
	if err != nil {
		return wrap(ctx, op, err)
	}
	for _, t := range res.(*txnoffsetcommit.Response).Topics {
		for _, r := range t.Partitions {
			if t.Name == o.at.topic && int(r.Partition) == o.at.partition {
				return wrap(ctx, op, p.client.lacking(p.said(r.ErrorCode), onTopic("Read", t.Name), onGroup("Read", o.group), onTxn(p.txn)))
			}
		}
	}
	return wrap(ctx, op, errUncovered)
}

func (p *producer) end(ctx context.Context, d time.Duration, commit bool) error {
	op := p.op("abort")
	if commit {
		op = p.op("commit")
	}
	res, err := p.ask(ctx, d, &endtxn.Request{
		TransactionalID: p.txn, ProducerID: p.id, ProducerEpoch: p.epoch, Committed: commit,
	})
	if err != nil {
		return wrap(ctx, op, err)
	}
	return wrap(ctx, op, p.client.lacking(p.said(res.(*endtxn.Response).ErrorCode), onTxn(p.txn)))
}

// abort ends what may be open. Where nothing is, that is as good.
func (p *producer) abort(ctx context.Context, patiently patience) error {
	err := patiently.retry(ctx, func() error {
		err := p.end(ctx, p.budget()/2, false)
		if errors.Is(err, kafkago.InvalidTransactionState) {
			return nil
		}
		return err
	})
	if err == nil {
		p.open = false
	}
	return err
}

// tidy makes a producer whose last call did not end well usable again, under
// another epoch: nothing of the former one can count any more.
func (p *producer) tidy(ctx context.Context) error {
	if p.open {
		if err := p.abort(ctx, briefly); err != nil {
			return err
		}
	}
	if !p.stale.Load() && p.id >= 0 {
		return nil
	}
	return briefly.retry(ctx, func() error { return p.move(ctx) })
}

// commit ends the transaction for good and returns nil only if it is
// committed; with any error but CodeFenced and CodeCanceled it is not.
//
// A request without an answer is repeated under the same epoch for as long as
// ctx lives: the broker answers a repeated one as the first, and one whose
// transaction has timed out meanwhile with an error that says so. A new epoch
// instead would fence this very producer where the transaction is still open.
func (p *producer) commit(ctx context.Context, committed func(context.Context) (bool, error)) error {
	unclear := false // an attempt may have been carried out
	for delay := retryBase; ; delay = min(2*delay, retryCap) {
		err := p.end(ctx, p.budget()/2, true)
		switch {
		case err == nil:
			p.open = false
			return nil
		case errors.Is(err, kafkago.InvalidTransactionState), errors.Is(err, kafkago.InvalidProducerIDMapping):
			// It is not open under this epoch: it has ended, but how?
			return p.verdict(ctx, err, committed)
		case CodeOf(err) == CodeFenced:
			return err
		case CodeOf(err) == CodeCanceled:
			return err
		case CodeOf(err) != CodeUnavailable && !unclear && !leavesOpen(err):
			return err // the broker has said it, so nothing was carried out
		}
		unclear = unclear || leavesOpen(err)
		retrying(ctx, err)
		if !wait(ctx, delay) {
			return canceled(ctx, err)
		}
	}
}

// verdict goes on to the next epoch, after which the last one's transaction
// cannot be committed any more, and looks whether it has been.
func (p *producer) verdict(ctx context.Context, cause error, committed func(context.Context) (bool, error)) error {
	for delay := retryBase; ; delay = min(2*delay, retryCap) {
		err := p.move(ctx)
		if err == nil {
			break
		}
		if code := CodeOf(err); code == CodeFenced || code == CodeCanceled {
			return err
		}
		retrying(ctx, err)
		if !wait(ctx, delay) {
			return canceled(ctx, err)
		}
	}
	done, err := committed(ctx)
	switch {
	case CodeOf(err) == CodeCanceled:
		return err
	case err != nil:
		// Whether it is committed cannot be found out, so whoever is next must.
		return &Error{Code: CodeFenced, Op: p.op("commit"), Err: err}
	case !done:
		return &Error{Code: CodeUnavailable, Op: p.op("commit"), Err: cause}
	}
	return nil
}
