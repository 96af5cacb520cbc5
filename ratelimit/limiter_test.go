package ratelimit_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/ratelimit"
)

func TestNewRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  ratelimit.Config
		code ratelimit.Code
	}{
		"negative rate":        {ratelimit.Config{PerSecond: -1}, ratelimit.CodeRate},
		"no number":            {ratelimit.Config{PerSecond: math.NaN()}, ratelimit.CodeRate},
		"infinite rate":        {ratelimit.Config{PerSecond: math.Inf(1)}, ratelimit.CodeRate},
		"negative burst":       {ratelimit.Config{Burst: -1}, ratelimit.CodeBurst},
		"huge burst":           {ratelimit.Config{Burst: ratelimit.MaxBurst + 1}, ratelimit.CodeBurst},
		"negative concurrency": {ratelimit.Config{Concurrency: -1}, ratelimit.CodeConcurrency},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := ratelimit.New(tc.cfg)
			var e *ratelimit.Error
			if !errors.As(err, &e) || e.Code != tc.code || l != nil {
				t.Fatalf("New(%+v) = %v, %v, want code %s", tc.cfg, l, err, tc.code)
			}
			if e.Error() == "" || e.Unwrap() != nil {
				t.Errorf("error %q wraps %v", e.Error(), e.Unwrap())
			}
		})
	}
}

// The bucket starts empty, so the n-th call is made no earlier than n/rate.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 10})
		got := calls(t, t.Context(), l, 5)
		ms := time.Millisecond
		if want := []time.Duration{100 * ms, 200 * ms, 300 * ms, 400 * ms, 500 * ms}; !slices.Equal(got, want) {
			t.Errorf("calls at %v, want %v", got, want)
		}
	})
}

func TestBurst(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  ratelimit.Config
		want int
	}{
		"as configured":               {ratelimit.Config{PerSecond: 10, Burst: 3}, 3},
		"default is one second":       {ratelimit.Config{PerSecond: 7.9}, 7},
		"default is at least one":     {ratelimit.Config{PerSecond: 0.2}, 1},
		"default has an upper bound":  {ratelimit.Config{PerSecond: 1e300, Concurrency: 2}, 2},
		"nothing without a rate":      {ratelimit.Config{Burst: 1, Concurrency: 4}, 4},
		"concurrency caps the burst":  {ratelimit.Config{PerSecond: 10, Burst: 9, Concurrency: 5}, 5},
		"the burst caps concurrency":  {ratelimit.Config{PerSecond: 0.01, Burst: 2, Concurrency: 5}, 2},
		"equal burst and concurrency": {ratelimit.Config{PerSecond: 10, Burst: 5, Concurrency: 5}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := limiter(t, tc.cfg)
				advance(time.Hour)
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				n := 0
				for ; ; n++ {
					if _, err := l.Acquire(ctx); err != nil {
						break
					}
				}
				if n != tc.want {
					t.Errorf("%d calls at once after an hour's rest, want %d", n, tc.want)
				}
			})
		})
	}
}

func TestNothingBeforeTheFirstShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ratelimit.New(ratelimit.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := l.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire without a share: %v, want to wait until the deadline", err)
		}
	})
}

func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{Concurrency: 2})
		first, second := acquire(t, t.Context(), l), acquire(t, t.Context(), l)
		served := make(chan func(), 2)
		for range 2 {
			go func() { served <- acquire(t, t.Context(), l) }()
		}
		synctest.Wait()
		if s := l.Snapshot(); s.InFlight != 2 || s.Waiting != 2 || len(served) != 0 {
			t.Fatalf("with all slots held: %+v, %d served", s, len(served))
		}
		first()
		first() // the second release of the same call gives nothing back
		synctest.Wait()
		if s := l.Snapshot(); s.InFlight != 2 || s.Waiting != 1 || len(served) != 1 {
			t.Fatalf("after one release: %+v, %d served", s, len(served))
		}
		second()
		(<-served)()
		(<-served)()
		synctest.Wait()
		if s := l.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("after all releases: %+v", s)
		}
	})
}

// A waiter for a slot holds no token: the token that came due while it waited
// is spent at the moment it goes, and no earlier.
func TestTokenAndSlotTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 1, Burst: 2, Concurrency: 1})
		advance(2 * time.Second)
		release := acquire(t, t.Context(), l)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := l.Acquire(ctx)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		release()
		start := time.Now()
		acquire(t, t.Context(), l)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the token of a waiter that gave up was lost: the next waited %v", waited)
		}
	})
}

func TestEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 1})
		advance(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.Acquire(ctx)
		var e *ratelimit.Error
		if !errors.As(err, &e) || e.Code != ratelimit.CodeEnded || !errors.Is(err, context.Canceled) || e.Error() == "" {
			t.Fatalf("Acquire with an ended context: %v", err)
		}
		if got := calls(t, t.Context(), l, 1); got[0] != 0 {
			t.Errorf("an ended context took a token: the next waited %v", got[0])
		}
	})
}

// The turn and the end of the context come at the same instant: the context
// wins, every time, and the token goes to the next in line.
func TestContextEndsAsTheTurnComes(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t, ratelimit.Config{PerSecond: 1})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			first := make(chan error, 1)
			go func() {
				_, err := l.Acquire(ctx)
				first <- err
			}()
			synctest.Wait()
			start := time.Now()
			acquire(t, t.Context(), l)
			want := time.Second
			if err := <-first; err == nil {
				want = 2 * time.Second // it was served a moment before its deadline
			}
			if got := time.Since(start); got != want {
				t.Errorf("the second in line waited %v, want %v", got, want)
			}
		})
	}
}

func TestServedInOrder(t *testing.T) {
	for name, cfg := range map[string]ratelimit.Config{
		"by the rate":        {PerSecond: 100},
		"by the concurrency": {Concurrency: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := limiter(t, cfg)
				l.Penalize(time.Second)
				const waiters = 50
				order := make(chan int, waiters)
				var all sync.WaitGroup
				for i := range waiters {
					all.Go(func() {
						release := acquire(t, t.Context(), l)
						order <- i
						advance(time.Millisecond)
						release()
					})
					synctest.Wait()
				}
				all.Wait()
				for want := range waiters {
					if got := <-order; got != want {
						t.Fatalf("served %d in place %d", got, want)
					}
				}
			})
		})
	}
}

// Thousands wait, most give up, and the rest still get their tokens at the pace.
func TestManyWaitersGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 1000, Burst: 1})
		const waiters = 5000
		short, cancel := context.WithCancel(t.Context())
		served := make(chan bool, waiters)
		l.Penalize(time.Second)
		for i := range waiters {
			ctx := t.Context()
			if i%5 != 0 {
				ctx = short
			}
			go func() {
				_, err := l.Acquire(ctx)
				served <- err == nil
			}()
		}
		synctest.Wait()
		start := time.Now()
		cancel()
		n := 0
		for range waiters {
			if <-served {
				n++
			}
		}
		if took, want := time.Since(start), time.Second+time.Second*waiters/5/1000; n != waiters/5 || took != want {
			t.Errorf("%d were served within %v, want %d within %v", n, took, waiters/5, want)
		}
	})
}

// A newcomer that asks in the very moment in which a slot becomes free does not
// overtake those who wait.
func TestNewcomersQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{Concurrency: 1})
		release := acquire(t, t.Context(), l)
		served := make(chan string, 2)
		var all sync.WaitGroup
		all.Go(func() {
			release := acquire(t, t.Context(), l)
			served <- "waiter"
			release()
		})
		synctest.Wait()
		release()
		acquire(t, t.Context(), l)()
		served <- "newcomer"
		all.Wait()
		if first := <-served; first != "waiter" {
			t.Errorf("the %s was served first", first)
		}
	})
}

func TestAcquireUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{Concurrency: 1})
		stop := make(chan struct{})
		release, err := l.AcquireUntil(t.Context(), ratelimit.Until{Stop: stop, Left: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := l.AcquireUntil(t.Context(), ratelimit.Until{Left: time.Second}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		time.AfterFunc(time.Minute, func() { close(stop) })
		if _, err := l.AcquireUntil(t.Context(), ratelimit.Until{Stop: stop}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		release()
		// What needs no wait is not refused, and nobody is left in the queue.
		if _, err := l.AcquireUntil(t.Context(), ratelimit.Until{Stop: stop}); err != nil || l.Snapshot().Waiting != 0 {
			t.Errorf("got %v, %d waiting", err, l.Snapshot().Waiting)
		}
	})
}
