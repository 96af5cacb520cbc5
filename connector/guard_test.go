package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

const otherFactor = "YFbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

// guardRig is a lane with limits, and an API that answers as the real one does.
func guardRig(t *testing.T, cfg GuardConfig) *rig {
	t.Helper()
	r := newRig(t)
	cfg.Mode = GuardMode(orOn(string(cfg.Mode)))
	r.cfg.guard = cfg.withDefaults()
	r.cfg.notAfter = 24 * time.Hour
	made := 0
	r.api.answer = func(_ context.Context, req *schemas.Request, _ int) (answer, error) {
		if req.Operation == schemas.OperationCreate {
			r.api.mu.Lock()
			made++
			sid := guardSID(made)
			r.api.mu.Unlock()
			return pendingAnswer(sid, time.Now().Add(5*time.Minute)), nil
		}
		return okAnswer(), nil
	}
	return r
}

func orOn(mode string) string {
	if mode == "" {
		return string(GuardOn)
	}
	return mode
}

func guardSID(n int) string { return fmt.Sprintf("YC%032d", n) }

func pendingAnswer(sid string, expires time.Time) answer { return shownAnswer(sid, "pending", expires) }

func shownAnswer(sid, status string, expires time.Time) answer {
	raw := fmt.Sprintf(`{"sid":%q,"status":%q,"factor_type":"push","expiration_date":%q}`, sid, status, expires.UTC().Format(time.RFC3339))
	return answer{challenge: json.RawMessage(raw), sid: sid}
}

// ring is a create of an identity for a factor.
func ringEvent(t *testing.T, id, identity, factor string) []byte {
	t.Helper()
	return encodeRequest(t, schemas.Request{
		ID: id, Operation: schemas.OperationCreate, ServiceSID: testService, Identity: identity,
		Create: &schemas.Create{FactorSID: factor, Details: &schemas.Details{Message: "Sign in?"}},
	})
}

// flood adds n creates of one identity, and lets them be answered.
func (r *rig) flood(t *testing.T, prefix string, n int, identity, factor string) {
	t.Helper()
	for i := range n {
		r.log.add(identity, ringEvent(t, fmt.Sprintf("%s-%d", prefix, i), identity, factor), 0)
	}
	pass(5 * time.Second)
}

// rang counts the outcomes of the ids with a prefix.
func (r *rig) rang(t *testing.T, prefix string) (succeeded, guarded int) {
	t.Helper()
	for _, res := range r.log.results() {
		switch {
		case !strings.HasPrefix(res.RequestID, prefix):
		case res.Outcome == schemas.OutcomeSucceeded || res.Outcome == schemas.OutcomeAdopted:
			succeeded++
		case res.Outcome == schemas.OutcomeRejected && res.Error.Class == schemas.ClassGuard:
			guarded++
			if res.Attempts != 0 && r.api.called(res.RequestID) == 0 || res.Error.Limit == "" {
				t.Errorf("a guarded result says %+v", res)
			}
		default:
			t.Errorf("%s is %s %+v", res.RequestID, res.Outcome, res.Error)
		}
	}
	return succeeded, guarded
}

func (r *rig) wantRang(t *testing.T, prefix string, succeeded, guarded int) {
	t.Helper()
	if s, g := r.rang(t, prefix); s != succeeded || g != guarded {
		t.Errorf("%s: %d made and %d guarded, want %d and %d", prefix, s, g, succeeded, guarded)
	}
}

