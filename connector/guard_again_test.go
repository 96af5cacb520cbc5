package connector

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// dieCalling lets the lane call for the record that comes, and ends it before an
// answer has come.
func (r *rig) dieCalling(t *testing.T, key string, value []byte) {
	t.Helper()
	answered := r.api.answer
	r.api.answer = func(ctx context.Context, _ *schemas.Request, _ int) (answer, error) {
		<-ctx.Done()
		return answer{}, &read.CallError{Code: read.CodeCanceled, Sent: true, Err: ctx.Err()}
	}
	r.log.add(key, value, 0)
	pass(time.Second)
	r.abort()
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r.api.answer = answered
}

// shows makes looks find a challenge for the request, made at that moment.
func (r *rig) shows(t *testing.T, value []byte, made time.Time) {
	t.Helper()
	req, _, err := schemas.DecodeRequest(value)
	if err != nil {
		t.Fatal(err)
	}
	found := read.Challenge{
		SID: guardSID(77), FactorSID: testFactor, DateCreated: &made, Details: &read.Details{Message: "Sign in?"},
		HiddenDetails: read.Properties{schemas.MarkerKey: r.cfg.marker.mark(req)},
		Raw: fmt.Appendf(nil, `{"sid":%q,"status":"pending","factor_type":"push","date_created":%q,"expiration_date":%q}`,
			guardSID(77), made.UTC().Format(time.RFC3339), made.Add(5*time.Minute).UTC().Format(time.RFC3339)),
	}
	r.api.seen = func(context.Context, query) (sighting, error) {
		return sighting{complete: true, date: time.Now(), last: time.Now(), challenges: []read.Challenge{found}}, nil
	}
}

// wantRoomForOne expects that one more create fits, also after a restart.
func (r *rig) wantRoomForOne(t *testing.T, restart bool) {
	t.Helper()
	if restart {
		r.mustEnd()
		r.start()
	}
	r.flood(t, "b", 2, "identity-1", testFactor)
	r.wantRang(t, "b", 1, 1)
	r.mustEnd()
}

func (r *rig) wantLast(t *testing.T, id string, outcome schemas.Outcome) {
	t.Helper()
	res := r.log.results()
	if last := res[len(res)-1]; last.RequestID != id || last.Outcome != outcome {
		t.Fatalf("%s is %s %+v, want %s %s", last.RequestID, last.Outcome, last.Error, id, outcome)
	}
}

// TestPushGuardCountsFromWhenItRang: what was found or given up long after it can
// have rung is no reason to refuse its owner now.
func TestPushGuardCountsFromWhenItRang(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("adopted, restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 1, Pending: 1}})
				lost := ringEvent(t, "lost", "identity-1", testFactor)
				r.start()
				pass(time.Second)
				r.dieCalling(t, "a", lost)
				r.shows(t, lost, time.Now().Add(-time.Second))
				pass(50 * time.Minute)
				r.start()
				pass(time.Minute)
				r.wantLast(t, "lost", schemas.OutcomeAdopted)
				r.wantRoomForOne(t, restart)
			})
		})
		t.Run(fmt.Sprint("ambiguous, restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := guardRig(t, GuardConfig{Period: 2 * time.Hour, Identity: GuardLimits{Creates: 1, Pending: 1}})
				r.cfg.notAfter = 5 * time.Minute
				r.start()
				pass(time.Second)
				r.dieCalling(t, "a", ringEvent(t, "lost", "identity-1", testFactor))
				pass(12 * time.Hour)
				r.start()
				pass(time.Minute)
				r.wantLast(t, "lost", schemas.OutcomeFailed)
				r.wantRoomForOne(t, restart)
			})
		})
	}
}

