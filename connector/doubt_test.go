package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// madeFor is the challenge that a create with the given event would have made.
func madeFor(t testing.TB, event []byte, change func(*read.Challenge)) read.Challenge {
	t.Helper()
	req, _, err := schemas.DecodeRequest(event)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := read.Challenge{
		SID: testSID, FactorSID: req.Create.FactorSID, DateCreated: &now, Status: read.StatusPending,
		Details:       &read.Details{Message: req.Create.Details.Message},
		HiddenDetails: read.Properties{schemas.MarkerKey: newMarker(testConfig()).mark(req)},
		Raw:           json.RawMessage(`{"sid":"` + testSID + `","status":"pending"}`),
	}
	if change != nil {
		change(&c)
	}
	return c
}

var errLostAnswer = &read.CallError{Code: read.CodeNoAnswer, Sent: true, Err: errors.New("connection reset")}

// TestAdoption: a create whose answer was lost is adopted exactly when the API
// shows its own challenge. What is another's does not count; what is neither
// clearly its own nor clearly another's ends the create in doubt.
func TestAdoption(t *testing.T) {
	event := createEvent(t, "r", "identity-1")
	const made, again, unclear = schemas.OutcomeAdopted, schemas.OutcomeSucceeded, schemas.OutcomeFailed
	for _, tc := range []struct {
		name   string
		change func(*read.Challenge)
		want   schemas.Outcome
	}{
		{"its own", nil, made},
		{"a marker of another deployment", func(c *read.Challenge) {
			cfg := testConfig()
			cfg.Recovery.Deployment = "other"
			req, _, _ := schemas.DecodeRequest(event)
			c.HiddenDetails = read.Properties{schemas.MarkerKey: newMarker(cfg).mark(req)}
		}, again},
		{"a user's own marker", func(c *read.Challenge) { c.HiddenDetails = read.Properties{schemas.MarkerKey: "mine"} }, again},
		{"no marker", func(c *read.Challenge) { c.HiddenDetails = nil }, again},
		{"the id with another body", func(c *read.Challenge) {
			req, _, _ := schemas.DecodeRequest(event)
			req.Create.Details.Message = "Pay?"
			c.HiddenDetails = read.Properties{schemas.MarkerKey: newMarker(testConfig()).mark(req)}
		}, again},
		{"another factor", func(c *read.Challenge) { c.FactorSID = strings.Replace(testFactor, "a", "b", 1) }, unclear},
		{"another text", func(c *read.Challenge) { c.Details = &read.Details{Message: "Pay?"} }, unclear},
		{"more fields", func(c *read.Challenge) { c.Details.Fields = []read.Field{{Label: "a", Value: "b"}} }, unclear},
		{"somewhat older than its record", func(c *read.Challenge) {
			old := time.Now().Add(-creationTolerance - time.Second)
			c.DateCreated = &old
		}, unclear},
		{"of an earlier use of the id", func(c *read.Challenge) {
			old := time.Now().Add(-maxAge - time.Second)
			c.DateCreated = &old
		}, again},
		{"without a date", func(c *read.Challenge) { c.DateCreated = nil }, unclear},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				shown := madeFor(t, event, tc.change)
				r.api.seen = func(context.Context, query) (sighting, error) {
					return sighting{challenges: []read.Challenge{shown}, complete: true, date: time.Now()}, nil
				}
				r.api.answer = func(_ context.Context, _ *schemas.Request, n int) (answer, error) {
					if n == 1 {
						return answer{}, errLostAnswer
					}
					return okAnswer(), nil
				}
				r.log.add("key", event, 0)
				r.start()
				pass(time.Minute)
				r.mustEnd()
				res := r.log.results()
				calls := 1
				if tc.want == again {
					calls = 2
				}
				if len(res) != 1 || res[0].Outcome != tc.want || r.api.called("r") != calls {
					t.Errorf("%d calls, results %+v, want %s after %d", r.api.called("r"), res, tc.want, calls)
				}
			})
		})
	}
}

