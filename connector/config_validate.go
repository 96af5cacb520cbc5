package connector

import (
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The bounds of a Config. Beyond them a value is a slip or can't work.
const (
	maxNameLength = 249 // of a topic, as Kafka has it; groups get the same
	maxPartitions = 100_000
	minTimeout    = time.Millisecond
	minSession    = time.Second
	maxSession    = 30 * time.Minute // group.max.session.timeout.ms of a broker as delivered
	maxRebalance  = time.Hour
	maxNotAfter   = 24 * time.Hour
	maxDrain      = 15 * time.Minute
	maxBackoff    = time.Hour
	maxElapsed    = 24 * time.Hour

	maxTransaction   = 15 * time.Minute // transaction.max.timeout.ms of a broker as delivered
	maxSettle        = 15 * time.Minute
	maxPageCap       = 1000
	maxHorizon       = 7 * 24 * time.Hour
	maxLedgerEntries = 100_000_000
	minMarkerKey     = 16 // characters
)

var (
	topicPattern       = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
	clientIDPattern    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
	accountNamePattern = regexp.MustCompile(`^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`)
)

// Validate returns every fault of c, in the order of the fields, or nil. Zero
// values count as the defaults that they stand for. It has no side effect and
// touches neither network nor files. No message holds a text of c.
func (c Config) Validate() []Violation {
	c = c.WithDefaults()
	var v configCheck
	c.Kafka.validate(&v)
	if len(c.Accounts) == 0 {
		v.add("accounts", "must hold at least one account: a name and, below it, its account_sid and credentials")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Accounts)) {
		path := accountPath(name)
		if !accountNamePattern.MatchString(name) || len(name) > 64 {
			v.add(path, "an account's name must be letters and digits, with single dots, dashes or underscores between them, and 64 at most")
		}
		c.Accounts[name].validate(&v, path)
	}
	v.duration("requests.not_after", c.Requests.NotAfter, time.Second, maxNotAfter)
	checkNumber(&v, "window.span", c.Window.Span, 1, maxSpan)
	checkNumber(&v, "window.records", c.Window.Records, 1, 1<<30)
	checkNumber(&v, "window.bytes", c.Window.Bytes, 1, 1<<40)
	c.validateRetry(&v)
	c.Delivery.validate(&v)
	c.Recovery.validate(&v, c.Kafka.Group)
	c.validateSettle(&v)
	v.duration("ledger.horizon", c.Ledger.Horizon, time.Second, maxHorizon)
	checkNumber(&v, "ledger.entries", c.Ledger.Entries, 1, maxLedgerEntries)
	c.Guard.validate(&v, c.Ledger.Horizon)
	c.validateDrain(&v)
	c.Tracing.validate(&v)
	return v.violations
}

func (k KafkaConfig) validate(v *configCheck) {
	if len(k.Brokers) == 0 {
		v.add("kafka.brokers", "must name at least one broker, as host:port")
	}
	for i, broker := range k.Brokers {
		if !isHostPort(broker) {
			v.add("kafka.brokers["+strconv.Itoa(i)+"]", "must be host:port, with a port from 1 to 65535")
		}
	}
	k.TLS.validate(v)
	k.SASL.validate(v, k)
	v.plainName("kafka.group", k.Group)
	v.pattern("kafka.client_id", k.ClientID, clientIDPattern, "must be 1 to 249 letters, digits, dots, dashes or underscores")
	k.Topics.validate(v)
	v.duration("kafka.session_timeout", k.SessionTimeout, minSession, maxSession)
	v.duration("kafka.rebalance_timeout", k.RebalanceTimeout, minSession, maxRebalance)
	v.duration("kafka.transaction_timeout", k.TransactionTimeout, time.Second, maxTransaction)
	k.validateLeaseMargin(v)
	checkNumber(v, "kafka.partitions", k.Partitions, 1, maxPartitions)
}

