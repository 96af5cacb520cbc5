package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// membership is one call of RunGroup.
type membership struct {
	client  *Client
	cfg     GroupConfig
	handler Handler
	stop    context.CancelFunc // ends the context that every method is given
	serving sync.WaitGroup     // the generation whose handler calls are not over
	left    chan struct{}      // closed when the member has said goodbye

	// Owned by the goroutine of RunGroup.
	member   string // the last member id that is known
	stranger bool   // it is not the one that kafka-go joins with now

	mu    sync.Mutex
	first error // of a session
}

func newMembership(c *Client, cfg GroupConfig, h Handler, stop context.CancelFunc) *membership {
	return &membership{client: c, cfg: cfg, handler: h, stop: stop, left: make(chan struct{})}
}

var (
	errRebalance = errors.New("kafka: the generation of the group has ended")
	errGivenUp   = errors.New("kafka: another session of the generation has given up")
	errOutgrown  = errors.New("kafka: the topic has another number of partitions")
)

// serve starts a generation. kafka-go ends it, and with it the heartbeats, when
// the function that it runs for us returns, and joins again after that; so
// that function returns last.
func (m *membership) serve(ctx context.Context, gen *kafkago.Generation) {
	// kafka-go does not wait for a function that it was given after the
	// generation had ended already.
	m.serving.Wait()
	m.member, m.stranger = gen.MemberID, false
	m.serving.Add(1)
	gen.Start(func(genCtx context.Context) {
		m.generation(ctx, genCtx, gen)
		m.serving.Done()
		if ctx.Err() != nil {
			// Heartbeats until the goodbye, and no joining again before it.
			<-m.left
		}
	})
}

// generation makes the handler's calls for one generation, which is over when
// genCtx ends, and so is the membership when ctx does.
func (m *membership) generation(ctx, genCtx context.Context, gen *kafkago.Generation) {
	a, err := m.assignment(ctx, gen)
	if err != nil {
		if ctx.Err() == nil {
			m.handler.Unjoined(err)
			// What ends here is joined again at once, and may fail again.
			wait(ctx, joinBackoff)
		}
		return
	}
	if genCtx.Err() != nil || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(genCtx, func() { cancel(errRebalance) })()
	m.handler.Assigned(a)
	lease, release := m.keepLease(ctx, gen)
	defer release()
	var sessions sync.WaitGroup
	for _, p := range a.Partitions {
		sessions.Go(func() {
			if err := m.handler.Run(ctx, m.session(gen, p, lease)); err != nil {
				m.fail(err)
			}
			cancel(errGivenUp)
		})
	}
	m.watch(ctx, a.Total)
	cancel(errOutgrown)
	sessions.Wait()
	m.handler.Revoked()
}

// watch returns when ctx ends or the topic has another number of partitions.
func (m *membership) watch(ctx context.Context, total int) {
	for wait(ctx, watchInterval) {
		n, err := m.client.partitions(ctx, m.cfg.Topic)
		if err == nil && n != total {
			return
		}
	}
}

// assignment is what the generation gives to this member. The total is asked
// for every time: a generation that began because partitions were added must
// not be counted against their number before.
func (m *membership) assignment(ctx context.Context, gen *kafkago.Generation) (Assignment, error) {
	a := Assignment{Generation: int(gen.ID)}
	for _, p := range gen.Assignments[m.cfg.Topic] {
		a.Partitions = append(a.Partitions, p.ID)
	}
	slices.Sort(a.Partitions)
	err := briefly.retry(ctx, func() (err error) {
		a.Total, err = m.client.partitions(ctx, m.cfg.Topic)
		if n := len(a.Partitions); err == nil && n > 0 && a.Partitions[n-1] >= a.Total {
			err = fmt.Errorf("a broker knows of %d partitions only, partition %d is assigned", a.Total, a.Partitions[n-1])
		}
		return wrap(ctx, "metadata of "+m.cfg.Topic, err)
	})
	return a, err
}

func (m *membership) session(gen *kafkago.Generation, partition int, lease *Lease) *Session {
	id := transactionalID(m.cfg.Group, m.cfg.Topic, partition)
	return &Session{
		client: m.client, log: m.cfg.Logger, group: m.cfg.Group, topic: m.cfg.Topic,
		partition: partition, generation: int(gen.ID), member: gen.MemberID, lease: lease,
		txn:        newProducer(m.client, id, cmp.Or(m.cfg.TransactionTimeout, defaultTransactionTimeout)),
		idempotent: newProducer(m.client, "", requestTimeout),
	}
}

func (m *membership) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first == nil {
		m.first = err
	}
	m.stop()
}

func (m *membership) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.first
}

// finish waits for the sessions, leaves the group and ends everything that
// kafka-go runs for it.
func (m *membership) finish(ctx context.Context, group *kafkago.ConsumerGroup, wires *wires) {
	m.serving.Wait()
	cut := time.AfterFunc(leaveTimeout, wires.cut)
	defer cut.Stop()
	// kafka-go leaves by itself, but not while it is joining, which can take
	// as long as a rebalance.
	left, err := m.leave(ctx)
	if err != nil {
		m.cfg.Logger.Warn("could not leave the consumer group: its partitions rest until the session times out",
			"group", m.cfg.Group, "error", err)
	}
	if left && !m.stranger {
		// A join that is still not answered, is for nothing now.
		cut.Reset(joinBackoff)
	}
	close(m.left)
	// Close never fails. It waits for kafka-go's goroutines.
	_ = group.Close()
	wires.cut()
}

// leave reports true when the group has let the member go.
func (m *membership) leave(ctx context.Context) (bool, error) {
	if m.member == "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	res, err := m.client.api.LeaveGroup(ctx, &kafkago.LeaveGroupRequest{
		GroupID: m.cfg.Group, Members: []kafkago.LeaveGroupRequestMember{{ID: m.member}},
	})
	if err == nil {
		err = res.Error
	}
	if err == nil {
		err = res.Members[0].Error
	}
	if errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.GroupIdNotFound) {
		return false, nil // the group knows already
	}
	return err == nil, wrap(ctx, "leave group "+m.cfg.Group, m.client.lacking(err, onGroup("Read", m.cfg.Group)))
}
