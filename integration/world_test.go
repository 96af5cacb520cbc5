package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

const (
	partitions = 6
	// patience bounds every wait; nothing is asserted about how long one takes.
	patience = 90 * time.Second
)

// world is topics and a group of its own on the tests' broker, an API and a
// client to look at the topics with.
type world struct {
	place
	t       testing.TB
	api     *emulator.Emulator
	kafka   *kafka.Client
	factors []emulator.Factor // push, one an identity
	sent    int
}

func newWorld(t testing.TB, api emulator.Config) *world {
	t.Helper()
	w := newBareWorld(t, api)
	w.make(t, partitions)
	return w
}

// newBareWorld is a world whose topics do not exist yet.
func newBareWorld(t testing.TB, api emulator.Config) *world {
	t.Helper()
	return newWorldAt(t, newPlace(t), api)
}

func newWorldAt(t testing.TB, at place, api emulator.Config) *world {
	t.Helper()
	e, err := emulator.New(api)
	must(t, err)
	must(t, e.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(t, e.Close(ctx))
	})
	k, err := kafka.NewClient(kafka.Config{Brokers: at.addrs, ClientID: "judge"})
	must(t, err)
	t.Cleanup(func() { must(t, k.Close()) })
	w := &world{place: at, t: t, api: e, kafka: k}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for i := range 20 {
		f, err := e.AddPushFactor(fmt.Sprintf("identity-%04d", i), &key.PublicKey)
		must(t, err)
		w.factors = append(w.factors, f)
	}
	return w
}

// config is a connector's configuration for the world.
func (w *world) config() connector.Config {
	return connector.Config{
		Kafka: connector.KafkaConfig{
			Brokers: w.addrs, Group: w.group, Topics: w.topics, SessionTimeout: 12 * time.Second, RebalanceTimeout: 20 * time.Second,
		},
		DrainTimeout: 5 * time.Second,
		Accounts: map[string]connector.AccountConfig{"main": {
			AccountSID: emulator.DefaultAccountSID, AuthToken: emulator.DefaultAuthToken, BaseURL: w.api.URL(),
			Breaker: connector.BreakerConfig{Open: 500 * time.Millisecond},
		}},
	}
}

// create is a create for the i-th factor.
func (w *world) create(i int) schemas.Request {
	f := w.factors[i%len(w.factors)]
	return schemas.Request{
		ID: fmt.Sprintf("create-%05d", i), Operation: schemas.OperationCreate, ServiceSID: f.ServiceSID, Identity: f.Identity,
		Create: &schemas.Create{FactorSID: f.SID, Details: &schemas.Details{Message: "Sign in?"}},
	}
}

// send produces requests keyed by identity.
func (w *world) send(reqs ...schemas.Request) {
	w.t.Helper()
	msgs := make([]kafka.Message, len(reqs))
	for i, r := range reqs {
		value, err := r.Encode()
		must(w.t, err)
		msgs[i] = kafka.Message{Topic: w.topics.Requests, Key: []byte(r.Identity), Value: value}
	}
	w.sendRaw(msgs...)
}

func (w *world) sendRaw(msgs ...kafka.Message) {
	w.t.Helper()
	must(w.t, w.kafka.Produce(w.t.Context(), msgs))
	w.sent += len(msgs)
}

// tally is what the topics hold, joined by the coordinates of request records.
type tally struct {
	requests    int
	results     map[string][]*schemas.Result // by request coordinates
	deadLetters map[string][]*schemas.DeadLetter
	lost        []string
	doubled     []string
	outcomes    map[schemas.Outcome]int
}

func coordinates(topic string, partition int, offset int64) string {
	return fmt.Sprintf("%s/%d@%d", topic, partition, offset)
}

// count reads all topics to their ends.
func (w *world) count() tally {
	w.t.Helper()
	out := tally{
		results: map[string][]*schemas.Result{}, deadLetters: map[string][]*schemas.DeadLetter{},
		outcomes: map[schemas.Outcome]int{},
	}
	var asked []string
	w.scan(w.topics.Requests, func(r kafka.Record) {
		asked = append(asked, coordinates(r.Topic, r.Partition, r.Offset))
	})
	w.scan(w.topics.Results, func(r kafka.Record) {
		res, _, err := schemas.DecodeResult(r.Value)
		must(w.t, err)
		c := coordinates(res.Request.Topic, res.Request.Partition, res.Request.Offset)
		out.results[c] = append(out.results[c], res)
		out.outcomes[res.Outcome]++
	})
	w.scan(w.topics.DeadLetters, func(r kafka.Record) {
		d, _, err := schemas.DecodeDeadLetter(r.Headers)
		must(w.t, err)
		c := coordinates(d.Topic, d.Partition, d.Offset)
		out.deadLetters[c] = append(out.deadLetters[c], d)
	})
	out.requests = len(asked)
	for _, c := range asked {
		bare := 0
		for _, d := range out.deadLetters[c] {
			if !d.HasResult {
				bare++
			}
		}
		switch n := len(out.results[c]) + bare; {
		case n == 0:
			out.lost = append(out.lost, c)
		case n > 1:
			out.doubled = append(out.doubled, c)
		}
	}
	return out
}

func (w *world) scan(topic string, each func(kafka.Record)) {
	w.t.Helper()
	ranges, err := w.kafka.Ranges(w.t.Context(), topic)
	must(w.t, err)
	for p, r := range ranges {
		for rec, err := range w.kafka.Scan(w.t.Context(), topic, p, r.Start, r.End) {
			must(w.t, err)
			each(rec)
		}
	}
}

// awaitAll waits until every record sent so far has its result or dead letter.
func (w *world) awaitAll() tally {
	w.t.Helper()
	var last tally
	w.await("a result or dead letter for every request", func() bool {
		last = w.count()
		return last.requests == w.sent && len(last.lost) == 0
	})
	return last
}

// await polls a condition until it holds or patience ends.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
}

// member is a connector that runs in this process.
type member struct {
	*connector.Connector
	stop context.CancelFunc
	done chan error
}

func (w *world) run(cfg connector.Config, opts ...connector.Option) *member {
	w.t.Helper()
	c, err := connector.New(cfg, opts...)
	must(w.t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	m := &member{Connector: c, stop: stop, done: make(chan error, 1)}
	go func() { m.done <- c.Run(ctx) }()
	w.t.Cleanup(stop)
	return m
}

// leave ends a member in good order and returns what Run returned.
func (m *member) leave() error {
	m.stop()
	return <-m.done
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// batch is n creates from the i-th on, spread over many keys so that key order
// does not bound how many are in flight.
func (w *world) batch(i, n int) []kafka.Message {
	w.t.Helper()
	out := make([]kafka.Message, n)
	for j := range n {
		r := w.create(i + j)
		value, err := r.Encode()
		must(w.t, err)
		out[j] = kafka.Message{Topic: w.topics.Requests, Key: fmt.Appendf(nil, "key-%d", (i+j)%1000), Value: value}
	}
	return out
}
