package connector

import (
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// Each of these tests holds one of the guards that keep a request from being
// called twice: with that guard taken out of the code, it fails. docs/DESIGN.md
// has the list.

// TestGuardCalledTo: a process dies at its very first call. Its successor knows
// that the call may have been made, because that was committed before.
func TestGuardCalledTo(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		s.script["create a"] = []simFate{{mute: true, dies: 20 * time.Millisecond}}
		s.starts(0)
		r := s.create("a", "k", nil)
		s.pass(2 * time.Second)
		s.starts(1)
		s.want(r, schemas.OutcomeAdopted)
		s.wantMade("a", 1)
		// What came after the death is not in doubt.
		s.want(s.create("b", "k", func(r *schemas.Request) { r.Create.FactorSID = simFactor(7) }), schemas.OutcomeSucceeded)
		s.wantUnlooked(simFactor(7))
	})
}

// TestGuardDone: what is done above a record that is not is not done again. A
// record that is no request has no id, so nothing but the bitmap knows of it.
func TestGuardDone(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		s.script["create a"] = []simFate{{mute: true}} // answers never
		s.starts(0)
		s.pass(time.Second)
		s.create("a", "k", nil)
		bad := &simRecord{id: "none", key: "l", value: []byte("no JSON")}
		s.locked(func() { s.append(bad, nil, false) })
		s.pass(1500 * time.Millisecond)
		s.dies(0)
		s.starts(1)
	})
}

// TestGuardLeft: a process leaves in good order while it does not know what
// became of a call. Its successor looks for that one, and for no other.
func TestGuardLeft(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		s.script["create a"] = []simFate{{mute: true, reset: true}}
		s.script["look 0"] = []simFate{{refuse: &read.APIError{Status: 503}}}
		s.starts(0)
		s.pass(time.Second)
		r := s.create("a", "k", nil)
		s.pass(50 * time.Millisecond)
		s.leaves(0)
		later := s.create("b", "l", func(r *schemas.Request) { r.Create.FactorSID = simFactor(7) })
		s.starts(1)
		s.want(r, schemas.OutcomeAdopted)
		s.want(later, schemas.OutcomeSucceeded)
		s.wantMade("a", 1)
		s.wantUnlooked(simFactor(7))
	})
}

// TestGuardMarker: a user's own challenge, and that of another deployment, look
// just like ours. They are not.
func TestGuardMarker(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		s.script["create a"] = []simFate{{lost: true, mute: true, reset: true}}
		s.starts(0)
		s.pass(time.Second)
		r := s.create("a", "k", nil)
		s.locked(func() {
			other := newMarker(Config{Recovery: RecoveryConfig{Deployment: "another"}}).mark(r.req)
			for _, hidden := range []read.Properties{nil, {schemas.MarkerKey: other}} {
				s.api.add(&simChallenge{Challenge: read.Challenge{
					Identity: "identity-0", FactorSID: simFactor(0), Details: &read.Details{Message: "Sign in?"}, HiddenDetails: hidden,
				}})
			}
		})
		s.want(r, schemas.OutcomeSucceeded)
		s.wantMade("a", 1)
	})
}

// TestGuardSettle: a create takes effect long after its connection has broken.
func TestGuardSettle(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		s.script["create a"] = []simFate{{mute: true, reset: true, there: 20 * time.Millisecond, held: simLastEffect}}
		s.starts(0)
		s.pass(time.Second)
		r := s.create("a", "k", nil)
		s.want(r, schemas.OutcomeAdopted)
		s.wantMade("a", 1)
	})
}

// TestGuardSecondList: the first list that can be had comes long after the call,
// and from a replica that lags.
func TestGuardSecondList(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		away := simFate{refuse: &read.APIError{Status: 503}}
		s.script["create a"] = []simFate{{mute: true, reset: true}}
		s.script["look 0"] = []simFate{away, away, away, away, {stale: time.Minute}}
		s.starts(0)
		s.pass(time.Second)
		r := s.create("a", "k", nil)
		s.want(r, schemas.OutcomeAdopted)
		s.wantMade("a", 1)
	})
}

