package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/countersign/countersign/schemas"
)

// FetchRequest asks for records of one partition.
type FetchRequest struct {
	Topic     string
	Partition int
	Offset    int64
	// MaxBytes bounds the answer; the broker sends one whole batch all the
	// same. Zero: 1 MiB.
	MaxBytes int
	// MaxWait is how long the broker may wait for data. Zero: do not wait.
	MaxWait time.Duration
}

func (r FetchRequest) op() string {
	return fmt.Sprintf("fetch %s/%d at %d", r.Topic, r.Partition, r.Offset)
}

// Fetch reads committed data records from req.Offset on. It returns at once
// when ctx ends. An offset outside the log is CodeOutOfRange. A topic or
// partition that is not there is given a few seconds to appear before it is
// CodeUnknownTopic, or CodeDenied where it is only hidden from this client; other
// failures are returned as they come.
func (c *Client) Fetch(ctx context.Context, req FetchRequest) (Fetched, error) {
	var out Fetched
	attempts := 0
	err := ifNew.retry(ctx, func() (err error) {
		attempts++
		out, err = c.fetch(ctx, req)
		return wrap(ctx, req.op(), err)
	})
	out.Missed = attempts > 1
	return out, c.blameRights(ctx, err, onTopic("Read", req.Topic))
}

func (c *Client) fetch(ctx context.Context, req FetchRequest) (Fetched, error) {
	raw, err := c.fetchRaw(ctx, req)
	if err != nil {
		return Fetched{}, err
	}
	batches, err := splitBatches(raw.RecordSet)
	if err != nil {
		return Fetched{}, err
	}
	out := Fetched{Next: req.Offset, LastStable: raw.LastStableOffset, HighWatermark: raw.HighWatermark, LogStart: raw.LogStartOffset, batches: len(batches)}
	aborted := newAbortedFilter(raw.AbortedTransactions)
	for _, b := range batches {
		if err := out.take(req, b, aborted); err != nil {
			return Fetched{}, err
		}
	}
	if len(batches) > 0 && out.Next == req.Offset {
		// Everything at and after the offset in this batch has been compacted
		// away. kafka-go does not tell where the batch ends, so look for it;
		// asking for the same offset again would never get on.
		out.Next, err = c.batchEnd(ctx, req, batches[0].base, raw.LastStableOffset)
		if err != nil {
			return Fetched{}, err
		}
		out.Absent = append(out.Absent, Range{Start: req.Offset, End: out.Next})
	}
	return out, nil
}

func (c *Client) fetchRaw(ctx context.Context, req FetchRequest) (*fetch.ResponsePartition, error) {
	maxBytes := req.MaxBytes
	if maxBytes <= 0 {
		maxBytes = 1 << 20
	}
	maxBytes = min(maxBytes, math.MaxInt32)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout+req.MaxWait)
	defer cancel()
	res, err := c.link.RoundTrip(ctx, c.addr, &fetch.Request{
		ReplicaID:   -1,
		MaxWaitTime: int32(min(req.MaxWait.Milliseconds(), math.MaxInt32)),
		MinBytes:    1,
		// The partition's bound does the work. kfake leaves the aborted
		// transactions out of an answer that this one has cut short.
		MaxBytes:       math.MaxInt32,
		IsolationLevel: int8(kafkago.ReadCommitted),
		SessionID:      0,
		SessionEpoch:   -1, // no fetch session: every request stands alone
		Topics: []fetch.RequestTopic{{
			Topic: req.Topic,
			Partitions: []fetch.RequestPartition{{
				Partition:          int32(req.Partition),
				CurrentLeaderEpoch: -1,
				FetchOffset:        req.Offset,
				LogStartOffset:     -1,
				PartitionMaxBytes:  int32(maxBytes),
			}},
		}},
	})
	if err != nil {
		return nil, c.blameLayout(ctx, err)
	}
	fr := res.(*fetch.Response)
	if fr.ErrorCode != 0 {
		return nil, c.lacking(kafkago.Error(fr.ErrorCode), onTopic("Read", req.Topic))
	}
	if len(fr.Topics) != 1 || len(fr.Topics[0].Partitions) != 1 {
		return nil, errUncovered
	}
	p := &fr.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return nil, c.lacking(kafkago.Error(p.ErrorCode), onTopic("Read", req.Topic))
	}
	return p, nil
}

// errUncovered: an answer that leaves out what was asked for says nothing, and
// nothing may be concluded from it.
var errUncovered = errors.New("the broker's answer does not cover the partition")

// blameLayout tells a topic that does not exist from a cluster that has not
// been reached yet: kafka-go reports both as a topic that it cannot find.
func (c *Client) blameLayout(ctx context.Context, err error) error {
	if !isNoTopic(err) {
		return err
	}
	if _, unreached := c.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{}}); unreached != nil {
		return unreached
	}
	return err
}

// take adds one batch's committed data records and moves Next behind its last
// record.
func (f *Fetched) take(req FetchRequest, b batch, aborted *abortedFilter) error {
	drop := aborted.drop(b)
	for {
		rec, err := b.records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if rec.Offset >= f.Next {
			if rec.Offset > f.Next {
				f.Absent = append(f.Absent, Range{Start: f.Next, End: rec.Offset})
			}
			f.Next = rec.Offset + 1
		}
		if drop || rec.Offset < req.Offset {
			if err := discard(rec); err != nil {
				return err
			}
			continue
		}
		r, err := copyRecord(req, rec)
		if err != nil {
			return err
		}
		f.Records = append(f.Records, r)
	}
	return nil
}

func copyRecord(req FetchRequest, rec *protocol.Record) (Record, error) {
	key, err := protocol.ReadAll(rec.Key)
	if err != nil {
		return Record{}, err
	}
	value, err := protocol.ReadAll(rec.Value)
	if err != nil {
		return Record{}, err
	}
	out := Record{
		Topic: req.Topic, Partition: req.Partition, Offset: rec.Offset,
		Key: key, Value: value, Timestamp: rec.Time.UTC(),
	}
	if len(rec.Headers) > 0 {
		out.Headers = make([]schemas.Header, len(rec.Headers))
		for i, h := range rec.Headers {
			out.Headers[i] = schemas.Header{Key: h.Key, Value: h.Value}
		}
	}
	return out, errors.Join(closeBytes(rec.Key), closeBytes(rec.Value))
}

// discard gives the record's pages back to kafka-go.
func discard(rec *protocol.Record) error {
	return errors.Join(closeBytes(rec.Key), closeBytes(rec.Value))
}

func closeBytes(b protocol.Bytes) error {
	if b == nil {
		return nil
	}
	return b.Close()
}
