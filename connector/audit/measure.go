package audit

import (
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"
)

// MaxBuckets is how many buckets a Series has at most.
const MaxBuckets = 120

// histogram counts times by milliseconds, exactly below 64 and to 1/64 of
// themselves above. The zero value is empty.
type histogram struct {
	Counts  []int64
	N       int64
	Largest int64 // ms
}

// steps is how finely a power of two is divided.
const steps = 64

// longest is as much as a Duration holds, 292 years.
const longest = int64(math.MaxInt64 / time.Millisecond)

func (h *histogram) add(ms int64) {
	ms = min(max(ms, 0), longest)
	i := cell(ms)
	if i >= len(h.Counts) {
		h.Counts = append(h.Counts, make([]int64, i+1-len(h.Counts))...)
	}
	h.Counts[i]++
	h.N++
	h.Largest = max(h.Largest, ms)
}

func cell(ms int64) int {
	if ms < steps {
		return int(ms)
	}
	shift := bits.Len64(uint64(ms)) - bits.Len64(steps)
	return steps*(shift+1) + int(ms>>shift) - steps
}

// top is the largest time of a cell.
func top(i int) int64 {
	if i < steps {
		return int64(i)
	}
	shift := i/steps - 1
	return (int64(i%steps)+steps+1)<<shift - 1
}

func (h *histogram) merge(other *histogram) {
	if len(other.Counts) > len(h.Counts) {
		h.Counts = append(h.Counts, make([]int64, len(other.Counts)-len(h.Counts))...)
	}
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	h.N += other.N
	h.Largest = max(h.Largest, other.Largest)
}

// quantile is the smallest time that so many hundredths are not above.
func (h *histogram) quantile(percent int64) int64 {
	rank := (h.N*percent + 99) / 100
	for i, n := range h.Counts {
		if rank -= n; rank <= 0 {
			return min(top(i), h.Largest)
		}
	}
	return h.Largest
}

func (h *histogram) percentiles() Percentiles {
	if h.N == 0 {
		return Percentiles{}
	}
	in := func(ms int64) Duration { return Duration(time.Duration(ms) * time.Millisecond) }
	return Percentiles{Count: h.N, P50: in(h.quantile(50)), P90: in(h.quantile(90)), P99: in(h.quantile(99)), Max: in(h.Largest)}
}

// course is a Series in the making. The zero value is empty.
type course struct {
	Width   int64 // seconds; 0: nothing was added
	First   int64 // number of the first bucket: its second divided by the width
	Buckets []span
}

// span is a bucket in the making.
type span struct {
	Outcomes map[string]int64
	Latency  histogram
}

// bucket is that of a moment; it is made where it isn't there.
func (c *course) bucket(ms int64) *span {
	second := floorDiv(ms, 1000)
	if c.Width == 0 {
		c.Width, c.First = 1, second
	}
	for {
		n := floorDiv(second, c.Width)
		low, high := min(n, c.First), max(n, c.First+int64(len(c.Buckets))-1)
		if high-low < MaxBuckets {
			for ; c.First > low; c.First-- {
				c.Buckets = slices.Insert(c.Buckets, 0, span{})
			}
			for int64(len(c.Buckets)) <= n-c.First {
				c.Buckets = append(c.Buckets, span{})
			}
			return &c.Buckets[n-c.First]
		}
		c.widen()
	}
}

// widen makes one bucket of two.
func (c *course) widen() {
	wide := course{Width: 2 * c.Width, First: floorDiv(c.First, 2)}
	for i := range c.Buckets {
		n := floorDiv(c.First+int64(i), 2) - wide.First
		if int64(len(wide.Buckets)) <= n {
			wide.Buckets = append(wide.Buckets, span{})
		}
		into := &wide.Buckets[n]
		for outcome, count := range c.Buckets[i].Outcomes {
			into.count(outcome, count)
		}
		into.Latency.merge(&c.Buckets[i].Latency)
	}
	*c = wide
}

func (s *span) count(outcome string, n int64) {
	if s.Outcomes == nil {
		s.Outcomes = map[string]int64{}
	}
	s.Outcomes[outcome] += n
}

// floorDiv rounds down below zero, too: a producer may put any timestamp.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (c *course) series() Series {
	s := Series{Buckets: []Bucket{}}
	if c.Width == 0 {
		return s
	}
	start := time.Unix(c.First*c.Width, 0).UTC()
	s.Start, s.Width = &start, Duration(time.Duration(c.Width)*time.Second)
	for i := range c.Buckets {
		outcomes := maps.Clone(c.Buckets[i].Outcomes)
		if outcomes == nil {
			outcomes = map[string]int64{}
		}
		s.Buckets = append(s.Buckets, Bucket{Outcomes: outcomes, Latency: c.Buckets[i].Latency.percentiles()})
	}
	return s
}
