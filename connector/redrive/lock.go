package redrive

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

const (
	// How long a run that was killed keeps the lock.
	sessionTimeout = 10 * time.Second
	// How long the lock is waited for: a killed run's session and then some.
	lockPatience = time.Minute
)

// transactor writes what belongs together or nothing of it. *kafka.Session is
// one.
type transactor interface {
	Fence(ctx context.Context) error
	Transact(ctx context.Context, msgs []kafka.Message, pos kafka.Position) error
}

var (
	errTaken  = errors.New("another redrive is under way: one at a time")
	errNoLock = errors.New("the consumer group that is the lock does not answer")
)

// lock is the member of the group that waits for the one partition.
type lock struct {
	assigned func(kafka.Assignment)
	run      func(ctx context.Context, s *kafka.Session) error
	revoked  func()
	unjoined func(err error)
}

func (l *lock) Assigned(a kafka.Assignment)                     { l.assigned(a) }
func (l *lock) Run(ctx context.Context, s *kafka.Session) error { return l.run(ctx, s) }
func (l *lock) Revoked()                                        { l.revoked() }
func (l *lock) Unjoined(err error)                              { l.unjoined(err) }

// locked runs work while this process owns the one partition of cfg.Topic. Where
// the group is rearranged, which it is when another run comes or goes, work is
// told to end by its context and begins anew if the partition comes back. The
// error is an *Error: CodeBusy where somebody else has the partition.
func locked(ctx context.Context, c Cluster, cfg kafka.GroupConfig, work func(ctx context.Context, out transactor) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(lockPatience, func() { cancel(&Error{Code: CodeBusy, Err: errNoLock}) })
	defer patience.Stop()
	verdict := make(chan error, 1)
	err := c.RunGroup(inner, cfg, &lock{
		assigned: func(a kafka.Assignment) {
			patience.Stop()
			if len(a.Partitions) == 0 {
				cancel(&Error{Code: CodeBusy, Err: errTaken})
			}
		},
		run: func(session context.Context, s *kafka.Session) error {
			err := work(session, s)
			if err != nil && inner.Err() == nil && lost(err) {
				return nil // the group is rearranged: join again
			}
			verdict <- err
			cancel(nil)
			return nil
		},
		revoked: func() { patience.Reset(lockPatience) },
		unjoined: func(err error) {
			if kafka.Refused(err) || kafka.CodeOf(err) == kafka.CodeInvalid {
				cancel(&Error{Code: CodeKafka, Err: err}) // waiting changes nothing
			}
		},
	})
	if err != nil {
		return kafkaFailed(ctx, err)
	}
	select {
	case err := <-verdict:
		return err
	default:
	}
	if cause, ok := errors.AsType[*Error](context.Cause(inner)); ok {
		return cause
	}
	return &Error{Code: CodeInterrupted, Err: context.Cause(inner)}
}

// lost reports whether the partition is not this member's any more. How the last
// transaction ended is in the journal then.
func lost(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.CodeFenced, kafka.CodeOwnershipLost:
		return true
	default:
		return CodeOf(err) == CodeInterrupted
	}
}
