package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// Range is what the partition holds, committed or not: offsets from Start on,
// below End, which is the high watermark. It waits for a broker that is away
// for as long as ctx lives.
func (s *Session) Range(ctx context.Context) (Range, error) {
	var out Range
	err := s.persist(ctx, func() error {
		at, err := s.client.listOffsets(ctx, kafkago.ReadUncommitted, place{s.topic, s.partition}, kafkago.FirstOffset, kafkago.LastOffset)
		out = Range{Start: at[kafkago.FirstOffset], End: at[kafkago.LastOffset]}
		return err
	})
	return out, err
}

// OffsetAt is the first offset whose record's timestamp is at or after a point
// in time, and the partition's end where there is none.
func (c *Client) OffsetAt(ctx context.Context, topic string, partition int, at time.Time) (int64, error) {
	var out int64
	err := brieflyIfNew.retry(ctx, func() error {
		when := max(at.UnixMilli(), 0) // what is below zero has a meaning of its own
		found, err := c.listOffsets(ctx, kafkago.ReadUncommitted, place{topic, partition}, when, kafkago.LastOffset)
		if err != nil {
			return err
		}
		out = found[when]
		if out < 0 {
			out = found[kafkago.LastOffset]
		}
		return nil
	})
	return out, err
}

// HighWatermark is where a partition ends, aborted records, transactions' markers
// and what is not decided yet included.
func (c *Client) HighWatermark(ctx context.Context, topic string, partition int) (int64, error) {
	return c.end(ctx, kafkago.ReadUncommitted, place{topic, partition})
}

// stableWatch is how often AwaitStable asks.
const stableWatch = 100 * time.Millisecond

// AwaitStable waits until every transaction has ended that is open in a
// partition now, so that a reader of committed records sees all that stands there.
// That takes until the last one's timeout at most, as long as brokers answer; one
// that is away is waited for about eight seconds.
func (c *Client) AwaitStable(ctx context.Context, topic string, partition int) error {
	end, err := c.end(ctx, kafkago.ReadUncommitted, place{topic, partition})
	for err == nil {
		var stable int64
		if stable, err = c.end(ctx, kafkago.ReadCommitted, place{topic, partition}); err != nil || stable >= end {
			break
		}
		if !wait(ctx, stableWatch) {
			return wrap(ctx, fmt.Sprintf("wait for open transactions in %s/%d", topic, partition), context.Cause(ctx))
		}
	}
	return err
}

// end is the high watermark of a partition, or its last stable offset.
func (c *Client) end(ctx context.Context, isolation kafkago.IsolationLevel, at place) (end int64, err error) {
	err = brieflyIfNew.retry(ctx, func() error {
		found, err := c.listOffsets(ctx, isolation, at, kafkago.LastOffset)
		end = found[kafkago.LastOffset]
		return err
	})
	return end, err
}

// listOffsets asks for the offsets of some times, or of what kafka-go has
// negative numbers for. kafka-go's Client takes what an answer leaves out for
// offset 0.
func (c *Client) listOffsets(ctx context.Context, isolation kafkago.IsolationLevel, at place, times ...int64) (map[int64]int64, error) {
	op := fmt.Sprintf("offsets of %s/%d", at.topic, at.partition)
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := &listoffsets.Request{ReplicaID: -1, IsolationLevel: int8(isolation), Topics: []listoffsets.RequestTopic{{Topic: at.topic}}}
	for _, when := range times {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, listoffsets.RequestPartition{
			Partition: int32(at.partition), CurrentLeaderEpoch: -1, Timestamp: when,
		})
	}
	res, err := c.link.RoundTrip(limited, c.addr, req)
	if err != nil {
		return nil, wrap(ctx, op, err)
	}
	out := map[int64]int64{}
	for _, t := range res.(*listoffsets.Response).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, wrap(ctx, op, c.lacking(kafkago.Error(p.ErrorCode), onTopic("Describe", at.topic)))
			}
			out[p.Timestamp] = p.Offset
		}
	}
	for _, when := range times {
		if _, covered := out[when]; !covered {
			return nil, wrap(ctx, op, errUncovered)
		}
	}
	return out, nil
}

// Committed is what the group has committed for every partition of a topic,
// with offset -1 where that is nothing. A group that does not exist has committed
// nothing.
func (c *Client) Committed(ctx context.Context, group, topic string) (map[int]Position, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	op := fmt.Sprintf("offsets of group %s for %s", group, topic)
	req := &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{}}
	for p := range n {
		req.Topics[topic] = append(req.Topics[topic], p)
	}
	var out map[int]Position
	err = briefly.retry(ctx, func() error {
		res, err := c.api.OffsetFetch(ctx, req)
		if err == nil {
			err = res.Error
		}
		out = make(map[int]Position, n)
		if errors.Is(err, kafkago.GroupIdNotFound) {
			for p := range n {
				out[p] = Position{Offset: -1}
			}
			return nil
		}
		if err != nil {
			return wrap(ctx, op, c.lacking(err, onGroup("Describe", group)))
		}
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return wrap(ctx, op, c.lacking(p.Error, onTopic("Describe", topic), onGroup("Describe", group)))
			}
			out[p.Partition] = Position{Offset: p.CommittedOffset, Metadata: p.Metadata}
		}
		if len(out) != n {
			return wrap(ctx, op, fmt.Errorf("%d of %d partitions answered", len(out), n))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
