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
	log         *slog.Logger
	stats       *stats
	changed     func() // tells the lanes

	skew atomic.Int64 // nanoseconds that the API's clock is ahead of ours

	mu           sync.Mutex
	state        gobreaker.State
	refused      bool // the credentials
	blockedSince time.Time
	blockedTotal time.Duration
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
		concurrency: cfg.Rate.Concurrency, log: log.With("account", name), stats: st, changed: changed,
		wake: make(chan struct{}, 1),
	}
	b := cfg.Breaker
	a.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         name,
		MaxRequests:  1,
		Interval:     b.Window,
		BucketPeriod: max(b.Window/10, time.Millisecond),
		Timeout:      b.Open,
		ReadyToTrip: func(c gobreaker.Counts) bool {
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
	a.update(func() { a.state = to })
	if to == gobreaker.StateOpen && from == gobreaker.StateClosed {
		a.stats.breakerOpened(a.name)
		a.log.Warn("circuit breaker opened: intake pauses, no call goes out", "probe_in", a.open.String())
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
	case before != notBlocked && after == notBlocked:
		a.blockedTotal += now.Sub(a.blockedSince)
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
	a.mu.Lock()
	first := !a.refused
	a.mu.Unlock()
	if first {
		a.log.Error("the API refuses the account's credentials: its records wait, nothing is lost; correct the credentials and restart", "error", err)
	}
	a.update(func() { a.refused = true })
}

func (a *account) remember(t probeTarget) {
	a.mu.Lock()
	a.target = t
	a.mu.Unlock()
}

// now is the API's clock as far as its answers have shown it.
func (a *account) now() time.Time { return time.Now().Add(time.Duration(a.skew.Load())) }

// minSkew is how far the API's clock must be off before it is followed: its
// Date header has a resolution of one second and is as old as the answer took.
const minSkew = 2 * time.Second

// saw takes the API's clock from an answer's Date header.
func (a *account) saw(date time.Time) {
	if date.IsZero() {
		return
	}
	skew := time.Until(date.Add(500 * time.Millisecond))
	if skew.Abs() < minSkew {
		skew = 0
	}
	a.skew.Store(int64(skew))
}

func (a *account) status() AccountStatus {
	snap := a.limiter.Snapshot()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := AccountStatus{
		Name: a.name, Breaker: a.state.String(), Blocked: string(a.blockedLocked()), PerSecond: snap.PerSecond,
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
		for reason := a.blocked(); reason != notBlocked; reason = a.blocked() {
			pause := a.open
			if reason == blockedCredentials {
				pause = credentialProbe
			}
			if !sleep(ctx, pause) {
				return
			}
			a.probeOnce(ctx)
		}
	}
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
	ans, err := a.caller.probe(ctx, target)
	v := a.judge(ctx, false, ans, err, done)
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
