package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// TopicSpec is a topic that should exist.
type TopicSpec struct {
	Name string
	// Partitions is their number; zero or -1: the broker's default.
	Partitions int
	// Replication is the replication factor; zero or -1: the broker's default.
	Replication int
	// Configs are topic settings such as cleanup.policy; used on creation only.
	Configs map[string]string
}

// EnsureTopics creates the topics that do not exist. One that exists is left
// as it is, whatever its settings.
func (c *Client) EnsureTopics(ctx context.Context, specs []TopicSpec) error {
	if len(specs) == 0 {
		return nil
	}
	req := &kafkago.CreateTopicsRequest{}
	for _, s := range specs {
		t := kafkago.TopicConfig{
			Topic: s.Name, NumPartitions: cmp.Or(s.Partitions, -1), ReplicationFactor: cmp.Or(s.Replication, -1),
		}
		for name, value := range s.Configs {
			t.ConfigEntries = append(t.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
		req.Topics = append(req.Topics, t)
	}
	return briefly.retry(ctx, func() error {
		res, err := c.api.CreateTopics(ctx, req)
		if err != nil {
			return wrap(ctx, "create topics", err)
		}
		for _, s := range specs {
			if err := res.Errors[s.Name]; err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
				return wrap(ctx, "create topic "+s.Name, c.lacking(err, onTopic("Create", s.Name)))
			}
		}
		return nil
	})
}

// TopicSettings are those settings of a topic that are asked for, as the broker
// applies them, its defaults included. One that it does not know is left out.
// CodeDenied where the right to describe the topic's configuration is missing.
func (c *Client) TopicSettings(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	op := "settings of " + topic
	out := map[string]string{}
	err := brieflyIfNew.retry(ctx, func() error {
		res, err := c.api.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{
			Resources: []kafkago.DescribeConfigRequestResource{{
				ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: names,
			}},
		})
		if err != nil {
			return wrap(ctx, op, err)
		}
		for _, r := range res.Resources {
			if r.ResourceName != topic {
				continue
			}
			for _, e := range r.ConfigEntries {
				out[e.ConfigName] = e.ConfigValue
			}
			return wrap(ctx, op, c.lacking(r.Error, onTopic("DescribeConfigs", topic)))
		}
		return wrap(ctx, op, errUncovered)
	})
	return out, err
}

// Partitions is the number of partitions of a topic. CodeUnknownTopic where it
// does not exist.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	var n int
	err := briefly.retry(ctx, func() (err error) {
		n, err = c.partitions(ctx, topic)
		return err
	})
	return n, err
}

// partitions asks a broker once, on a connection of its own: the shared
// transport answers from its cache, and a ConsumerGroup's way of asking makes
// brokers create the topic.
func (c *Client) partitions(ctx context.Context, topic string) (int, error) {
	op := "metadata of " + topic
	wires := newWires(c.link.wires.dial)
	defer wires.cut()
	transport := c.transport(wires.dial, requestTimeout, topic)
	defer transport.CloseIdleConnections()
	api := kafkago.Client{Addr: c.addr, Timeout: requestTimeout, Transport: transport}
	res, err := api.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, wrap(ctx, op, err)
	}
	for _, t := range res.Topics {
		if t.Name == topic {
			return len(t.Partitions), wrap(ctx, op, c.lacking(t.Error, onTopic("Describe", topic)))
		}
	}
	return 0, wrap(ctx, op, kafkago.UnknownTopicOrPartition)
}

// Range is what a partition holds for a read_committed reader: offsets from
// Start on, below End.
type Range struct{ Start, End int64 }

// Ranges returns the readable range of every partition of a topic, by number.
func (c *Client) Ranges(ctx context.Context, topic string) ([]Range, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	op := "offsets of " + topic
	req := &kafkago.ListOffsetsRequest{
		IsolationLevel: kafkago.ReadCommitted,
		Topics:         map[string][]kafkago.OffsetRequest{},
	}
	for p := range n {
		req.Topics[topic] = append(req.Topics[topic], kafkago.FirstOffsetOf(p), kafkago.LastOffsetOf(p))
	}
	out := make([]Range, n)
	err = brieflyIfNew.retry(ctx, func() error {
		res, err := c.api.ListOffsets(ctx, req)
		if err != nil {
			return wrap(ctx, op, err)
		}
		if len(res.Topics[topic]) != n {
			return wrap(ctx, op, fmt.Errorf("%d of %d partitions answered", len(res.Topics[topic]), n))
		}
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return wrap(ctx, op, c.lacking(p.Error, onTopic("Describe", topic)))
			}
			out[p.Partition] = Range{Start: p.FirstOffset, End: p.LastOffset}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