// TestGuardFencing: a commit arrives so late that its sender is dead and its
// partition taken over.
func TestGuardFencing(t *testing.T) {
	onStage(t, func(p *simPlan) { p.transaction = time.Hour }, func(s *simStage) {
		a := s.starts(0)
		s.pass(time.Second)
		s.locked(func() { s.hold["end 0"] = &simHold{after: 1, by: 11500 * time.Millisecond} })
		r := s.create("a", "k", nil)
		s.pass(500 * time.Millisecond)
		s.locked(func() { a.kill("by the story") })
		s.starts(1)
		s.pass(30 * time.Second)
		s.wantMade("a", 1)
		if n := len(s.outcomes(r)); n != 1 {
			s.t.Errorf("%d results for one record", n)
		}
	})
}

// TestGuardLease: a process that the brokers can't hear goes on as if nothing
// were, for as long as it may and no longer.
func TestGuardLease(t *testing.T) {
	slow := func(p *simPlan) { p.perSecond, p.deaf = 0.5, true }
	onStage(t, slow, func(s *simStage) {
		a := s.starts(0)
		s.pass(time.Second)
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
			s.create(id, id, nil)
		}
		s.pass(time.Second)
		s.locked(func() { a.cut = true })
		s.starts(1)
		s.pass(40 * time.Second)
	})
}

// TestGuardFreshness: a record waits for the one before it until it is too late.
func TestGuardFreshness(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		s.script["create a"] = []simFate{{there: 1900 * time.Millisecond}}
		s.starts(0)
		s.pass(time.Second)
		s.create("a", "k", nil)
		r := s.create("b", "k", func(r *schemas.Request) {
			at := time.Now().Add(time.Second).UTC()
			r.NotAfter = &at
		})
		s.want(r, schemas.OutcomeExpired)
		s.wantMade("b", 0)
	})
}

// TestGuardInFlight: the same id comes again, under another key, while its first
// call is under way.
func TestGuardInFlight(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		s.script["create a"] = []simFate{{there: 1500 * time.Millisecond}}
		s.starts(0)
		s.pass(time.Second)
		first, again := s.create("a", "k", nil), s.create("a", "l", nil)
		s.want(first, schemas.OutcomeSucceeded)
		s.want(again, schemas.OutcomeDuplicate)
		s.wantMade("a", 1)
	})
}

// TestGuardLookSince: a request that was made again from a dead letter is looked
// for before it is called.
func TestGuardLookSince(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		since, deadline := time.Now().UTC(), time.Now().Add(time.Minute).UTC()
		head := schemas.Redrive{Redrives: 1, NotAfter: &deadline, LookSince: &since}
		r := s.createWith("a", "k", head.Headers(), nil)
		s.locked(func() {
			s.api.create(&simProc{name: "nobody"}, outgoing{req: r.req, marker: newMarker(simConfig()).mark(r.req)}, 0)
		})
		s.starts(0)
		s.want(r, schemas.OutcomeAdopted)
		s.wantMade("a", 1)
	})
}

// TestHandoverInRecovery: crash, an orderly handover in the middle of the
// recovery from it, and another crash: nothing is called twice.
func TestHandoverInRecovery(t *testing.T) {
	onStage(t, nil, func(s *simStage) {
		dies := simFate{mute: true, dies: 20 * time.Millisecond}
		s.script["create a"], s.script["create b"] = []simFate{dies}, []simFate{dies}
		s.script["look 0"] = []simFate{{stale: time.Minute}}
		s.starts(0)
		s.pass(time.Second)
		a, b := s.create("a", "k", nil), s.create("b", "l", nil)
		s.pass(time.Second)
		s.starts(1)
		s.pass(simSessionTime + time.Second)
		s.create("c", "m", func(r *schemas.Request) { r.Create.FactorSID = simFactor(7) })
		s.pass(time.Second)
		s.leaves(1) // it has looked once, in vain, and called another
		s.locked(func() { s.script["look 0"] = []simFate{{dies: time.Millisecond}} })
		s.starts(0)
		s.pass(2 * time.Second) // it looks, and dies
		s.starts(1)
		s.want(a, schemas.OutcomeAdopted)
		s.want(b, schemas.OutcomeAdopted)
		s.wantMade("a", 1)
		s.wantMade("b", 1)
	})
}
