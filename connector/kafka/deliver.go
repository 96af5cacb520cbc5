package kafka

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

// delivery is the writing of some messages by one producer. Each partition has
// at most one batch under way, so its sequences arrive in order.
type delivery struct {
	p      *producer
	msgs   []Message
	places []place
	queues map[place][][]int // indexes of msgs, by batch
	poison *PoisonError
	left   map[int]bool // not acknowledged, and not poison
}

// newDelivery cuts the messages into batches. One that is larger than any
// batch may be is poison before anything is sent.
func newDelivery(ctx context.Context, p *producer, msgs []Message, places []place) *delivery {
	d := &delivery{
		p: p, msgs: slices.Clone(msgs), places: places,
		queues: map[place][][]int{}, poison: &PoisonError{}, left: map[int]bool{},
	}
	now := time.Now()
	sizes := map[place]int64{} // of the last batch in the queue
	for i, at := range places {
		m := &d.msgs[i]
		if m.Timestamp.IsZero() {
			m.Timestamp = now
		}
		size := m.Size()
		if size > MaxMessageBytes {
			exact := encodeBatch([]*Message{m}, stamp{}, now)
			if len(exact)-sizePrefix > MaxMessageBytes {
				d.refuse(i, atPlace(ctx, at, fmt.Errorf("%d bytes: %w", len(exact)-sizePrefix, kafkago.MessageSizeTooLarge)))
				continue
			}
		}
		d.left[i] = true
		queue := d.queues[at]
		if last := len(queue) - 1; last >= 0 && sizes[at]+size <= MaxMessageBytes && len(queue[last]) < batchSize {
			queue[last] = append(queue[last], i)
			sizes[at] += size
			continue
		}
		d.queues[at], sizes[at] = append(queue, []int{i}), size
	}
	return d
}

func atPlace(ctx context.Context, at place, err error) error {
	return wrap(ctx, fmt.Sprintf("produce to %s/%d", at.topic, at.partition), err)
}

func (d *delivery) refuse(i int, err error) {
	d.poison.Indexes = append(d.poison.Indexes, i)
	if d.poison.Err == nil {
		d.poison.Err = err
	}
}

// run sends until every batch is acknowledged or found to be poison. A failure
// that may pass is repeated until the deadline.
func (d *delivery) run(ctx context.Context, deadline time.Time) error {
	return within(deadline).retry(ctx, func() error {
		for len(d.queues) > 0 {
			if err := d.round(ctx, deadline); err != nil {
				return err
			}
		}
		return nil
	})
}

// parcel is the batches that go to one broker.
type parcel struct {
	req  *rawproduce.Request
	sent []place
}

// round sends the first batch of every queue, and returns the gravest error.
func (d *delivery) round(ctx context.Context, deadline time.Time) error {
	parcels, err := d.pack(ctx, deadline)
	if err != nil {
		return err
	}
	answers := make([]map[place]error, len(parcels))
	var wg sync.WaitGroup
	for i, parcel := range parcels {
		wg.Go(func() { answers[i] = d.send(ctx, parcel, deadline) })
	}
	wg.Wait()
	var worst error
	for _, answer := range answers {
		for at, err := range answer {
			if err = d.settle(ctx, at, err); gravity(err) > gravity(worst) {
				worst = err
			}
		}
	}
	return worst
}

// gravity orders errors: what ends the producer is said before what may pass.
func gravity(err error) int {
	switch CodeOf(err) {
	case "":
		return 0
	case CodeUnavailable:
		return 1
	case CodeUnknownTopic:
		return 2
	case CodeCanceled:
		return 3
	case CodeOwnershipLost:
		return 5
	case CodeFenced:
		return 6
	default:
		return 4
	}
}

// pack makes a request for each leader.
func (d *delivery) pack(ctx context.Context, deadline time.Time) ([]parcel, error) {
	var topics []string
	for at := range d.queues {
		if !slices.Contains(topics, at.topic) {
			topics = append(topics, at.topic)
		}
	}
	known, err := d.p.client.layout(ctx, topics)
	if err != nil {
		return nil, wrap(ctx, "produce", err)
	}
	byLeader := map[int32]*parcel{}
	for _, at := range sortedPlaces(d.queues) {
		if at.partition >= len(known[at.topic]) {
			return nil, atPlace(ctx, at, kafkago.UnknownTopicOrPartition)
		}
		leader := known[at.topic][at.partition]
		to := byLeader[leader]
		if to == nil {
			to = &parcel{req: &rawproduce.Request{
				TransactionalID: d.p.txn, Acks: -1, Timeout: int32(d.p.attempt(deadline).Milliseconds()),
			}}
			byLeader[leader] = to
		}
		d.add(to, at)
	}
	var out []parcel
	for _, to := range byLeader {
		out = append(out, *to)
	}
	return out, nil
}

func sortedPlaces(queues map[place][][]int) []place {
	var out []place
	for at := range queues {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return out
}

func (d *delivery) add(to *parcel, at place) {
	head := d.queues[at][0]
	msgs := make([]*Message, len(head))
	for i, index := range head {
		msgs[i] = &d.msgs[index]
	}
	raw := encodeBatch(msgs, stamp{
		producer: d.p.id, epoch: d.p.epoch, sequence: d.p.next[at], transactional: d.p.txn != "",
	}, time.Now())
	topics := to.req.Topics
	if n := len(topics); n == 0 || topics[n-1].Topic != at.topic {
		topics = append(topics, rawproduce.RequestTopic{Topic: at.topic})
	}
	t := &topics[len(topics)-1]
	t.Partitions = append(t.Partitions, rawproduce.RequestPartition{
		Partition: int32(at.partition), RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(raw)},
	})
	to.req.Topics, to.sent = topics, append(to.sent, at)
}

// send returns what became of every batch of a parcel.
func (d *delivery) send(ctx context.Context, to parcel, deadline time.Time) map[place]error {
	out := make(map[place]error, len(to.sent))
	res, err := d.p.ask(ctx, d.p.attempt(deadline), to.req)
	if err != nil {
		for _, at := range to.sent {
			out[at] = err
		}
		return out
	}
	for _, t := range res.(*produce.Response).Topics {
		for _, p := range t.Partitions {
			out[place{t.Topic, int(p.Partition)}] = d.p.client.lacking(d.p.said(p.ErrorCode), onTopic("Write", t.Topic), onTxn(d.p.txn))
		}
	}
	for _, at := range to.sent {
		if _, covered := out[at]; !covered {
			d.p.stale.Store(true)
			out[at] = errUncovered
		}
	}
	return out
}

// settle takes what was said about the first batch of a queue. A batch that is
// refused for good is cut in halves until the messages at fault stand alone.
func (d *delivery) settle(ctx context.Context, at place, err error) error {
	queue := d.queues[at]
	if len(queue) == 0 {
		return nil // an answer to what was not asked
	}
	head := queue[0]
	switch {
	case err == nil, errors.Is(err, kafkago.DuplicateSequenceNumber):
		d.p.next[at] = nextSequence(d.p.next[at], len(head))
		for _, i := range head {
			delete(d.left, i)
		}
		queue = queue[1:]
	case !isPermanent(ctx, err):
		return atPlace(ctx, at, err)
	case len(head) == 1:
		delete(d.left, head[0])
		d.refuse(head[0], atPlace(ctx, at, err))
		queue = queue[1:]
	default:
		half := len(head) / 2
		queue = append([][]int{head[:half:half], head[half:]}, queue[1:]...)
	}
	if len(queue) == 0 {
		delete(d.queues, at)
	} else {
		d.queues[at] = queue
	}
	return nil
}