// TestDoubtThatTheAPICannotSettle ends visibly and without another call.
func TestDoubtThatTheAPICannotSettle(t *testing.T) {
	totp := encodeRequest(t, schemas.Request{
		ID: "r", Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1",
		Create: &schemas.Create{FactorSID: testFactor, AuthPayload: "123456"},
	})
	push := createEvent(t, "r", "identity-1")
	for _, tc := range []struct {
		name  string
		event []byte
		seen  func(context.Context, query) (sighting, error)
		after time.Duration
		why   string
		looks int
	}{
		{"more pages than the cap", push, func(context.Context, query) (sighting, error) {
			return sighting{date: time.Now()}, nil
		}, time.Minute, "more challenges than 20 pages", 1},
		{"the API refuses the list", push, func(context.Context, query) (sighting, error) {
			return sighting{}, apiErr(400, 60306)
		}, time.Minute, "refuses to list", 1},
		{"lists fail for longer than a challenge lives", push, func(context.Context, query) (sighting, error) {
			return sighting{}, apiErr(408, 0)
		}, 90 * time.Minute, "older than any challenge", 0},
		{"the code goes stale while it is looked for", totp, func(context.Context, query) (sighting, error) {
			pass(40 * time.Second)
			return sighting{complete: true, date: time.Now()}, nil
		}, 3 * time.Minute, "gone stale", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cfg.notAfter = 2 * time.Hour
				r.api.seen = tc.seen
				r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, errLostAnswer }
				r.log.add("key", tc.event, 0)
				r.start()
				pass(tc.after)
				r.mustEnd()
				res := r.log.results()
				if len(res) != 1 || res[0].Outcome != schemas.OutcomeFailed || res[0].Error.Class != schemas.ClassAmbiguous ||
					!strings.Contains(res[0].Error.Message, tc.why) {
					t.Fatalf("results %+v, want ambiguous because %q", res, tc.why)
				}
				if n := r.api.called("r"); n != 1 {
					t.Errorf("%d calls, want 1", n)
				}
				if tc.looks != 0 && r.api.looks != tc.looks {
					t.Errorf("%d looks, want %d", r.api.looks, tc.looks)
				}
				if len(r.log.deadLetters()) != 1 {
					t.Error("no dead letter to redrive")
				}
			})
		})
	}
}

// TestOneLookServesAFactor: after a crash in the middle of many creates each
// factor costs two Lists, however many creates it has, and nothing that was made
// is made again.
func TestOneLookServesAFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const factors, each = 10, 10
		r := newRig(t)
		shown := map[string][]read.Challenge{}
		for i := range factors * each {
			identity := fmt.Sprintf("identity-%03d", i%factors)
			event := createEvent(t, fmt.Sprint("r", i), identity)
			r.log.add(identity, event, 0)
			if i < factors*each/2 {
				shown[identity] = append(shown[identity], madeFor(t, event, nil))
			}
		}
		p := position{calledTo: factors * each, seq: 1}
		r.log.committed.Offset, r.log.committed.Metadata = 0, p.metadata()
		r.api.seen = func(_ context.Context, q query) (sighting, error) {
			return sighting{challenges: shown[q.identity], complete: true, date: time.Now()}, nil
		}
		r.start()
		pass(time.Minute)
		r.mustEnd()
		outcomes := map[schemas.Outcome]int{}
		for _, res := range r.log.results() {
			outcomes[res.Outcome]++
		}
		if outcomes[schemas.OutcomeAdopted] != factors*each/2 || outcomes[schemas.OutcomeSucceeded] != factors*each/2 {
			t.Errorf("outcomes %v", outcomes)
		}
		if r.api.total() != factors*each/2 || r.api.looks != 2*factors {
			t.Errorf("%d creates and %d looks for %d factors", r.api.total(), r.api.looks, factors)
		}
	})
}

// TestUpdatesAreSettledByFetch: what became of the challenge is reported, never
// whose doing it was.
func TestUpdatesAreSettledByFetch(t *testing.T) {
	update := func(u schemas.Update) []byte {
		return encodeRequest(t, schemas.Request{
			ID: "r", Operation: schemas.OperationUpdate, ServiceSID: testService, Identity: "identity-1", ChallengeSID: testSID, Update: &u,
		})
	}
	code, meta := update(schemas.Update{AuthPayload: "123456"}), update(schemas.Update{Metadata: map[string]string{"a": "b"}})
	state := func(status, metadata string) answer {
		return answer{challenge: json.RawMessage(`{"sid":"` + testSID + `","status":"` + status + `","metadata":` + metadata + `}`), date: time.Now()}
	}
	for _, tc := range []struct {
		name    string
		event   []byte
		updates []error // ends of the updates in turn; the last repeats
		fetched answer
		failed  error // of the fetch
		outcome schemas.Outcome
		code    int
		calls   int
	}{
		{"approved", code, []error{errLostAnswer}, state("approved", "null"), nil, schemas.OutcomeAdopted, 0, 1},
		{"denied", code, []error{errLostAnswer}, state("denied", "null"), nil, schemas.OutcomeAdopted, 0, 1},
		{"expired", code, []error{errLostAnswer}, state("expired", "null"), nil, schemas.OutcomeRejected, 60323, 1},
		{"pending: not made, so made again", code, []error{errLostAnswer, nil}, state("pending", "null"), nil, schemas.OutcomeSucceeded, 0, 2},
		{"answered meanwhile", code, []error{errLostAnswer, apiErr(403, 60322)}, state("pending", "null"), nil, schemas.OutcomeFailed, 0, 6},
		{"its metadata is there", meta, []error{errLostAnswer}, state("pending", `{"a":"b"}`), nil, schemas.OutcomeAdopted, 0, 1},
		{"other metadata is there", meta, []error{errLostAnswer, nil}, state("pending", `{"a":"c"}`), nil, schemas.OutcomeSucceeded, 0, 2},
		{"gone", code, []error{errLostAnswer}, answer{}, apiErr(404, 20404), schemas.OutcomeRejected, 20404, 1},
		{"no doubt: answered by somebody", code, []error{apiErr(403, 60322)}, answer{}, nil, schemas.OutcomeRejected, 60322, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				updates := 0
				r.api.answer = func(_ context.Context, req *schemas.Request, _ int) (answer, error) {
					if req.Operation == schemas.OperationFetch {
						a := tc.fetched
						a.date = time.Now()
						return a, tc.failed
					}
					updates++
					if err := tc.updates[min(updates, len(tc.updates))-1]; err != nil {
						return answer{}, err
					}
					return okAnswer(), nil
				}
				r.log.add("key", tc.event, 0)
				r.start()
				pass(4 * time.Minute)
				r.mustEnd()
				res := r.log.results()
				if len(res) != 1 || res[0].Outcome != tc.outcome || updates != tc.calls {
					t.Fatalf("%d updates, results %+v, want %s after %d", updates, res, tc.outcome, tc.calls)
				}
				if got := res[0].Error; tc.code != 0 && (got == nil || got.Code != tc.code) {
					t.Errorf("error %+v, want code %d", got, tc.code)
				}
			})
		})
	}
}

