package broker

import (
	"context"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg Config) *Broker {
	t.Helper()
	b, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addrs()...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// layout is the cluster id and every topic's number of partitions.
func layout(t *testing.T, c *kgo.Client) (id string, topics map[string]int) {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	res, err := req.RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	topics = map[string]int{}
	for _, topic := range res.Topics {
		topics[*topic.Topic] = len(topic.Partitions)
	}
	if len(res.Brokers) != 1 {
		t.Errorf("%d brokers", len(res.Brokers))
	}
	return *res.ClusterID, topics
}

func wantTopics(t *testing.T, c *kgo.Client, want map[string]int) {
	t.Helper()
	id, topics := layout(t, c)
	if id != ClusterID {
		t.Errorf("the cluster id is %q", id)
	}
	for name, partitions := range want {
		if topics[name] != partitions {
			t.Errorf("%s has %d partitions, want %d", name, topics[name], partitions)
		}
	}
	if len(topics) != len(want) {
		t.Errorf("topics %v, want %v", topics, want)
	}
}

func produce(t *testing.T, c *kgo.Client, topic, value string) {
	t.Helper()
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume reads n values and commits behind them where the client is in a group.
func consume(t *testing.T, c *kgo.Client, n int) (values []string) {
	t.Helper()
	for len(values) < n {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			values = append(values, string(r.Value))
		}
	}
	return values
}

func TestStartMakesTopics(t *testing.T) {
	b := start(t, Config{Topics: map[string]int32{"a": 1, "b": 6, "c": 0}})
	c := client(t, b, kgo.ConsumeTopics("a"))
	wantTopics(t, c, map[string]int{"a": 1, "b": 6, "c": 10})
	produce(t, c, "a", "hello")
	if got := consume(t, c, 1); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("got %v", got)
	}
	wantTopics(t, client(t, start(t, Config{})), nil)
}

// Names that differ in dot and underscore only are the same in Kafka's metrics.
func TestStartRefusesTopicsThatCollide(t *testing.T) {
	if b, err := Start(Config{Topics: map[string]int32{"a.b": 1, "a_b": 1}}); err == nil {
		b.Close()
		t.Error("both were made")
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	addrs := start(t, Config{}).Addrs()
	if len(addrs) != 1 {
		t.Fatal(addrs)
	}
	host, port, err := net.SplitHostPort(addrs[0])
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() || port == "0" || port == "9092" {
		t.Errorf("listens on %s, %v", addrs[0], err)
	}
	// Two of them do not get in each other's way.
	if other := start(t, Config{}).Addrs(); other[0] == addrs[0] {
		t.Errorf("both listen on %s", other[0])
	}
}

func TestDataDirSurvivesRestart(t *testing.T) {
	cfg := Config{DataDir: t.TempDir(), Topics: map[string]int32{"old": 1}}
	inGroup := []kgo.Opt{kgo.ConsumerGroup("g"), kgo.ConsumeTopics("old"), kgo.DisableAutoCommit()}

	first := start(t, cfg)
	c := client(t, first, inGroup...)
	produce(t, c, "old", "one")
	produce(t, c, "old", "two")
	consume(t, c, 2)
	if err := c.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "old", "three")
	c.Close()
	first.Close()

	cfg.Topics = map[string]int32{"old": 5, "new": 2}
	second := start(t, cfg)
	c = client(t, second, inGroup...)
	wantTopics(t, c, map[string]int{"old": 1, "new": 2})
	if got := consume(t, c, 1); !slices.Equal(got, []string{"three"}) {
		t.Errorf("the group goes on with %v, want what was not committed", got)
	}
}

func TestWithoutDataDirNothingStays(t *testing.T) {
	first := start(t, Config{Topics: map[string]int32{"t": 1}})
	first.Close()
	wantTopics(t, client(t, start(t, Config{})), nil)
}

func TestCloseEndsConnections(t *testing.T) {
	b := start(t, Config{Topics: map[string]int32{"t": 1}})
	addr := b.Addrs()[0]
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b.Close()
	b.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
	if got := b.Addrs(); !slices.Equal(got, []string{addr}) {
		t.Errorf("addresses after Close: %v", got)
	}
}

func TestNetworkKeepsItOffTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &kfake.VirtualNetwork{}
		b := start(t, Config{Topics: map[string]int32{"t": 1}, Network: network})
		c := client(t, b, kgo.Dialer(network.DialContext), kgo.ConsumeTopics("t"))
		began := time.Now()
		produce(t, c, "t", "hello")
		if got := consume(t, c, 1); !slices.Equal(got, []string{"hello"}) {
			t.Errorf("got %v", got)
		}
		// Time is virtual for the broker too: an hour of waiting costs nothing.
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if fetches := c.PollFetches(ctx); fetches.NumRecords() > 0 || time.Since(began) < time.Hour {
			t.Errorf("%d records after %s", fetches.NumRecords(), time.Since(began))
		}
		if _, err := Start(Config{Network: network}); err == nil {
			t.Error("two brokers share an address")
		}
	})
}
