package connector

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// namespace begins the name of every metric of ours. docs/metrics.md lists them
// all, and a test holds the two together.
const namespace = "countersign"

// metrics are the counters and histograms that the work itself feeds. What can
// be looked at when it is asked for is in laneMetrics. Their names are part of
// the interface.
//
// Series of closed sets are made at once: a counter that begins with its first
// event hides that event from rate(), and nothing has to be looked up by its
// labels while records are worked on.
type metrics struct {
	requests     prometheus.Counter
	results      map[schemas.Outcome]prometheus.Counter
	deadLetters  *prometheus.CounterVec
	suppressed   prometheus.Counter
	unknown      prometheus.Counter
	requestTimes map[schemas.Outcome]prometheus.Observer // "": only a dead letter

	calls        *prometheus.CounterVec
	callSeconds  map[string]prometheus.Observer
	inFlight     prometheus.Gauge
	retries      map[string]prometheus.Counter
	looks        prometheus.Counter
	guarded      map[guardedKey]prometheus.Counter
	breakerOpens *prometheus.CounterVec

	commits       prometheus.Counter
	commitSeconds prometheus.Histogram
	commitRecords prometheus.Histogram
	transactions  map[transactionEnd]prometheus.Counter
	rebalances    prometheus.Counter
	kafkaErrors   *prometheus.CounterVec
}

// What the operations of calls are called beside those of events.
const (
	// lookOperation is a read that settles doubt.
	lookOperation = "look"
	// probeOperation is a read that tries a blocked account.
	probeOperation = "probe"
)

var (
	outcomes = []schemas.Outcome{
		schemas.OutcomeSucceeded, schemas.OutcomeAdopted, schemas.OutcomeDuplicate, schemas.OutcomeRejected,
		schemas.OutcomeExpired, schemas.OutcomeFailed,
	}
	deadLetterClasses = []schemas.Class{
		schemas.ClassNotJSON, schemas.ClassNoID, schemas.ClassTooLarge, schemas.ClassVersion, schemas.ClassThrottled,
		schemas.ClassUnavailable, schemas.ClassAmbiguous,
	}
	callOperations = []string{
		string(schemas.OperationCreate), string(schemas.OperationFetch), string(schemas.OperationList),
		string(schemas.OperationUpdate), lookOperation, probeOperation,
	}
	callClasses = []challenge.Class{
		challenge.ClassOK, challenge.ClassThrottled, challenge.ClassRejected, challenge.ClassCredentials,
		challenge.ClassAmbiguous, challenge.ClassUnavailable, challenge.ClassCanceled,
	}
	// callBuckets reach from a fast answer on the same machine to the longest timeout that makes sense.
	callBuckets = prometheus.ExponentialBuckets(0.005, 2, 13)
	// requestBuckets reach to the age at which a request has expired for anybody.
	requestBuckets = prometheus.ExponentialBuckets(0.005, 2, 18)
)

func newMetrics(to prometheus.Registerer) metrics {
	r := registrar{to}
	m := metrics{
		requests:    r.counter("requests_total", "Records taken from the request topic."),
		deadLetters: r.counters("dead_letters_total", "Dead letters made, by error class.", "class"),
		suppressed:  r.counter("suppressed_total", "Records whose result had been published before."),
		unknown:     r.counter("unknown_fields_total", "Fields of request events that this version does not know."),

		calls:        r.counters("calls_total", "Calls of the Challenge API, by class of their end.", "account", "operation", "class"),
		looks:        r.counter("looks_total", "Looks at what an earlier call in doubt has left at the Challenge API."),
		inFlight:     r.gauge("calls_in_flight", "Calls of the Challenge API under way."),
		breakerOpens: r.counters("breaker_opens_total", "Times a circuit breaker opened.", "account"),

		commits: r.counter("commits_total", "Group commits of lanes."),
		commitSeconds: r.histogram("commit_duration_seconds", "Duration of group commits that succeeded.",
			prometheus.ExponentialBuckets(0.001, 2, 15)),
		commitRecords: r.histogram("commit_records", "Records that a group commit settles.", prometheus.ExponentialBuckets(1, 2, 11)),
		rebalances:    r.counter("rebalances_total", "Assignments received from the consumer group."),
		kafkaErrors:   r.counters("kafka_errors_total", "Failures of Kafka that are waited out or end a lane.", "operation", "code"),

		results: map[schemas.Outcome]prometheus.Counter{}, requestTimes: map[schemas.Outcome]prometheus.Observer{},
		callSeconds: map[string]prometheus.Observer{}, retries: map[string]prometheus.Counter{},
		transactions: map[transactionEnd]prometheus.Counter{}, guarded: map[guardedKey]prometheus.Counter{},
	}
	results := r.counters("results_total", "Requests that ended with a result, by outcome.", "outcome")
	requests := r.histograms("request_duration_seconds", "From taking a record in to its committed outcome.", requestBuckets, "outcome")
	for _, outcome := range outcomes {
		m.results[outcome] = results.WithLabelValues(string(outcome))
		m.requestTimes[outcome] = requests.WithLabelValues(string(outcome))
	}
	m.requestTimes[""] = requests.WithLabelValues("none")
	calls := r.histograms("call_duration_seconds", "Duration of calls of the Challenge API.", callBuckets, "operation")
	for _, operation := range callOperations {
		if operation != probeOperation {
			m.callSeconds[operation] = calls.WithLabelValues(operation)
		}
	}
	for _, class := range deadLetterClasses {
		m.deadLetters.WithLabelValues(string(class))
	}
	for _, operation := range kafkaOperations {
		for _, code := range kafkaCodes {
			m.kafkaErrors.WithLabelValues(string(operation), string(code))
		}
	}
	retries := r.counters("retries_total", "Attempts that were scheduled again.", "reason")
	for _, reason := range []string{string(challenge.ClassThrottled), string(challenge.ClassUnavailable), lookOperation} {
		m.retries[reason] = retries.WithLabelValues(reason)
	}
	guarded := r.counters("guarded_total", "Creates beyond a limit of the guard, by limit and mode: on rejects them, dry_run does not.", "limit", "mode")
	for _, limit := range guardLimits {
		for _, mode := range []GuardMode{GuardOn, GuardDryRun} {
			m.guarded[guardedKey{limit, mode}] = guarded.WithLabelValues(string(limit), string(mode))
		}
	}
	transactions := r.counters("transactions_total", "Kafka transactions, by their end.", "end")
	for _, end := range transactionEnds {
		m.transactions[end] = transactions.WithLabelValues(string(end))
	}
	return m
}

