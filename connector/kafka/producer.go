package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// producer writes batches under a producer id, a transactional one or, without
// an id of its own, a merely idempotent one. Its methods need its turn.
type producer struct {
	client *Client
	txn    string        // transactional id; empty: idempotent only
	limit  time.Duration // of a transaction, after which the broker aborts it

	turn chan struct{} // holds one element while a call is under way

	id     int64 // -1: none yet
	epoch  int16
	next   map[place]int32 // sequences under id and epoch
	open   bool            // a transaction may be open at the coordinator
	fenced bool
	// stale: a request under this epoch was not answered, so it may arrive at
	// any time, or the sequences are in doubt. Nothing more may be written
	// before the epoch has moved on, or the late one would count.
	stale atomic.Bool
}

// place is one partition of one topic.
type place struct {
	topic     string
	partition int
}

func newProducer(c *Client, txn string, limit time.Duration) *producer {
	return &producer{client: c, txn: txn, limit: limit, turn: make(chan struct{}, 1), id: -1, epoch: -1}
}

// take waits for the producer's turn; give returns it.
func (p *producer) take(ctx context.Context, op string) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return wrap(ctx, op, context.Cause(ctx))
	}
}

func (p *producer) give() { <-p.turn }

// ask makes one request that is not waited for longer than d. Where there is no
// answer, or one that leaves open what has been done, the epoch is stale.
func (p *producer) ask(ctx context.Context, d time.Duration, req kafkago.Request) (kafkago.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	res, err := p.client.link.RoundTrip(ctx, p.client.addr, req)
	if err != nil && !isNoTopic(err) {
		p.stale.Store(true)
	}
	return res, err
}

// said makes an error of a broker's code, and notes one after which the epoch
// is stale.
func (p *producer) said(code int16) error {
	if code == 0 {
		return nil
	}
	err := kafkago.Error(code)
	switch err {
	case kafkago.OutOfOrderSequenceNumber, kafkago.UnknownProducerId, kafkago.InvalidProducerIDMapping,
		kafkago.InvalidTransactionState:
		p.stale.Store(true)
	default:
		if leavesOpen(err) {
			p.stale.Store(true)
		}
	}
	return err
}

// leavesOpen reports that after this error a request may have been carried out
// all the same: there was no answer, or one that says so.
func leavesOpen(err error) bool {
	code, said := errors.AsType[kafkago.Error](err)
	if !said {
		return true
	}
	switch code {
	case kafkago.Unknown, kafkago.RequestTimedOut, kafkago.NotEnoughReplicasAfterAppend, kafkago.NetworkException:
		return true
	default:
		return false
	}
}

// begin gets an id and a first epoch. With a transactional id it ends what an
// earlier producer has open, and fences it.
func (p *producer) begin(ctx context.Context) error {
	id, epoch, err := p.initOnce(ctx, -1, -1)
	if err != nil {
		return err
	}
	p.fenced = false
	p.renew(id, epoch)
	return nil
}

// move goes on to the next epoch. That it is the very next one shows that
// nobody else has begun meanwhile.
func (p *producer) move(ctx context.Context) error {
	if p.txn == "" {
		// Without a transactional id, an epoch means nothing to the broker.
		return p.begin(ctx)
	}
	id, epoch, err := p.initOnce(ctx, p.id, p.epoch)
	if err != nil {
		return err
	}
	if id == p.id && epoch != p.epoch+1 {
		return wrap(ctx, p.op("renew"), kafkago.ProducerFenced)
	}
	p.renew(id, epoch)
	return nil
}

func (p *producer) renew(id int64, epoch int16) {
	p.id, p.epoch, p.next, p.open = id, epoch, map[place]int32{}, false
	p.stale.Store(false)
}

func (p *producer) initOnce(ctx context.Context, id int64, epoch int16) (int64, int16, error) {
	op := p.op("start")
	res, err := p.ask(ctx, requestTimeout, &initproducerid.Request{
		TransactionalID: p.txn, TransactionTimeoutMs: int32(p.limit.Milliseconds()), ProducerID: id, ProducerEpoch: epoch,
	})
	if err != nil {
		return 0, 0, wrap(ctx, op, err)
	}
	r := res.(*initproducerid.Response)
	if err := p.said(r.ErrorCode); err != nil {
		if errors.Is(err, kafkago.InvalidProducerIDMapping) {
			// The id has expired, or is another's.
			return 0, 0, &Error{Code: CodeFenced, Op: op, Err: err}
		}
		return 0, 0, wrap(ctx, op, p.client.lacking(err, onTxn(p.txn), right{"IdempotentWrite", clusterResource, ""}))
	}
	if r.ProducerID < 0 || r.ProducerEpoch < 0 {
		return 0, 0, wrap(ctx, op, errors.New("the broker's answer holds no producer id"))
	}
	return r.ProducerID, r.ProducerEpoch, nil
}

func (p *producer) op(what string) string {
	if p.txn == "" {
		return what + " of an idempotent producer"
	}
	return fmt.Sprintf("%s of transactional id %s", what, p.txn)
}
