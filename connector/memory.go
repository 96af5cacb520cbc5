package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

func (m kafkaMemory) ledger(ctx context.Context, from int64, horizon time.Time, each func(schemas.LedgerEntry)) (int64, error) {
	ranges, err := m.client.Ranges(ctx, m.topics.Ledger)
	if err != nil {
		return from, err
	}
	if m.partition >= len(ranges) {
		return from, &kafka.Error{
			Code: kafka.CodeUnknownTopic, Op: "restore the ledger", Err: fmt.Errorf("topic %s has no partition %d", m.topics.Ledger, m.partition),
		}
	}
	log := ranges[m.partition]
	if from < 0 {
		at, err := m.client.OffsetAt(ctx, m.topics.Ledger, m.partition, horizon)
		if err != nil {
			return from, err
		}
		from = at
	}
	from = max(from, log.Start)
	for rec, err := range m.client.Scan(ctx, m.topics.Ledger, m.partition, from, log.End) {
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
	return max(from, log.End), ctx.Err()
}