type guardedKey struct {
	limit guardLimit
	mode  GuardMode
}

// registrar makes metrics and registers them. Two of one name are a defect.
type registrar struct{ to prometheus.Registerer }

func (r registrar) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	r.to.MustRegister(c)
	return c
}

func (r registrar) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.to.MustRegister(c)
	return c
}

func (r registrar) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	r.to.MustRegister(g)
	return g
}

func (r registrar) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	r.to.MustRegister(h)
	return h
}

func (r registrar) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	r.to.MustRegister(h)
	return h
}

// registerProcess adds what is known of the process and of what runs in it.
func registerProcess(to prometheus.Registerer, delivery Delivery) {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "What runs; always 1.",
	}, []string{"version", "go_version", "delivery"})
	build.WithLabelValues(BuildVersion(), runtime.Version(), string(delivery)).Set(1)
	to.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// modulePath is where this module's version is found in a binary, which may be
// another module's.
const modulePath = "github.com/countersign/countersign"

// BuildVersion is the version of this module in the running binary, or (devel)
// where it has none.
func BuildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Version != "" {
			return m.Version
		}
	}
	return "(devel)"
}

// accountMetrics are the series of one account.
type accountMetrics struct {
	calls map[callKey]prometheus.Counter
	opens prometheus.Counter
}

type callKey struct {
	operation string
	class     challenge.Class
}

func (m *metrics) account(name string) accountMetrics {
	out := accountMetrics{calls: map[callKey]prometheus.Counter{}, opens: m.breakerOpens.WithLabelValues(name)}
	for _, operation := range callOperations {
		for _, class := range callClasses {
			if class == challenge.ClassAmbiguous && !isWrite(schemas.Operation(operation)) {
				continue // a read without an answer is made again
			}
			out.calls[callKey{operation, class}] = m.calls.WithLabelValues(name, operation, string(class))
		}
	}
	return out
}

// kafkaOperation is what of Kafka's failed.
type kafkaOperation string

const (
	kafkaFetch   kafkaOperation = "fetch"
	kafkaCommit  kafkaOperation = "commit"
	kafkaJoin    kafkaOperation = "join"
	kafkaOffsets kafkaOperation = "offsets"
)

var (
	kafkaOperations = []kafkaOperation{kafkaFetch, kafkaCommit, kafkaJoin, kafkaOffsets}
	kafkaCodes      = []kafka.ErrorCode{
		kafka.CodeUnavailable, kafka.CodeOwnershipLost, kafka.CodeFenced, kafka.CodeOutOfRange, kafka.CodeTooLarge,
		kafka.CodeUnknownTopic, kafka.CodeDenied, kafka.CodeUnauthenticated, kafka.CodeTLS, kafka.CodeInvalid,
	}
)

// kafkaFailed counts a failure. That a context has ended is none.
func (s *stats) kafkaFailed(operation kafkaOperation, err error) {
	if code := kafka.CodeOf(err); code != "" && code != kafka.CodeCanceled {
		s.metrics.kafkaErrors.WithLabelValues(string(operation), string(code)).Inc()
	}
}
