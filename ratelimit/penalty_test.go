package ratelimit_test

import (
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/ratelimit"
)

func TestPenaltyStopsAndEndsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 10, Burst: 10})
		advance(time.Hour)
		l.Penalize(30 * time.Second)
		if left := l.Snapshot().PenaltyLeft; left != 30*time.Second {
			t.Errorf("the penalty has %v left, want 30s", left)
		}
		got := calls(t, t.Context(), l, 3)
		ms := time.Millisecond
		if want := []time.Duration{30100 * ms, 30200 * ms, 30300 * ms}; !slices.Equal(got, want) {
			t.Errorf("calls at %v after a penalty of 30s, want %v: the pace and no burst", got, want)
		}
		if left := l.Snapshot().PenaltyLeft; left != 0 {
			t.Errorf("the penalty still has %v left", left)
		}
	})
}

func TestTheLaterPenaltyCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		penalties []time.Duration
		want      time.Duration
	}{
		"growing":            {[]time.Duration{time.Second, 3 * time.Second}, 3 * time.Second},
		"shrinking":          {[]time.Duration{3 * time.Second, time.Second}, 3 * time.Second},
		"zero lifts nothing": {[]time.Duration{3 * time.Second, 0, -time.Hour}, 3 * time.Second},
		"zero is none":       {[]time.Duration{0, -1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := limiter(t, ratelimit.Config{Concurrency: 1}) // no rate: the penalty holds all the same
				for _, d := range tc.penalties {
					l.Penalize(d)
				}
				if got := calls(t, t.Context(), l, 1); got[0] != tc.want {
					t.Errorf("called after %v, want %v", got[0], tc.want)
				}
			})
		})
	}
}

// A penalty that comes while callers wait moves the alarm that was already set.
func TestPenaltyMovesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 1})
		start := time.Now()
		var all sync.WaitGroup
		at := make(chan time.Duration, 3)
		for range 3 {
			all.Go(func() {
				acquire(t, t.Context(), l)()
				at <- time.Since(start)
			})
		}
		advance(500 * time.Millisecond)
		l.Penalize(10 * time.Second)
		advance(2 * time.Second)
		l.Penalize(time.Second) // ends earlier: changes nothing
		all.Wait()
		for _, want := range []time.Duration{11500 * time.Millisecond, 12500 * time.Millisecond, 13500 * time.Millisecond} {
			if got := <-at; got != want {
				t.Errorf("called at %v, want %v", got, want)
			}
		}
	})
}

// However the share changes during a penalty, it ends with an empty bucket.
func TestRebalanceDuringPenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 10, Burst: 10})
		advance(time.Hour)
		l.Penalize(10 * time.Second)
		for _, owned := range []int{1, 0, 5, 10} {
			advance(time.Second)
			l.SetShare(owned, 10)
		}
		if got := calls(t, t.Context(), l, 1); got[0] != 6*time.Second+100*time.Millisecond {
			t.Errorf("the first call came %v after the last rebalance, want 6.1s", got[0])
		}
	})
}

// A penalty that outlasts every clock neither overflows nor keeps the
// processor busy, and one more share is no way around it.
func TestEndlessPenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 1e-9})
		l.Penalize(math.MaxInt64)
		l.SetShare(1, 2)
		if got := atOnce(t, l); got != 0 {
			t.Errorf("%d calls under an endless penalty", got)
		}
		if left := l.Snapshot().PenaltyLeft; left < 100*365*24*time.Hour {
			t.Errorf("the penalty has %v left", left)
		}
	})
}

// A rate of one call in many hours is still kept, beyond the longest alarm.
func TestSlowRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{PerSecond: 1.0 / (5 * 3600)})
		if got := calls(t, t.Context(), l, 1); got[0] < 5*time.Hour || got[0] > 5*time.Hour+time.Microsecond {
			t.Errorf("called after %v, want 5h", got[0])
		}
	})
}
