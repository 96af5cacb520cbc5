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

// TestProbeOfAMissingEntityFreesRefusedCredentials: any answer that was let in
// shows that the credentials are good again.
func TestProbeOfAMissingEntityFreesRefusedCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		good := make(chan struct{})
		refused := func() error {
			select {
			case <-good:
				return nil
			default:
				return apiErr(401, 20003)
			}
		}
		r.api.probed = func() error {
			if err := refused(); err != nil {
				return err
			}
			return apiErr(404, 20404)
		}
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return okAnswer(), refused() }
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(30 * time.Second)
		close(good)
		pass(time.Minute)
		synctest.Wait()
		r.mustEnd()
		if res := r.log.results(); len(res) != 1 || res[0].Outcome != schemas.OutcomeSucceeded {
			t.Errorf("got %+v, want success after the credentials were good again", res)
		}
	})
}

// TestKeyThatMayOnlyRead does not bring a create to the API again and again:
// the pause between probes grows.
func TestKeyThatMayOnlyRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.notAfter = time.Hour
		r.api.answer = func(_ context.Context, req *schemas.Request, _ int) (answer, error) {
			if req.Operation == schemas.OperationCreate {
				return answer{}, apiErr(403, 20003)
			}
			return okAnswer(), nil
		}
		r.log.add("a", createEvent(t, "create", "identity-1"), 0)
		r.start()
		for i := range 300 {
			r.log.add(fmt.Sprint(i), fetchEvent(t, fmt.Sprint("fetch", i), "identity-2"), 0)
			pass(time.Second)
		}
		r.mustEnd()
		if n := r.api.called("create"); n > 6 {
			t.Errorf("the create was called %d times in five minutes", n)
		}
	})
}

// TestOutageOfWritesOnly: where reads work and writes fail, each return of the
// breaker risks few writes and returns come less and less often.
func TestOutageOfWritesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.notAfter = time.Hour
		over := time.Now().Add(5 * time.Minute)
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			if time.Now().Before(over) {
				return answer{}, apiErr(503, 20503)
			}
			return okAnswer(), nil
		}
		for i := range 500 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprint("r", i), "identity-1"), 0)
		}
		r.start()
		pass(20 * time.Minute)
		synctest.Wait()
		r.mustEnd()
		outcomes := map[schemas.Outcome]int{}
		for _, res := range r.log.results() {
			outcomes[res.Outcome]++
		}
		// The first wave is as wide as the concurrency; each later one is one.
		if failed := outcomes[schemas.OutcomeFailed]; failed > 64+8 || outcomes[schemas.OutcomeSucceeded] != 500-failed {
			t.Errorf("outcomes %v of 500 creates with five minutes of 503", outcomes)
		}
	})
}

// TestProbeDoesNotQueueBehindWaiters: a block empties the limiter's queue, so
// that the probe comes when it is due.
func TestProbeDoesNotQueueBehindWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		cfg := testAccountConfig()
		cfg.Rate.PerSecond, cfg.Rate.Burst = 1, 1
		r.acct = r.addAccount("main", r.api, cfg)
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, apiErr(401, 20003) }
		r.api.probed = func() error { return apiErr(401, 20003) }
		for i := range 200 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprint("r", i), "identity-1"), 0)
		}
		r.start()
		pass(25 * time.Second)
		synctest.Wait()
		if n := r.api.probesMade(); n == 0 {
			t.Error("no probe 25 s after the block, with a pause of 15 s")
		}
		if n := r.api.total(); n > 2 {
			t.Errorf("%d calls with refused credentials", n)
		}
		r.mustEnd()
	})
}

// TestBlockedAccountLeavesTheHealthyOneItsWindow beyond its own share of it.
func TestBlockedAccountLeavesTheHealthyOneItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.window.Span = 600
		other := &modelAPI{}
		r.addAccount("other", other, testAccountConfig())
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) { return answer{}, apiErr(401, 20003) }
		r.api.probed = func() error { return apiErr(401, 20003) }
		for i := range 600 {
			name := []string{"main", "other"}[i%2]
			r.log.add(fmt.Sprint(i), encodeRequest(t, schemas.Request{
				ID: fmt.Sprint("r", i), Operation: schemas.OperationFetch, Account: name, ServiceSID: testService,
				Identity: "identity-1", ChallengeSID: testSID,
			}), 0)
		}
		r.start()
		pass(10 * time.Second)
		synctest.Wait()
		if n := other.total(); n != 300 {
			t.Errorf("%d of 300 calls of the healthy account", n)
		}
		r.mustEnd()
		if held := r.acct.held.Load(); held != 0 {
			t.Errorf("%d records are still counted after the lane has ended", held)
		}
	})
}

// TestListStopsWhenItsTimeIsOver, however many pages the API has.
func TestListStopsWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		pages := 0
		r.acct.caller = pagingAPI{r.api, func(ctx context.Context, pay func() error) (answer, error) {
			for {
				pages++
				pass(100 * time.Millisecond)
				if err := pay(); err != nil {
					return answer{}, err
				}
			}
		}}
		soon := time.Now().Add(2 * time.Second)
		r.log.add("a", encodeRequest(t, schemas.Request{
			ID: "r", Operation: schemas.OperationList, ServiceSID: testService, Identity: "identity-1", NotAfter: &soon,
		}), 0)
		r.start()
		pass(10 * time.Second)
		synctest.Wait()
		r.mustEnd()
		if res := r.log.results(); len(res) != 1 || res[0].Outcome != schemas.OutcomeExpired || pages > 21 {
			t.Errorf("got %+v after %d pages", res, pages)
		}
	})
}

// pagingAPI is a model API with a list of its own.
type pagingAPI struct {
	*modelAPI
	list func(context.Context, func() error) (answer, error)
}

func (p pagingAPI) call(ctx context.Context, out outgoing) (answer, error) {
	return p.list(ctx, out.pay)
}

// TestBlockedAndFreeAtOnce: what waited for a token when its account was blocked
// is not too late, even where the account is free again before anybody looks.
func TestBlockedAndFreeAtOnce(t *testing.T) {
	for _, look := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			cfg := testAccountConfig()
			cfg.Rate = RateConfig{PerSecond: 0.001, Burst: 1, Concurrency: 4}
			a := r.addAccount("slow", r.api, cfg)
			e := &entry{notAfter: time.Now().Add(time.Hour), acct: a, req: &schemas.Request{Operation: schemas.OperationCreate}}
			t1 := task{entry: e, lease: freeLease{}, look: look}
			release, kind := a.acquire(t.Context(), t1)
			if kind != endCalled {
				t.Fatalf("the only token was not to be had: %v", kind)
			}
			release()
			ends := make(chan endKind)
			go func() {
				_, kind := a.acquire(t.Context(), t1)
				ends <- kind
			}()
			synctest.Wait()
			a.credentialsRefused(errors.New("revoked"))
			a.authenticated(time.Now().Add(time.Second), true)
			if kind := <-ends; kind != endParked {
				t.Errorf("look %t: the wait ended as %v, want it parked", look, kind)
			}
		})
	}
}
