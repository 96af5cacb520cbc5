package connector

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// TestOutagePausesIntake: with the API dead for longer than any record's
// attempts would last, the breaker opens, nothing more is fetched, only reads
// probe, nothing is given up, and afterwards every record is called once.
func TestOutagePausesIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var dead atomic.Bool
		dead.Store(true)
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			if dead.Load() {
				return answer{}, refusedConn()
			}
			return okAnswer(), nil
		}
		r.api.probed = func() error {
			if dead.Load() {
				return refusedConn()
			}
			return nil
		}
		for i := range 10 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprintf("early%d", i), "identity-1"), 0)
		}
		r.start()
		pass(10 * time.Second)
		synctest.Wait()
		if got := r.acct.blocked(); got != blockedBreaker {
			t.Fatalf("blocked: %q after ten failures", got)
		}
		r.log.mu.Lock()
		fetches := r.log.fetches
		r.log.mu.Unlock()
		for i := range 10 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprintf("late%d", i), "identity-1"), 0)
		}
		// Longer than retry.elapsed, shorter than not_after.
		pass(3 * time.Minute)
		synctest.Wait()
		r.log.mu.Lock()
		if r.log.fetches > fetches+1 {
			t.Errorf("%d fetches while the breaker was open", r.log.fetches-fetches)
		}
		r.log.mu.Unlock()
		if n := len(r.log.results()) + len(r.log.deadLetters()); n != 0 {
			t.Errorf("%d records were given up during the outage", n)
		}
		creates, probes := r.api.total(), r.api.probesMade()
		if probes < 10 {
			t.Errorf("%d probes in three minutes of an open breaker of five seconds", probes)
		}
		dead.Store(false)
		pass(30 * time.Second)
		synctest.Wait()
		r.mustEnd()
		if n := len(r.log.results()); n != 20 {
			t.Errorf("%d results of 20", n)
		}
		if len(r.log.deadLetters()) != 0 {
			t.Error("the outage put records into the dead letters")
		}
		if got := r.api.total() - creates; got != 20 {
			t.Errorf("%d calls after the outage for 20 records", got)
		}
	})
}

// TestOutageEndsOnlyByNotAfter: a record whose time runs out while the breaker
// is open is expired, not failed, and never called late.
func TestOutageEndsOnlyByNotAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, refusedConn() }
		r.api.probed = refusedConn
		for i := range 10 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprintf("r%d", i), "identity-1"), 0)
		}
		r.start()
		pass(6 * time.Minute)
		synctest.Wait()
		results := r.log.results()
		if len(results) != 10 {
			t.Fatalf("%d results of 10", len(results))
		}
		for _, res := range results {
			if res.Outcome != schemas.OutcomeExpired {
				t.Errorf("%s ended as %s", res.RequestID, res.Outcome)
			}
			if late := res.Times.Completed.Sub(res.Request.Timestamp); late < 5*time.Minute || late > 5*time.Minute+2*time.Second {
				t.Errorf("%s ended %v after it was made, its not_after is 5m", res.RequestID, late)
			}
		}
		r.mustEnd()
	})
}

// TestAttemptClockStopsWhileBlocked: throttled attempts before and after an
// outage add up, the outage between them does not.
func TestAttemptClockStopsWhileBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.retry.Elapsed = 40 * time.Second
		r.api.answer = func(_ context.Context, req *schemas.Request, n int) (answer, error) {
			if n <= 2 {
				return answer{}, apiErr(429, 20429)
			}
			return okAnswer(), nil
		}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(50 * time.Millisecond)
		r.acct.update(func() { r.acct.refused = true })
		r.api.mu.Lock()
		r.api.probed = func() error { return apiErr(401, 20003) }
		r.api.mu.Unlock()
		pass(2 * time.Minute)
		r.api.mu.Lock()
		r.api.probed = nil
		r.api.mu.Unlock()
		pass(time.Minute)
		synctest.Wait()
		r.mustEnd()
		results := r.log.results()
		if len(results) != 1 || results[0].Outcome != schemas.OutcomeSucceeded {
			t.Fatalf("got %+v, want success: the clock must stand while the account is blocked", results)
		}
	})
}

// TestRefusedCredentials: the record stays, the account says so, and a probe
// that is let in again frees it.
func TestRefusedCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var good atomic.Bool
		refuse := func() error {
			if good.Load() {
				return nil
			}
			return apiErr(401, 20003)
		}
		r.api.probed = refuse
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			if err := refuse(); err != nil {
				return answer{}, err
			}
			return okAnswer(), nil
		}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(time.Minute)
		synctest.Wait()
		if got := r.acct.status().Blocked; got != string(blockedCredentials) {
			t.Errorf("blocked: %q", got)
		}
		if n := len(r.log.results()) + len(r.log.deadLetters()); n != 0 {
			t.Errorf("%d records ended with refused credentials", n)
		}
		if n := r.api.total(); n != 1 {
			t.Errorf("%d calls with refused credentials, want 1: only reads may probe", n)
		}
		good.Store(true)
		pass(time.Minute)
		synctest.Wait()
		r.mustEnd()
		if results := r.log.results(); len(results) != 1 || results[0].Outcome != schemas.OutcomeSucceeded {
			t.Errorf("got %+v, want success after the credentials were accepted again", results)
		}
	})
}

// TestOneAccountsOutageLeavesRoom: with two accounts, the blocked one's records
// fill at most their share of the window and the other's go on.
func TestOneAccountsOutageLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.window.Span = 40
		other := &modelAPI{}
		r.addAccount("other", other, testAccountConfig())
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, refusedConn() }
		r.api.probed = refusedConn
		event := func(id, account string) []byte {
			return encodeRequest(t, schemas.Request{
				ID: id, Operation: schemas.OperationFetch, Account: account, ServiceSID: testService,
				Identity: "identity-1", ChallengeSID: testSID,
			})
		}
		for i := range 10 {
			r.log.add(fmt.Sprint("m", i), event(fmt.Sprint("m", i), "main"), 0)
		}
		r.start()
		pass(10 * time.Second)
		for i := range 20 {
			r.log.add(fmt.Sprint("o", i), event(fmt.Sprint("o", i), "other"), 0)
		}
		pass(10 * time.Second)
		synctest.Wait()
		if n := other.total(); n != 20 {
			t.Errorf("%d of 20 calls of the healthy account went out beside a blocked one", n)
		}
		r.mustEnd()
	})
}

// TestFailuresOfCancelledCallsDoNotCount: a drain does not open the breaker.
func TestFailuresOfCancelledCallsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		cfg := testAccountConfig()
		cfg.Breaker.Window = time.Hour // longer than the drain, so that the counts are still there
		r.acct = r.addAccount("main", r.api, cfg)
		r.api.answer = func(ctx context.Context, _ *schemas.Request, _ int) (answer, error) {
			<-ctx.Done()
			return answer{}, &read.CallError{Code: read.CodeCanceled, Sent: true, Err: ctx.Err()}
		}
		for i := range 20 {
			r.log.add(fmt.Sprint(i), fetchEvent(t, fmt.Sprint("r", i), "identity-1"), 0)
		}
		r.start()
		pass(time.Second)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if got := r.acct.blocked(); got != notBlocked {
			t.Errorf("blocked: %q after calls that we gave up ourselves", got)
		}
		if c := r.acct.breaker.Counts(); c.TotalFailures+c.TotalSuccesses != 0 || c.TotalExclusions != 20 {
			t.Errorf("counted as %+v, want 20 exclusions", c)
		}
	})
}