func (r *rig) guardCount(limit guardLimit, mode GuardMode) int {
	r.t.Helper()
	var m dto.Metric
	if c := r.cfg.stats.metrics.guarded[guardedKey{limit, mode}]; c == nil {
		return 0
	} else if err := c.Write(&m); err != nil {
		r.t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// TestPushGuardFlood: an attacker who knows the password asks again and again. The
// phone rings as often as the limits say, and again once the period has passed.
func TestPushGuardFlood(t *testing.T) {
	for _, tc := range []struct {
		name     string
		cfg      GuardConfig
		limit    guardLimit
		identity string // of the second half of the flood
		factor   string // likewise
		made     int    // of 20
	}{
		{"identity", GuardConfig{Identity: GuardLimits{Creates: 3}}, limitIdentityCreates, "identity-1", otherFactor, 3},
		{"identity in capitals", GuardConfig{Identity: GuardLimits{Creates: 3}}, limitIdentityCreates, "IDENTITY-1", testFactor, 3},
		{"factor", GuardConfig{Factor: GuardLimits{Creates: 3}}, limitFactorCreates, "identity-1", testFactor, 3},
		{"factor in capitals", GuardConfig{Factor: GuardLimits{Creates: 3}}, limitFactorCreates, "identity-1", "YF" + strings.Repeat("A", 32), 3},
		{"each factor has its own", GuardConfig{Factor: GuardLimits{Creates: 3}}, limitFactorCreates, "identity-1", otherFactor, 6},
		{"each identity has its own", GuardConfig{Identity: GuardLimits{Creates: 3}}, limitIdentityCreates, "identity-2", testFactor, 6},
		{"pending of the identity", GuardConfig{Identity: GuardLimits{Pending: 4}}, limitIdentityPending, "identity-1", otherFactor, 4},
		{"pending of the factor", GuardConfig{Factor: GuardLimits{Pending: 4}}, limitFactorPending, "identity-1", otherFactor, 8},
		{"the smaller one counts", GuardConfig{Identity: GuardLimits{Creates: 5}, Factor: GuardLimits{Creates: 2}}, limitFactorCreates, "identity-1", testFactor, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := guardRig(t, tc.cfg)
				r.start()
				r.flood(t, "a", 10, "identity-1", testFactor)
				r.flood(t, "a2", 10, tc.identity, tc.factor)
				r.wantRang(t, "a", tc.made, 20-tc.made)
				if n := r.api.total(); n != tc.made {
					t.Errorf("%d calls for %d challenges", n, tc.made)
				}
				if n := r.guardCount(tc.limit, GuardOn); n != 20-tc.made {
					t.Errorf("the metric of %s says %d", tc.limit, n)
				}
				pass(defaultGuardPeriod)
				r.flood(t, "b", 1, "identity-1", testFactor)
				r.wantRang(t, "b", 1, 0)
				r.mustEnd()
			})
		})
	}
}

// TestPushGuardAtOnce: what is under way counts, whatever its key and however slow
// the API is; and what the API then refuses counts no more.
func TestPushGuardAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 2}})
		r.api.answer = func(_ context.Context, req *schemas.Request, _ int) (answer, error) {
			pass(time.Second)
			if strings.HasPrefix(req.ID, "refused") {
				return answer{}, apiErr(403, 60318)
			}
			return okAnswer(), nil
		}
		for i := range 4 {
			r.log.add(fmt.Sprint("key", i), ringEvent(t, fmt.Sprint("refused", i), "identity-1", testFactor), 0)
		}
		r.start()
		pass(5 * time.Second)
		for i := range 4 {
			r.log.add(fmt.Sprint("key", i), ringEvent(t, fmt.Sprint("made", i), "identity-1", testFactor), 0)
		}
		pass(5 * time.Second)
		r.wantRang(t, "made", 2, 2)
		if n := r.api.total(); n != 4 {
			t.Errorf("%d calls", n)
		}
		r.mustEnd()
	})
}

