package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

const (
	partitions = 3
	// patience bounds every wait; nothing is asserted about how long one takes.
	patience = 90 * time.Second
)

// world is topics and a group of its own, an API, and a connector that can be
// started and stopped.
type world struct {
	t       *testing.T
	topics  connector.TopicsConfig
	group   string
	api     *emulator.Emulator
	factors []emulator.Factor
	n       int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	group := "interop-" + strings.ToLower(rand.Text()[:10])
	w := &world{t: t, group: group, topics: connector.TopicsConfig{
		Requests: group + ".requests", Results: group + ".results", DeadLetters: group + ".deadletters", Ledger: group + ".ledger", Positions: group + ".positions",
	}}
	var err error
	w.api, err = emulator.New(emulator.Config{})
	must(t, err)
	must(t, w.api.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(t, w.api.Close(ctx))
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for i := range 5 {
		f, err := w.api.AddPushFactor(fmt.Sprintf("identity-%04d", i), &key.PublicKey)
		must(t, err)
		w.factors = append(w.factors, f)
	}
	return w
}

// run starts a connector, which makes the topics, and returns once it owns all
// partitions; stop ends it in good order.
func (w *world) run() (stop func()) {
	w.t.Helper()
	c, err := connector.New(connector.Config{
		Kafka:        connector.KafkaConfig{Brokers: kafka.Addrs(), Group: w.group, Topics: w.topics, CreateTopics: true, Partitions: partitions},
		DrainTimeout: 10 * time.Second,
		Accounts: map[string]connector.AccountConfig{"main": {
			AccountSID: emulator.DefaultAccountSID, AuthToken: emulator.DefaultAuthToken, BaseURL: w.api.URL(), Timeout: 2 * time.Second,
		}},
	})
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	ended := false
	stop = func() {
		if cancel(); !ended {
			ended = true
			must(w.t, <-done)
		}
	}
	w.t.Cleanup(stop)
	w.await("the connector to own all partitions", func() bool { return len(c.Status().Lanes) == partitions })
	return stop
}

// line is a create as a line of key:value, and its request id.
func (w *world) line() (line, id string) {
	w.t.Helper()
	f := w.factors[w.n%len(w.factors)]
	req := schemas.Request{
		ID: fmt.Sprintf("create-%04d", w.n), Operation: schemas.OperationCreate, ServiceSID: f.ServiceSID, Identity: f.Identity,
		Create: &schemas.Create{FactorSID: f.SID, Details: &schemas.Details{Message: "Sign in?"}},
	}
	w.n++
	value, err := req.Encode()
	must(w.t, err)
	return f.Identity + ":" + string(value), req.ID
}

func (w *world) lines(n int) (lines, ids []string) {
	for range n {
		line, id := w.line()
		lines, ids = append(lines, line), append(ids, id)
	}
	return lines, ids
}

// answered waits until so many results can be read.
func (w *world) answered(n int) {
	w.t.Helper()
	w.holds(w.topics.Results, n)
}

func (w *world) franz(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(kafka.Addrs()...)}, opts...)...)
	must(w.t, err)
	w.t.Cleanup(client.Close)
	return client
}

func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
