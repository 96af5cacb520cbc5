package integration

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/integration/cluster"
	"github.com/countersign/countersign/internal/broker"
)

// shared is the broker that the environment asks for; nil: each world starts an
// embedded one of its own, because that is free and hides nothing.
var shared *cluster.Broker

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	picked, err := cluster.Pick(context.Background())
	// What decided about the broker is no configuration of the programs that tests start.
	_ = os.Unsetenv(cluster.ImageEnv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		return 1
	}
	fmt.Printf("broker: %s: %s\n", picked.Kind, picked.About)
	if picked.Kind != cluster.Embedded {
		shared = picked
	}
	flag.Parse()
	if err := waitTogether(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if *faultList == "" {
		// What takes minutes and a cluster of its own is there only when asked for.
		if err := flag.Set("test.skip", "^TestFaults$"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if err := picked.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		code = 1
	}
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// waitTogether lets more tests run beside each other than there are cores,
// unless somebody has said how many: they wait more than they work.
func waitTogether() error {
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if said {
		return nil
	}
	return flag.Set("test.parallel", "4")
}

// brokerOf is where a test's topics are.
func brokerOf(t testing.TB) []string {
	t.Helper()
	if shared != nil {
		return shared.Addrs
	}
	b, err := broker.Start(broker.Config{})
	must(t, err)
	t.Cleanup(b.Close)
	return b.Addrs()
}

// place is where a test works: topics and a group of its own on a broker.
type place struct {
	addrs  []string
	group  string
	topics connector.TopicsConfig
}

func newPlace(t testing.TB) place {
	t.Helper()
	p := placeAt(brokerOf(t))
	t.Cleanup(func() { p.clean(t) })
	return p
}

// placeAt names topics and a group that nobody else has.
func placeAt(addrs []string) place {
	group := "test-" + strings.ToLower(rand.Text()[:10])
	return place{addrs: addrs, group: group, topics: connector.TopicsConfig{
		Requests: group + ".requests", Results: group + ".results", DeadLetters: group + ".deadletters",
		Ledger: group + ".ledger", Positions: group + ".positions",
	}}
}

func (p place) names() []string {
	return []string{p.topics.Requests, p.topics.Results, p.topics.DeadLetters, p.topics.Ledger, p.topics.Positions}
}

// plain are the topics as an operator makes them who doesn't let the connector
// make them.
func (p place) plain(requests int) []kafka.TopicSpec {
	return []kafka.TopicSpec{
		{Name: p.topics.Requests, Partitions: requests},
		{Name: p.topics.Results, Partitions: requests},
		{Name: p.topics.DeadLetters, Partitions: 1},
		{Name: p.topics.Ledger, Partitions: requests, Configs: map[string]string{"cleanup.policy": "compact,delete"}},
		{Name: p.topics.Positions, Partitions: requests, Configs: map[string]string{"cleanup.policy": "compact"}},
	}
}

// make makes the topics as plain says.
func (p place) make(t testing.TB, requests int) {
	t.Helper()
	client, err := kafka.NewClient(kafka.Config{Brokers: p.addrs, ClientID: "operator"})
	must(t, err)
	defer func() { must(t, client.Close()) }()
	must(t, client.EnsureTopics(t.Context(), p.plain(requests)))
	// A topic is there before its partitions have leaders, and to ask for offsets waits
	// for these: a few seconds, which are not enough of a broker that starves.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, topic := range p.names() {
		_, err := client.Ranges(ctx, topic)
		for kafka.CodeOf(err) == kafka.CodeUnknownTopic && ctx.Err() == nil {
			_, err = client.Ranges(ctx, topic)
		}
		must(t, err)
	}
}

// clean leaves a broker that outlives the test as it was.
func (p place) clean(t testing.TB) {
	t.Helper()
	p.discard(t, p.names()...)
}

// discard deletes topics, if they are there, from a broker that outlives the test.
func (p place) discard(t testing.TB, topics ...string) {
	t.Helper()
	if shared == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.addrs...))
	must(t, err)
	defer client.Close()
	_, err = deletion(topics).RequestWith(ctx, client)
	must(t, err)
}

// yaml is the kafka section's part that says where.
func (p place) yaml() string {
	return fmt.Sprintf(`
  brokers: [%s]
  group: %s
  topics: {requests: %s, results: %s, deadletters: %s, ledger: %s, positions: %s}`,
		strings.Join(p.addrs, ", "), p.group, p.topics.Requests, p.topics.Results, p.topics.DeadLetters, p.topics.Ledger, p.topics.Positions)
}
