package kafka

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
)

// Lease is for how much longer a member surely owns its partitions. The group
// confirms it again and again by answering a heartbeat of the member's
// generation while no rebalance is under way: from then on it must let a
// rebalance timeout or a session timeout pass before it gives the partitions to
// somebody else without this member's consent. A commit would not do, as it is
// taken to the last moment of a rebalance. It is safe for concurrent use. The
// zero value and nil have run out.
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
	generation int
	member     string
	term       time.Duration
}

// Within a term there is time for this many renewals.
const leaseRenewals = 8

// keepLease renews the generation's lease until release is called, which is
// when its sessions have returned: the heartbeats keep the member in the group
// while they drain, which is longer than kafka-go's own do.
func (m *membership) keepLease(ctx context.Context, gen *kafkago.Generation) (lease *Lease, release func()) {
	registerRouted()
	clock := m.cfg.Clock
	if clock == nil {
		clock = bootClock
	}
	k := &leaseKeeper{
		lease: &Lease{clock: clock}, client: m.client, log: m.cfg.Logger, group: m.cfg.Group,
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
		case errors.Is(err, kafkago.RebalanceInProgress):
			// The member stays in the group, and what it owns is counted down.
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

func (k *leaseKeeper) renew(ctx context.Context) error {
	op := "heartbeat of group " + k.group
	attempt, cancel := context.WithTimeout(ctx, min(2*k.term/leaseRenewals, requestTimeout))
	defer cancel()
	sent := k.lease.clock()
	res, err := k.client.link.RoundTrip(attempt, k.client.addr, &heartbeatRequest{
		GroupID: k.group, GenerationID: int32(k.generation), MemberID: k.member,
	})
	if err != nil {
		return wrap(ctx, op, err)
	}
	if code := heartbeatCode(res.(*heartbeat.Response)); code != 0 {
		return wrap(ctx, op, k.client.lacking(kafkago.Error(code), onGroup("Read", k.group)))
	}
	k.lease.extend(sent, k.term)
	return nil
}

// heartbeatCode undoes that kafka-go reads the two fields of the answer in the
// wrong order: the error of 16 bits comes after the throttle time of 32 bits. What
// is left over is an error in an answer without a throttle time, or a throttle
// time of more than a minute; neither confirms anything.
func heartbeatCode(r *heartbeat.Response) int16 {
	return cmp.Or(int16(r.ThrottleTimeMs), r.ErrorCode)
}

// heartbeatRequest is kafka-go's, which goes to any broker, sent to the group's
// coordinator.
type heartbeatRequest struct {
	_ struct{} `kafka:"min=v4,max=v4,tag"` // what makes a version flexible

	GroupID         string `kafka:"min=v0,max=v4"`
	GenerationID    int32  `kafka:"min=v0,max=v4"`
	MemberID        string `kafka:"min=v0,max=v4"`
	GroupInstanceID string `kafka:"min=v3,max=v4,nullable"`
}

// routed is what a type of ours has in place of kafka-go's.
const routed protocol.OverrideTypeKey = 1

// registerRouted makes it known to kafka-go, once, before the first is sent.
var registerRouted = sync.OnceFunc(func() {
	protocol.RegisterOverride(&heartbeatRequest{}, &heartbeat.Response{}, routed)
})

// ApiKey implements protocol.Message.
func (*heartbeatRequest) ApiKey() protocol.ApiKey { return protocol.Heartbeat } //nolint:staticcheck // kafka-go's spelling

// TypeKey implements protocol.OverrideTypeMessage.
func (*heartbeatRequest) TypeKey() protocol.OverrideTypeKey { return routed }

// Group implements protocol.GroupMessage.
func (r *heartbeatRequest) Group() string { return r.GroupID }
