package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign/countersign/connector"
)

// stopBudget bounds a Stop that nobody waits for.
const stopBudget = 2 * time.Second

// session drives a Connector through the protocol's states and refuses what is
// illegal, so that a Connector need not. All methods may be called
// concurrently.
type session struct {
	c    Connector
	log  *slog.Logger
	base context.Context //nolint:containedctx // the process's: a drain outlives the call that asks for it

	mu      sync.Mutex
	state   connector.State
	busy    string // the call that is moving state; "" = none
	err     error  // why state is Failed
	drain   *drain // nil before the first
	changed chan struct{}
}

func newSession(base context.Context, c Connector, log *slog.Logger) *session {
	return &session{c: c, log: log, base: base, state: connector.StateNew, changed: make(chan struct{})}
}

// configure moves New to Configured; a refused document leaves New.
func (s *session) configure(ctx context.Context, doc []byte, secrets map[string]string) error {
	if err := s.begin("Configure", connector.StateNew); err != nil {
		return err
	}
	if err := s.c.Configure(ctx, doc, secrets); err != nil {
		s.finish(connector.StateNew, nil)
		return err
	}
	s.finish(connector.StateConfigured, nil)
	return nil
}

// start moves Configured to Running, or to Failed.
func (s *session) start(ctx context.Context) error {
	if err := s.begin("Start", connector.StateConfigured); err != nil {
		return err
	}
	if err := s.c.Start(ctx); err != nil {
		s.finish(connector.StateFailed, err)
		return err
	}
	s.finish(connector.StateRunning, nil)
	return nil
}

// startDrain moves Running to Draining and returns the drain, which ends in
// Stopped by itself. A drain that exists is joined, whatever its timeout.
func (s *session) startDrain(timeout time.Duration) (*drain, error) {
	failed := s.failure() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain != nil {
		return s.drain, nil
	}
	if err := s.legal("Drain", failed, connector.StateRunning); err != nil {
		return nil, err
	}
	s.drain = newDrain()
	s.move(connector.StateDraining, nil)
	go s.runDrain(s.drain, timeout)
	return s.drain, nil
}

func (s *session) runDrain(d *drain, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(s.base, timeout)
	defer cancel()
	err := s.c.Drain(ctx, d.report)
	switch CodeOf(err) {
	case "", CodeAbandoned:
		s.set(connector.StateStopped, nil)
	default:
		s.set(connector.StateFailed, err)
	}
	d.end(err)
}

// stop moves any state to Stopped.
func (s *session) stop(ctx context.Context) error {
	err := s.c.Stop(ctx)
	s.set(connector.StateStopped, nil)
	return err
}

// leave ends the session when the host is gone: a drain within grace where
// there is work, then Stop whatever came of it. It returns once nothing is left
// to wait for, and reports what was abandoned.
func (s *session) leave(grace time.Duration, why string) error {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	var left error
	if d, err := s.startDrain(grace); err == nil {
		s.log.Info("leaving without a host", "why", why, "grace", grace)
		select {
		case <-d.done:
			left = d.err
		case <-timer.C:
			left = &Error{Code: CodeAbandoned, Abandoned: d.latest().Held, Message: "the orphan grace is over"}
		}
	}
	ctx, cancel := context.WithTimeout(s.base, stopBudget)
	defer cancel()
	if err := s.stop(ctx); err != nil && left == nil {
		left = err
	}
	return left
}

// status is the Connector's, with the protocol's state, and the failure where
// that is Failed. changed is closed at the session's next own change.
func (s *session) status() (st connector.Status, changed <-chan struct{}, failure error) {
	st, failure = s.c.Status(), s.failure()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.State = s.state
	st.Ready = st.Ready && s.state == connector.StateRunning
	if s.state == connector.StateStopped {
		return st, s.changed, nil
	}
	if s.err != nil {
		failure = s.err
	}
	if failure != nil {
		st.State, st.Ready = connector.StateFailed, false
		if st.Reason == "" {
			st.Reason = failure.Error()
		}
	}
	return st, s.changed, failure
}

// failure is what the Connector itself reports. It is asked without our lock.
func (s *session) failure() error {
	if err := s.c.Err(); err != nil {
		return err
	}
	if st := s.c.Status(); st.State == connector.StateFailed {
		return &Error{Code: CodeInternal, Message: st.Reason}
	}
	return nil
}

// begin reserves the right to move the state for one call; finish ends it.
func (s *session) begin(call string, from connector.State) error {
	failed := s.failure() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.legal(call, failed, from); err != nil {
		return err
	}
	s.busy = call
	return nil
}

func (s *session) finish(to connector.State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = ""
	s.move(to, err)
}

// legal wants the lock held. A Connector that failed counts as failed as long
// as we have not stopped it.
func (s *session) legal(call string, failed bool, from connector.State) error {
	if s.busy != "" {
		return &Error{Code: CodeState, Message: fmt.Sprintf("%s is illegal while %s is under way", call, s.busy)}
	}
	state := s.state
	if failed && state != connector.StateStopped {
		state = connector.StateFailed
	}
	if state != from {
		return &Error{Code: CodeState, Message: fmt.Sprintf("%s is illegal in state %s", call, state)}
	}
	return nil
}

func (s *session) set(to connector.State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.move(to, err)
}

// move wants the lock held. Stopped is final: a call that Stop overtook does
// not bring the session back.
func (s *session) move(to connector.State, err error) {
	if s.state == to || s.state == connector.StateStopped {
		return
	}
	s.log.Debug("state", "from", s.state, "to", to)
	s.state, s.err = to, err
	close(s.changed)
	s.changed = make(chan struct{})
}
