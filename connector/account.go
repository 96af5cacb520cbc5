package connector

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/countersign/countersign/ratelimit"
)

// blockReason says why no call of an account may go out.
type blockReason string

const (
	notBlocked         blockReason = ""
	blockedBreaker     blockReason = "breaker"
	blockedCredentials blockReason = "credentials"
)

// account is what all calls with one set of credentials share: client, rate
// limit and circuit breaker. Lanes ask it before each call and are told when
// it is blocked or free again. It is safe for concurrent use.
//
// Lock order: gobreaker's mutex, then mu. gobreaker calls stateChanged with
// its own mutex held, so nothing here may call gobreaker with mu held.
type account struct {
	name        string
	caller      caller
	limiter     *ratelimit.Limiter
	breaker     *gobreaker.TwoStepCircuitBreaker[struct{}]
	open        time.Duration // from opening to the first probe
	concurrency int
	timeout     time.Duration // of one call
	log         *slog.Logger
	stats       *stats
	metrics     accountMetrics
	changed     func() // tells the lanes

	clock apiClock
	held  atomic.Int64 // records of all lanes without an outcome
	trial atomic.Bool  // the breaker has closed, but no write has succeeded since

	mu           sync.Mutex
	state        gobreaker.State
	refused      bool // the credentials
	refusedAt    time.Time
	refusals     int           // in a row, for the pause between probes
	reopened     int           // times in a row that the breaker opened again in its trial
	blocks       chan struct{} // closed, and made anew, when the account becomes blocked
	blockedSince time.Time
	blockedTotal time.Duration
	freeSince    time.Time // of the last end of a block
	target       probeTarget
	wake         chan struct{} // to the prober; capacity 1
}

// probeTarget is where a probe may look: a list of the challenges of an entity
// that was asked about before, the cheapest read that exists.
type probeTarget struct{ serviceSID, identity string }

var (
	errCallFailed   = errors.New("call failed")
	errCallExcluded = errors.New("call does not count")
)

func newAccount(name string, cfg AccountConfig, c caller, l *ratelimit.Limiter, st *stats, log *slog.Logger, changed func()) *account {
	a := &account{
		name: name, caller: c, limiter: l, open: cfg.Breaker.Open,
		concurrency: cfg.Rate.Concurrency, timeout: cfg.Timeout, log: log.With("account", name), stats: st, metrics: st.metrics.account(name), changed: changed,
		wake: make(chan struct{}, 1), blocks: make(chan struct{}),
	}
	b := cfg.Breaker
	a.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         name,
		MaxRequests:  1,
		Interval:     b.Window,
		BucketPeriod: max(b.Window/10, time.Millisecond),
		Timeout:      b.Open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			if a.trial.Load() && c.TotalFailures > 0 {
				return true // one failure is enough while it is on trial
			}
			answered := c.TotalSuccesses + c.TotalFailures
			return int(c.TotalFailures) >= b.Failures && float64(c.TotalFailures) >= b.Ratio*float64(answered)
		},
		IsSuccessful:  func(err error) bool { return !errors.Is(err, errCallFailed) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errCallExcluded) },
		OnStateChange: a.stateChanged,
	})
	return a
}

// stateChanged runs under gobreaker's mutex.
func (a *account) stateChanged(_ string, from, to gobreaker.State) {
	relapse := from == gobreaker.StateClosed && a.trial.Load()
	if to == gobreaker.StateClosed {
		a.trial.Store(true)
	}
	a.update(func() {
		a.state = to
		if relapse {
			a.reopened++
		}
	})
	if to == gobreaker.StateOpen && from == gobreaker.StateClosed {
		a.stats.breakerOpened(a.metrics)
		a.log.Warn("circuit breaker opened: intake pauses, no call goes out", "probe_in", a.probePause().String())
	}
	if to == gobreaker.StateClosed {
		a.log.Info("circuit breaker closed: calls go out again")
	}
}

