package connector

import (
	"time"

	"github.com/countersign/countersign/internal/secret"
)

// Secret is a text that no formatter, logger or encoder shows.
type Secret = secret.String

// Config is everything a Connector needs. Durations are written as Go writes
// them ("250ms", "5m"). Where a field's zero value means a default, the field
// says so, and WithDefaults fills it in; Validate reports every fault at once
// and has no side effect.
type Config struct {
	// Kafka says where the events are.
	Kafka KafkaConfig `yaml:"kafka"`
	// Accounts are the credentials that a request names in its account field.
	// At least one. With exactly one, a request may leave the name out.
	Accounts map[string]AccountConfig `yaml:"accounts"`
	// Requests bounds what is taken from a request event.
	Requests RequestsConfig `yaml:"requests"`
	// Window bounds what is read ahead of the committed position.
	Window WindowConfig `yaml:"window"`
	// Retry bounds and spaces the attempts of one record.
	Retry RetryConfig `yaml:"retry"`
	// Delivery says how results are published. Empty: DeliveryExactlyOnce.
	Delivery Delivery `yaml:"delivery"`
	// Recovery says how what an earlier owner may have called is settled.
	Recovery RecoveryConfig `yaml:"recovery"`
	// Ledger bounds the memory of requests that were answered.
	Ledger LedgerConfig `yaml:"ledger"`
	// Guard bounds how often a phone is rung. Its zero value: not at all.
	Guard GuardConfig `yaml:"guard"`
	// DrainTimeout is how long a lane may take to finish its calls and commit
	// when its partition is revoked or the connector stops. Zero: 20s. It must
	// stay below half of the session timeout, because the lease is not renewed
	// while a lane drains.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// Tracing says where spans go. Its zero value: nowhere.
	Tracing TracingConfig `yaml:"tracing"`
}

// KafkaConfig names the brokers, the consumer group and the topics.
type KafkaConfig struct {
	Brokers          []string      `yaml:"brokers"`           // host:port, at least one
	TLS              TLSConfig     `yaml:"tls"`               // of the connections to the brokers
	SASL             SASLConfig    `yaml:"sasl"`              // who this is to the brokers
	Group            string        `yaml:"group"`             // consumer group; empty: countersign
	ClientID         string        `yaml:"client_id"`         // empty: countersign
	Topics           TopicsConfig  `yaml:"topics"`            // names
	SessionTimeout   time.Duration `yaml:"session_timeout"`   // zero: 45s
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout"` // may be below the session timeout; zero: 60s
	// TransactionTimeout is after how long the broker ends a transaction whose
	// lane has died, so it bounds how long other readers of the result topic can
	// be held up by it. The broker looks every ten seconds. Zero: 4s.
	TransactionTimeout time.Duration `yaml:"transaction_timeout"`
	// LeaseMargin is how long before its membership could have run out a lane
	// stops calling. Zero: 5s, or a quarter of the shorter one of SessionTimeout
	// and RebalanceTimeout where that is less.
	LeaseMargin time.Duration `yaml:"lease_margin"`
	// CreateTopics makes missing topics at start, with Partitions partitions.
	// A topic that exists is never changed.
	CreateTopics bool `yaml:"create_topics"`
	Partitions   int  `yaml:"partitions"` // zero: 6
}

// TopicsConfig holds topic names. An empty name means the default in its comment.
type TopicsConfig struct {
	Requests    string `yaml:"requests"`    // challenge.requests
	Results     string `yaml:"results"`     // challenge.results
	DeadLetters string `yaml:"deadletters"` // challenge.deadletters
	Ledger      string `yaml:"ledger"`      // challenge.ledger; compacted and deleted, as many partitions as Requests
	Positions   string `yaml:"positions"`   // challenge.positions; compacted, as many partitions as Requests
}

// AccountConfig is one set of Challenge API credentials with its own rate
// limit and circuit breaker.
type AccountConfig struct {
	AccountSID string `yaml:"account_sid"` // ^AC[0-9a-fA-F]{32}$
	AuthToken  Secret `yaml:"auth_token"`  // this, or APIKey with APISecret
	APIKey     string `yaml:"api_key"`     // ^SK[0-9a-fA-F]{32}$
	APISecret  Secret `yaml:"api_secret"`
	Region     string `yaml:"region"`   // e.g. ie1; empty: none
	Edge       string `yaml:"edge"`     // e.g. dublin; alone it implies region us1
	BaseURL    string `yaml:"base_url"` // replaces https://verify.twilio.com; http only to loopback
	// Timeout bounds one call from connection to last body byte. Zero: 10s.
	Timeout time.Duration `yaml:"timeout"`
	Rate    RateConfig    `yaml:"rate"`
	Breaker BreakerConfig `yaml:"breaker"`
}