func (t TopicsConfig) validate(v *configCheck) {
	taken := map[string]string{}
	for _, topic := range []struct{ path, name string }{
		{"kafka.topics.requests", t.Requests},
		{"kafka.topics.results", t.Results},
		{"kafka.topics.deadletters", t.DeadLetters},
		{"kafka.topics.ledger", t.Ledger},
		{"kafka.topics.positions", t.Positions},
	} {
		if !topicPattern.MatchString(topic.name) || topic.name == "." || topic.name == ".." {
			v.add(topic.path, "must be 1 to 249 letters, digits, dots, dashes or underscores, and more than dots")
			continue
		}
		// Kafka names its metrics with dots turned to underscores and refuses a
		// topic that would share them.
		metric := strings.ReplaceAll(topic.name, ".", "_")
		if other, ok := taken[metric]; ok {
			v.add(topic.path, "must differ from %s in more than dots and underscores", other)
			continue
		}
		taken[metric] = topic.path
	}
}

// validateLeaseMargin leaves a lane more than half of its membership for calls.
func (k KafkaConfig) validateLeaseMargin(v *configCheck) {
	v.duration("kafka.lease_margin", k.LeaseMargin, minTimeout, maxSession/2)
	for _, limit := range []struct {
		path string
		time time.Duration
	}{
		{"kafka.session_timeout", k.SessionTimeout},
		{"kafka.rebalance_timeout", k.RebalanceTimeout},
	} {
		if k.LeaseMargin >= limit.time/2 {
			v.add("kafka.lease_margin", "must be below half of %s (%s), is %s: nothing is called within the margin",
				limit.path, shortDuration(limit.time), shortDuration(k.LeaseMargin))
		}
	}
}

func (c Config) validateRetry(v *configCheck) {
	checkNumber(v, "retry.attempts", c.Retry.Attempts, 1, 1000)
	if name, failures := c.slowestBreaker(); failures >= c.Retry.Attempts {
		v.add("retry.attempts", "must be above %s.breaker.failures (%d), is %d: in an outage the breaker has to open, "+
			"and stop the clocks, before any record runs out of attempts", accountPath(name), failures, c.Retry.Attempts)
	}
	v.duration("retry.elapsed", c.Retry.Elapsed, minTimeout, maxElapsed)
	v.duration("retry.base", c.Retry.Base, minTimeout, maxBackoff)
	v.duration("retry.cap", c.Retry.Cap, minTimeout, maxBackoff)
	if c.Retry.Base > c.Retry.Cap {
		v.add("retry.cap", "must be at least retry.base (%s), is %s", shortDuration(c.Retry.Base), shortDuration(c.Retry.Cap))
	}
}

// slowestBreaker returns the account whose breaker needs the most failures.
func (c Config) slowestBreaker() (name string, failures int) {
	for _, candidate := range slices.Sorted(maps.Keys(c.Accounts)) {
		if n := c.Accounts[candidate].Breaker.Failures; n > failures {
			name, failures = candidate, n
		}
	}
	return name, failures
}

func (c Config) validateDrain(v *configCheck) {
	v.duration("drain_timeout", c.DrainTimeout, minTimeout, maxDrain)
	if session := c.Kafka.SessionTimeout; c.DrainTimeout >= session/2 {
		v.add("drain_timeout", "must be below half of kafka.session_timeout (%s), is %s: the lease is not renewed while a lane drains",
			shortDuration(session), shortDuration(c.DrainTimeout))
	}
	if rebalance := c.Kafka.RebalanceTimeout; c.DrainTimeout >= rebalance {
		v.add("drain_timeout", "must be below kafka.rebalance_timeout (%s), is %s: the group does not wait longer for a member that drains",
			shortDuration(rebalance), shortDuration(c.DrainTimeout))
	}
}

func isHostPort(broker string) bool {
	host, port, err := net.SplitHostPort(broker)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && n > 0 && host != "" && !strings.ContainsFunc(host, notPlain) && !strings.ContainsAny(host, "/@,")
}

func notPlain(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }
