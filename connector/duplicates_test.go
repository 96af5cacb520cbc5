package connector

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/schemas"
)

// errNeverListed is a lost answer of a create that no look can settle, because
// the factor has too many challenges.
var errNeverListed = fmt.Errorf("the page cap is reached: %w", errLostAnswer)

// TestDuplicates: what a second record with an id gets, by what the first one
// got, and in which key, process and time it comes.
func TestDuplicates(t *testing.T) {
	event := createEvent(t, "r", "identity-1")
	other := encodeRequest(t, schemas.Request{
		ID: "r", Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1",
		Create: &schemas.Create{FactorSID: testFactor, Details: &schemas.Details{Message: "Pay?"}},
	})
	for _, tc := range []struct {
		name    string
		first   error // of the first record's call
		second  []byte
		key     string
		restart bool
		after   time.Duration
		outcome schemas.Outcome // of the second
		class   schemas.Class
		calls   int
	}{
		{"at once, another key", nil, event, "b", false, 0, schemas.OutcomeDuplicate, "", 1},
		{"at once, the same key", nil, event, "a", false, 0, schemas.OutcomeDuplicate, "", 1},
		{"at once, another body", nil, other, "b", false, 0, schemas.OutcomeRejected, schemas.ClassIDConflict, 1},
		{"later", nil, event, "b", false, time.Hour, schemas.OutcomeDuplicate, "", 1},
		{"after a restart", nil, event, "b", true, time.Minute, schemas.OutcomeDuplicate, "", 1},
		{"another body, after a restart", nil, other, "b", true, time.Minute, schemas.OutcomeRejected, schemas.ClassIDConflict, 1},
		{"beyond the horizon", nil, event, "b", true, 2*time.Hour + time.Minute, schemas.OutcomeSucceeded, "", 2},
		{"after it ended in doubt and was looked for in vain", errNeverListed, event, "b", false, 0, schemas.OutcomeFailed, schemas.ClassAmbiguous, 1},
		{"after it ended in doubt, and a restart", errNeverListed, event, "b", true, time.Minute, schemas.OutcomeFailed, schemas.ClassAmbiguous, 1},
		{"after a rejection", apiErr(403, 60318), event, "b", false, 0, schemas.OutcomeSucceeded, "", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cfg.notAfter = 24 * time.Hour
				r.api.answer = func(_ context.Context, _ *schemas.Request, n int) (answer, error) {
					pass(100 * time.Millisecond)
					if n == 1 && tc.first != nil {
						return answer{}, tc.first
					}
					return okAnswer(), nil
				}
				if errors.Is(tc.first, errNeverListed) {
					r.api.seen = func(context.Context, query) (sighting, error) { return sighting{date: time.Now()}, nil }
				}
				r.log.add("a", event, 0)
				if tc.after == 0 {
					r.log.add(tc.key, tc.second, 0)
				}
				r.start()
				if tc.after > 0 {
					pass(time.Second)
					if tc.restart {
						r.mustEnd()
					}
					pass(tc.after)
					r.log.add(tc.key, tc.second, 0)
					if tc.restart {
						r.start()
					}
				}
				pass(5 * time.Second)
				r.mustEnd()
				res := r.log.results()
				if len(res) != 2 || r.api.called("r") != tc.calls {
					t.Fatalf("%d calls, results %+v", r.api.called("r"), res)
				}
				class := schemas.Class("")
				if res[1].Error != nil {
					class = res[1].Error.Class
				}
				if res[1].Outcome != tc.outcome || class != tc.class {
					t.Errorf("the second is %s %s, want %s %s", res[1].Outcome, class, tc.outcome, tc.class)
				}
				want := &schemas.Original{
					ResultID: res[0].ID, ChallengeSID: testSID, Outcome: schemas.OutcomeSucceeded, Topic: "requests",
				}
				if got := res[1].Original; tc.outcome == schemas.OutcomeDuplicate && (got == nil || *got != *want) {
					t.Errorf("points to %+v, want %+v", got, want)
				}
			})
		})
	}
}

// TestReadsAreNoDuplicates: a read costs nothing and answers of now.
func TestReadsAreNoDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for range 3 {
			r.log.add("a", fetchEvent(t, "poll", "identity-1"), 0)
		}
		r.start()
		pass(time.Second)
		r.mustEnd()
		if n := r.api.called("poll"); n != 3 || len(r.log.results()) != 3 || len(r.log.noted) != 0 {
			t.Errorf("%d calls, %d results, %d ledger entries", n, len(r.log.results()), len(r.log.noted))
		}
	})
}

// TestFullLedgerStopsIntake: nothing is forgotten for want of room; new records
// wait until old ids are beyond the horizon.
func TestFullLedgerStopsIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.notAfter = 24 * time.Hour
		r.room = newLedgerRoom(10)
		for i := range 10 {
			r.log.add("a", createEvent(t, string(rune('a'+i)), "identity-1"), 0)
		}
		r.start()
		pass(time.Minute)
		synctest.Wait()
		// What was asked for before the ledger was full may still come; these
		// are beyond it.
		for range 2 {
			r.log.add("a", createEvent(t, "late", "identity-1"), 0)
			pass(time.Minute)
		}
		before := r.api.total()
		r.log.add("a", createEvent(t, "waits", "identity-1"), 0)
		pass(time.Hour)
		if n := r.api.total(); n != before || r.api.called("waits") != 0 {
			t.Errorf("%d calls while the ledger was full, %d before", n, before)
		}
		pass(time.Hour + time.Minute)
		synctest.Wait()
		r.mustEnd()
		if r.api.called("waits") != 1 {
			t.Error("nothing went on once there was room again")
		}
	})
}

// TestRedrivenRecords: the headers of a redrive give a new deadline, and make
// the record be looked for before it is called, however old it is.
func TestRedrivenRecords(t *testing.T) {
	past := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, look := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			event := encodeRequest(t, schemas.Request{
				ID: "r", Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1", NotAfter: &past,
				Create: &schemas.Create{FactorSID: testFactor, Details: &schemas.Details{Message: "Sign in?"}},
			})
			deadline, since := time.Now().Add(10*time.Minute), time.Now().Add(-3*time.Hour)
			redrive := schemas.Redrive{Redrives: 2, NotAfter: &deadline}
			if look {
				redrive.LookSince = &since
			}
			r.log.add("a", event, 0)
			r.log.records[0].Headers = redrive.Headers()
			r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, apiErr(429, 20429) }
			var from time.Time
			r.api.seen = func(_ context.Context, q query) (sighting, error) {
				from = q.backTo
				return sighting{complete: true, date: time.Now()}, nil
			}
			r.start()
			pass(9 * time.Minute)
			r.mustEnd()
			dead := r.log.deadLetters()
			if len(dead) != 1 || r.api.called("r") != 6 {
				t.Fatalf("%d dead letters after %d calls", len(dead), r.api.called("r"))
			}
			if d, _, err := schemas.DecodeDeadLetter(dead[0].Headers); err != nil || d.Redrives != 2 {
				t.Errorf("%+v, %v: want a dead letter that was redriven twice", d, err)
			}
			if want := 2; look && (r.api.looks != want || from.After(since)) {
				t.Errorf("%d looks back to %v, want %d back to %v", r.api.looks, from, want, since)
			}
			if !look && r.api.looks != 0 {
				t.Errorf("%d looks for what was never called", r.api.looks)
			}
		})
	}
}
