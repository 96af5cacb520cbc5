package kafka

import (
	"context"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// layout is what the shared transport knows of some topics: by topic, the
// leader of each partition. The transport asks anew every second.
type layout map[string][]int32

func (c *Client) layout(ctx context.Context, topics []string) (layout, error) {
	res, err := c.link.RoundTrip(ctx, c.addr, &metadata.Request{TopicNames: topics})
	if err != nil {
		return nil, err
	}
	out := layout{}
	for _, t := range res.(*metadata.Response).Topics {
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("topic %s: %w", t.Name, c.lacking(kafkago.Error(t.ErrorCode), onTopic("Describe", t.Name)))
		}
		leaders := make([]int32, len(t.Partitions))
		for i, p := range t.Partitions {
			if int(p.PartitionIndex) != i {
				return nil, fmt.Errorf("topic %s: partition %d is missing", t.Name, i)
			}
			leaders[i] = p.LeaderID
		}
		out[t.Name] = leaders
	}
	for _, t := range topics {
		if len(out[t]) == 0 {
			return nil, fmt.Errorf("topic %s: %w", t, kafkago.UnknownTopicOrPartition)
		}
	}
	return out, nil
}

// route chooses a partition for every message. A topic or partition that is
// not there is given a few seconds to appear.
func (c *Client) route(ctx context.Context, op string, msgs []Message) ([]place, error) {
	var topics []string
	seen := map[string]bool{}
	for i := range msgs {
		if msgs[i].Topic == "" {
			return nil, &Error{Code: CodeInvalid, Op: op, Err: fmt.Errorf("message %d has no topic", i)}
		}
		if !seen[msgs[i].Topic] {
			seen[msgs[i].Topic] = true
			topics = append(topics, msgs[i].Topic)
		}
	}
	if len(topics) == 0 {
		return nil, nil
	}
	var out []place
	err := brieflyIfNew.retry(ctx, func() error {
		known, err := c.layout(ctx, topics)
		if err != nil {
			return wrap(ctx, op, err)
		}
		out, err = known.places(msgs)
		return wrap(ctx, op, err)
	})
	return out, c.blameRights(ctx, err, writes(msgs)...)
}

func (l layout) places(msgs []Message) ([]place, error) {
	numbers := map[string][]int{} // kafka-go's balancer wants them as a list
	for topic, leaders := range l {
		numbers[topic] = make([]int, len(leaders))
		for i := range leaders {
			numbers[topic][i] = i
		}
	}
	out := make([]place, len(msgs))
	for i := range msgs {
		m := &msgs[i]
		at := place{topic: m.Topic}
		switch known := numbers[m.Topic]; {
		case m.Partition == nil:
			at.partition = kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: m.Key}, known...)
		case *m.Partition < 0 || *m.Partition >= len(known):
			return nil, fmt.Errorf("partition %d of %s: %w", *m.Partition, m.Topic, kafkago.UnknownTopicOrPartition)
		default:
			at.partition = *m.Partition
		}
		out[i] = at
	}
	return out, nil
}
