package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// kafkaMemory is the memory in the ledger and positions topics, of one
// partition.
type kafkaMemory struct {
	client    *kafka.Client
	group     string
	topics    TopicsConfig
	partition int
	log       *slog.Logger
}

func (m kafkaMemory) position(ctx context.Context) (*schemas.Position, error) {
	if err := m.awaitStable(ctx, m.topics.Positions); err != nil {
		return nil, err
	}
	key := schemas.Position{Group: m.group, Topic: m.topics.Requests, Partition: m.partition}.Key()
	rec, found, err := m.client.LastOf(ctx, m.topics.Positions, m.partition, []byte(key))
	if err != nil || !found || len(rec.Value) == 0 { // a tombstone is somebody's wish to forget
		return nil, err
	}
	p, err := schemas.DecodePosition(rec.Value)
	if err != nil {
		return nil, fmt.Errorf("the position record at %s/%d@%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
	return p, nil
}

// otherCount implements memory. Only partitions with a committed offset have been
// worked on.
func (m kafkaMemory) otherCount(ctx context.Context, now int) (int, error) {
	committed, err := m.client.Committed(ctx, m.group, m.topics.Requests)
	if err != nil {
		return 0, err
	}
	for p := range now {
		if at, ok := committed[p]; !ok || at.Offset < 0 || p == m.partition {
			continue
		}
		other := m
		other.partition = p
		was, err := other.position(ctx)
		if err != nil || was != nil && was.Partitions != now {
			return cmp.Or(was, &schemas.Position{}).Partitions, err
		}
	}
	return 0, nil
}

// stablePatience is how long open transactions of others are nothing to speak of.
const stablePatience = 10 * time.Second

// awaitStable waits for the transactions of others in the partition: what our
// predecessor has committed behind their records can't be read before.
func (m kafkaMemory) awaitStable(ctx context.Context, topic string) error {
	warn := time.AfterFunc(stablePatience, func() {
		m.log.Warn("the partition waits for a transaction of another producer in a topic that is ours", "topic", topic)
	})
	defer warn.Stop()
	return m.client.AwaitStable(ctx, topic, m.partition)
}

func (m kafkaMemory) ledger(ctx context.Context, from int64, horizon time.Time, each func(schemas.LedgerEntry)) (int64, error) {
	if err := m.awaitStable(ctx, m.topics.Ledger); err != nil {
		return from, err
	}
	if from < 0 {
		at, err := m.client.OffsetAt(ctx, m.topics.Ledger, m.partition, horizon)
		if err != nil {
			return from, err
		}
		from = at
	}
	// It ends where the log ends for a read_committed reader. What the former owner
	// committed is before that: its last transaction has ended, and all those of
	// others in these topics that had begun before.
	for rec, err := range m.client.Scan(ctx, m.topics.Ledger, m.partition, from, math.MaxInt64) {
		if kafka.CodeOf(err) == kafka.CodeOutOfRange && from > 0 {
			// Retention has passed what was read last.
			return m.ledger(ctx, -1, horizon, each)
		}
		if err != nil {
			return from, err
		}
		from = rec.Offset + 1
		e, err := readLedgerRecord(rec.Key, rec.Value)
		switch {
		case errors.Is(err, errOddEntry):
			m.log.Warn("a ledger record says nothing and is passed over", "offset", rec.Offset, "error", err)
		case err != nil:
			return rec.Offset, err
		case e != nil:
			each(*e)
		}
	}
	return from, ctx.Err()
}
