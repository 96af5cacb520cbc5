package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// TopicSpec is a topic that should exist.
type TopicSpec struct {
	Name       string
	Partitions int
	// Replication is the replication factor; zero or -1: the broker's default.
	Replication int
	// Configs are topic settings such as cleanup.policy; used on creation only.
	Configs map[string]string
}

// EnsureTopics creates the topics that do not exist. One that exists is left
// as it is, whatever its settings.
func (c *Client) EnsureTopics(ctx context.Context, specs []TopicSpec) error {
	req := &kafkago.CreateTopicsRequest{}
	for _, s := range specs {
		t := kafkago.TopicConfig{Topic: s.Name, NumPartitions: s.Partitions, ReplicationFactor: s.Replication}
		if t.ReplicationFactor == 0 {
			t.ReplicationFactor = -1
		}
		for name, value := range s.Configs {
			t.ConfigEntries = append(t.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
		req.Topics = append(req.Topics, t)
	}
	return retryTransient(ctx, func() error {
		res, err := c.api.CreateTopics(ctx, req)
		if err != nil {
			return wrap("create topics", err)
		}
		for name, err := range res.Errors {
			if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
				return wrap("create topic "+name, err)
			}
		}
		return nil
	})
}

// Partitions is the number of partitions of a topic. CodeUnknownTopic where it
// does not exist.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	op := "metadata of " + topic
	var n int
	err := retryTransient(ctx, func() error {
		res, err := c.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
		if err != nil {
			return wrap(op, err)
		}
		for _, t := range res.Topics {
			if t.Name != topic {
				continue
			}
			if t.Error != nil {
				return wrap(op, t.Error)
			}
			n = len(t.Partitions)
			return nil
		}
		return wrap(op, kafkago.UnknownTopicOrPartition)
	})
	return n, err
}

// Range is what a partition holds for a read_committed reader: offsets from
// Start on, below End.
type Range struct{ Start, End int64 }

// Ranges returns the readable range of every partition of a topic.
func (c *Client) Ranges(ctx context.Context, topic string) ([]Range, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	req := &kafkago.ListOffsetsRequest{
		IsolationLevel: kafkago.ReadCommitted,
		Topics:         map[string][]kafkago.OffsetRequest{},
	}
	for p := range n {
		req.Topics[topic] = append(req.Topics[topic], kafkago.FirstOffsetOf(p), kafkago.LastOffsetOf(p))
	}
	out := make([]Range, n)
	err = retryTransient(ctx, func() error {
		res, err := c.api.ListOffsets(ctx, req)
		if err != nil {
			return wrap("offsets of "+topic, err)
		}
		if len(res.Topics[topic]) != n {
			return wrap("offsets of "+topic, fmt.Errorf("%d of %d partitions answered", len(res.Topics[topic]), n))
		}
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return wrap("offsets of "+topic, p.Error)
			}
			out[p.Partition] = Range{Start: p.FirstOffset, End: p.LastOffset}
		}
		return nil
	})
	return out, err
}