// TestPushGuardRemembers: neither a clean restart nor a crash resets what was
// counted, and another owner counts on.
func TestPushGuardRemembers(t *testing.T) {
	for _, pending := range []bool{false, true} {
		limits := GuardConfig{Identity: GuardLimits{Creates: 3}}
		if pending {
			limits = GuardConfig{Identity: GuardLimits{Pending: 3}}
		}
		for _, crash := range []bool{false, true} {
			t.Run(fmt.Sprintf("pending %t crash %t", pending, crash), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := guardRig(t, limits)
					r.start()
					r.flood(t, "a", 2, "identity-1", testFactor)
					if crash {
						r.abort()
					}
					if err := r.end(); err != nil {
						t.Fatal(err)
					}
					pass(time.Minute)
					r.start()
					pass(time.Second) // what comes now can't have been called before
					r.flood(t, "b", 5, "Identity-1", testFactor)
					r.wantRang(t, "b", 1, 4)
					r.mustEnd()
				})
			})
		}
	}
}

// TestPushGuardInDoubt: creates that a former owner may have called count from the
// start of its successor, also those behind another one of their key; and before
// any of them is called again it has to fit among the others.
func TestPushGuardInDoubt(t *testing.T) {
	for _, tc := range []struct {
		name          string
		limit         int
		made          bool // what the former owner called had its effect
		lost, guarded int  // of the two in doubt
	}{
		{"made", 2, true, 2, 0},
		{"not made, and both fit", 2, false, 2, 0},
		{"not made, and one fits", 1, false, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: tc.limit}})
				r.start()
				pass(time.Second) // calledTo is durable
				r.log.add("k", ringEvent(t, "first", "identity-2", testFactor), 0)
				pass(time.Second)
				r.log.mu.Lock()
				r.log.hold = make(chan struct{}) // nothing is committed any more
				r.log.mu.Unlock()
				var marks []string
				called := r.api.answer
				r.api.answer = func(ctx context.Context, req *schemas.Request, n int) (answer, error) {
					if req.Identity == "identity-1" && n == 1 {
						marks = append(marks, r.cfg.marker.mark(req))
					}
					return called(ctx, req, n)
				}
				for i := range 2 {
					r.log.add("k", ringEvent(t, fmt.Sprint("lost", i), "identity-1", testFactor), 0)
				}
				pass(time.Second)
				if len(marks) != min(2, tc.limit) {
					t.Fatalf("the former owner has called %d", len(marks))
				}
				r.api.seen = func(context.Context, query) (sighting, error) {
					s := sighting{complete: true, date: time.Now(), last: time.Now()}
					for i, mark := range marks {
						if created := time.Now().Add(-time.Second); tc.made {
							s.challenges = append(s.challenges, read.Challenge{
								SID: guardSID(i), FactorSID: testFactor, DateCreated: &created, Details: &read.Details{Message: "Sign in?"},
								HiddenDetails: read.Properties{schemas.MarkerKey: mark}, Raw: pendingAnswer(guardSID(i), created).challenge,
							})
						}
					}
					return s, nil
				}
				r.abort()
				if err := r.end(); err != nil {
					t.Fatal(err)
				}
				r.log.hold = nil
				r.start()
				pass(100 * time.Millisecond)
				r.log.add("new", ringEvent(t, "new", "identity-1", testFactor), 0)
				pass(200 * time.Millisecond)
				r.wantRang(t, "new", 0, 1) // the two in doubt may have rung
				pass(2 * time.Minute)
				r.wantRang(t, "lost", tc.lost, tc.guarded)
				r.mustEnd()
			})
		})
	}
}

