package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/internal/emulator"
)

const (
	testIdentity = "customer-0001"
	testToken    = "0a1b2c3d4e5f60718293a4b5c6d7e8f9" // of no account anywhere
)

// newBroker starts an embedded broker with the three topics and points the
// commands at it.
func newBroker(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{
		Topics: map[string]int32{requestsTopic: 2, resultsTopic: 2, deadLettersTopic: 1, "challenge.ledger": 2, "challenge.positions": 2},
		Configs: map[string]map[string]string{
			"challenge.ledger": {"cleanup.policy": "compact,delete"}, "challenge.positions": {"cleanup.policy": "compact"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	t.Setenv("COUNTERSIGN_KAFKA__BROKERS", strings.Join(b.Addrs(), ","))
	return b
}

// stack is everything around a connector: a broker, and an emulator with one
// push factor. The environment lets testdata/config.yaml use both.
type stack struct {
	broker *broker.Broker
	api    *emulator.Emulator
	factor emulator.Factor
	client *kafka.Client
}

func newStack(t *testing.T, change func(*emulator.Config)) *stack {
	t.Helper()
	s := &stack{broker: newBroker(t)}
	cfg := emulator.Config{Accounts: []emulator.Account{{SID: emulator.DefaultAccountSID, AuthToken: testToken}}}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.api, err = emulator.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.api.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.api.Close(context.WithoutCancel(t.Context())) })
	s.factor = addPush(t, s.api)
	if s.client, err = kafka.NewClient(kafka.Config{Brokers: s.broker.Addrs()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	t.Setenv("COUNTERSIGN_ACCOUNTS__MAIN__BASE_URL", s.api.URL())
	t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
	return s
}

func addPush(t *testing.T, api *emulator.Emulator) emulator.Factor {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	factor, err := api.AddPushFactor(testIdentity, &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return factor
}

// create is the command line that asks for a challenge of the stack's factor.
func (s *stack) create(more ...string) []string {
	return append([]string{
		"send", "--operation", "create", "--service-sid", s.factor.ServiceSID, "--identity", testIdentity,
		"--factor-sid", s.factor.SID, "--message", "Sign in?",
	}, more...)
}

// records reads a whole topic.
func (s *stack) records(t *testing.T, topic string) []kafka.Record {
	t.Helper()
	ranges, err := s.client.Ranges(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var all []kafka.Record
	for p, r := range ranges {
		for rec, err := range s.client.Scan(t.Context(), topic, p, r.Start, r.End) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rec)
		}
	}
	return all
}

// get reads a URL of a listener.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// listening waits for the listener of a command and returns its URL.
func (c *command) listening(t *testing.T) string {
	t.Helper()
	line := c.err.line(t, "msg=listening")
	_, url, _ := strings.Cut(line, "url=")
	return url
}

// joined waits until the connector owns its partitions.
func (c *command) joined(t *testing.T) { c.err.line(t, "joined the consumer group") }

// hold makes calls of the API wait: entered says that one has come, release
// lets all go on.
type hold struct {
	entered chan struct{}
	release chan struct{}
}

func newHold() *hold {
	return &hold{entered: make(chan struct{}, 64), release: make(chan struct{})}
}

func (h *hold) work(op emulator.Operation, _ *http.Request) {
	if op == emulator.OperationCreate {
		h.entered <- struct{}{}
		<-h.release
	}
}

func (h *hold) wait(t *testing.T) {
	t.Helper()
	select {
	case <-h.entered:
	case <-time.After(patience):
		t.Fatal("no call came")
	}
}