// RateConfig limits the calls of one account. Rates are for the whole consumer
// group: an instance takes its share by the partitions that it owns.
type RateConfig struct {
	PerSecond   float64 `yaml:"per_second"`  // calls a second of the whole group; zero: no limit
	Burst       int     `yaml:"burst"`       // of the whole group; zero: one second's worth, at least 1
	Concurrency int     `yaml:"concurrency"` // calls at once of one instance; zero: 64
}

// BreakerConfig says when an account's circuit breaker opens and for how long.
type BreakerConfig struct {
	Failures int           `yaml:"failures"` // it needs at least this many in Window; zero: 5
	Ratio    float64       `yaml:"ratio"`    // and this share of all answers; zero: 0.5
	Window   time.Duration `yaml:"window"`   // rolling; zero: 10s
	Open     time.Duration `yaml:"open"`     // from opening to the first probe; zero: 5s
}

// RequestsConfig bounds requests.
type RequestsConfig struct {
	// NotAfter is added to the record's timestamp where the event carries no
	// not_after. Zero: 5m.
	NotAfter time.Duration `yaml:"not_after"`
}

// WindowConfig bounds the records between the committed position and the
// highest fetched one, per partition (Span) and per instance (Records, Bytes).
type WindowConfig struct {
	Span    int   `yaml:"span"`    // offsets per partition; zero: 16384, which is also the most
	Records int   `yaml:"records"` // per instance; zero: 65536
	Bytes   int64 `yaml:"bytes"`   // per instance; zero: 256 MiB
}

// RetryConfig bounds a record that the API throttles or, for reads, fails.
// Clocks stop while the account's breaker is open; a record whose call was
// never sent is bounded by its not_after alone.
type RetryConfig struct {
	Attempts int           `yaml:"attempts"` // answered attempts; zero: 10
	Elapsed  time.Duration `yaml:"elapsed"`  // from the first attempt; zero: 2m
	Base     time.Duration `yaml:"base"`     // first backoff ceiling; zero: 200ms
	Cap      time.Duration `yaml:"cap"`      // highest backoff ceiling; zero: 10s
}

// Delivery is a way to publish results.
type Delivery string

// The deliveries.
const (
	// DeliveryExactlyOnce publishes results, dead letters, ledger entries and the
	// input position in one transaction: a reader in read_committed mode sees
	// each primary result once.
	DeliveryExactlyOnce Delivery = "exactly_once"
	// DeliveryAtLeastOnce publishes first and commits the position after it. A
	// crash between the two publishes results twice; no call is made twice for it.
	DeliveryAtLeastOnce Delivery = "at_least_once"
)

// RecoveryConfig says how the records are settled that an earlier owner of a
// partition, or an attempt without an answer, may have called.
type RecoveryConfig struct {
	// Deployment tells this deployment's challenges from those of another one
	// that uses the same account. Empty: the consumer group. A change makes the
	// challenges made before it unknown, so change it only after a clean stop.
	Deployment string `yaml:"deployment"`
	// MarkerKey keys the marker in hidden_details and the ledger's hashes: at
	// least 16 characters. Empty: a key derived from Deployment and the account's
	// SID, which keeps deployments apart but is no secret. Change it only after a
	// clean stop, and expect requests from before the change to count as new.
	MarkerKey Secret `yaml:"marker_key"`
	// Settle is how long after the last possible send the API may take to show a
	// challenge: at least the accounts' timeouts. Zero: twice the account's.
	Settle time.Duration `yaml:"settle"`
	// Apart is the least time between the two Lists that prove a challenge's
	// absence. Zero: 2s.
	Apart time.Duration `yaml:"apart"`
	// MaxPages bounds the pages read for one factor; beyond it a record fails as
	// ambiguous. Zero: 20.
	MaxPages int `yaml:"max_pages"`
	// Accept lists what an operator has looked at and accepts, so that a
	// partition that stopped over it goes on. Nil: nothing.
	Accept []Acceptance `yaml:"accept"`
}

// Acceptance is one finding that stops a partition until an operator accepts it.
type Acceptance string

// The acceptances.
const (
	// AcceptLostOffsets: the committed offset is gone. The partition goes on at its
	// position record, which holds the same.
	AcceptLostOffsets Acceptance = "lost_offsets"
	// AcceptRecreatedTopic: the requests topic is another one of the same name, or
	// was cut. It is read from its first record; creates and updates that it has
	// already are looked for before they are called.
	AcceptRecreatedTopic Acceptance = "recreated_topic"
	// AcceptPartitionCount: the requests topic has another number of partitions,
	// so a key's records may be in two of them.
	AcceptPartitionCount Acceptance = "partition_count"
)

// LedgerConfig bounds the memory of request ids, by which a repeated request
// gets a duplicate result instead of a call.
type LedgerConfig struct {
	// Horizon is how long an id is remembered. Zero: 2h.
	Horizon time.Duration `yaml:"horizon"`
	// Entries is how many ids one instance remembers before it stops taking new
	// requests; about 100 bytes each. Entries divided by Horizon is the rate that
	// an instance sustains: 555 a second by default. Zero: 4000000.
	Entries int `yaml:"entries"`
}
