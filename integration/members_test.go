package integration

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

func unmarshal(b []byte, into any) error { return json.Unmarshal(b, into) }

// TestTwoMembersShareAndHandOver: two connectors in one group share the
// partitions and the rate; when one leaves in the middle of the work, nothing
// is lost and nothing is called or published twice.
func TestTwoMembersShareAndHandOver(t *testing.T) {
	w := newWorld(t, emulator.Config{Faults: emulator.Faults{Latency: emulator.Latency{Min: 5 * time.Millisecond, Max: 60 * time.Millisecond}}})
	cfg := w.config()
	a := cfg.Accounts["main"]
	a.Rate.PerSecond, a.Rate.Burst = 200, 10
	cfg.Accounts["main"] = a
	first := w.run(cfg)
	w.await("the first member to own all", func() bool { return len(first.Status().Lanes) == partitions })
	second := w.run(cfg)
	w.await("both to share", func() bool {
		return len(first.Status().Lanes) == partitions/2 && len(second.Status().Lanes) == partitions/2
	})
	for _, m := range []*member{first, second} {
		if got := m.Status().Accounts[0].PerSecond; got != 100 {
			t.Errorf("a member with half of the partitions takes %v calls a second of 200", got)
		}
	}
	const n = 600
	for i := range n {
		w.send(w.create(i))
	}
	w.await("both to work", func() bool {
		return first.Status().Counters.Commits > 0 && second.Status().Counters.Commits > 0
	})
	must(t, second.leave())
	w.await("the first member to own all again", func() bool { return len(first.Status().Lanes) == partitions })
	got := w.awaitAll()
	must(t, first.leave())
	w.auditsClean(t)
	if len(got.doubled) > 0 || got.outcomes[schemas.OutcomeSucceeded] != n {
		t.Errorf("outcomes %v, doubled %v", got.outcomes, got.doubled)
	}
	if made := w.api.Stats().Creates; made != n {
		t.Errorf("the API made %d challenges for %d requests over a graceful handover", made, n)
	}
}

// TestRestartResumes: a member that left is followed by another that starts
// where it ended.
func TestRestartResumes(t *testing.T) {
	w := newWorld(t, emulator.Config{})
	for round := range 3 {
		for i := range 100 {
			w.send(w.create(round*100 + i))
		}
		m := w.run(w.config())
		if round == 1 {
			// Leave in the middle of the work.
			w.await("some commits", func() bool { return m.Status().Counters.Commits > 1 })
		} else {
			w.awaitAll()
		}
		must(t, m.leave())
	}
	w.auditsClean(t)
	got := w.count()
	if len(got.lost) > 0 || len(got.doubled) > 0 || got.outcomes[schemas.OutcomeSucceeded] != 300 {
		t.Errorf("outcomes %v, lost %v, doubled %v", got.outcomes, got.lost, got.doubled)
	}
	if made := w.api.Stats().Creates; made != 300 {
		t.Errorf("the API made %d challenges for 300 requests", made)
	}
}
