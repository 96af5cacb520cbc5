package connector

import (
	"context"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// transactionEnd is how a transaction ended, as far as this side knows. The set
// is closed.
type transactionEnd string

const (
	transactionCommitted transactionEnd = "committed"
	transactionAborted   transactionEnd = "aborted"        // nothing of it is left
	transactionFenced    transactionEnd = "fenced"         // by a later owner, who sees whether it is committed
	transactionLost      transactionEnd = "ownership_lost" // nothing of it is left, and the partition is gone
	transactionUnknown   transactionEnd = "unknown"        // given up before the broker's answer
)

var transactionEnds = []transactionEnd{
	transactionCommitted, transactionAborted, transactionFenced, transactionLost, transactionUnknown,
}

func endOf(err error) transactionEnd {
	switch {
	case err == nil:
		return transactionCommitted
	case kafka.CodeOf(err) == kafka.CodeFenced:
		return transactionFenced
	case kafka.CodeOf(err) == kafka.CodeOwnershipLost:
		return transactionLost
	case kafka.CodeOf(err) == kafka.CodeCanceled:
		return transactionUnknown
	default:
		return transactionAborted
	}
}

// countedTransactor counts what becomes of transactions.
type countedTransactor struct {
	transactor
	stats *stats
}

func (c countedTransactor) Transact(ctx context.Context, msgs []kafka.Message, pos kafka.Position) error {
	err := c.transactor.Transact(ctx, msgs, pos)
	c.stats.metrics.transactions[endOf(err)].Inc()
	c.stats.kafkaFailed(kafkaCommit, err)
	return err
}

// countedSink counts failures to publish and to commit.
type countedSink struct {
	sink
	stats *stats
}

func (c countedSink) Produce(ctx context.Context, msgs []kafka.Message) error {
	err := c.sink.Produce(ctx, msgs)
	c.stats.kafkaFailed(kafkaCommit, err)
	return err
}

func (c countedSink) Commit(ctx context.Context, pos kafka.Position) error {
	err := c.sink.Commit(ctx, pos)
	c.stats.kafkaFailed(kafkaCommit, err)
	return err
}

// countedSource counts failures to read.
type countedSource struct {
	source
	stats *stats
}

func (c countedSource) Position(ctx context.Context) (kafka.Position, error) {
	pos, err := c.source.Position(ctx)
	c.stats.kafkaFailed(kafkaOffsets, err)
	return pos, err
}

func (c countedSource) Range(ctx context.Context) (kafka.Range, error) {
	r, err := c.source.Range(ctx)
	c.stats.kafkaFailed(kafkaOffsets, err)
	return r, err
}

func (c countedSource) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error) {
	f, err := c.source.Fetch(ctx, offset, maxBytes, maxWait)
	c.stats.kafkaFailed(kafkaFetch, err)
	return f, err
}