// TestPushGuardAmbiguous: a create of unknown end counts as made.
func TestPushGuardAmbiguous(t *testing.T) {
	for _, limits := range []GuardConfig{{Identity: GuardLimits{Creates: 1}}, {Factor: GuardLimits{Pending: 1}}} {
		synctest.Test(t, func(t *testing.T) {
			r := guardRig(t, limits)
			r.api.answer = func(_ context.Context, req *schemas.Request, _ int) (answer, error) {
				if req.ID == "vague" {
					return answer{}, errLostAnswer
				}
				return okAnswer(), nil
			}
			r.api.seen = func(context.Context, query) (sighting, error) { return sighting{date: time.Now()}, nil } // the page cap
			r.log.add("a", ringEvent(t, "vague", "identity-1", testFactor), 0)
			r.start()
			pass(20 * time.Second)
			if res := r.log.results(); len(res) != 1 || res[0].Outcome != schemas.OutcomeFailed {
				t.Fatalf("%+v", res)
			}
			r.mustEnd()
			r.start()
			r.flood(t, "b", 2, "identity-1", testFactor)
			r.wantRang(t, "b", 0, 2)
			// The same request once more is no other one: it is looked for, and
			// then takes its own place.
			r.api.answer, r.api.seen = nil, nil
			r.log.add("a", ringEvent(t, "vague", "identity-1", testFactor), 0)
			pass(time.Minute)
			res := r.log.results()
			if last := res[len(res)-1]; last.RequestID != "vague" || last.Outcome != schemas.OutcomeSucceeded {
				t.Errorf("the request in doubt ends as %s %+v", last.Outcome, last.Error)
			}
			r.mustEnd()
		})
	}
}

// TestPushGuardPendingEnds: a challenge is pending until it expires, or until a fetch,
// a list or an update shows that it was answered; a restart does not forget that.
func TestPushGuardPendingEnds(t *testing.T) {
	request := func(operation schemas.Operation) schemas.Request {
		req := schemas.Request{ID: "look", Operation: operation, ServiceSID: testService, Identity: "IDENTITY-1", ChallengeSID: guardSID(1)}
		switch operation {
		case schemas.OperationUpdate:
			req.Update = &schemas.Update{AuthPayload: "123456"}
		case schemas.OperationList:
			req.List, req.ChallengeSID = &schemas.List{}, ""
		default:
		}
		return req
	}
	for _, tc := range []struct {
		name      string
		operation schemas.Operation
		answer    answer
		err       error
		wait      time.Duration
		made      int
	}{
		{"nothing is known", "", answer{}, nil, time.Minute, 0},
		{"it has expired", "", answer{}, nil, 5 * time.Minute, 2},
		{"a fetch shows it approved", schemas.OperationFetch, shownAnswer(guardSID(1), "approved", time.Now()), nil, 0, 1},
		{"a fetch shows it pending", schemas.OperationFetch, shownAnswer(guardSID(1), "pending", time.Now()), nil, 0, 0},
		{"a list shows it denied", schemas.OperationList, answer{challenges: []json.RawMessage{shownAnswer(guardSID(1), "denied", time.Now()).challenge}}, nil, 0, 1},
		{"an update approves it", schemas.OperationUpdate, shownAnswer(guardSID(1), "approved", time.Now()), nil, 0, 1},
		{"an update hears that it was answered", schemas.OperationUpdate, answer{}, apiErr(403, 60322), 0, 1},
		{"a fetch shows another one", schemas.OperationFetch, shownAnswer(guardSID(9), "approved", time.Now()), nil, 0, 0},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restart %t", tc.name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := guardRig(t, GuardConfig{Identity: GuardLimits{Pending: 2}})
					made := r.api.answer
					r.api.answer = func(ctx context.Context, req *schemas.Request, n int) (answer, error) {
						if req.ID == "look" {
							return tc.answer, tc.err
						}
						return made(ctx, req, n)
					}
					r.start()
					r.flood(t, "a", 3, "identity-1", testFactor)
					r.wantRang(t, "a", 2, 1)
					if tc.operation != "" {
						r.log.add("identity-1", encodeRequest(t, request(tc.operation)), 0)
						pass(time.Second)
					}
					pass(tc.wait)
					if restart {
						r.mustEnd()
						r.start()
					}
					r.flood(t, "b", 3, "identity-1", testFactor)
					r.wantRang(t, "b", tc.made, 3-tc.made)
					r.mustEnd()
				})
			})
		}
	}
}