// TestPushGuardCountsARequestOnce: a request that ended in doubt and is made again
// counts once, be it by its ring or by its place, and never less.
func TestPushGuardCountsARequestOnce(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for _, tc := range []struct{ limit, made, guarded int }{{1, 0, 1}, {2, 1, 0}} {
			t.Run(fmt.Sprintf("crash %t limit %d", crash, tc.limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: tc.limit, Pending: 5}})
					r.cfg.notAfter = time.Hour
					vague := ringEvent(t, "vague", "identity-1", testFactor)
					answered := r.api.answer
					r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, errLostAnswer }
					r.api.seen = func(context.Context, query) (sighting, error) { return sighting{date: time.Now()}, nil } // the page cap
					r.log.add("a", vague, 0)
					r.start()
					pass(20 * time.Second)
					r.wantLast(t, "vague", schemas.OutcomeFailed)
					r.api.answer, r.api.seen = answered, nil
					if crash {
						// Its ring is out of the period by now, and it is called anew.
						pass(15 * time.Minute)
						looking := make(chan struct{})
						r.api.seen = func(context.Context, query) (sighting, error) {
							return sighting{complete: true, date: time.Now(), last: time.Now()}, nil
						}
						r.api.answer = func(ctx context.Context, req *schemas.Request, n int) (answer, error) {
							if req.ID == "vague" {
								close(looking)
								<-ctx.Done()
								return answer{}, &read.CallError{Code: read.CodeCanceled, Sent: true, Err: ctx.Err()}
							}
							return answered(ctx, req, n)
						}
						r.log.add("a", vague, 0)
						<-looking
						r.abort()
						if err := r.end(); err != nil {
							t.Fatal(err)
						}
						r.api.answer = answered
						r.start()
						pass(100 * time.Millisecond)
					} else {
						r.api.seen = func(context.Context, query) (sighting, error) {
							return sighting{complete: true, date: time.Now(), last: time.Now()}, nil
						}
						r.log.add("a", vague, 0)
						pass(100 * time.Millisecond)
					}
					r.log.add("b", ringEvent(t, "b", "identity-1", testFactor), 0)
					pass(200 * time.Millisecond)
					r.wantRang(t, "b", tc.made, tc.guarded)
					pass(time.Minute)
					r.wantRang(t, "b", tc.made, tc.guarded)
					r.mustEnd()
				})
			})
		}
	}
}

// TestPushGuardWarnsOfOtherKeys: Kafka takes each spelling of a key for another
// one, so the guard asks for one spelling.
func TestPushGuardWarnsOfOtherKeys(t *testing.T) {
	for key, warns := range map[string]bool{"identity-1": false, "Identity-1": true, "account-7": true, "": true} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 3}})
			r.cfg.log = slog.New(slog.NewTextHandler(&log, nil))
			r.start()
			r.log.add(key, ringEvent(t, "a", "Identity-1", testFactor), 0)
			pass(time.Second)
			r.mustEnd()
			if got := strings.Contains(log.String(), "in lower case"); got != warns {
				t.Errorf("key %q: warned %t\n%s", key, got, log.String())
			}
			if strings.Contains(strings.ToLower(log.String()), "identity-1") {
				t.Errorf("an identity is logged: %s", log.String())
			}
		})
	}
}

// TestGuardAgainstTheModel: whatever rang, in whatever order it was noted and
// forgotten, the guard finds the limit that a count of everything finds.
func TestGuardAgainstTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limits := func(name string) GuardLimits {
			return GuardLimits{Creates: rapid.IntRange(0, 4).Draw(rt, name), Pending: rapid.IntRange(0, 4).Draw(rt, name)}
		}
		cfg := GuardConfig{Mode: GuardDryRun, Period: time.Hour, Identity: limits("identity"), Factor: limits("factor")}
		cfg.Identity.Creates++ // a guard without limits remembers nothing
		books := newRings(cfg)
		now := time.Now()
		noted := map[hash]ring{}
		for range rapid.IntRange(0, 40).Draw(rt, "rings") {
			id := hash{1, rapid.Byte().Draw(rt, "id")}
			one := ring{
				identity: hash{2, rapid.ByteRange(0, 1).Draw(rt, "of")}, at: now.Add(-time.Duration(rapid.IntRange(0, 90).Draw(rt, "age")) * time.Minute),
				pending: now.Add(time.Duration(rapid.IntRange(-5, 5).Draw(rt, "left")) * time.Minute),
			}
			one.factor = hash{3, one.identity[1], rapid.ByteRange(0, 2).Draw(rt, "factor")}
			if rapid.IntRange(0, 4).Draw(rt, "forget") == 0 {
				books.forget(id)
				delete(noted, id)
				continue
			}
			books.note(id, "", one)
			noted[id] = one
		}
		e := &entry{id: hash{4}, guard: guarded{identity: hash{2, 0}, factor: hash{3, 0, 1}}}
		counts := map[guardLimit]int{}
		for _, one := range noted {
			if one.identity != e.guard.identity {
				continue
			}
			lately, pending, same := one.at.Add(cfg.Period).After(now), one.pending.After(now), one.factor == e.guard.factor
			for limit, counted := range map[guardLimit]bool{
				limitIdentityCreates: lately, limitFactorCreates: lately && same, limitIdentityPending: pending, limitFactorPending: pending && same,
			} {
				if counted {
					counts[limit]++
				}
			}
		}
		var want guardLimit
		for _, l := range []struct {
			limit guardLimit
			most  int
		}{
			{limitIdentityCreates, cfg.Identity.Creates},
			{limitFactorCreates, cfg.Factor.Creates},
			{limitIdentityPending, cfg.Identity.Pending},
			{limitFactorPending, cfg.Factor.Pending},
		} {
			if want == "" && l.most > 0 && counts[l.limit] >= l.most {
				want = l.limit
			}
		}
		if got, exceeded := newGuard(cfg, books).exceeds(e, now, now); got.limit != want || exceeded != (want != "") {
			rt.Fatalf("the guard says %q, %v rang: %+v", got.limit, counts, cfg)
		}
	})
}

