package connector

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// member is the Connector as a member of its consumer group.
type member struct{ c *Connector }

func (m member) Assigned(a kafka.Assignment) {
	c := m.c
	c.stats.rebalanced()
	for _, acct := range c.accounts {
		acct.limiter.SetShare(len(a.Partitions), a.Total)
	}
	c.mu.Lock()
	c.joined, c.reason, c.partitions = true, "", a.Total
	c.abandoned = 0 // in a former generation: its partitions have an owner now
	for p, l := range c.ledgers {
		if !slices.Contains(a.Partitions, p) {
			l.drop()
			delete(c.ledgers, p)
		}
	}
	c.mu.Unlock()
	c.log.Info("joined the consumer group", "generation", a.Generation, "partitions", a.Partitions, "of", a.Total)
	c.changed()
}

func (m member) Revoked() {
	for _, acct := range m.c.accounts {
		acct.limiter.SetShare(0, 1)
	}
	m.c.mu.Lock()
	m.c.joined = false
	m.c.mu.Unlock()
	m.c.log.Info("left the generation: every lane has finished")
	m.c.changed()
}

func (m member) Unjoined(err error) {
	m.c.stats.kafkaFailed(kafkaJoin, err)
	m.c.mu.Lock()
	m.c.joined, m.c.reason = false, err.Error()
	m.c.mu.Unlock()
	m.c.trouble.Warn("not a member of the consumer group, trying again", "error", err)
	m.c.changed()
}

func (m member) Run(ctx context.Context, s *kafka.Session) error {
	c := m.c
	log := c.log.With("generation", s.Generation())
	laneLog := log.With("partition", s.Partition())
	trouble := c.trouble.With("generation", s.Generation(), "partition", s.Partition())
	v := newVitals(s, time.Now())
	deps := laneDeps{
		vitals: v,
		source: countedSource{v, c.stats}, lease: s.Lease(), ledger: c.ledgerOf(s.Partition()),
		memory: kafkaMemory{client: c.client, group: c.cfg.Kafka.Group, topics: c.cfg.Kafka.Topics, partition: s.Partition(), log: laneLog},
	}
	if deps.delivery = delivery(exactlyOnce{session: countedTransactor{v, c.stats}, log: trouble}); c.cfg.Delivery == DeliveryAtLeastOnce {
		deps.delivery = atLeastOnce{sink: countedSink{v, c.stats}, log: trouble}
	}
	l := newLane(c.laneConfig(log, s.Generation()), s.Partition(), deps)
	c.mu.Lock()
	c.lanes[l], c.vitals[v] = struct{}{}, struct{}{}
	c.mu.Unlock()
	err := l.run(ctx, c.abort)
	c.mu.Lock()
	delete(c.lanes, l)
	delete(c.vitals, v)
	c.abandoned += l.abandoned
	c.mu.Unlock()
	return err
}

func (c *Connector) partitionCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partitions
}

// ledgerOf is the partition's ledger, which is kept while the partition stays
// with this instance.
func (c *Connector) ledgerOf(partition int) *ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.ledgers[partition]
	if l == nil {
		l = newLedger(c.cfg.Ledger.Horizon, c.ledgerRoom)
		l.rings = newRings(c.cfg.Guard)
		c.ledgers[partition] = l
	}
	return l
}

const (
	maxBatch     = 1000
	fetchBytes   = 1 << 20
	fetchMaxWait = 250 * time.Millisecond
)

func (c *Connector) laneConfig(log *slog.Logger, generation int) laneConfig {
	return laneConfig{
		window: c.cfg.Window, retry: c.cfg.Retry, recovery: c.cfg.Recovery, guard: c.cfg.Guard, marker: c.marker, partitions: c.partitionCount(), notAfter: c.cfg.Requests.NotAfter, drain: c.cfg.DrainTimeout,
		accounts: c.accounts, budget: c.budget, stats: c.stats, log: log, trouble: c.trouble.With("generation", generation), tracer: c.tracer,
		events:   events{group: c.cfg.Kafka.Group, topics: c.cfg.Kafka.Topics, limit: defaultEventLimit},
		maxBatch: maxBatch, fetchBytes: fetchBytes, fetchMaxWait: fetchMaxWait,
	}
}
