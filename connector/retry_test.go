package connector

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// TestRetryAfterStopsTheBucketAndHoldsNoSlot: one throttled answer holds back
// every call of the account for its Retry-After, and meanwhile the record that
// got it waits without a slot.
func TestRetryAfterStopsTheBucketAndHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var mu sync.Mutex
		calledAt := map[string]time.Time{}
		r.api.answer = func(_ context.Context, req *schemas.Request, n int) (answer, error) {
			mu.Lock()
			calledAt[req.ID] = time.Now()
			mu.Unlock()
			if req.ID == "first" && n == 1 {
				return answer{}, &read.APIError{Status: 429, Code: 20429, RetryAfter: 10 * time.Second, HasRetryAfter: true}
			}
			return okAnswer(), nil
		}
		began := time.Now()
		r.log.add("a", createEvent(t, "first", "identity-1"), 0)
		r.start()
		pass(time.Second)
		synctest.Wait()
		if s, _ := r.lane.snapshot(); s.InFlight != 0 || s.Waiting != 1 {
			t.Errorf("%d in flight and %d waiting, want none and one", s.InFlight, s.Waiting)
		}
		r.log.add("b", createEvent(t, "second", "identity-2"), 0)
		pass(30 * time.Second)
		synctest.Wait()
		r.mustEnd()
		for id, at := range calledAt {
			if wait := at.Sub(began); wait < 10*time.Second {
				t.Errorf("%s was called after %v, inside the Retry-After of 10s", id, wait)
			}
		}
		if n := len(r.log.results()); n != 2 {
			t.Errorf("%d results of 2", n)
		}
	})
}

// TestNeverSentCountsAsNothing: calls that never left end no record, even
// where the breaker does not open, until its not_after.
func TestNeverSentCountsAsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		cfg := testAccountConfig()
		cfg.Breaker.Failures = 1 << 20
		r.acct = r.addAccount("main", r.api, cfg)
		back := time.Now().Add(3 * time.Minute) // beyond retry.elapsed and retry.attempts
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			if time.Now().Before(back) {
				return answer{}, refusedConn()
			}
			return okAnswer(), nil
		}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(4 * time.Minute)
		synctest.Wait()
		r.mustEnd()
		results := r.log.results()
		if len(results) != 1 || results[0].Outcome != schemas.OutcomeSucceeded || results[0].Attempts != 1 {
			t.Fatalf("got %+v, want success at the first attempt that was sent", results)
		}
	})
}

// TestHalfOpenIsBlocked for everybody but the prober, because the next caller
// could be a create.
func TestHalfOpenIsBlocked(t *testing.T) {
	r := newRig(t)
	for _, s := range []gobreaker.State{gobreaker.StateOpen, gobreaker.StateHalfOpen} {
		r.acct.stateChanged("main", gobreaker.StateClosed, s)
		if got := r.acct.blocked(); got != blockedBreaker {
			t.Errorf("%s: blocked is %q", s, got)
		}
	}
	r.acct.stateChanged("main", gobreaker.StateHalfOpen, gobreaker.StateClosed)
	if got := r.acct.blocked(); got != notBlocked {
		t.Errorf("closed: blocked is %q", got)
	}
}
