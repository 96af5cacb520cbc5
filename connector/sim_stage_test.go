package connector

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/schemas"
)

// simStage is the simulation without chance: a directed test says what happens.
type simStage struct {
	*sim
	ctx context.Context
}

// onStage plays a story with one partition. Whatever the story leaves is then
// worked off without trouble, and checked as every simulation is.
func onStage(t *testing.T, change func(*simPlan), play func(s *simStage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newSim(t, 1)
		w.plan = simPlan{partitions: 1, processes: 2, exactlyOnce: true, span: 64, slots: 4, notAfter: 5 * time.Minute, transaction: simTransaction}
		if change != nil {
			change(&w.plan)
		}
		w.script = map[string][]simFate{}
		w.build()
		s := &simStage{w, t.Context()}
		w.keepTime(s.ctx)
		play(s)
		w.heal(s.ctx)
		w.settle(s.ctx)
		w.end(s.ctx)
		if len(w.wrong) > 0 || t.Failed() {
			t.Error(w.report())
		}
	})
}

// simHold delays one request to the brokers: the one after so many others.
type simHold struct {
	after int
	by    time.Duration
}

// heldBack is how long a request is delayed by the story. The caller holds mu.
func (w *sim) heldBack(what string) time.Duration {
	h := w.hold[what]
	if h == nil {
		return 0
	}
	if h.after--; h.after == -1 {
		return h.by
	}
	return 0
}

// scripted is the fate of a call in a directed test; the last one of its key
// stays.
func (w *sim) scripted(key string) (simFate, bool) {
	if w.script == nil {
		return simFate{}, false
	}
	w.rollMu.Lock()
	defer w.rollMu.Unlock()
	fates := w.script[key]
	if len(fates) == 0 {
		return simFate{there: 5 * time.Millisecond, back: 5 * time.Millisecond}, true
	}
	w.script[key] = fates[1:]
	f := fates[0]
	if f.there == 0 {
		f.there = 5 * time.Millisecond
	}
	f.back = 5 * time.Millisecond
	return f, true
}

func (s *simStage) pass(d time.Duration) { s.rest(s.ctx, d) }

// starts puts a process on the stage and waits until it has its partitions.
func (s *simStage) starts(slot int) *simProc {
	s.startProcess(s.ctx, s.slots[slot])
	return s.slots[slot].proc
}

// dies ends the process of a slot at once.
func (s *simStage) dies(slot int) { s.locked(func() { s.slots[slot].proc.kill("by the story") }) }

// leaves ends it in good order.
func (s *simStage) leaves(slot int) {
	s.slots[slot].proc.stop()
	<-s.slots[slot].proc.ended
}

// wantUnlooked checks that nobody has looked for challenges of a factor.
func (s *simStage) wantUnlooked(factor string) {
	s.t.Helper()
	s.locked(func() {
		if n := s.looked[factor]; n > 0 {
			s.t.Errorf("a record that nobody can have called was looked for %d time(s)", n)
		}
	})
}

// create writes a create.
func (s *simStage) create(id, key string, change func(*schemas.Request)) *simRecord {
	return s.createWith(id, key, nil, change)
}

func (s *simStage) createWith(id, key string, headers []schemas.Header, change func(*schemas.Request)) *simRecord {
	req := schemas.Request{
		ID: id, Operation: schemas.OperationCreate, ServiceSID: simService, Identity: "identity-0",
		Create: &schemas.Create{FactorSID: simFactor(0), Details: &schemas.Details{Message: "Sign in?"}},
	}
	if change != nil {
		change(&req)
	}
	r := &simRecord{id: id, key: key, req: &req, headers: headers}
	r.encode(s.sim)
	s.locked(func() { s.append(r, nil, false) })
	return r
}

// outcomes are those of a record's primary results, in order.
func (s *simStage) outcomes(r *simRecord) []schemas.Outcome {
	var out []schemas.Outcome
	s.locked(func() {
		for _, e := range s.broker.results {
			if got, _, err := schemas.DecodeResult(e.msg.Value); err == nil && e.state == simCommitted && got.Request.Offset == r.offset {
				out = append(out, got.Outcome)
			}
		}
	})
	return out
}

// want waits until a record has its outcome.
func (s *simStage) want(r *simRecord, outcome schemas.Outcome) {
	s.t.Helper()
	for range 1200 {
		if len(s.outcomes(r)) > 0 {
			break
		}
		s.pass(100 * time.Millisecond)
	}
	if got := fmt.Sprint(s.outcomes(r)); got != fmt.Sprint([]schemas.Outcome{outcome}) {
		s.t.Errorf("the record %d (%s) has the outcomes %s, want %s", r.offset, r.id, got, outcome)
	}
}

// called is how often the API was asked to create a challenge for the id.
func (s *simStage) made(id string) (n int) {
	s.locked(func() { n = len(s.api.made[id]) })
	return n
}

// wantMade checks how many challenges there are for an id.
func (s *simStage) wantMade(id string, want int) {
	s.t.Helper()
	if got := s.made(id); got != want {
		s.t.Errorf("the API has %d challenge(s) for %s, want %d", got, id, want)
	}
}
