package interop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	ours "github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// holds waits until a topic has so many committed records and returns them in the order
// of partitions and offsets.
func (w *world) holds(topic string, n int) (out []*kgo.Record) {
	w.t.Helper()
	reader := w.franz(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for len(out) < n && ctx.Err() == nil {
		out = append(out, reader.PollFetches(ctx).Records()...)
	}
	if len(out) != n {
		w.t.Fatalf("%s has %d records, want %d", topic, len(out), n)
	}
	slices.SortFunc(out, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return out
}

// remade deletes a topic and makes it anew with what it held, each record at its
// offset. The first record that change takes is written as it leaves it, and returned.
func (v *verifier) remade(topic string, change func(r *kgo.Record) bool) (changed *kgo.Record) {
	v.t.Helper()
	admin := v.franz()
	gone := kmsg.NewPtrDeleteTopicsRequest()
	gone.TimeoutMillis, gone.TopicNames = int32(patience.Milliseconds()), []string{topic}
	named := kmsg.NewDeleteTopicsRequestTopic()
	named.Topic = new(topic)
	gone.Topics = append(gone.Topics, named)
	answer, err := gone.RequestWith(v.t.Context(), admin)
	must(v.t, err)
	must(v.t, kerr.ErrorForCode(answer.Topics[0].ErrorCode))
	creation := kmsg.NewPtrCreateTopicsRequest()
	anew := kmsg.NewCreateTopicsRequestTopic()
	anew.Topic, anew.NumPartitions, anew.ReplicationFactor = topic, partitions, 1
	creation.TimeoutMillis, creation.Topics = int32(patience.Milliseconds()), []kmsg.CreateTopicsRequestTopic{anew}
	v.await("the topic to be there anew", func() bool {
		answer, err := creation.RequestWith(v.t.Context(), admin)
		must(v.t, err)
		err = kerr.ErrorForCode(answer.Topics[0].ErrorCode)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return false
		}
		must(v.t, err)
		return true
	})

	manual := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1)}
	plain, inTransaction := v.franz(manual...), v.franz(append(manual, kgo.TransactionalID(topic+"-anew"))...)
	defer plain.Close()
	defer inTransaction.Close()
	var run []*kgo.Record
	next := int64(0)
	// Between two runs of records are markers of transactions and aborted records: as
	// many offsets are filled with a marker of the run's own, or with an aborted
	// transaction behind it. Of what nobody sees, no more has to be as it was.
	flush := func(partition int32, gap int64) {
		switch {
		case len(run) == 0 && next == 0 && gap == 1: // nothing stands in the partition
			next = -1
		case gap == 1 && len(run) > 0:
			must(v.t, inTransaction.BeginTransaction())
			must(v.t, inTransaction.ProduceSync(v.t.Context(), run...).FirstErr())
			must(v.t, inTransaction.EndTransaction(v.t.Context(), kgo.TryCommit))
		default:
			v.settled(topic, partition, next-int64(len(run)))
			must(v.t, plain.ProduceSync(v.t.Context(), run...).FirstErr())
			if gap == 0 {
				break
			}
			must(v.t, inTransaction.BeginTransaction())
			for range gap - 1 {
				must(v.t, inTransaction.ProduceSync(v.t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte("aborted")}).FirstErr())
			}
			must(v.t, inTransaction.EndTransaction(v.t.Context(), kgo.TryAbort))
		}
		for i, r := range run {
			if want := next - int64(len(run)-i); r.Offset != want {
				v.t.Fatalf("%s/%d@%d was written at %d", topic, r.Partition, want, r.Offset)
			}
		}
		run, next = nil, next+gap
	}
	partition := int32(0)
	for _, was := range v.originals[topic] {
		if was.Partition != partition {
			flush(partition, 1)
			v.settled(topic, partition, next)
			partition, next = was.Partition, 0
		}
		if was.Offset != next {
			flush(partition, was.Offset-next)
		}
		r := &kgo.Record{
			Topic: topic, Partition: partition, Timestamp: was.Timestamp,
			Key: slices.Clone(was.Key), Value: slices.Clone(was.Value), Headers: slices.Clone(was.Headers),
		}
		if changed == nil && change != nil && change(r) {
			changed = r
		}
		run, next = append(run, r), next+1
	}
	flush(partition, 1)
	v.settled(topic, partition, next)
	if change != nil && changed == nil {
		v.t.Fatalf("%s holds no record to change", topic)
	}
	return changed
}

// settled waits until a log ends at an offset: a marker is written some time after its
// transaction has ended.
func (v *verifier) settled(topic string, partition int32, end int64) {
	v.t.Helper()
	v.await("the markers", func() bool {
		held, err := v.client.Ranges(v.t.Context(), topic)
		if ours.CodeOf(err) == ours.CodeUnknownTopic {
			return false // a topic is there before its partitions have leaders
		}
		must(v.t, err)
		return held[partition].End >= end
	})
}

// moreRecords: what belongs to another group, or is no result, is no part of a report;
// a further answer is, unless the report says that it came too late.
func (v *verifier) moreRecords() {
	first := v.originals[v.topics.Results][0]
	answer, _, err := schemas.DecodeResult(first.Value)
	must(v.t, err)
	producer := v.franz(kgo.DefaultProduceTopic(v.topics.Results))
	add := func(value []byte, of *kgo.Record) {
		must(v.t, producer.ProduceSync(v.t.Context(), &kgo.Record{Value: value, Timestamp: of.Timestamp}).FirstErr())
	}
	stranger := *answer
	stranger.ID = schemas.ResultID("another", answer.Request, 0)
	value, err := stranger.Encode()
	must(v.t, err)
	add(value, first)
	elsewhere := *answer
	elsewhere.Request.Topic = "another"
	elsewhere.ID = schemas.ResultID(v.group, elsewhere.Request, 0)
	value, err = elsewhere.Encode()
	must(v.t, err)
	add(value, first)
	add([]byte("no result"), first)
	add(fmt.Appendf(nil, `{"outcome": 1, %s`, first.Value[1:]), first)
	add(nil, first)
	for _, name := range v.windows {
		v.says(isSo, name)
	}
	late := *first
	late.Timestamp = v.until
	add(first.Value, &late)
	v.says(isSo, "answers until")
	v.says(isSo, "all") // it says where the topics ended
	v.says(differs, "by time", v.topics.Results)
	late.Timestamp = v.until.Add(-time.Millisecond)
	add(first.Value, &late)
	v.says(differs, "answers until", v.topics.Results)
	odd := &kgo.Record{Timestamp: first.Timestamp, Headers: []kgo.RecordHeader{{Key: "\xff"}}}
	must(v.t, producer.ProduceSync(v.t.Context(), odd).FirstErr())
	v.says(cannotRun, "by time", fmt.Sprintf("%s/%d@%d: the name of a header", v.topics.Results, odd.Partition, odd.Offset))
	v.remade(v.topics.Results, nil)
}
