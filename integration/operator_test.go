package integration

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// operate does something that only somebody with a broker's tools does, by an
// independent client.
func (p place) operate(t testing.TB, do func(*kgo.Client) error) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.addrs...), kgo.MaxVersions(kversion.V3_5_0())) // topics by name
	must(t, err)
	defer client.Close()
	must(t, do(client))
}

// alter sets a setting of topics.
func (p place) alter(t testing.TB, name, value string, topics ...string) {
	t.Helper()
	p.operate(t, func(client *kgo.Client) error {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		for _, topic := range topics {
			resource := kmsg.NewIncrementalAlterConfigsRequestResource()
			resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
			entry := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			entry.Name, entry.Value = name, &value
			resource.Configs = append(resource.Configs, entry)
			req.Resources = append(req.Resources, resource)
		}
		res, err := req.RequestWith(t.Context(), client)
		if err != nil {
			return err
		}
		for _, r := range res.Resources {
			if r.ErrorCode != 0 {
				t.Fatalf("alter %s of %s: error %d", name, r.ResourceName, r.ErrorCode)
			}
		}
		return nil
	})
}

// grow gives a topic more partitions.
func (p place) grow(t testing.TB, topic string, partitions int) {
	t.Helper()
	p.operate(t, func(client *kgo.Client) error {
		req := kmsg.NewPtrCreatePartitionsRequest()
		one := kmsg.NewCreatePartitionsRequestTopic()
		one.Topic, one.Count = topic, int32(partitions)
		req.Topics, req.TimeoutMillis = append(req.Topics, one), 10_000
		res, err := req.RequestWith(t.Context(), client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].ErrorCode)
	})
}

// deletion asks for the end of topics, by their names in every version of it.
func deletion(topics []string) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, name := range topics {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = new(name)
		req.Topics, req.TopicNames = append(req.Topics, topic), append(req.TopicNames, name)
	}
	return req
}

// remove deletes topics and returns when the brokers know.
func (p place) remove(t testing.TB, topics ...string) {
	t.Helper()
	p.operate(t, func(client *kgo.Client) error {
		res, err := deletion(topics).RequestWith(t.Context(), client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].ErrorCode)
	})
}

// truncate deletes every record of a partition below an offset.
func (p place) truncate(t testing.TB, topic string, partition int, below int64) {
	t.Helper()
	p.operate(t, func(client *kgo.Client) error {
		req := kmsg.NewPtrDeleteRecordsRequest()
		one := kmsg.NewDeleteRecordsRequestTopic()
		one.Topic = topic
		part := kmsg.NewDeleteRecordsRequestTopicPartition()
		part.Partition, part.Offset = int32(partition), below
		one.Partitions = append(one.Partitions, part)
		req.Topics, req.TimeoutMillis = append(req.Topics, one), 10_000
		res, err := req.RequestWith(t.Context(), client)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
	})
}