// TestDoubtReachesBackToTheFirstRecord: a record whose id ended in doubt before
// is looked for since the record that was called, not since its own time.
func TestDoubtReachesBackToTheFirstRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		event := createEvent(t, "r", "identity-1")
		r.cfg.notAfter = 24 * time.Hour
		called := time.Now()
		shown := madeFor(t, event, nil)
		hidden := true
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, errLostAnswer }
		r.api.seen = func(context.Context, query) (sighting, error) {
			if hidden { // behind more challenges than the page cap lets it read
				return sighting{date: time.Now()}, nil
			}
			return sighting{challenges: []read.Challenge{shown}, complete: true, date: time.Now()}, nil
		}
		r.log.add("a", event, 0)
		r.start()
		pass(maxAge / 2)
		hidden = false
		r.log.add("a", event, 0)
		pass(time.Minute)
		r.mustEnd()
		got := r.log.results()
		if len(got) != 2 || got[0].Outcome != schemas.OutcomeFailed || got[1].Outcome != schemas.OutcomeAdopted || r.api.called("r") != 1 {
			t.Errorf("%v after %d calls since %v, want the second record to adopt what the first made", got, r.api.called("r"), called)
		}
	})
}

// TestEvidenceIsForgotten once nobody can ask for it: a lane may live for months.
func TestEvidenceIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 20 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprint("r", i), fmt.Sprint("identity-", i)), 0)
		}
		r.cfg.window.Span = 4 // it is taken in bit by bit
		left := position{frontier: 0, calledTo: 15, seq: 1}
		r.log.committed = kafka.Position{Offset: 0, Metadata: left.metadata()}
		r.start()
		pass(30 * time.Minute)
		r.mustEnd()
		if n := len(r.lane.looks.factors); n != 0 || len(r.log.results()) != 20 || r.api.looks < 15 {
			t.Errorf("%d factors are remembered after %d results and %d looks", n, len(r.log.results()), r.api.looks)
		}
	})
}

// TestEvidenceServesAWholeRecovery: what was seen of a factor is kept for the
// records that are still to be taken in.
func TestEvidenceServesAWholeRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 15 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprint("r", i), "identity-1"), 0)
		}
		r.cfg.window.Span = 4
		left := position{frontier: 0, calledTo: 15, seq: 1}
		r.log.committed = kafka.Position{Offset: 0, Metadata: left.metadata()}
		r.start()
		pass(30 * time.Minute)
		r.mustEnd()
		if len(r.log.results()) != 15 || r.api.looks != 2 {
			t.Errorf("%d looks for %d results of one factor", r.api.looks, len(r.log.results()))
		}
	})
}

