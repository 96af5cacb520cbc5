package ratelimit

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// MaxBurst is the highest Burst that a Config may have.
const MaxBurst = 1 << 30

// Config is the limit of one account.
type Config struct {
	// PerSecond is the rate of the whole group, in calls a second. Zero: no limit.
	PerSecond float64
	// Burst is how many calls the whole group may save up. Zero: one second's
	// worth, at least 1. It means nothing without PerSecond.
	Burst int
	// Concurrency is how many calls of this instance may be under way at once.
	// Zero: no limit.
	Concurrency int
}

// Limiter is one instance's part of an account's limit. It is safe for
// concurrent use. It has nothing to close: it runs no goroutine, and a waiter
// is released by its context alone.
type Limiter struct {
	mu          sync.Mutex
	concurrency int
	bucket      bucket
	inFlight    int
	waiting     list.List   // of chan struct{}, in order of arrival
	alarm       *time.Timer // wakes the first waiter when its token is due
}

// Snapshot is what a Limiter does at one moment.
type Snapshot struct {
	PerSecond   float64       // this instance's share of the rate; zero: none, or no limit
	Owned       int           // as last given to SetShare
	Total       int           // as last given to SetShare
	InFlight    int           // acquired and not released
	Waiting     int           // callers blocked in Acquire
	PenaltyLeft time.Duration // until the penalty ends; zero: none
}

// New returns a Limiter that holds no share yet: until the first SetShare
// nothing may be called. The error is an *Error.
func New(cfg Config) (*Limiter, error) {
	switch {
	case cfg.PerSecond < 0 || math.IsNaN(cfg.PerSecond) || math.IsInf(cfg.PerSecond, 0):
		return nil, &Error{Code: CodeRate, Message: fmt.Sprintf("the rate must be a number of at least 0, is %v", cfg.PerSecond)}
	case cfg.Burst < 0 || cfg.Burst > MaxBurst:
		return nil, &Error{Code: CodeBurst, Message: fmt.Sprintf("the burst must be from 0 to %d, is %d", MaxBurst, cfg.Burst)}
	case cfg.Concurrency < 0:
		return nil, &Error{Code: CodeConcurrency, Message: fmt.Sprintf("the concurrency must be at least 0, is %d", cfg.Concurrency)}
	}
	burst := cfg.Burst
	if burst == 0 {
		burst = int(min(max(1, math.Floor(cfg.PerSecond)), MaxBurst))
	}
	l := &Limiter{
		concurrency: cfg.Concurrency,
		bucket:      bucket{perSecond: cfg.PerSecond, burst: burst, total: 1},
	}
	l.alarm = time.AfterFunc(never, l.ring)
	l.alarm.Stop()
	return l, nil
}

// Acquire waits for a token and a slot, and takes both as it returns. The
// caller makes its call at once and then calls release, which gives the slot
// back and may be called more than once. When ctx ends first, or has ended
// already, nothing is taken and the error is an *Error of CodeEnded that wraps
// ctx's error.
func (l *Limiter) Acquire(ctx context.Context) (release func(), err error) {
	return l.AcquireUntil(ctx, Until{})
}

// Until bounds a wait besides its context, and costs less than a context made for
// the wait. The zero value bounds nothing.
type Until struct {
	Stop <-chan struct{} // closed: the wait ends as by context.Canceled; nil: never
	Left time.Duration   // after it the wait ends as by context.DeadlineExceeded; zero: never
}

// AcquireUntil is Acquire that waits no longer than u says. What needs no wait is
// taken whatever u says.
func (l *Limiter) AcquireUntil(ctx context.Context, u Until) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, ended(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.waiting.Len() == 0 && l.take(now) {
		return l.releaseOnce(), nil
	}
	turn := make(chan struct{}, 1)
	place := l.waiting.PushBack(turn)
	defer l.leave(place)
	if l.waiting.Len() == 1 {
		l.poke(now)
	}
	var late <-chan time.Time
	if u.Left > 0 {
		timer := time.NewTimer(u.Left)
		defer timer.Stop()
		late = timer.C
	}
	for {
		l.mu.Unlock()
		var over error
		select {
		case <-turn:
		case <-ctx.Done():
		case <-u.Stop:
			over = context.Canceled
		case <-late:
			over = context.DeadlineExceeded
		}
		l.mu.Lock()
		if err := cmp.Or(ctx.Err(), over); err != nil {
			return nil, ended(err)
		}
		now = time.Now()
		if l.take(now) {
			return l.releaseOnce(), nil
		}
		l.poke(now)
	}
}

// leave takes a waiter out of the queue. The first one hands its turn on,
// whether it was served or gave up. It needs mu.
func (l *Limiter) leave(place *list.Element) {
	first := l.waiting.Front() == place
	l.waiting.Remove(place)
	if first {
		l.poke(time.Now())
	}
}

// SetShare says that this instance owns owned of all total partitions, and so
// that part of the rate and of the burst. Nothing owned, or a total below one:
// nothing may be called, and waiters wait for a share to return. More owned
// than there are counts as all.
func (l *Limiter) SetShare(owned, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if total < 1 {
		owned = 0
	}
	l.bucket.share(now, owned, total)
	l.poke(now)
}

// Penalize lets nobody through until d from now, or until the end of an earlier
// penalty where that is later. The bucket is empty when it ends. Calls under
// way are not touched. A d of zero or less does nothing.
func (l *Limiter) Penalize(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.bucket.penalize(now, d)
	l.poke(now)
}

// Snapshot tells what the Limiter does now.
func (l *Limiter) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Snapshot{
		PerSecond:   l.bucket.rate(),
		Owned:       l.bucket.owned,
		Total:       l.bucket.total,
		InFlight:    l.inFlight,
		Waiting:     l.waiting.Len(),
		PenaltyLeft: max(0, time.Until(l.bucket.until)),
	}
}

// take takes a slot and a token, or neither. It needs mu.
func (l *Limiter) take(now time.Time) bool {
	if l.full() || !l.bucket.take(now) {
		return false
	}
	l.inFlight++
	return true
}

func (l *Limiter) full() bool { return l.concurrency > 0 && l.inFlight >= l.concurrency }

// poke gives the first waiter its turn, or sets the alarm for when its token is
// due. Only ever the first is woken, and it wakes the next as it leaves, so a
// token costs one wake-up however many wait. It needs mu.
func (l *Limiter) poke(now time.Time) {
	l.alarm.Stop()
	first := l.waiting.Front()
	if first == nil || l.full() {
		return
	}
	d, ok := l.bucket.wait(now)
	if !ok {
		return
	}
	if d > 0 {
		l.alarm.Reset(d)
		return
	}
	select {
	case first.Value.(chan struct{}) <- struct{}{}:
	default: // it has its turn already and hasn't come round to it
	}
}

// ring is the alarm.
func (l *Limiter) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.poke(time.Now())
}

// releaseOnce returns the function that gives back the slot just taken.
func (l *Limiter) releaseOnce() func() {
	held := true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !held {
			return
		}
		held = false
		l.inFlight--
		if l.waiting.Len() > 0 {
			l.poke(time.Now())
		}
	}
}

func ended(err error) error {
	return &Error{Code: CodeEnded, Message: "the context ended while waiting for the call's turn", Err: err}
}
