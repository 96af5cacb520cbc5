package connector

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/schemas"
)

// TestMemoryWaitsForOthersTransactions: where another deployment has a
// transaction open in the same topics, what our predecessor committed behind its
// records is not readable yet. It is waited for, not passed over.
func TestMemoryWaitsForOthersTransactions(t *testing.T) {
	for name, read := range map[string]func(t *testing.T, m kafkaMemory) (found bool, err error){
		"position": func(t *testing.T, m kafkaMemory) (bool, error) {
			p, err := m.position(t.Context())
			return p != nil, err
		},
		"ledger": func(t *testing.T, m kafkaMemory) (found bool, err error) {
			_, err = m.ledger(t.Context(), -1, time.Now().Add(-time.Hour), func(schemas.LedgerEntry) { found = true })
			return found, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, endOther := behindAnOpenTransaction(t)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					pass(10 * time.Second)
					endOther()
				}()
				if found, err := read(t, m); err != nil || !found {
					t.Errorf("found %t, %v", found, err)
				}
				<-ended
			})
		})
	}
}

// behindAnOpenTransaction is a memory whose newest records are committed and
// stand behind those of another's open transaction.
func behindAnOpenTransaction(t *testing.T) (m kafkaMemory, endOther func()) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	net := &kfake.VirtualNetwork{}
	b, err := broker.Start(broker.Config{Topics: map[string]int32{"ledger": 1, "positions": 1}, Network: net})
	must(err)
	t.Cleanup(b.Close)
	client, err := kafka.NewClient(kafka.Config{Brokers: b.Addrs(), Dial: net.DialContext})
	must(err)
	t.Cleanup(func() { _ = client.Close() })
	other, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.Dialer(net.DialContext), kgo.TransactionalID("other"))
	must(err)
	t.Cleanup(other.Close)
	must(other.BeginTransaction())
	for _, topic := range []string{"ledger", "positions"} {
		must(other.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("theirs")}).FirstErr())
	}

	entry := succeeded(5, time.Now()).entry(testHash(1))
	note, err := entry.Encode()
	must(err)
	at := schemas.Position{Group: "g", Topic: "requests", Offset: 6, Metadata: "m", Partitions: 1, At: time.Now()}
	position, err := at.Encode()
	must(err)
	must(client.Produce(t.Context(), []kafka.Message{
		{Topic: "ledger", Key: []byte(entry.IDHash), Value: note}, {Topic: "positions", Key: []byte(at.Key()), Value: position},
	}))
	m = kafkaMemory{
		client: client, group: "g", log: slog.New(slog.DiscardHandler),
		topics: TopicsConfig{Requests: "requests", Ledger: "ledger", Positions: "positions"},
	}
	return m, func() {
		if err := other.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Error(err)
		}
	}
}
