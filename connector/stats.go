package connector

import (
	"io"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/countersign/countersign/connector/challenge"
)

// stats counts what a Connector does, for its Status and for Prometheus. It is
// safe for concurrent use.
type stats struct {
	registry *prometheus.Registry
	metrics  metrics

	inFlight    atomic.Int64
	records     atomic.Int64
	deadLetters atomic.Int64
	retries     atomic.Int64
	commits     atomic.Int64
	rebalances  atomic.Int64
	opens       atomic.Int64

	mu       sync.Mutex
	outcomes map[string]int64
	calls    map[string]int64
	unknown  map[string]struct{} // paths of unknown fields that were logged
	latency  latencies
}

func newStats() *stats {
	registry := prometheus.NewRegistry()
	return &stats{
		registry: registry, metrics: newMetrics(registry), outcomes: map[string]int64{}, calls: map[string]int64{},
		unknown: map[string]struct{}{},
	}
}

func (s *stats) record() {
	s.records.Add(1)
	s.metrics.requests.Inc()
}

// maxUnknown bounds how many distinct unknown fields are logged.
const maxUnknown = 100

// unknownField counts a field that this version does not know and reports
// whether it shall be logged: a producer that sends one sends it every time.
func (s *stats) unknownField(path string) bool {
	s.metrics.unknown.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, seen := s.unknown[path]; seen || len(s.unknown) == maxUnknown {
		return false
	}
	s.unknown[path] = struct{}{}
	return true
}

func (s *stats) outcome(o outcome) {
	if o.suppressed {
		s.metrics.suppressed.Inc()
	}
	if o.deadLetter {
		s.deadLetters.Add(1)
		s.metrics.deadLetters.WithLabelValues(string(o.err.Class)).Inc()
	}
	if o.outcome == "" {
		return
	}
	s.mu.Lock()
	s.outcomes[string(o.outcome)]++
	s.mu.Unlock()
	s.metrics.results[o.outcome].Inc()
}

func (s *stats) callBegan() {
	s.inFlight.Add(1)
	s.metrics.inFlight.Inc()
}

// callEnded counts a call's time if it was sent: a refused connection says
// nothing about how long the API takes.
func (s *stats) callEnded(operation string, took time.Duration, sent bool) {
	s.inFlight.Add(-1)
	s.metrics.inFlight.Dec()
	if !sent {
		return
	}
	if seconds, ok := s.metrics.callSeconds[operation]; ok {
		seconds.Observe(took.Seconds())
	}
	s.mu.Lock()
	s.latency.add(took)
	s.mu.Unlock()
}

func (s *stats) called(m accountMetrics, operation string, class challenge.Class) {
	s.mu.Lock()
	s.calls[string(class)]++
	s.mu.Unlock()
	if c, ok := m.calls[callKey{operation, class}]; ok {
		c.Inc()
	}
}

// retried counts an attempt that was scheduled again after end.
func (s *stats) retried(end attemptEnd) {
	s.retries.Add(1)
	reason := string(end.verdict.Class)
	if end.look {
		reason = lookOperation
	}
	if c, ok := s.metrics.retries[reason]; ok {
		c.Inc()
	}
}

// guarded counts a create beyond a limit of the guard.
func (s *stats) guarded(limit guardLimit, mode GuardMode) {
	s.metrics.guarded[guardedKey{limit, mode}].Inc()
}

func (s *stats) looked() { s.metrics.looks.Inc() }

// committed counts a group that is durable. It must come before its records are
// settled.
func (s *stats) committed(group []outcome, took time.Duration) {
	s.commits.Add(1)
	s.metrics.commits.Inc()
	s.metrics.commitSeconds.Observe(took.Seconds())
	s.metrics.commitRecords.Observe(float64(len(group)))
	now := time.Now()
	for i := range group {
		if o := &group[i]; !o.suppressed {
			s.metrics.requestTimes[o.outcome].Observe(now.Sub(o.entry.received).Seconds())
		}
	}
}

func (s *stats) rebalanced() {
	s.rebalances.Add(1)
	s.metrics.rebalances.Inc()
}

func (s *stats) breakerOpened(m accountMetrics) {
	s.opens.Add(1)
	m.opens.Inc()
}

func (s *stats) counters() (Counters, Latency) {
	c := Counters{
		Records: s.records.Load(), DeadLetters: s.deadLetters.Load(), Retries: s.retries.Load(),
		Commits: s.commits.Load(), Rebalances: s.rebalances.Load(), BreakerOpens: s.opens.Load(),
		Outcomes: map[string]int64{}, Calls: map[string]int64{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(c.Outcomes, s.outcomes)
	maps.Copy(c.Calls, s.calls)
	return c, Latency{P50: s.latency.quantile(0.5), P99: s.latency.quantile(0.99)}
}

// write writes the metrics in Prometheus' text format.
func (s *stats) write(w io.Writer) error {
	families, err := s.registry.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

// latencies is a histogram with buckets 10 % apart, from 100 µs to over an
// hour: quantiles of it are right within 5 %.
type latencies struct {
	buckets [latencyBuckets]int64
	total   int64
}

const (
	latencyBuckets = 184
	latencyBase    = 100e-6
	latencyGrowth  = 1.1
)

func (l *latencies) add(d time.Duration) {
	i := 0
	if s := d.Seconds(); s > latencyBase {
		i = min(latencyBuckets-1, 1+int(math.Log(s/latencyBase)/math.Log(latencyGrowth)))
	}
	l.buckets[i]++
	l.total++
}

// quantile is in seconds; zero before the first observation.
func (l *latencies) quantile(q float64) float64 {
	if l.total == 0 {
		return 0
	}
	rank, seen := int64(math.Ceil(q*float64(l.total))), int64(0)
	for i, n := range l.buckets {
		if seen += n; seen >= rank {
			if i == 0 {
				return latencyBase
			}
			return latencyBase * math.Pow(latencyGrowth, float64(i)-0.5)
		}
	}
	return 0
}
