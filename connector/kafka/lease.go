package kafka

import (
	"context"
	"log/slog"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Lease is for how much longer a member surely owns its partitions. The group
// confirms it again and again by taking a small commit under the member's
// generation. It is safe for concurrent use. The zero value and nil have run
// out.
type Lease struct {
	clock func() time.Duration

	mu    sync.Mutex
	until time.Duration // on clock; zero: not confirmed yet
	over  bool
}

// Left is how much longer the lease lasts; zero or less: no call may be sent.
func (l *Lease) Left() time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || l.until == 0 {
		return 0
	}
	return l.until - l.clock()
}

// extend counts from when the confirmed request was sent: the group may have
// seen it just then, and its own count begins with what it saw.
func (l *Lease) extend(sent, term time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = max(l.until, sent+term)
}

func (l *Lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// leaseKeeper renews the lease of one generation.
type leaseKeeper struct {
	lease      *Lease
	client     *Client
	log        *slog.Logger
	group      string
	topic      string
	generation int
	member     string
	term       time.Duration
}

// Within a term there is time for this many renewals.
const leaseRenewals = 8

// keepLease renews the generation's lease until release is called, which is
// when its sessions have returned: the renewals keep the member in the group
// while they drain, which is longer than kafka-go's heartbeats do.
func (m *membership) keepLease(ctx context.Context, gen *kafkago.Generation) (lease *Lease, release func()) {
	if m.cfg.LeaseTopic == "" {
		return nil, func() {}
	}
	clock := m.cfg.Clock
	if clock == nil {
		clock = bootClock
	}
	k := &leaseKeeper{
		lease: &Lease{clock: clock}, client: m.client, log: m.cfg.Logger, group: m.cfg.Group, topic: m.cfg.LeaseTopic,
		generation: int(gen.ID), member: gen.MemberID, term: m.cfg.leaseTerm(),
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { k.run(ctx) })
	return k.lease, func() {
		stop()
		keeper.Wait()
		k.lease.end()
	}
}

func (k *leaseKeeper) run(ctx context.Context) {
	for {
		err := k.renew(ctx)
		pause := k.term / leaseRenewals
		switch {
		case ctx.Err() != nil:
			return
		case CodeOf(err) == CodeOwnershipLost:
			k.lease.end()
			k.log.Warn("the lease on the generation's partitions has ended", "generation", k.generation, "error", err)
			return
		case err != nil:
			k.log.Warn("could not renew the lease on the generation's partitions",
				"generation", k.generation, "left", k.lease.Left(), "error", err)
			pause = min(pause, retryCap)
		}
		if !wait(ctx, pause) {
			return
		}
	}
}

// renew asks once. What is committed says nothing and is read by nobody; that
// the group takes it says that the member is one of the generation.
func (k *leaseKeeper) renew(ctx context.Context) error {
	op := "renew the lease of group " + k.group
	attempt, cancel := context.WithTimeout(ctx, min(2*k.term/leaseRenewals, requestTimeout))
	defer cancel()
	sent := k.lease.clock()
	res, err := k.client.api.OffsetCommit(attempt, &kafkago.OffsetCommitRequest{
		GroupID: k.group, GenerationID: k.generation, MemberID: k.member,
		Topics: map[string][]kafkago.OffsetCommit{k.topic: {{Partition: 0, Offset: 0}}},
	})
	if err != nil {
		return wrap(ctx, op, err)
	}
	for _, p := range res.Topics[k.topic] {
		if p.Partition == 0 {
			if p.Error == nil {
				k.lease.extend(sent, k.term)
			}
			return wrap(ctx, op, p.Error)
		}
	}
	return wrap(ctx, op, errUncovered)
}
