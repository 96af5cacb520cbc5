package scale

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// sample is the watched member at one moment.
type sample struct {
	At     float64 `json:"at"` // seconds since the load began
	Counts bool    `json:"counts"`
	figures
}

// grown compares one figure's first third with its last.
type grown struct {
	name        string
	unit        string
	samples     int
	first, last float64 // medians
	slope       float64 // an hour: the median of the slopes between samples of the two halves
	hours       float64 // between the first sample and the last
	tolerance   float64
}

// fault: it has grown by more than its tolerance from third to third, or its
// slope would make it so over the time that was watched.
func (g grown) fault() bool {
	return g.samples < 6 || g.last-g.first > g.tolerance || g.slope*g.hours > g.tolerance
}

func (g grown) String() string {
	return fmt.Sprintf("%-12s first third %9.2f, last third %9.2f %s, slope %+.2f an hour, tolerance %.2f, %d samples",
		g.name, g.first, g.last, g.unit, g.slope, g.tolerance, g.samples)
}

// idleConns is how long connections stay that nothing uses.
const idleConns = time.Minute

// growth judges what must be flat. The tolerances are a share of the first
// third, and no less than what lasts of one handover until the next garbage
// collection, or until connections that nothing uses are closed. Where a handover
// comes before that, it finds what is left of those before it, so that a short soak
// shows coarse growth only.
func growth(all []sample, period time.Duration) []grown {
	room := 1.0
	if period < idleConns {
		room += math.Ceil(float64(idleConns) / float64(period))
	}
	var at []float64
	var counted []sample
	for _, s := range all {
		if s.Counts {
			counted, at = append(counted, s), append(at, s.At/3600)
		}
	}
	judge := func(name, unit string, share, least float64, of func(sample) float64) grown {
		g := grown{name: name, unit: unit, samples: len(counted)}
		third := len(counted) / 3
		if third == 0 {
			return g
		}
		values := make([]float64, len(counted))
		for i, s := range counted {
			values[i] = of(s)
		}
		g.first, g.last = median(values[:third]), median(values[len(values)-third:])
		g.hours = at[len(at)-1] - at[0]
		var slopes []float64
		for i, half := 0, len(at)/2; i < half; i++ {
			slopes = append(slopes, (values[half+i]-values[i])/(at[half+i]-at[i]))
		}
		g.slope = median(slopes)
		g.tolerance = max(share*g.first, least*room)
		return g
	}
	return []grown{
		judge("goroutines", "", 0.1, 10, func(s sample) float64 { return float64(s.Goroutines) }),
		judge("heap", "MiB", 0.2, 12, func(s sample) float64 { return mib(s.HeapLive) }),
		judge("RSS", "MiB", 0.15, 16, func(s sample) float64 { return mib(s.RSS) }),
		judge("fds", "", 0.1, 16, func(s sample) float64 { return float64(s.FDs) }),
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// TestGrowth: noise is flat, a slow leak is not, and what does not count is
// not looked at.
func TestGrowth(t *testing.T) {
	make60 := func(leak float64) (all []sample) {
		for i := range 60 {
			f := figures{Goroutines: 100 + i%7 + int(leak*float64(i)), HeapLive: 8 << 20, RSS: 60 << 20, FDs: 20}
			all = append(all, sample{At: float64(30 * i), Counts: i >= 6, figures: f})
		}
		return all
	}
	grows := func(all []sample) (names []string) {
		for _, g := range growth(all, 3*time.Minute) {
			if g.fault() {
				names = append(names, g.name)
			}
		}
		return names
	}
	if got := grows(make60(0)); got != nil {
		t.Errorf("noise: %v grow", got)
	}
	if got := grows(make60(0.5)); !slices.Equal(got, []string{"goroutines"}) {
		t.Errorf("a goroutine a minute: %v grow", got)
	}
	started := make60(0)
	started[2].Goroutines = 10000
	if got := grows(started); got != nil {
		t.Errorf("a peak before what counts: %v grow", got)
	}
	if got := grows(started[:9]); len(got) != 4 {
		t.Errorf("three samples prove something: %v", got)
	}
}
