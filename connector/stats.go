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

// metrics are the Prometheus metrics. Their names are part of the interface.
type metrics struct {
	requests     prometheus.Counter
	results      *prometheus.CounterVec
	deadLetters  prometheus.Counter
	calls        *prometheus.CounterVec
	callSeconds  *prometheus.HistogramVec
	inFlight     prometheus.Gauge
	retries      prometheus.Counter
	commits      prometheus.Counter
	rebalances   prometheus.Counter
	breakerOpens *prometheus.CounterVec
	unknown      prometheus.Counter
	looks        prometheus.Counter
}

func newStats() *stats {
	s := &stats{
		registry: prometheus.NewRegistry(), outcomes: map[string]int64{}, calls: map[string]int64{},
		unknown: map[string]struct{}{},
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "countersign", Name: name, Help: help})
		s.registry.MustRegister(c)
		return c
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "countersign", Name: name, Help: help}, labels)
		s.registry.MustRegister(c)
		return c
	}
	s.metrics = metrics{
		requests:     counter("requests_total", "Records taken from the request topic."),
		results:      vector("results_total", "Requests that ended with a result, by outcome.", "outcome"),
		deadLetters:  counter("dead_letters_total", "Records written to the dead letter topic."),
		calls:        vector("calls_total", "Calls of the Challenge API, by class of their end.", "class"),
		retries:      counter("retries_total", "Attempts that were scheduled again."),
		looks:        counter("looks_total", "Looks at what an earlier call in doubt has left at the Challenge API."),
		commits:      counter("commits_total", "Group commits of lanes."),
		unknown:      counter("unknown_fields_total", "Fields of request events that this version does not know."),
		rebalances:   counter("rebalances_total", "Assignments received from the consumer group."),
		breakerOpens: vector("breaker_opens_total", "Times a circuit breaker opened.", "account"),
		callSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "countersign", Name: "call_duration_seconds", Help: "Duration of calls of the Challenge API.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"operation"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "countersign", Name: "calls_in_flight", Help: "Calls of the Challenge API under way.",
		}),
	}
	s.registry.MustRegister(s.metrics.callSeconds, s.metrics.inFlight)
	return s
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
	if o.deadLetter {
		s.deadLetters.Add(1)
		s.metrics.deadLetters.Inc()
	}
	if o.outcome == "" {
		return
	}
	s.mu.Lock()
	s.outcomes[string(o.outcome)]++
	s.mu.Unlock()
	s.metrics.results.WithLabelValues(string(o.outcome)).Inc()
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
	s.metrics.callSeconds.WithLabelValues(operation).Observe(took.Seconds())
	s.mu.Lock()
	s.latency.add(took)
	s.mu.Unlock()
}

func (s *stats) called(class string) {
	s.mu.Lock()
	s.calls[class]++
	s.mu.Unlock()
	s.metrics.calls.WithLabelValues(class).Inc()
}

func (s *stats) retried() {
	s.retries.Add(1)
	s.metrics.retries.Inc()
}

func (s *stats) looked() { s.metrics.looks.Inc() }

func (s *stats) commit() {
	s.commits.Add(1)
	s.metrics.commits.Inc()
}

func (s *stats) rebalanced() {
	s.rebalances.Add(1)
	s.metrics.rebalances.Inc()
}

func (s *stats) breakerOpened(account string) {
	s.opens.Add(1)
	s.metrics.breakerOpens.WithLabelValues(account).Inc()
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
