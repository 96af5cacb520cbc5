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

	"pgregory.net/rapid"

	"github.com/countersign/countersign/ratelimit"
)

func TestShareOfTheRate(t *testing.T) {
	for name, tc := range map[string]struct {
		owned, total int
		want         float64
	}{
		"half":             {3, 6, 60},
		"all":              {6, 6, 120},
		"none":             {0, 6, 0},
		"negative is none": {-1, 6, 0},
		"more than all":    {9, 6, 120},
		"of no partitions": {1, 0, 0},
		"of less than no":  {1, -3, 0},
		"uneven":           {1, 7, 120.0 / 7},
	} {
		t.Run(name, func(t *testing.T) {
			l := limiter(t, ratelimit.Config{PerSecond: 120})
			l.SetShare(tc.owned, tc.total)
			if got := l.Snapshot().PerSecond; got != tc.want {
				t.Errorf("SetShare(%d, %d) gives %v a second, want %v", tc.owned, tc.total, got, tc.want)
			}
		})
	}
}

func TestPaceFollowsTheShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 10, Burst: 10})
		l.SetShare(1, 10)
		if got := calls(t, t.Context(), l, 2); got[1] != 2*time.Second {
			t.Errorf("with a tenth of 10/s the second call came after %v", got[1])
		}
		l.SetShare(5, 10)
		if got := calls(t, t.Context(), l, 5); got[4] != time.Second {
			t.Errorf("with half of 10/s the fifth call came after %v", got[4])
		}
	})
}

// What a share gains starts empty, what it loses takes its tokens along.
func TestRebalanceMintsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := ratelimit.Config{PerSecond: 1, Burst: 8}
		l := limiter(t, cfg)
		l.SetShare(4, 8)
		advance(time.Hour) // four tokens at hand
		l.SetShare(8, 8)
		if got := atOnce(t, l); got != 4 {
			t.Errorf("%d calls right after the share grew, want the 4 that were saved up", got)
		}
		advance(time.Hour)
		l.SetShare(2, 8)
		l.SetShare(8, 8)
		if got := atOnce(t, l); got != 2 {
			t.Errorf("%d calls after the share shrank and grew, want the 2 that it could keep", got)
		}
		advance(time.Hour)
		l.SetShare(0, 8)
		l.SetShare(8, 8)
		if got := atOnce(t, l); got != 0 {
			t.Errorf("%d calls after the share was given up and came back, want none", got)
		}
	})
}

func TestShareComesBack(t *testing.T) {
	for name, cfg := range map[string]ratelimit.Config{
		"limited":   {PerSecond: 1000},
		"unlimited": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := limiter(t, cfg)
				l.SetShare(0, 6)
				var all sync.WaitGroup
				start := time.Now()
				for range 10 {
					all.Go(func() { acquire(t, t.Context(), l)() })
				}
				advance(time.Hour)
				if s := l.Snapshot(); s.Waiting != 10 || s.PerSecond != 0 || s.Owned != 0 || s.Total != 6 {
					t.Errorf("without a share: %+v", s)
				}
				l.SetShare(6, 6)
				all.Wait()
				if took := time.Since(start); took > time.Hour+time.Second {
					t.Errorf("the share returned after an hour, the waiters were served after %v", took)
				}
			})
		})
	}
}

// atOnce counts the calls that can be made without time passing.
func atOnce(t *testing.T, l *ratelimit.Limiter) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	for n := 0; ; n++ {
		release, err := l.Acquire(ctx)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			return n
		}
		release()
	}
}

// phase is a stretch of time with one assignment of the partitions.
type phase struct {
	owned   []int // by member; their sum is at most the number of partitions
	restart int   // this member is replaced by a new process; -1: none
	penalty time.Duration
	lasts   time.Duration
}

type plan struct {
	cfg     ratelimit.Config
	total   int
	members int
	callers int // that never stop asking, per member
	phases  []phase
}

