package redrive

import (
	"context"
	"fmt"
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
	service  = "VA00000000000000000000000000000001"
	factor   = "YF00000000000000000000000000000001"
	sid      = "YC00000000000000000000000000000001"
	identity = "customer-0001"
)

var topics = Topics{DeadLetters: "dead", Requests: "requests", Parking: "parked", Journal: "journal"}

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
		b, err := broker.Start(broker.Config{Topics: map[string]int32{"dead": 2, "requests": 4}, Network: net})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		w := &world{t: t, net: net, cluster: b.Cluster(), addrs: b.Addrs()}
		w.client = w.newClient()
		test(t, w)
	})
}

func (w *world) newClient() *kafka.Client {
	w.t.Helper()
	c, err := kafka.NewClient(kafka.Config{Brokers: w.addrs, Dial: w.net.DialContext})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// letterOf is a dead letter of a request.
type letterOf struct {
	id       string
	op       schemas.Operation
	key      string
	value    string // empty: a request of op
	class    schemas.Class
	code     int
	attempts int
	redrives int
	age      time.Duration
	headers  []schemas.Header // of the record
	keep     bool             // marked as not redrivable
	expires  time.Duration    // from now; zero: no expiration date
	topic    string           // where the record stood; empty: requests
}

func (w *world) request(l letterOf) []byte {
	w.t.Helper()
	r := schemas.Request{ID: l.id, Operation: l.op, ServiceSID: service, Identity: identity}
	switch l.op {
	case schemas.OperationCreate:
		r.Create = &schemas.Create{FactorSID: factor}
		if l.expires != 0 {
			at := time.Now().Add(l.expires)
			r.Create.ExpirationDate = &at
		}
	case schemas.OperationUpdate:
		r.ChallengeSID, r.Update = sid, &schemas.Update{AuthPayload: "918273"}
	case schemas.OperationFetch:
		r.ChallengeSID = sid
	}
	data, err := r.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// dead writes dead letters.
func (w *world) dead(all ...letterOf) {
	w.t.Helper()
	for i, l := range all {
		value := []byte(l.value)
		if l.value == "" {
			value = w.request(l)
		}
		topic := l.topic
		if topic == "" {
			topic = topics.Requests
		}
		at := time.Now().Add(-l.age)
		d := schemas.DeadLetter{
			Class: l.class, Code: l.code, RequestID: l.id, HasResult: true, Redrivable: !l.keep, Attempts: l.attempts, Redrives: l.redrives, At: at,
			Coordinates: schemas.Coordinates{Topic: topic, Partition: 1, Offset: int64(1000*len(w.all(topics.DeadLetters)) + i), Timestamp: at.Add(-time.Minute).UTC()},
		}
		m := kafka.Message{Topic: topics.DeadLetters, Value: value, Headers: append(l.headers, d.Headers()...)}
		if l.key != "" {
			m.Key = []byte(l.key)
		}
		if err := w.client.Produce(w.t.Context(), []kafka.Message{m}); err != nil {
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

// ids counts the requests of a topic by id.
func (w *world) ids(topic string) map[string]int {
	w.t.Helper()
	out := map[string]int{}
	for _, rec := range w.all(topic) {
		req, _, err := schemas.DecodeRequest(rec.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		out[req.ID]++
	}
	return out
}

// many are creates that ended throttled, uncalled.
func many(n int) (all []letterOf) {
	for i := range n {
		all = append(all, letterOf{id: fmt.Sprintf("r%d", i), op: schemas.OperationCreate, key: fmt.Sprintf("k%d", i%5), class: schemas.ClassThrottled})
	}
	return all
}

func config() Config {
	return Config{Topics: topics, Group: "redrive", NotAfter: 5 * time.Minute, ParkAfter: 5}
}

func (w *world) run(ctx context.Context, cfg Config) (Report, error) {
	w.t.Helper()
	return Run(ctx, w.client, cfg)
}
