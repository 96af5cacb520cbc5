package kafka

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// GroupConfig is a consumer group membership.
type GroupConfig struct {
	Group            string
	Topic            string
	SessionTimeout   time.Duration // must exceed the time that a session function takes to return
	RebalanceTimeout time.Duration
	Logger           *slog.Logger // nil: silent
}

const (
	heartbeatInterval = time.Second
	joinBackoff       = time.Second
)

// Assignment is what a member owns for one generation of the group.
type Assignment struct {
	Generation int
	Partitions []int // sorted
	Total      int   // partitions of the topic
}

// Handler is what a member of the group does.
type Handler interface {
	// Assigned is called before the sessions of a generation start. It must
	// not block.
	Assigned(Assignment)
	// Run works on one partition until ctx ends and returns once everything
	// it had in hand is committed or given up. The partition is not handed to
	// another member before that, unless the session times out. A non-nil
	// error ends the membership and is returned by RunGroup.
	Run(ctx context.Context, s *Session) error
	// Revoked is called after all sessions of the generation have returned.
	Revoked()
	// Unjoined reports why the group cannot be joined at the moment; it is
	// tried again until RunGroup's context ends.
	Unjoined(err error)
}

// RunGroup is a member of the group until ctx ends or a session fails. When
// ctx ends, the sessions are told to finish while the heartbeats go on, and
// only then does the member leave, so the time that a session takes does not
// count against the session timeout.
func (c *Client) RunGroup(ctx context.Context, cfg GroupConfig, h Handler) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:                     cfg.Group,
		Brokers:                c.brokers,
		Dialer:                 c.dialer,
		Topics:                 []string{cfg.Topic},
		HeartbeatInterval:      heartbeatInterval,
		SessionTimeout:         cfg.SessionTimeout,
		RebalanceTimeout:       cfg.RebalanceTimeout,
		JoinGroupBackoff:       joinBackoff,
		WatchPartitionChanges:  true,
		PartitionWatchInterval: 5 * time.Second,
		StartOffset:            kafkago.FirstOffset,
		Timeout:                requestTimeout,
	})
	if err != nil {
		return &Error{Code: CodeInvalid, Op: "join group " + cfg.Group, Err: err}
	}
	m := &membership{client: c, cfg: cfg, handler: h}
	m.ctx, m.stop = context.WithCancelCause(ctx)
	defer m.stop(nil)
	for {
		gen, err := group.Next(m.ctx)
		if m.ctx.Err() != nil {
			break
		}
		if err != nil {
			if errors.Is(err, kafkago.ErrGroupClosed) {
				break
			}
			// A rebalance that starts while this one was joining is normal
			// and is joined again at once.
			if !errors.Is(err, kafkago.RebalanceInProgress) {
				h.Unjoined(wrap("join group "+cfg.Group, err))
			}
			continue
		}
		m.serve(gen)
	}
	// The heartbeats go on until Close, so finishing may take its time.
	m.lanes.Wait()
	err = wrap("leave group "+cfg.Group, group.Close())
	m.watchers.Wait()
	if cause := context.Cause(m.ctx); ctx.Err() == nil && cause != nil {
		return cause
	}
	return err
}

// membership is one call of RunGroup.
type membership struct {
	client   *Client
	cfg      GroupConfig
	handler  Handler
	ctx      context.Context // ends when the member shall leave
	stop     context.CancelCauseFunc
	lanes    sync.WaitGroup // handler.Run calls
	watchers sync.WaitGroup // goroutines that report a revoked generation
}

// serve starts the sessions of a generation and returns at once: kafka-go
// hands out the next generation only after all of them have returned.
func (m *membership) serve(gen *kafkago.Generation) {
	var partitions []int
	for _, a := range gen.Assignments[m.cfg.Topic] {
		partitions = append(partitions, a.ID)
	}
	slices.Sort(partitions)
	total, err := m.client.Partitions(m.ctx, m.cfg.Topic)
	if err != nil {
		m.handler.Unjoined(err)
		if len(partitions) > 0 {
			// Without the total the share of the rate limit is unknown.
			// Ending the generation makes kafka-go join again.
			gen.Start(func(context.Context) {})
			return
		}
	}
	a := Assignment{Generation: int(gen.ID), Partitions: partitions, Total: total}
	m.handler.Assigned(a)
	var running sync.WaitGroup
	for _, p := range partitions {
		s := &Session{
			client: m.client, group: m.cfg.Group, topic: m.cfg.Topic,
			partition: p, generation: int(gen.ID), member: gen.MemberID,
		}
		running.Add(1)
		m.lanes.Add(1)
		gen.Start(func(genCtx context.Context) {
			m.run(genCtx, s, &running)
			// kafka-go ends the generation, and with it the heartbeats, as
			// soon as one function returns. While others still finish, the
			// heartbeats are needed; and a function that returned before
			// Close would make kafka-go join once more only to leave.
			<-genCtx.Done()
		})
	}
	m.watchers.Go(func() {
		running.Wait()
		m.handler.Revoked()
	})
}

// run keeps one session going until its generation or the membership ends.
func (m *membership) run(genCtx context.Context, s *Session, running *sync.WaitGroup) {
	ctx, cancel := context.WithCancelCause(m.ctx)
	defer cancel(nil)
	unhook := context.AfterFunc(genCtx, func() { cancel(kafkago.ErrGenerationEnded) })
	defer unhook()
	if err := m.handler.Run(ctx, s); err != nil {
		m.stop(err)
	}
	running.Done()
	m.lanes.Done()
}
