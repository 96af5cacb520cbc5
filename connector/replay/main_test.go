package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	requests = "requests"
	results  = "results"
	target   = "rebuilt"
	parts    = 3
)

// world is a broker and the way to it, with virtual time.
type world struct {
	t       *testing.T
	net     *kfake.VirtualNetwork
	cluster *kfake.Cluster
	addrs   []string
	client  *kafka.Client
}

// inBubble runs a test with virtual time and a virtual network.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := &kfake.VirtualNetwork{}
		b, err := broker.Start(broker.Config{Topics: map[string]int32{results: parts, requests: parts}, Network: net})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		w := &world{t: t, net: net, cluster: b.Cluster(), addrs: b.Addrs()}
		w.client = w.newClient(net.DialContext)
		test(t, w)
	})
}

func (w *world) newClient(dial kafka.DialFunc) *kafka.Client {
	w.t.Helper()
	c, err := kafka.NewClient(kafka.Config{Brokers: w.addrs, Dial: dial})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// began is the timestamp of the first record that fill writes; each further one is
// a minute later.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(-24 * time.Hour)

// fill writes n results, one partition after the other, a few in each transaction's
// stead as a batch.
func (w *world) fill(n int) {
	w.t.Helper()
	var msgs []kafka.Message
	for i := range n {
		p := i % parts
		m := kafka.Message{
			Topic: results, Partition: &p, Value: fmt.Appendf(nil, "v%d", i), Timestamp: began.Add(time.Duration(i) * time.Minute),
			Headers: []schemas.Header{{Key: "tenant", Value: fmt.Appendf(nil, "t%d", i)}, {Key: "tenant", Value: nil}},
		}
		if i%5 > 0 {
			m.Key = fmt.Appendf(nil, "k%d", i%7)
		}
		msgs = append(msgs, m)
	}
	for batch := range slices.Chunk(msgs, 4) {
		if err := w.client.Produce(w.t.Context(), batch); err != nil {
			w.t.Fatal(err)
		}
	}
}

// all reads a whole topic; none where it does not exist.
func (w *world) all(topic string) (all []kafka.Record) {
	w.t.Helper()
	ranges, err := w.client.Ranges(w.t.Context(), topic)
	if kafka.CodeOf(err) == kafka.CodeUnknownTopic {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for p, r := range ranges {
		for rec, err := range w.client.Scan(w.t.Context(), topic, p, r.Start, r.End) {
			if err != nil {
				w.t.Fatal(err)
			}
			all = append(all, rec)
		}
	}
	return all
}

func config() Config {
	return Config{Source: results, Target: target, Live: []string{requests, results, "dead"}, Group: "replay"}
}

func (w *world) into(ctx context.Context, cfg Config) (Report, error) {
	w.t.Helper()
	return Into(ctx, w.client, cfg)
}

func header(rec kafka.Record, key string) string {
	for _, h := range slices.Backward(rec.Headers) {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// wantCopies checks that the target holds each of the sources once, in its
// partition's order, as it was.
func (w *world) wantCopies(sources []kafka.Record) {
	w.t.Helper()
	bySource := map[string]kafka.Record{}
	for _, s := range sources {
		bySource[fmt.Sprintf("%s/%d@%d", s.Topic, s.Partition, s.Offset)] = s
	}
	last := map[int]int64{}
	got := w.all(target)
	for _, rec := range got {
		at := header(rec, HeaderSource)
		s, there := bySource[at]
		if !there {
			w.t.Errorf("%s is there once too often, or should not be", at)
			continue
		}
		delete(bySource, at)
		if string(rec.Value) != string(s.Value) || string(rec.Key) != string(s.Key) || (rec.Key == nil) != (s.Key == nil) ||
			!rec.Timestamp.Equal(s.Timestamp) || rec.Partition != s.Partition {
			w.t.Errorf("%s has become %+v", at, rec)
		}
		if n := len(s.Headers); len(rec.Headers) != n+2 || !slices.EqualFunc(rec.Headers[:n], s.Headers, func(a, b schemas.Header) bool {
			return a.Key == b.Key && string(a.Value) == string(b.Value) && (a.Value == nil) == (b.Value == nil)
		}) {
			w.t.Errorf("%s has headers %v", at, rec.Headers)
		}
		if s.Offset < last[rec.Partition] {
			w.t.Errorf("%s comes behind offset %d", at, last[rec.Partition])
		}
		last[rec.Partition] = s.Offset
	}
	if len(bySource) > 0 {
		w.t.Errorf("%d of %d were not replayed", len(bySource), len(sources))
	}
}

func wantCode(t *testing.T, err error, code ErrorCode, says ...string) {
	t.Helper()
	if CodeOf(err) != code {
		t.Errorf("%v, want code %q", err, code)
	}
	for _, text := range says {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("no %q in %v", text, err)
		}
	}
}