// TestFormerCallOfARedrivenRecord: a redriven record may be looked for however
// old its first call is, but not for longer than the API can tell of a call that a
// former owner may have made for that very record.
func TestFormerCallOfARedrivenRecord(t *testing.T) {
	for _, patience := range []time.Duration{5 * time.Minute, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			event := createEvent(t, "r", "identity-1")
			since, notAfter := time.Now().Add(-2*time.Hour), time.Now().Add(patience)
			r.log.add("a", event, 0)
			r.log.records[0].Headers = schemas.Redrive{Redrives: 1, LookSince: &since, NotAfter: &notAfter}.Headers()
			left := position{frontier: 0, calledTo: 1, seq: 1}
			r.log.committed = kafka.Position{Offset: 0, Metadata: left.metadata()}
			made, shown := time.Now(), madeFor(t, event, nil)
			r.api.seen = func(context.Context, query) (sighting, error) {
				s := sighting{complete: true, date: time.Now()}
				if time.Since(made) < maxAge {
					s.challenges = []read.Challenge{shown}
				}
				return s, nil
			}
			pass(maxAge + time.Minute)
			r.start()
			pass(time.Hour)
			r.mustEnd()
			got := r.log.results()
			if len(got) != 1 || got[0].Outcome != schemas.OutcomeFailed || r.api.called("r") != 0 {
				t.Errorf("%+v after %d calls, want it to end in doubt", got, r.api.called("r"))
			}
		})
	}
}

// TestNotFoundIsAnEmptyList: an entity or a factor that is not there has no
// challenges. That settles the doubt as an empty list does.
func TestNotFoundIsAnEmptyList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.api.answer = func(_ context.Context, _ *schemas.Request, n int) (answer, error) {
			if n == 1 {
				return answer{}, errLostAnswer
			}
			return answer{}, apiErr(404, 20404)
		}
		r.api.seen = func(context.Context, query) (sighting, error) {
			return sighting{date: time.Now()}, apiErr(404, 20404)
		}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(time.Minute)
		r.mustEnd()
		got := r.log.results()
		if len(got) != 1 || got[0].Outcome != schemas.OutcomeRejected || r.api.called("r") != 2 || r.api.looks != 2 {
			t.Errorf("%v after %d calls and %d looks, want it rejected by the second of each", got, r.api.called("r"), r.api.looks)
		}
	})
}

// TestCallEndsWithTheLease: an answer is worth nothing once somebody else may
// work on the partition, so the call is given up then, and is in doubt.
func TestCallEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		lease := &endingLease{until: time.Now().Add(4 * time.Second)}
		r.lease = lease
		var took time.Duration
		r.api.answer = func(ctx context.Context, _ *schemas.Request, _ int) (answer, error) {
			began := time.Now()
			<-ctx.Done()
			took = time.Since(began)
			return answer{}, &read.CallError{Code: read.CodeTimeout, Sent: true, Err: ctx.Err()}
		}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(20 * time.Second)
		if took == 0 || took > 4*time.Second || r.api.called("r") != 1 || r.api.looks != 0 {
			t.Errorf("the call took %v of a lease of 4 s; %d calls, %d looks", took, r.api.called("r"), r.api.looks)
		}
		r.end()
	})
}

// endingLease ends at a moment and is not renewed.
type endingLease struct{ until time.Time }

func (l *endingLease) Left() time.Duration { return time.Until(l.until) }

// TestLooksOutliveTheLease: a look at many pages may take longer than the lease
// that it began with. It goes on for as long as the lease is renewed, and ends
// between two pages where it is not.
func TestLooksOutliveTheLease(t *testing.T) {
	for _, renewed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			lease := &rollingLease{}
			r.lease = lease
			event := createEvent(t, "r", "identity-1")
			shown := madeFor(t, event, nil)
			r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, errLostAnswer }
			pages := 0
			r.api.paged = func(ctx context.Context, pay func() error) (sighting, error) {
				for range 5 {
					select {
					case <-ctx.Done():
						return sighting{}, &read.CallError{Code: read.CodeCanceled, Sent: true, Err: ctx.Err()}
					case <-time.After(2 * time.Second):
					}
					if err := pay(); err != nil {
						return sighting{}, err
					}
					if pages++; pages == 2 && !renewed {
						lease.ended.Store(true)
					}
				}
				return sighting{challenges: []read.Challenge{shown}, complete: true, date: time.Now()}, nil
			}
			r.log.add("a", event, 0)
			r.start()
			pass(time.Minute)
			if err := r.end(); err != nil {
				t.Error(err)
			}
			got := r.log.results()
			switch {
			case renewed && (len(got) != 1 || got[0].Outcome != schemas.OutcomeAdopted || pages != 5):
				t.Errorf("%v after %d pages, want it adopted after 5", got, pages)
			case !renewed && (len(got) != 0 || pages != 2):
				t.Errorf("%v after %d pages, want nothing after 2", got, pages)
			}
		})
	}
}

// rollingLease has 4 s left at any time, until it ends.
type rollingLease struct{ ended atomic.Bool }

func (l *rollingLease) Left() time.Duration {
	if l.ended.Load() {
		return 0
	}
	return 4 * time.Second
}
