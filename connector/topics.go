package connector

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

const (
	topicsBase = time.Second
	topicsCap  = 5 * time.Second
)

// awaitTopics makes the topics where that is wanted, and waits until all of
// them exist and are fit for what they are for: a call whose outcome cannot be
// published must not be made. What is mended meanwhile lets it go on. It
// reports false when ctx ended first.
func (c *Connector) awaitTopics(ctx context.Context, client *kafka.Client) bool {
	said := ""
	for delay := topicsBase; ; delay = min(2*delay, topicsCap) {
		err := c.checkTopics(ctx, client)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			return true
		case err.Error() != said:
			said, delay = err.Error(), topicsBase
			member{c}.Unjoined(err)
		}
		if !sleep(ctx, delay) {
			return false
		}
	}
}

func (c *Connector) checkTopics(ctx context.Context, client *kafka.Client) error {
	topics := c.cfg.Kafka.Topics
	if c.cfg.Kafka.CreateTopics {
		if err := client.EnsureTopics(ctx, c.cfg.topicSpecs()); err != nil {
			return err
		}
	}
	for _, topic := range []string{topics.Results, topics.DeadLetters} {
		if _, err := client.Partitions(ctx, topic); err != nil {
			return err
		}
	}
	want, err := client.Partitions(ctx, topics.Requests)
	if err != nil {
		return err
	}
	if c.cfg.Kafka.CreateTopics {
		if err := client.EnsureTopics(ctx, c.cfg.ownTopicSpecs(want)); err != nil {
			return err
		}
	}
	var faults []TopicFault
	for _, topic := range []string{topics.Ledger, topics.Positions} {
		n, err := client.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		if n < want {
			faults = append(faults, TopicFault{
				Topic: topic, Setting: "partitions", Found: strconv.Itoa(n),
				Want: fmt.Sprintf("at least %d, as many as %s has", want, topics.Requests), Why: "each partition of the requests needs its own",
			})
		}
	}
	unfit, err := c.checkSettings(ctx, client)
	if err != nil {
		return err
	}
	if faults = append(faults, unfit...); len(faults) > 0 {
		return &TopicsError{Faults: faults}
	}
	return nil
}

// topicSpecs are the topics that a Connector makes where it may. Requests and
// results are evidence, so they are never compacted.
func (c Config) topicSpecs() []kafka.TopicSpec {
	var out []kafka.TopicSpec
	for _, name := range []string{c.Kafka.Topics.Requests, c.Kafka.Topics.Results, c.Kafka.Topics.DeadLetters} {
		out = append(out, kafka.TopicSpec{
			Name: name, Partitions: c.Kafka.Partitions, Configs: map[string]string{"cleanup.policy": "delete"},
		})
	}
	return out
}

// ownTopicSpecs are the topics that only Countersign reads: what it remembers
// for as long as it matters, by key. Small segments let the brokers compact
// early.
func (c Config) ownTopicSpecs(partitions int) []kafka.TopicSpec {
	const segment = "16777216"
	horizon := strconv.FormatInt((2 * c.Ledger.Horizon).Milliseconds(), 10)
	return []kafka.TopicSpec{
		{Name: c.Kafka.Topics.Ledger, Partitions: partitions, Configs: map[string]string{
			"cleanup.policy": "compact,delete", "retention.ms": horizon, "segment.bytes": segment,
		}},
		{Name: c.Kafka.Topics.Positions, Partitions: partitions, Configs: map[string]string{
			"cleanup.policy": "compact", "segment.bytes": segment,
		}},
	}
}
