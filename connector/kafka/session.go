package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Session is one partition, owned by this member for one generation. It is
// safe for concurrent use.
type Session struct {
	client     *Client
	log        *slog.Logger
	group      string
	topic      string
	partition  int
	generation int
	member     string
	lease      *Lease
	txn        *producer // transactional
	idempotent *producer
	appetite   *appetite
}

// Partition is the number of the owned partition.
func (s *Session) Partition() int { return s.partition }

// Topic is the topic of the owned partition.
func (s *Session) Topic() string { return s.topic }

// Generation is the group's generation, for logs.
func (s *Session) Generation() int { return s.generation }

// Fetch reads committed data records of the partition. It asks for fewer than
// maxBytes while that many would be too many batches.
func (s *Session) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (Fetched, error) {
	asked := s.appetite.of(maxBytes)
	res, err := s.client.Fetch(ctx, FetchRequest{
		Topic: s.topic, Partition: s.partition, Offset: offset, MaxBytes: asked, MaxWait: maxWait,
	})
	if err == nil {
		s.appetite.note(asked, res)
	}
	return res, err
}

// Position is what the group has committed for the partition. It waits for a
// broker that is away for as long as ctx lives.
func (s *Session) Position(ctx context.Context) (Position, error) {
	op := fmt.Sprintf("fetch offset of %s/%d", s.topic, s.partition)
	out := Position{Offset: -1}
	err := s.persist(ctx, func() error {
		res, err := s.client.api.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{
			GroupID: s.group, Topics: map[string][]int{s.topic: {s.partition}},
		})
		if err == nil {
			err = res.Error
		}
		if err != nil {
			return wrap(ctx, op, s.client.lacking(err, onGroup("Describe", s.group)))
		}
		for _, p := range res.Topics[s.topic] {
			if p.Partition == s.partition {
				out = Position{Offset: p.CommittedOffset, Metadata: p.Metadata}
				return wrap(ctx, op, s.client.lacking(p.Error, onTopic("Describe", s.topic), onGroup("Describe", s.group)))
			}
		}
		return wrap(ctx, op, errUncovered)
	})
	return out, err
}

// persist repeats do until the brokers answer. Where they stay away, the
// generation ends and ctx with it.
func (s *Session) persist(ctx context.Context, do func() error) error {
	for {
		err := brieflyIfNew.retry(ctx, do)
		if CodeOf(err) != CodeUnavailable {
			return err
		}
		s.log.Warn("waiting for an answer of the brokers", "partition", s.partition, "error", err)
	}
}

// Commit commits the partition's position under the session's generation and
// member id. CodeOwnershipLost means that the group has moved on. A broker
// that is away is waited for about eight seconds.
func (s *Session) Commit(ctx context.Context, pos Position) error {
	op := fmt.Sprintf("commit %d of %s/%d", pos.Offset, s.topic, s.partition)
	if len(pos.Metadata) > math.MaxInt16 {
		// The protocol cannot express it; kafka-go would send something else.
		return &Error{Code: CodeTooLarge, Op: op, Err: errors.New("metadata is over 32,767 bytes")}
	}
	return briefly.retry(ctx, func() error {
		res, err := s.client.api.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
			GroupID: s.group, GenerationID: s.generation, MemberID: s.member,
			Topics: map[string][]kafkago.OffsetCommit{s.topic: {{
				Partition: s.partition, Offset: pos.Offset, Metadata: pos.Metadata,
			}}},
		})
		if err != nil {
			return wrap(ctx, op, err)
		}
		for _, p := range res.Topics[s.topic] {
			if p.Partition == s.partition {
				return wrap(ctx, op, s.client.lacking(p.Error, onTopic("Read", s.topic), onGroup("Read", s.group)))
			}
		}
		return wrap(ctx, op, errUncovered)
	})
}

// Lease says for how much longer the partition is surely this member's. All
// sessions of a generation share it.
func (s *Session) Lease() *Lease { return s.lease }
