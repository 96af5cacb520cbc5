package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// GroupConfig is a consumer group membership.
type GroupConfig struct {
	Group string
	Topic string
	// SessionTimeout is how long a member that is not heard of keeps its
	// partitions. Zero: 30 s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the group waits for a member that drains.
	// Zero: 30 s.
	RebalanceTimeout time.Duration
	// LeaseMargin is how much earlier the lease ends than the group could give
	// the partitions to another member. Zero: 5 s.
	LeaseMargin time.Duration
	// TransactionTimeout is after how long the broker aborts a transaction that
	// was begun and not ended. Zero: 4 s.
	TransactionTimeout time.Duration
	// Clock is what the lease is measured by. It must go on while the machine
	// sleeps. Nil: CLOCK_BOOTTIME on Linux, elsewhere the monotonic clock,
	// which may stop in a sleep.
	Clock  func() time.Duration
	Logger *slog.Logger // nil: silent
}

const (
	defaultTimeout     = 30 * time.Second // of the session and of a rebalance
	defaultLeaseMargin = 5 * time.Second
	heartbeatInterval  = time.Second
	joinBackoff        = time.Second
	watchInterval      = 5 * time.Second // for partitions that have been added
	// leaveTimeout bounds how long a member that has nothing left to do takes
	// to say goodbye. A first join that the group does not answer in this time
	// is given up: the group then counts a member that is not there until its
	// session times out.
	leaveTimeout = 10 * time.Second
)

// Assignment is what a member owns for one generation of the group.
type Assignment struct {
	Generation int
	Partitions []int // sorted; empty where the group has more members than partitions
	Total      int   // partitions of the topic
}

// Handler is what a member of the group does. For every generation the calls
// are one Assigned, one Run per partition, each in its own goroutine, and one
// Revoked, in this order; the next generation starts after that.
type Handler interface {
	// Assigned is called before the sessions of a generation start. It must
	// not block.
	Assigned(Assignment)
	// Run works on one partition until ctx ends and returns once everything
	// it had in hand is committed or given up. The partition is not handed to
	// another member before that, unless the session times out. A non-nil
	// error ends the membership and is returned by RunGroup. Returning nil
	// before ctx has ended gives up the whole generation: the other sessions
	// are told to finish and the member joins anew.
	Run(ctx context.Context, s *Session) error
	// Revoked is called once all sessions of the generation have returned, or
	// when it ends where it had none.
	Revoked()
	// Unjoined reports why the group cannot be joined at the moment; it is
	// tried again until RunGroup's context ends.
	Unjoined(err error)
}

// RunGroup is a member of the group until ctx ends or a session fails. When
// ctx ends, the sessions are told to finish while the heartbeats go on, and
// only then does the member leave, so the time that a session takes does not
// count against the session timeout. Leaving takes at most ten seconds.
//
// It returns the first error of a session, and nil where there was none. A
// topic that does not exist is waited for, not created.
func (c *Client) RunGroup(ctx context.Context, cfg GroupConfig, h Handler) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	wires := newWires(c.link.wires.dial)
	conf := c.groupConfig(cfg, wires.dial)
	if err := conf.Validate(); err != nil {
		return &Error{Code: CodeInvalid, Op: "join group " + cfg.Group, Err: err}
	}
	if err := cfg.validate(); err != nil {
		return &Error{Code: CodeInvalid, Op: "join group " + cfg.Group, Err: err}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m := newMembership(c, cfg, h, stop)
	if !m.awaitTopic(ctx) {
		return nil
	}
	group, err := kafkago.NewConsumerGroup(conf)
	if err != nil {
		return &Error{Code: CodeInvalid, Op: "join group " + cfg.Group, Err: err}
	}
	m.follow(ctx, group)
	m.finish(ctx, group, wires)
	return m.failure()
}

// validate looks at what kafka-go does not know of.
func (cfg *GroupConfig) validate() error {
	if cfg.LeaseMargin < 0 || cfg.TransactionTimeout < 0 {
		return errors.New("a time limit is negative")
	}
	if cfg.leaseTerm() <= 0 {
		return errors.New("the lease's margin leaves nothing of the session timeout or the rebalance timeout")
	}
	return nil
}

// leaseTerm is how long a lease lasts after a renewal was sent.
func (cfg *GroupConfig) leaseTerm() time.Duration {
	session := cmp.Or(cfg.SessionTimeout, defaultTimeout)
	rebalance := cmp.Or(cfg.RebalanceTimeout, defaultTimeout)
	return min(session, rebalance) - cmp.Or(cfg.LeaseMargin, defaultLeaseMargin)
}

func (c *Client) groupConfig(cfg GroupConfig, dial DialFunc) kafkago.ConsumerGroupConfig {
	heartbeat := heartbeatInterval
	if cfg.SessionTimeout > 0 {
		// Three chances, as Kafka's own consumer recommends.
		heartbeat = min(heartbeat, cfg.SessionTimeout/3)
	}
	return kafkago.ConsumerGroupConfig{
		ID:                cfg.Group,
		Brokers:           c.brokers,
		Dialer:            &kafkago.Dialer{ClientID: c.clientID, Timeout: requestTimeout, DialFunc: dial},
		Topics:            []string{cfg.Topic},
		HeartbeatInterval: heartbeat,
		SessionTimeout:    cfg.SessionTimeout,
		RebalanceTimeout:  cfg.RebalanceTimeout,
		JoinGroupBackoff:  joinBackoff,
		// Its own watch on the topic holds up the heartbeats while it asks, and
		// makes brokers create a topic that has been deleted.
		WatchPartitionChanges: false,
		StartOffset:           kafkago.FirstOffset,
		Timeout:               requestTimeout,
		ErrorLogger: kafkago.LoggerFunc(func(format string, args ...any) {
			// What matters of it is reported by Unjoined too.
			cfg.Logger.Debug("consumer group", "message", fmt.Sprintf(format, args...))
		}),
	}
}

// awaitTopic waits until the topic exists; false when ctx ended first. kafka-go
// must not see a topic that does not exist: it asks for it in a way that
// makes brokers create it, and joins again and again without a pause.
func (m *membership) awaitTopic(ctx context.Context) bool {
	for {
		_, err := m.client.partitions(ctx, m.cfg.Topic)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		m.handler.Unjoined(err)
		if !wait(ctx, joinBackoff) {
			return false
		}
	}
}

// follow serves one generation after the other until the member shall leave.
func (m *membership) follow(ctx context.Context, group *kafkago.ConsumerGroup) {
	for {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			if gen != nil {
				m.member, m.stranger = gen.MemberID, false
			}
			return
		case err == nil:
			m.serve(ctx, gen)
		case !errors.Is(err, kafkago.RebalanceInProgress):
			m.stranger = true // kafka-go joins as somebody new
			m.handler.Unjoined(wrap(ctx, "join group "+m.cfg.Group, m.client.lacking(err, onGroup("Read", m.cfg.Group), onTopic("Describe", m.cfg.Topic))))
		default:
			// A rebalance that starts while this one was joining is normal
			// and is joined again at once.
		}
	}
}
