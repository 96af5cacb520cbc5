package connector

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// What a Config's zero values mean, where it is not the empty text.
const (
	defaultGroup            = "countersign"
	defaultClientID         = "countersign"
	defaultRequestsTopic    = "challenge.requests"
	defaultResultsTopic     = "challenge.results"
	defaultDeadLettersTopic = "challenge.deadletters"
	defaultLedgerTopic      = "challenge.ledger"
	defaultPositionsTopic   = "challenge.positions"
	defaultPartitions       = 6
	defaultSessionTimeout   = 45 * time.Second
	defaultRebalanceTimeout = 60 * time.Second
	defaultCallTimeout      = 10 * time.Second
	defaultConcurrency      = 64
	defaultBreakerFailures  = 5
	defaultBreakerRatio     = 0.5
	defaultBreakerWindow    = 10 * time.Second
	defaultBreakerOpen      = 5 * time.Second
	defaultNotAfter         = 5 * time.Minute
	defaultWindowSpan       = maxSpan
	defaultWindowRecords    = 65536
	defaultWindowBytes      = 256 << 20
	defaultRetryAttempts    = 10
	defaultRetryElapsed     = 2 * time.Minute
	defaultRetryBase        = 200 * time.Millisecond
	defaultRetryCap         = 10 * time.Second
	defaultDrainTimeout     = 20 * time.Second

	// The broker looks for transactions that ran out every 10 s, so 4 s keep the
	// delay that a dead lane causes to other readers below 15 s.
	defaultTransactionTimeout = 4 * time.Second
	defaultLeaseMargin        = 5 * time.Second
	defaultDelivery           = DeliveryExactlyOnce
	defaultApart              = 2 * time.Second
	defaultMaxPages           = 20
	defaultHorizon            = 2 * time.Hour
	defaultLedgerEntries      = 4_000_000
)

// WithDefaults returns a copy in which every zero value that stands for a
// default is that default. The copy shares nothing with c, and applying it
// twice changes nothing more.
func (c Config) WithDefaults() Config {
	c.Kafka = c.Kafka.withDefaults()
	c.Accounts = maps.Clone(c.Accounts)
	for name, account := range c.Accounts {
		c.Accounts[name] = account.withDefaults()
	}
	c.Requests.NotAfter = cmp.Or(c.Requests.NotAfter, defaultNotAfter)
	c.Window = WindowConfig{
		Span:    cmp.Or(c.Window.Span, defaultWindowSpan),
		Records: cmp.Or(c.Window.Records, defaultWindowRecords),
		Bytes:   cmp.Or(c.Window.Bytes, defaultWindowBytes),
	}
	c.Retry = RetryConfig{
		Attempts: cmp.Or(c.Retry.Attempts, defaultRetryAttempts),
		Elapsed:  cmp.Or(c.Retry.Elapsed, defaultRetryElapsed),
		Base:     cmp.Or(c.Retry.Base, defaultRetryBase),
		Cap:      cmp.Or(c.Retry.Cap, defaultRetryCap),
	}
	c.Delivery = cmp.Or(c.Delivery, defaultDelivery)
	c.Recovery = c.Recovery.withDefaults(c.Kafka.Group)
	c.Ledger = LedgerConfig{
		Horizon: cmp.Or(c.Ledger.Horizon, defaultHorizon),
		Entries: cmp.Or(c.Ledger.Entries, defaultLedgerEntries),
	}
	c.Guard = c.Guard.withDefaults()
	c.DrainTimeout = cmp.Or(c.DrainTimeout, defaultDrainTimeout)
	c.Tracing = c.Tracing.withDefaults()
	return c
}

func (k KafkaConfig) withDefaults() KafkaConfig {
	k.Brokers = slices.Clone(k.Brokers)
	k.Group = cmp.Or(k.Group, defaultGroup)
	k.ClientID = cmp.Or(k.ClientID, defaultClientID)
	k.Topics.Requests = cmp.Or(k.Topics.Requests, defaultRequestsTopic)
	k.Topics.Results = cmp.Or(k.Topics.Results, defaultResultsTopic)
	k.Topics.DeadLetters = cmp.Or(k.Topics.DeadLetters, defaultDeadLettersTopic)
	k.Topics.Ledger = cmp.Or(k.Topics.Ledger, defaultLedgerTopic)
	k.Topics.Positions = cmp.Or(k.Topics.Positions, defaultPositionsTopic)
	k.SessionTimeout = cmp.Or(k.SessionTimeout, defaultSessionTimeout)
	k.RebalanceTimeout = cmp.Or(k.RebalanceTimeout, defaultRebalanceTimeout)
	k.TransactionTimeout = cmp.Or(k.TransactionTimeout, defaultTransactionTimeout)
	k.LeaseMargin = cmp.Or(k.LeaseMargin, min(defaultLeaseMargin, k.membership()/4))
	k.Partitions = cmp.Or(k.Partitions, defaultPartitions)
	return k
}

// membership is how long a member that is not heard of surely keeps its
// partitions.
func (k KafkaConfig) membership() time.Duration {
	return min(k.SessionTimeout, k.RebalanceTimeout)
}

func (r RecoveryConfig) withDefaults(group string) RecoveryConfig {
	r.Deployment = cmp.Or(r.Deployment, group)
	r.Apart = cmp.Or(r.Apart, defaultApart)
	r.MaxPages = cmp.Or(r.MaxPages, defaultMaxPages)
	r.Accept = slices.Clone(r.Accept)
	return r
}

// settleFor is the settle time of an account whose calls may take that long.
func (r RecoveryConfig) settleFor(timeout time.Duration) time.Duration {
	return cmp.Or(r.Settle, 2*timeout)
}

func (a AccountConfig) withDefaults() AccountConfig {
	a.Timeout = cmp.Or(a.Timeout, defaultCallTimeout)
	if a.Rate.Burst == 0 {
		a.Rate.Burst = 1
		if a.Rate.PerSecond > 1 {
			a.Rate.Burst = int(min(a.Rate.PerSecond, maxBurst))
		}
	}
	a.Rate.Concurrency = cmp.Or(a.Rate.Concurrency, defaultConcurrency)
	a.Breaker.Failures = cmp.Or(a.Breaker.Failures, defaultBreakerFailures)
	a.Breaker.Ratio = cmp.Or(a.Breaker.Ratio, defaultBreakerRatio)
	a.Breaker.Window = cmp.Or(a.Breaker.Window, defaultBreakerWindow)
	a.Breaker.Open = cmp.Or(a.Breaker.Open, defaultBreakerOpen)
	return a
}
