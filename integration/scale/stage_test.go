package scale

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/integration/cluster"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// patience bounds every wait; how long one takes is measured, not asserted.
const patience = 2 * time.Minute

// requestField is the hidden detail in which a create carries its request id,
// so that the API's log can be counted without the connector's word.
const requestField = "test_request"

// stage is a set of topics, an API and the members that come and go.
type stage struct {
	t          testing.TB
	dir        string
	addrs      []string
	group      string
	partitions int
	settings   string // further ones of the configuration
	api        *emulator.Emulator
	factors    []emulator.Factor
	members    int
	sent       int
	session    time.Duration // zero: the default
}

func startKafka(t *testing.T) *cluster.JarsCluster {
	t.Helper()
	k, err := cluster.StartJars(t.Context(), cluster.JarsConfig{})
	must(t, err)
	t.Cleanup(func() { must(t, k.Close(context.WithoutCancel(t.Context()))) })
	return k
}

func newStage(t testing.TB, addrs []string, partitions int, settings string, faults emulator.Faults) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), addrs: addrs, group: "scale-" + strings.ToLower(rand.Text()[:8]), partitions: partitions, settings: settings}
	client, err := kafka.NewClient(kafka.Config{Brokers: addrs, ClientID: "operator"})
	must(t, err)
	defer func() { must(t, client.Close()) }()
	var specs []kafka.TopicSpec
	for name, policy := range map[string]string{"requests": "delete", "results": "delete", "deadletters": "delete", "ledger": "compact,delete", "positions": "compact"} {
		specs = append(specs, kafka.TopicSpec{Name: s.topic(name), Partitions: partitions, Configs: map[string]string{"cleanup.policy": policy}})
	}
	must(t, client.EnsureTopics(t.Context(), specs))
	s.api, err = emulator.New(emulator.Config{Seed: 1, Faults: faults})
	must(t, err)
	must(t, s.api.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		must(t, s.api.Close(ctx))
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for i := range 400 {
		f, err := s.api.AddPushFactor(fmt.Sprintf("scale-%04d", i), &key.PublicKey)
		must(t, err)
		s.factors = append(s.factors, f)
	}
	return s
}

func (s *stage) topic(name string) string { return s.group + "." + name }

// config is the path of the members' configuration.
func (s *stage) config() string {
	path := filepath.Join(s.dir, "countersign.yaml")
	must(s.t, os.WriteFile(path, fmt.Appendf(nil, `
kafka:
  brokers: [%s]
  group: %s
  topics: {requests: %s, results: %s, deadletters: %s, ledger: %s, positions: %s}
  session_timeout: %v
accounts:
  main: {account_sid: %s, auth_token: %s, base_url: %s, timeout: 2s, breaker: {open: 500ms}}
%s`, strings.Join(s.addrs, ", "), s.group, s.topic("requests"), s.topic("results"), s.topic("deadletters"), s.topic("ledger"), s.topic("positions"),
		cmp.Or(s.session, 45*time.Second), emulator.DefaultAccountSID, emulator.DefaultAuthToken, s.api.URL(), s.settings), 0o600))
	return path
}

// client is a franz-go client: this test's own way to Kafka.
func (s *stage) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.addrs...)}, opts...)...)
	must(s.t, err)
	return client
}

// request is the next create, over all factors in turn.
func (s *stage) request() *kgo.Record {
	f := s.factors[s.sent%len(s.factors)]
	id := fmt.Sprintf("create-%07d", s.sent)
	s.sent++
	req := schemas.Request{
		ID: id, Operation: schemas.OperationCreate, ServiceSID: f.ServiceSID, Identity: f.Identity,
		Create: &schemas.Create{
			FactorSID: f.SID, Details: &schemas.Details{Message: "Sign in?"},
			HiddenDetails: map[string]string{requestField: id},
		},
	}
	value, err := req.Encode()
	must(s.t, err)
	return &kgo.Record{Topic: s.topic("requests"), Key: []byte(f.Identity), Value: value}
}

// firstRecords gives every partition a record and has it answered, so that a
// lane that has begun is known by its committed offset.
func (s *stage) firstRecords() {
	s.t.Helper()
	client := s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer client.Close()
	for p := range s.partitions {
		r := s.request()
		r.Partition = int32(p)
		must(s.t, client.ProduceSync(s.t.Context(), r).FirstErr())
	}
	m := s.member()
	s.await("the first record of every partition", func() bool { return m.figures("").Begun == s.partitions })
	m.leave()
}

// stable reports that these members, and no others, share the partitions
// evenly and every lane fetches.
func (s *stage) stable(members ...*member) bool {
	lanes, fair := 0, s.partitions/len(members)
	for _, m := range members {
		f := m.figures("")
		if !f.Joined || f.Begun != f.Lanes || f.Lanes < fair || f.Lanes > fair+1 {
			return false
		}
		lanes += f.Lanes
	}
	return lanes == s.partitions
}

// await polls until the condition holds and returns how long that took.
func (s *stage) await(what string, holds func() bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			s.t.Fatalf("waited %v for %s", patience, what)
		case <-tick.C:
		}
	}
	return time.Since(began)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