// update changes what blocked is made of and keeps the blocked clock.
func (a *account) update(change func()) {
	a.mu.Lock()
	before := a.blockedLocked()
	change()
	after := a.blockedLocked()
	now := time.Now()
	switch {
	case before == notBlocked && after != notBlocked:
		a.blockedSince = now
		close(a.blocks)
		a.blocks = make(chan struct{})
	case before != notBlocked && after == notBlocked:
		a.blockedTotal += now.Sub(a.blockedSince)
		a.freeSince = now
	}
	a.mu.Unlock()
	if before == after {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
	a.changed()
}

func (a *account) blockedLocked() blockReason {
	switch {
	case a.state != gobreaker.StateClosed:
		// Half-open counts as blocked: only the prober may try, because a
		// create that tries is billed and rings a phone.
		return blockedBreaker
	case a.refused:
		return blockedCredentials
	default:
		return notBlocked
	}
}

// blocked says why no call may go out, or notBlocked.
func (a *account) blocked() blockReason {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.blockedLocked()
}

// blockedFor is how long the account has been blocked in all, the current
// block included. Attempt clocks subtract it.
func (a *account) blockedFor(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.blockedLocked() == notBlocked {
		return a.blockedTotal
	}
	return a.blockedTotal + now.Sub(a.blockedSince)
}

// credentialsRefused blocks the account until a probe is let in again.
func (a *account) credentialsRefused(err error) {
	first := false
	a.update(func() {
		if first = !a.refused; first {
			a.refusals++
		}
		a.refused, a.refusedAt = true, time.Now()
	})
	if first {
		a.log.Error("the API refuses the account's credentials: its records wait, nothing is lost; correct the credentials and restart", "error", err)
	}
}

// authenticated takes note that a call that began at the given time was let in.
// Only calls that began after the refusal count, and while it lasts these are
// probes. Writes that succeed end the doubt altogether.
func (a *account) authenticated(began time.Time, write bool) {
	a.update(func() {
		if a.refused && began.After(a.refusedAt) {
			a.refused = false
		}
		if write && !a.refused {
			a.refusals = 0
		}
	})
}

// worked takes note of a call that was no failure. The trial after an outage
// ends with the first write, because a probe only shows that reads work, or
// when nothing has failed for a while.
func (a *account) worked(write bool) {
	if !a.trial.Load() {
		return
	}
	a.mu.Lock()
	over := write || a.state == gobreaker.StateClosed && time.Since(a.freeSince) > trialTime
	if over {
		a.reopened = 0
	}
	a.mu.Unlock()
	if over && a.trial.CompareAndSwap(true, false) {
		a.changed()
	}
}

// trialTime is how long a trial lasts without a write and without a failure.
const trialTime = 15 * time.Second

// slots is how many attempts one lane may have under way: one while the
// account is on trial, so that a write that still fails is not many writes.
func (a *account) slots() int {
	if a.trial.Load() {
		return 1
	}
	return a.concurrency
}

// whenBlocked is closed once the account becomes blocked after now.
func (a *account) whenBlocked() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.blocks
}

func (a *account) remember(t probeTarget) {
	a.mu.Lock()
	a.target = t
	a.mu.Unlock()
}

// now is the API's clock as far as its answers have shown it.
func (a *account) now() time.Time { return a.clock.now(time.Now()) }

func (a *account) status() AccountStatus {
	snap := a.limiter.Snapshot()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := AccountStatus{
		Name: a.name, Breaker: a.state.String(), Blocked: string(a.blockedLocked()), PerSecond: snap.PerSecond,
		InFlight: snap.InFlight, Waiting: snap.Waiting,
	}
	if snap.Total > 0 {
		s.Share = float64(snap.Owned) / float64(snap.Total)
	}
	if snap.PenaltyLeft > 0 {
		s.Penalty = snap.PenaltyLeft.Round(time.Millisecond).String()
	}
	return s
}

// credentialProbe is how often refused credentials are tried again.
const credentialProbe = 15 * time.Second

// probe looks, by reads only, whether a blocked account can be used again. It
// returns when ctx ends.
func (a *account) probe(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		for a.blocked() != notBlocked {
			pause := a.probePause()
			if !sleep(ctx, pause) {
				return
			}
			a.probeOnce(ctx)
		}
	}
}

// maxDoublings bounds how far the pause before a probe grows: sixteen times.
const maxDoublings = 4

// probePause is how long to wait before the next probe. It doubles with each
// relapse: where reads work and writes do not, each return costs writes.
func (a *account) probePause() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.blockedLocked() == blockedCredentials {
		return credentialProbe << min(max(0, a.refusals-1), maxDoublings)
	}
	return a.open << min(a.reopened, maxDoublings)
}

func (a *account) probeOnce(ctx context.Context) {
	a.mu.Lock()
	target := a.target
	a.mu.Unlock()
	release, err := a.limiter.Acquire(ctx)
	if err != nil {
		return
	}
	defer release()
	// gobreaker turns from open to half-open lazily, inside Allow.
	done, err := a.breaker.Allow()
	if err != nil {
		return
	}
	began := time.Now()
	ans, err := a.caller.probe(ctx, target)
	v := a.judge(ctx, judged{operation: probeOperation, began: began, answer: ans, err: err}, done)
	a.log.Debug("probed", "class", v.Class, "reason", v.Reason)
}

// jitter draws a pause below the ceiling, evenly: waiters that failed together
// do not come back together.
func jitter(ceiling time.Duration) time.Duration {
	return rand.N(ceiling) //nolint:gosec // spreading load needs no secrecy
}

// sleep waits and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
