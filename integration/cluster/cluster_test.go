package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/integration/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPick(t *testing.T) {
	for _, c := range []struct {
		name, kind, brokers string
		want                cluster.Kind
		fault               string
	}{
		{name: "nothing said", want: cluster.Embedded},
		{name: "nothing said, a cluster named", brokers: "127.0.0.1:1", want: cluster.Embedded},
		{name: "embedded", kind: "embedded", want: cluster.Embedded},
		{name: "named without a name", kind: "named", fault: "KAFKA_BROKERS is empty"},
		{name: "named and away", kind: "named", brokers: "127.0.0.1:1", fault: "KAFKA_BROKERS=127.0.0.1:1"},
		{name: "auto takes no other one than was named", kind: "auto", brokers: "127.0.0.1:1", fault: "KAFKA_BROKERS=127.0.0.1:1"},
		{name: "unknown", kind: "zookeeper", fault: "INTEGRATION_BROKER=zookeeper: want one of auto, named"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(cluster.KindEnv, c.kind)
			t.Setenv(cluster.BrokersEnv, c.brokers)
			b, err := cluster.Pick(t.Context())
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("error %v, want %q in it", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b.Kind != c.want {
				t.Errorf("picked %s, want %s", b.Kind, c.want)
			}
			client, err := kafka.NewClient(kafka.Config{Brokers: b.Addrs})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Ping(t.Context())
			if err := errors.Join(err, client.Close(), b.Close(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}