func drawPlan(rt *rapid.T) plan {
	p := plan{
		cfg: ratelimit.Config{
			PerSecond:   rapid.SampledFrom([]float64{0.5, 1, 3, 7, 10, 33.3}).Draw(rt, "rate"),
			Burst:       rapid.IntRange(1, 20).Draw(rt, "burst"),
			Concurrency: rapid.IntRange(0, 3).Draw(rt, "concurrency"),
		},
		total:   rapid.IntRange(1, 12).Draw(rt, "partitions"),
		members: rapid.IntRange(1, 5).Draw(rt, "members"),
		callers: rapid.IntRange(1, 3).Draw(rt, "callers"),
	}
	for range rapid.IntRange(1, 8).Draw(rt, "phases") {
		ph := phase{
			owned:   make([]int, p.members),
			restart: rapid.IntRange(-3, p.members-1).Draw(rt, "restart"),
			lasts:   time.Duration(rapid.IntRange(1, 5000).Draw(rt, "ms")) * time.Millisecond,
		}
		if rapid.IntRange(0, 3).Draw(rt, "penalty?") == 0 {
			ph.penalty = time.Duration(rapid.IntRange(1, 3000).Draw(rt, "penalty")) * time.Millisecond
		}
		for range p.total { // each partition has one owner, or none for the moment
			if m := rapid.IntRange(-1, p.members-1).Draw(rt, "owner"); m >= 0 {
				ph.owned[m]++
			}
		}
		p.phases = append(p.phases, ph)
	}
	return p
}

// run plays the plan and returns when each call was made, in order.
func (p plan) run(t *testing.T) (at []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu    sync.Mutex
			all   sync.WaitGroup
			start = time.Now()
		)
		join := func() (*ratelimit.Limiter, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			l, err := ratelimit.New(p.cfg)
			if err != nil {
				t.Error(err)
			}
			for range p.callers {
				all.Go(func() {
					for {
						release, err := l.Acquire(ctx)
						if err != nil {
							return
						}
						mu.Lock()
						at = append(at, time.Since(start))
						mu.Unlock()
						advance(10 * time.Millisecond)
						release()
					}
				})
			}
			return l, cancel
		}
		members, leave := make([]*ratelimit.Limiter, p.members), make([]context.CancelFunc, p.members)
		for m := range members {
			members[m], leave[m] = join()
		}
		for _, ph := range p.phases {
			if m := ph.restart; m >= 0 {
				leave[m]()
				members[m].SetShare(0, p.total)
				members[m], leave[m] = join()
			}
			// As in a consumer group: what is given up is given up before it is taken.
			for _, growing := range []bool{false, true} {
				for m, l := range members {
					if (ph.owned[m] > l.Snapshot().Owned) == growing {
						l.SetShare(ph.owned[m], p.total)
					}
				}
			}
			members[0].Penalize(ph.penalty)
			advance(ph.lasts)
		}
		for _, cancel := range leave {
			cancel()
		}
		all.Wait()
	})
	return at
}

// Over all members, rebalances, restarts and penalties the calls stay within
// rate·t + burst from the start, and in every window within that plus one for
// each member whose share of the burst is less than a token.
func TestGroupKeepsTheLimit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		at := p.run(t)
		if !slices.IsSorted(at) {
			rt.Fatalf("calls out of order: %v", at)
		}
		window := float64(p.cfg.Burst)
		if p.cfg.Burst < p.total {
			window += float64(p.members)
		}
		lowest := math.Inf(1) // of i - rate·t over the calls so far: where the tightest window begins
		for i, c := range at {
			minted := p.cfg.PerSecond * c.Seconds()
			if calls := float64(i + 1); calls > minted+float64(p.cfg.Burst)+1e-6 {
				rt.Fatalf("%v calls within the first %v at %v/s with burst %d", calls, c, p.cfg.PerSecond, p.cfg.Burst)
			}
			lowest = min(lowest, float64(i)-minted)
			if excess := float64(i+1) - minted - lowest; excess > window+1e-6 {
				rt.Fatalf("%.2f calls above the rate in a window that ends at %v, want at most %v", excess, c, window)
			}
		}
	})
}

// An undisturbed group uses what it is allowed: the limit is no excuse for being slow.
func TestGroupUsesTheLimit(t *testing.T) {
	p := plan{
		cfg: ratelimit.Config{PerSecond: 30, Burst: 6}, total: 6, members: 3, callers: 2,
		phases: []phase{{owned: []int{1, 2, 3}, restart: -1, lasts: 10 * time.Second}},
	}
	// The last token of each member comes due as the plan ends.
	if got := len(p.run(t)); got < 297 || got > 300 {
		t.Errorf("%d calls in 10s at 30/s", got)
	}
}
