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
	// DrainTimeout is how long a lane may take to finish its calls and commit
	// when its partition is revoked or the connector stops. Zero: 20s. It must
	// stay below half of the session timeout, because kafka-go sends no
	// heartbeat while a lane drains.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// KafkaConfig names the brokers, the consumer group and the topics.
type KafkaConfig struct {
	Brokers          []string      `yaml:"brokers"`           // host:port, at least one
	Group            string        `yaml:"group"`             // consumer group; empty: countersign
	ClientID         string        `yaml:"client_id"`         // empty: countersign
	Topics           TopicsConfig  `yaml:"topics"`            // names
	SessionTimeout   time.Duration `yaml:"session_timeout"`   // zero: 45s
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout"` // zero: 60s
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