// TestGuardTakesSIDsInEitherCase: a request may spell a challenge's SID in another
// case than the answer to its create did.
func TestGuardTakesSIDsInEitherCase(t *testing.T) {
	r := newRings(GuardConfig{Mode: GuardOn, Period: time.Hour, Identity: GuardLimits{Pending: 1}})
	now := time.Now()
	of := ring{identity: hash{1}, factor: hash{2}, at: now, pending: now.Add(time.Minute)}
	sid := "YC" + strings.Repeat("0a", 16)
	r.note(hash{3}, sid, of)
	if _, changed := r.answered(hash{9}, sid); changed {
		t.Error("a challenge of another identity is taken for it")
	}
	if id, changed := r.answered(of.identity, "YC"+strings.Repeat("0A", 16)); !changed || id != (hash{3}) {
		t.Errorf("%v, %v", id, changed)
	}
	if r.forget(hash{3}); len(r.bySID)+len(r.byFactor)+len(r.byIdentity) != 0 {
		t.Errorf("something is left of it: %+v", r)
	}
}

// BenchmarkGuardFlood is a flood of one identity beside a lane without a guard:
// what one attacker does must not slow the others of the partition down.
func BenchmarkGuardFlood(b *testing.B) {
	for _, mode := range []GuardMode{GuardOff, GuardDryRun, GuardOn} {
		b.Run(string(mode), func(b *testing.B) {
			cfg := GuardConfig{Mode: mode, Period: time.Hour, Identity: GuardLimits{Creates: 5, Pending: 5}, Factor: GuardLimits{Creates: 5, Pending: 2}}
			books := newRings(cfg)
			g := newGuard(cfg, books)
			now := time.Now()
			e := &entry{guard: guarded{identity: hash{1}, factor: hash{2}}}
			other := &entry{guard: guarded{identity: hash{1}, factor: hash{4}}} // that is not flooded
			for i := range 60_000 {
				if mode == GuardOff {
					break
				}
				at := now.Add(-time.Duration(60_000-i) * time.Millisecond)
				books.note(hash{3, byte(i), byte(i >> 8), byte(i >> 16)}, guardSID(i), ring{identity: hash{1}, factor: hash{2}, at: at, pending: at.Add(5 * time.Minute)})
			}
			for b.Loop() {
				if mode != GuardOff {
					g.exceeds(e, now, now)
					g.exceeds(other, now, now)
				}
			}
		})
	}
}

// TestPushGuardDatesADoubtOnce: a request that is looked for in vain again rings
// nobody, so its ring keeps its time.
func TestPushGuardDatesADoubtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 1, Pending: 1}})
		vague := ringEvent(t, "vague", "identity-1", testFactor)
		answered := r.api.answer
		r.api.answer = func(ctx context.Context, req *schemas.Request, n int) (answer, error) {
			if req.ID == "vague" {
				return answer{}, errLostAnswer
			}
			return answered(ctx, req, n)
		}
		r.api.seen = func(context.Context, query) (sighting, error) { return sighting{date: time.Now()}, nil } // the page cap
		r.log.add("a", vague, 0)
		r.start()
		pass(20 * time.Minute)
		r.log.add("a", vague, 0)
		pass(time.Minute)
		r.wantLast(t, "vague", schemas.OutcomeFailed)
		if n := r.api.called("vague"); n != 1 {
			t.Fatalf("called %d times", n)
		}
		r.flood(t, "b", 2, "identity-1", testFactor)
		r.wantRang(t, "b", 1, 1)
		r.mustEnd()
	})
}

// TestPushGuardCountsCopiesOnce: a request that stands twice in the log, both in
// doubt, can ring once.
func TestPushGuardCountsCopiesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 2}})
		twice := ringEvent(t, "twice", "identity-1", testFactor)
		r.start()
		pass(time.Second)
		r.log.add("b", twice, 0)
		r.dieCalling(t, "a", twice)
		r.start()
		pass(100 * time.Millisecond)
		r.log.add("c", ringEvent(t, "c", "identity-1", testFactor), 0)
		pass(time.Second)
		r.wantRang(t, "c", 1, 0)
		pass(time.Minute)
		r.mustEnd()
	})
}