// TestPushGuardModes: a dry run calls all and counts; off counts nothing and leaves
// nothing in the ledger.
func TestPushGuardModes(t *testing.T) {
	for _, mode := range guardModes {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := guardRig(t, GuardConfig{Mode: mode, Identity: GuardLimits{Creates: 2}})
				r.start()
				r.flood(t, "a", 5, "identity-1", testFactor)
				want := map[GuardMode][2]int{GuardOff: {5, 0}, GuardOn: {2, 3}, GuardDryRun: {5, 0}}[mode]
				r.wantRang(t, "a", want[0], want[1])
				if n := r.guardCount(limitIdentityCreates, GuardDryRun); n != map[GuardMode]int{GuardDryRun: 3}[mode] {
					t.Errorf("the metric of a dry run says %d", n)
				}
				if noted := r.log.noted[0].Identity != ""; noted != (mode != GuardOff) {
					t.Errorf("the ledger entry says %+v", r.log.noted[0])
				}
				r.mustEnd()
			})
		})
	}
}

// TestPushGuardCountsWhatRings: a check of a TOTP code rings nobody, whether the
// request or the answer says so; nor does a duplicate.
func TestPushGuardCountsWhatRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 1}})
		r.api.answer = func(_ context.Context, req *schemas.Request, _ int) (answer, error) {
			if strings.HasPrefix(req.ID, "totp") {
				return answer{challenge: json.RawMessage(`{"sid":"` + testSID + `","status":"pending","factor_type":"totp"}`), sid: testSID}, nil
			}
			return okAnswer(), nil
		}
		r.start()
		for i := range 5 {
			r.log.add("identity-1", encodeRequest(t, schemas.Request{
				ID: fmt.Sprint("code", i), Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1",
				Create: &schemas.Create{FactorSID: testFactor, AuthPayload: "123456"},
			}), 0)
		}
		r.flood(t, "totp", 3, "identity-1", testFactor)
		r.wantRang(t, "code", 5, 0)
		r.wantRang(t, "totp", 3, 0)
		r.flood(t, "a", 1, "identity-1", testFactor)
		r.log.add("other key", ringEvent(t, "a-0", "identity-1", testFactor), 0)
		pass(time.Second)
		res := r.log.results()
		if last := res[len(res)-1]; last.Outcome != schemas.OutcomeDuplicate {
			t.Errorf("a repeated id is %s %+v", last.Outcome, last.Error)
		}
		r.mustEnd()
	})
}

// TestPushGuardSaysWhen: the result says which limit it is and from when on the next
// create is allowed.
func TestPushGuardSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 2}})
		r.start()
		began := time.Now()
		r.flood(t, "a", 1, "identity-1", testFactor)
		r.flood(t, "b", 2, "identity-1", testFactor)
		res := r.log.results()
		want := "the push-fatigue guard allows 2 creates for one identity within 10m: nothing was called; the next is allowed from about " +
			began.Add(10*time.Minute).UTC().Format(time.RFC3339)
		if got := res[len(res)-1].Error; got == nil || got.Message != want || got.Limit != "2 creates for one identity within 10m" {
			t.Errorf("says %+v, want %q", got, want)
		}
		r.mustEnd()
	})
}

// TestPushGuardForgets: what no limit asks for any more takes no memory.
func TestPushGuardForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guardRig(t, GuardConfig{Identity: GuardLimits{Creates: 3}})
		r.start()
		for i := range 50 {
			r.flood(t, fmt.Sprint("a", i), 1, fmt.Sprint("identity-", i), testFactor)
		}
		pass(defaultGuardPeriod)
		r.flood(t, "b", 1, "identity-x", testFactor)
		r.mustEnd()
		books := r.lane.ledger.rings
		if len(books.byID) != 1 || len(books.byIdentity) != 1 || len(books.queue) != 1 || len(r.lane.guard.held) != 0 {
			t.Errorf("%d ids, %d identities, %d in the queue, %d held", len(books.byID), len(books.byIdentity), len(books.queue), len(r.lane.guard.held))
		}
	})
}
