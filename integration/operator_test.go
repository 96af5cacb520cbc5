package integration

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// operate does something that only somebody with a broker's tools does, by an
// independent client.
func (p place) operate(t testing.TB, do func(*kgo.Client) error) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.addrs...))
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
