package connector

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// statusMetrics are the gauges that are looked up when somebody asks: they show
// the same snapshot as a Status.
type statusMetrics struct {
	connector *Connector

	ready, lanes, lease            *prometheus.Desc
	ledgerEntries, ledgerCapacity  *prometheus.Desc
	lag, unstable, records, span   *prometheus.Desc
	waiting, uncertain             *prometheus.Desc
	expiry, age                    *prometheus.Desc
	intakePaused, callsPaused      *prometheus.Desc
	breaker, blocked               *prometheus.Desc
	rate, share, limited, inFlight *prometheus.Desc
	penalty                        *prometheus.Desc
}

func newStatusMetrics(c *Connector) *statusMetrics {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &statusMetrics{
		connector: c,
		ready:     gauge("ready", "Whether progress is possible."),
		lanes:     gauge("lanes", "Partitions that this instance works on."),
		lease:     gauge("lease_seconds", "Least time for which calls are allowed without hearing from the group."),

		ledgerEntries:  gauge("ledger_entries", "Request ids remembered."),
		ledgerCapacity: gauge("ledger_capacity", "Request ids that are remembered at the most."),

		lag:       gauge("lag_records", "End of what can be read less the first unfinished offset.", "partition"),
		unstable:  gauge("unstable_records", "Offsets behind a producer's open transaction.", "partition"),
		records:   gauge("window_records", "Records taken in whose outcome is not committed.", "partition"),
		span:      gauge("window_span", "Width of the window, finished records inside it included.", "partition"),
		waiting:   gauge("waiting_records", "Records that wait for a retry, a look, their account or a deadline.", "partition"),
		uncertain: gauge("uncertain_records", "Records that may have been called and are looked for at the Challenge API.", "partition"),
		expiry:    gauge("seconds_to_expiry", "Least time left of what is taken in and has no outcome yet.", "partition"),
		age:       gauge("oldest_record_age_seconds", "Age of the first unfinished record.", "partition"),

		intakePaused: gauge("intake_paused", "Whether nothing more is taken in, by reason.", "partition", "reason"),
		callsPaused:  gauge("calls_paused", "Whether no new call begins, by reason.", "partition", "reason"),

		breaker:  gauge("breaker_state", "Circuit breaker: 0 closed, 1 half open, 2 open.", "account"),
		blocked:  gauge("account_blocked", "Whether no call of the account goes out, by reason.", "account", "reason"),
		rate:     gauge("limiter_rate", "This instance's share of the account's calls a second.", "account"),
		share:    gauge("limiter_share", "Owned partitions by all partitions.", "account"),
		limited:  gauge("limiter_waiting_calls", "Attempts that wait for the rate or for a slot.", "account"),
		inFlight: gauge("limiter_in_flight_calls", "Slots of the account in use.", "account"),
		penalty:  gauge("limiter_penalty_seconds", "Time left of a pause that the API asked for.", "account"),
	}
}

// Describe implements prometheus.Collector.
func (m *statusMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.ready, m.lanes, m.lease, m.ledgerEntries, m.ledgerCapacity, m.lag, m.unstable, m.records, m.span, m.waiting,
		m.uncertain, m.expiry, m.age, m.intakePaused, m.callsPaused, m.breaker, m.blocked, m.rate, m.share, m.limited,
		m.inFlight, m.penalty,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *statusMetrics) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s := m.connector.Status()
	gauge(m.ready, truth(s.Ready))
	gauge(m.lanes, float64(len(s.Lanes)))
	gauge(m.ledgerEntries, float64(m.connector.ledgerRoom.used.Load()))
	gauge(m.ledgerCapacity, float64(m.connector.ledgerRoom.limit))
	if len(s.Lanes) > 0 {
		least := slices.MinFunc(s.Lanes, func(a, b LaneStatus) int {
			if a.Lease < b.Lease {
				return -1
			}
			return 1
		})
		gauge(m.lease, least.Lease)
	}
	for _, l := range s.Lanes {
		m.lane(l, gauge)
	}
	for _, a := range s.Accounts {
		m.account(a, gauge)
	}
}

func (m *statusMetrics) lane(l LaneStatus, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	p := strconv.Itoa(l.Partition)
	gauge(m.lag, float64(l.Lag), p)
	gauge(m.unstable, float64(l.Unstable), p)
	gauge(m.records, float64(l.Window), p)
	gauge(m.span, float64(l.Span), p)
	gauge(m.waiting, float64(l.Waiting), p)
	gauge(m.uncertain, float64(l.Uncertain), p)
	gauge(m.age, l.OldestAge, p)
	if l.ExpiresIn != nil {
		gauge(m.expiry, *l.ExpiresIn, p)
	}
	for _, why := range intakePauses {
		gauge(m.intakePaused, truth(slices.Contains(l.Paused, why)), p, string(why))
	}
	for _, why := range callPauses {
		gauge(m.callsPaused, truth(slices.Contains(l.Paused, why)), p, string(why))
	}
}

func (m *statusMetrics) account(a AccountStatus, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	gauge(m.breaker, float64(slices.Index(breakerStates, a.Breaker)), a.Name)
	for _, why := range []blockReason{blockedBreaker, blockedCredentials} {
		gauge(m.blocked, truth(a.Blocked == string(why)), a.Name, string(why))
	}
	gauge(m.rate, a.PerSecond, a.Name)
	gauge(m.share, a.Share, a.Name)
	gauge(m.limited, float64(a.Waiting), a.Name)
	gauge(m.inFlight, float64(a.InFlight), a.Name)
	gauge(m.penalty, m.connector.accounts[a.Name].limiter.Snapshot().PenaltyLeft.Seconds(), a.Name)
}

var (
	intakePauses = []Pause{PauseWindow, PauseBudget, PauseLedger, PauseAccount}
	callPauses   = []Pause{PauseLease, PauseCommit}
	// breakerStates are gobreaker's, each at the number that stands for it.
	breakerStates = []string{"closed", "half-open", "open"}
)

func truth(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
