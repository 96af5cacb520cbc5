package emulator_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// TestLateCommit: a call that is carried out late is answered late, and is
// carried out all the same where its caller has given up.
func TestLateCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{Faults: emulator.Faults{LateMin: 3 * time.Second, LateMax: 3 * time.Second}})
		f, _ := a.pushFactor()
		for _, patience := range []time.Duration{time.Second, time.Minute} {
			if err := a.e.Script(emulator.OperationCreate, emulator.FaultLate); err != nil {
				t.Fatal(err)
			}
			start, before := time.Now(), len(a.e.Created())
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if _, err := a.try(a.request(http.MethodPost, challenges(identity), pushForm(f.SID)).WithContext(ctx)); err != nil {
				t.Fatal(err)
			}
			cancel()
			made := a.e.Created()[before:]
			if len(made) != 1 || made[0].At.Sub(start) != 3*time.Second || made[0].Answered != (patience > 3*time.Second) || made[0].Fault != emulator.FaultLate {
				t.Errorf("a caller that waits %v: %+v", patience, made)
			}
		}
	})
}

func TestLatenessStaysWithinItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := handled(t, emulator.Config{Faults: emulator.Faults{LateRate: 0.5, LateMin: time.Second, LateMax: 3 * time.Second}})
		f, _ := a.pushFactor()
		var punctual, low, high int
		for range 400 {
			start := time.Now()
			a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
			switch took := time.Since(start); {
			case took == 0:
				punctual++
			case took < time.Second || took > 3*time.Second:
				t.Fatalf("took %v", took)
			case took < 2*time.Second:
				low++
			default:
				high++
			}
		}
		if punctual < 150 || low < 60 || high < 60 {
			t.Errorf("%d punctual, %d below the middle, %d above", punctual, low, high)
		}
	})
}

// TestResetLate: the caller knows at once that something went wrong; the
// challenge is made when it has long stopped waiting.
func TestResetLate(t *testing.T) {
	begin, done := make(chan struct{}), make(chan struct{})
	a := started(t, emulator.Config{
		BeforeWork: func(emulator.Operation, *http.Request) { <-begin },
		AfterWork:  func(emulator.Operation, *http.Request) { close(done) },
	})
	f, _ := a.pushFactor()
	if err := a.e.Script(emulator.OperationCreate, emulator.FaultResetLate); err != nil {
		t.Fatal(err)
	}
	if got := fate(a, f.SID); got != "reset" {
		t.Errorf("the caller saw %s", got)
	}
	if made := a.e.Created(); len(made) != 0 {
		t.Errorf("made before its time: %+v", made)
	}
	close(begin)
	<-done
	if made := a.e.Created(); len(made) != 1 || made[0].Answered || made[0].Fault != emulator.FaultResetLate {
		t.Errorf("made late: %+v", made)
	}
}

// TestListLagOfEachChallenge: within bounds, at a rate, and by a script.
func TestListLagOfEachChallenge(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Faults: emulator.Faults{ListLag: time.Second, ListLagMax: 3 * time.Second, ListLagRate: 0.5}})
	f, _ := a.pushFactor()
	const n = 400
	for range n {
		a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	}
	for _, tc := range []struct {
		after     time.Duration
		low, high int
	}{{0, 150, 250}, {time.Second - 1, 150, 250}, {2 * time.Second, 260, 340}, {3 * time.Second, n, n}} {
		at := newClock().now().Add(tc.after)
		c.nanos.Store(at.UnixNano())
		if got := len(a.list(challenges(identity) + "?PageSize=1000").sids); got < tc.low || got > tc.high {
			t.Errorf("%d of %d are listed after %v, want %d to %d", got, n, tc.after, tc.low, tc.high)
		}
	}
	if hidden := a.e.Stats().Faults[emulator.FaultListLag]; hidden != 3 {
		t.Errorf("%d lists left something out, want 3", hidden)
	}
}

func TestScriptedListLagAndPurge(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Faults: emulator.Faults{ListLag: time.Second, ListLagMax: time.Minute, PurgeAge: time.Hour}})
	f, _ := a.pushFactor()
	if err := a.e.Script(emulator.OperationCreate, emulator.FaultNone, emulator.FaultListLag, emulator.FaultPurge); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "a list", a.e.Script(emulator.OperationList, emulator.FaultListLag), emulator.CodeFaults)
	wantCode(t, "a fetch", a.e.Script(emulator.OperationFetch, emulator.FaultPurge), emulator.CodeFaults)
	var sids []string
	for range 3 {
		sids = append(sids, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
	}
	check := func(want ...string) {
		t.Helper()
		if got := a.list(challenges(identity)).sids; len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("listed %v, want %v", got, want)
		}
	}
	check(sids[0]) // spared
	c.move(59 * time.Second)
	check(sids[0])
	c.move(time.Second)
	check(sids[:2]...)
	a.want(a.get(challenges(identity)+"/"+sids[1]), 200, 0) // a fetch does not lag
	a.want(a.get(challenges(identity)+"/"+sids[2]), 404, 20404)
	c.move(time.Hour)
	check(sids[0]) // the spared one stays for good, the second is past its age
	if made := a.e.Created(); len(made) != 3 || made[0].Fault != "" || made[1].Fault != emulator.FaultListLag || made[2].Fault != emulator.FaultPurge {
		t.Errorf("what vanishes stays in the log: %+v", made)
	}
}

// TestPurge: past its age a challenge is gone for fetch, update and list, at a
// rate or always; paging over what has gone goes on.
func TestPurge(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Faults: emulator.Faults{PurgeAge: 2 * time.Second}})
	f, _ := a.pushFactor()
	sid := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid")
	c.move(time.Second)
	next := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid")
	page := a.list(challenges(identity) + "?PageSize=1")
	c.move(time.Second)
	a.want(a.get(challenges(identity)+"/"+sid), 404, 20404)
	a.want(a.post(challenges(identity)+"/"+sid, with(nil, "Metadata", "{}")), 404, 20404)
	if got := a.list(challenges(identity)).sids; len(got) != 1 || got[0] != next {
		t.Errorf("listed %v, want %s alone", got, next)
	}
	if got := a.list(page.next).sids; len(got) != 1 || got[0] != next {
		t.Errorf("the page behind one that has gone: %v", got)
	}
	if n := a.e.Stats().Faults[emulator.FaultPurge]; n != 4 {
		t.Errorf("%d calls missed it, want the fetch, the update and both lists", n)
	}
	if err := a.e.SetFaults(emulator.Faults{}); err != nil {
		t.Fatal(err)
	}
	a.want(a.get(challenges(identity)+"/"+sid), 200, 0) // hidden, not destroyed
	for range 398 {
		a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	}
	c.move(time.Minute)
	if err := a.e.SetFaults(emulator.Faults{PurgeAge: time.Second, PurgeRate: 0.5}); err != nil {
		t.Fatal(err)
	}
	if got := len(a.list(challenges(identity) + "?PageSize=1000").sids); got < 150 || got > 250 {
		t.Errorf("%d of 400 stay, want about half", got)
	}
}
