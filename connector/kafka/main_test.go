package kafka

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/countersign/countersign/internal/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a broker and the way to it.
type world struct {
	t       testing.TB
	net     *kfake.VirtualNetwork // nil: TCP
	cluster *kfake.Cluster
	addrs   []string
}

// newWorld is the embedded broker on loopback, for what does not depend on
// time.
func newWorld(t testing.TB, topics map[string]int32) *world {
	t.Helper()
	return startBroker(t, broker.Config{Topics: topics})
}

// inBubble runs a test with virtual time and a virtual network.
func inBubble(t *testing.T, topics map[string]int32, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, startBroker(t, broker.Config{Topics: topics, Network: &kfake.VirtualNetwork{}}))
	})
}

func startBroker(t testing.TB, cfg broker.Config) *world {
	t.Helper()
	b, err := broker.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &world{t: t, net: cfg.Network, cluster: b.Cluster(), addrs: b.Addrs()}
}

// startCluster is kfake as it comes, with three brokers, in a virtual network.
func startCluster(t testing.TB, opts ...kfake.Opt) *world {
	t.Helper()
	net := &kfake.VirtualNetwork{}
	c, err := kfake.NewCluster(append(opts, kfake.ListenFn(net.Listen), kfake.Ports(9092, 9093, 9094))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &world{t: t, net: net, cluster: c, addrs: c.ListenAddrs()}
}

func (w *world) client() *Client {
	w.t.Helper()
	cfg := Config{Brokers: w.addrs, ClientID: "test"}
	if w.net != nil {
		cfg.Dial = w.net.DialContext
	}
	c, err := NewClient(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return c
}

// franz is a client of another make: the judge of what we write and the
// maker of what we read.
func (w *world) franz(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	opts = append(opts, kgo.SeedBrokers(w.addrs...))
	if w.net != nil {
		opts = append(opts, kgo.Dialer(w.net.DialContext))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// plainProducer writes to the partition that each record names. It lingers so
// that what is given to it at once becomes one batch.
func (w *world) plainProducer(opts ...kgo.Opt) *kgo.Client {
	return w.franz(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond))...)
}

// txnProducer does the same in transactions.
func (w *world) txnProducer(id string) *kgo.Client {
	return w.plainProducer(kgo.TransactionalID(id), kgo.TransactionTimeout(time.Minute))
}

// put writes one record per value and returns the first one's offset. Each call
// is one batch.
func put(t testing.TB, c *kgo.Client, topic string, partition int, values ...string) int64 {
	t.Helper()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte(v)}
	}
	if err := c.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return records[0].Offset
}

// mute makes the broker take requests of a kind and never answer them.
func (w *world) mute(key kmsg.Key) (unmute func()) {
	var over atomic.Bool
	w.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		if over.Load() {
			w.cluster.DropControl()
			return nil, nil, false
		}
		w.cluster.KeepControl()
		return nil, nil, true
	})
	return func() { over.Store(true) }
}

// observe counts requests of a kind.
func (w *world) observe(f kfake.Fault) *kfake.FaultHandle {
	f.Observe, f.Count = true, -1
	return w.cluster.Fault(f)
}

func begin(t testing.TB, c *kgo.Client) {
	t.Helper()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

func end(t testing.TB, c *kgo.Client, how kgo.TransactionEndTry) {
	t.Helper()
	if err := c.EndTransaction(t.Context(), how); err != nil {
		t.Fatal(err)
	}
}

// readAll fetches from an offset until the last stable offset is reached.
func readAll(t testing.TB, c *Client, topic string, from int64, maxBytes int) (values []string, last Fetched, fetches int) {
	t.Helper()
	last = Fetched{Next: from, LastStable: from + 1}
	for last.Next < last.LastStable {
		before := last.Next
		var err error
		last, err = c.Fetch(t.Context(), FetchRequest{Topic: topic, Offset: before, MaxBytes: maxBytes})
		if err != nil {
			t.Fatal(err)
		}
		fetches++
		if last.Next < last.LastStable && last.Next <= before {
			t.Fatalf("fetch at %d does not get on: %+v", before, last)
		}
		for _, r := range last.Records {
			if r.Offset < before || r.Offset >= last.Next {
				t.Fatalf("fetch at %d returned offset %d, next %d", before, r.Offset, last.Next)
			}
			values = append(values, string(r.Value))
		}
	}
	return values, last, fetches
}

func wantCode(t testing.TB, err error, want ErrorCode) {
	t.Helper()
	if got := CodeOf(err); got != want {
		t.Fatalf("got code %q (%v), want %q", got, err, want)
	}
}

// until lets virtual time pass until cond holds.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for range 1200 {
		synctest.Wait()
		if cond() {
			return
		}
		pass(t, 100*time.Millisecond)
	}
	t.Fatalf("waited two minutes for %s", what)
}

// pass lets virtual time pass.
func pass(t testing.TB, d time.Duration) {
	t.Helper()
	if !wait(t.Context(), d) {
		t.Fatal("the test's context has ended")
	}
}
