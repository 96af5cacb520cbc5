package connector

import (
	"testing"
	"time"
)

func TestAPIClock(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	type seen struct{ date, began, ended time.Duration } // from now
	quick := func(skew time.Duration) seen { return seen{skew, -50 * time.Millisecond, 0} }
	for _, tc := range []struct {
		name string
		seen []seen
		want time.Duration
	}{
		{"nothing known", nil, 0},
		{"the same clock", []seen{quick(0), quick(-time.Second), quick(0)}, 0},
		{"one odd answer", []seen{quick(10 * time.Minute)}, 0},
		{"two answers agree that the API is ahead", []seen{quick(10 * time.Minute), quick(9 * time.Minute)}, 9 * time.Minute},
		{"an odd one among good ones", []seen{quick(0), quick(10 * time.Minute)}, 0},
		{"a good one ends it", []seen{quick(time.Hour), quick(time.Hour), quick(0)}, 0},
		{"two contradict each other", []seen{quick(time.Hour), quick(-time.Hour)}, 0},
		{"the API is behind", []seen{quick(-time.Minute), quick(-time.Minute)}, -time.Minute + time.Second + 50*time.Millisecond - 100*time.Millisecond},
		{
			"a slow answer proves nothing",
			[]seen{{-9 * time.Second, -9 * time.Second, 0}, {-9 * time.Second, -9 * time.Second, 0}},
			0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c apiClock
			for _, s := range tc.seen {
				c.saw(now.Add(s.date), now.Add(s.began), now.Add(s.ended))
			}
			if got := c.now(now).Sub(now); (got - tc.want).Abs() > 200*time.Millisecond {
				t.Errorf("the API's clock is taken to be %v ahead, want %v", got, tc.want)
			}
			if got := c.now(now.Add(clockMemory)).Sub(now); got != clockMemory {
				t.Errorf("after a minute without answers %v is left of it", got-clockMemory)
			}
		})
	}
}
