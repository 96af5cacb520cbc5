package integration

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/internal/emulator"
)

// specs are the topics as the README wants them made.
func (p place) specs(horizon time.Duration) map[string]kafka.TopicSpec {
	out := map[string]kafka.TopicSpec{}
	for _, name := range []string{p.topics.Requests, p.topics.Results, p.topics.DeadLetters} {
		out[name] = kafka.TopicSpec{Name: name, Partitions: partitions, Configs: map[string]string{"cleanup.policy": "delete"}}
	}
	out[p.topics.Ledger] = kafka.TopicSpec{Name: p.topics.Ledger, Partitions: partitions, Configs: map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": fmt.Sprint((2 * horizon).Milliseconds()),
	}}
	out[p.topics.Positions] = kafka.TopicSpec{Name: p.topics.Positions, Partitions: partitions, Configs: map[string]string{"cleanup.policy": "compact"}}
	return out
}

// TestCreatedTopicsAreAsDocumented: create_topics makes what the README says.
func TestCreatedTopicsAreAsDocumented(t *testing.T) {
	t.Parallel()
	w := newBareWorld(t, emulator.Config{})
	cfg := w.config()
	cfg.Kafka.CreateTopics, cfg.Kafka.Partitions = true, partitions
	m := w.run(cfg)
	w.await("the connector to be ready", func() bool { return m.Status().Ready })
	for name, want := range w.specs(2 * time.Hour) {
		if n, err := w.kafka.Partitions(t.Context(), name); err != nil || n != want.Partitions {
			t.Errorf("%s has %d partitions, %v, want %d", name, n, err, want.Partitions)
		}
		for setting, value := range want.Configs {
			got, err := w.kafka.TopicSettings(t.Context(), name, setting)
			if err != nil || len(got) != 1 || got[setting] != value {
				t.Errorf("%s: %v, %v, want %s=%s", name, got, err, setting, value)
			}
		}
	}
	must(t, m.leave())
}

// TestUnfitTopics: a topic that exists and is not fit for what it is for is
// named, with what was found and what is wanted. Nothing is called until it is
// mended, and then the same instance goes on.
func TestUnfitTopics(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(place, map[string]kafka.TopicSpec)
		says  []string
		mend  func(testing.TB, place)
	}{
		{
			"compacted requests",
			func(p place, s map[string]kafka.TopicSpec) {
				s[p.topics.Requests].Configs["cleanup.policy"] = "compact"
			},
			[]string{".requests has cleanup.policy=", `"compact"`, `want "delete"`},
			func(t testing.TB, p place) { p.alter(t, "cleanup.policy", "delete", p.topics.Requests) },
		},
		{
			"compacted results and deleted positions",
			func(p place, s map[string]kafka.TopicSpec) {
				s[p.topics.Results].Configs["cleanup.policy"] = "compact"
				s[p.topics.Positions].Configs["cleanup.policy"] = "compact,delete"
			},
			[]string{".results has cleanup.policy=", ".positions has cleanup.policy=", `want "compact"`},
			func(t testing.TB, p place) {
				p.alter(t, "cleanup.policy", "delete", p.topics.Results)
				p.alter(t, "cleanup.policy", "compact", p.topics.Positions)
			},
		},
		{
			"a ledger that forgets too early",
			func(p place, s map[string]kafka.TopicSpec) { s[p.topics.Ledger].Configs["retention.ms"] = "60000" },
			[]string{".ledger has retention.ms=", `"60000"`, "want at least 7200000"},
			func(t testing.TB, p place) { p.alter(t, "retention.ms", "7200000", p.topics.Ledger) },
		},
		{
			"a ledger with too few partitions",
			func(p place, s map[string]kafka.TopicSpec) {
				few := s[p.topics.Ledger]
				few.Partitions = partitions - 1
				s[p.topics.Ledger] = few
			},
			[]string{".ledger has partitions=5", "want at least 6"},
			func(t testing.TB, p place) { p.grow(t, p.topics.Ledger, partitions) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newBareWorld(t, emulator.Config{})
			specs := w.specs(2 * time.Hour)
			c.spoil(w.place, specs)
			for _, s := range specs {
				must(t, w.kafka.EnsureTopics(t.Context(), []kafka.TopicSpec{s}))
			}
			m := w.run(w.config())
			w.send(w.create(1), w.create(2))
			var last connector.Status
			w.await("the fault to be named", func() bool {
				last = m.Status()
				for _, text := range c.says {
					if !strings.Contains(last.Reason, text) {
						return false
					}
				}
				return true
			})
			if last.Ready || last.State != connector.StateRunning {
				t.Errorf("state %s, ready %v", last.State, last.Ready)
			}
			if n := w.api.Stats().Calls[emulator.OperationCreate]; n != 0 {
				t.Errorf("%d calls", n)
			}
			c.mend(t, w.place)
			if all := w.awaitAll(); all.outcomes["succeeded"] != 2 || len(all.doubled) > 0 {
				t.Errorf("outcomes %v, doubled %v", all.outcomes, all.doubled)
			}
			must(t, m.leave())
		})
	}
}

// TestTopicsThatCannotBeSeen: without the right to describe the topics'
// configuration the connector works, unchecked, and says so once.
func TestTopicsThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	b, err := broker.Start(broker.Config{})
	must(t, err)
	t.Cleanup(b.Close)
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	w := newWorldAt(t, placeAt(b.Addrs()), emulator.Config{})
	w.make(t, partitions)
	log := &lockedBuffer{}
	m := w.run(w.config(), connector.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	w.send(w.create(1))
	if all := w.awaitAll(); all.outcomes["succeeded"] != 1 {
		t.Errorf("outcomes %v", all.outcomes)
	}
	must(t, m.leave())
	for _, name := range w.names() {
		if n := strings.Count(log.String(), "cannot be checked\" topic="+name); n != 1 {
			t.Errorf("%d lines say that %s cannot be checked", n, name)
		}
	}
}
