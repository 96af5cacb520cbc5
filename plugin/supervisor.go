package plugin

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/connector"
)

// Run runs the plugin that spec names until ctx ends, and then drains it. nil
// means that nothing was abandoned. It is NewSupervisor and Supervisor.Run.
func Run(ctx context.Context, spec Spec) error {
	s, err := NewSupervisor(spec)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Supervisor keeps one plugin running. All methods may be called concurrently,
// also while Run runs.
type Supervisor struct {
	spec    Spec
	running atomic.Bool

	mu       sync.Mutex
	child    *child // nil while none works
	status   connector.Status
	restarts int
}

// NewSupervisor checks the spec (a CodeConfig error lists every fault) and
// starts nothing.
func NewSupervisor(spec Spec) (*Supervisor, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	return &Supervisor{spec: spec.withDefaults(), status: connector.Status{State: connector.StateNew}}, nil
}

// Run starts the plugin and keeps it working until ctx ends; then it drains it
// and returns nil where nothing was abandoned, else why.
//
// A plugin that crashes, hangs or fails is replaced after a pause. What cannot
// get better by itself ends Run at once: a wrong configuration, binary or
// protocol (Error.Retryable says which), and before the plugin has worked for
// the first time also a failed handshake and failing secrets. When ctx ends
// while there is no working plugin, Run returns the failure that brought it
// down, because that one's work is still to be taken up.
//
// When Run returns there is no process, socket or goroutine of it left. Two
// Runs at once are a CodeState error.
func (s *Supervisor) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return &Error{Code: CodeState, Message: "Run is under way already"}
	}
	defer s.running.Store(false)
	notify := newNotifier(s.spec.OnStatus)
	defer notify.close()
	spacing := backoff{min: s.spec.BackoffMin, max: s.spec.BackoffMax}
	var down error // why no plugin works; nil while one does
	worked := false
	for {
		began := time.Now()
		up, err := s.once(ctx, notify)
		if err == nil && !up {
			return down // ctx ended before a plugin worked (again)
		}
		s.settle(err, notify)
		if err == nil {
			return nil
		}
		worked = worked || up
		down = err
		if ctx.Err() != nil || !s.mayRestart(err, worked) {
			return down
		}
		spacing.reset(time.Since(began))
		pause := spacing.pause()
		s.spec.Logger.Warn("plugin down, restarting it", "error", down, "pause", pause)
		s.countRestart()
		if !wait(ctx, pause) {
			return down
		}
	}
}

// mayRestart tells failures that may pass from those that won't. Before the
// first success a bad handshake is most likely the wrong file, and failing
// secrets a wrong name: whoever starts the host wants to hear of it at once.
func (s *Supervisor) mayRestart(err error, worked bool) bool {
	e := asError(err)
	if !worked && (e.Code == CodeHandshake || e.Code == CodeSecrets) {
		return false
	}
	return e.Retryable()
}

// once runs one child from its start to its end. up tells whether it worked;
// then err is nil where it drained completely. A start that ctx cut short
// before any work began is neither.
func (s *Supervisor) once(ctx context.Context, notify *notifier) (up bool, err error) {
	startCtx, cancel := context.WithTimeout(ctx, s.spec.StartTimeout)
	defer cancel()
	c, err := launch(startCtx, s.spec)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	defer func() {
		s.setChild(nil)
		c.end(ctx)
	}()
	s.setChild(c)
	started, err := c.bringUp(startCtx, func(st connector.Status, changed bool) {
		s.setStatus(st)
		if changed {
			notify.post(st)
		}
	})
	if err != nil {
		if ctx.Err() != nil && !started {
			return false, nil
		}
		if CodeOf(err) == CodeCrashed {
			err = c.crashed() // which knows the exit status
		}
		return false, err
	}
	if err := c.guard(ctx.Done(), c.watcher.failed); err != nil {
		return true, err
	}
	return true, c.drain(ctx)
}

// Status is the last one that the plugin sent. Its state is New before the
// first, Failed while a plugin is being replaced and where Run ended with an
// error, Stopped where it ended well.
func (s *Supervisor) Status() connector.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// PID is the plugin's process id; 0 where none works.
func (s *Supervisor) PID() int {
	if c := s.current(); c != nil {
		return c.proc.id()
	}
	return 0
}

// Restarts counts the times that a plugin had to be replaced.
func (s *Supervisor) Restarts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts
}

// WriteMetrics passes one scrape of the plugin through. CodeNotRunning where
// none works.
func (s *Supervisor) WriteMetrics(ctx context.Context, w io.Writer) error {
	c := s.current()
	if c == nil {
		return &Error{Code: CodeNotRunning, Message: "no plugin is running"}
	}
	return c.remote.metrics(ctx, w)
}

func (s *Supervisor) current() *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

func (s *Supervisor) setChild(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = c
}

func (s *Supervisor) setStatus(st connector.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = st
}

func (s *Supervisor) countRestart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarts++
}

// settle makes a status of how a child ended: its own last one may have been
// lost with it.
func (s *Supervisor) settle(why error, notify *notifier) {
	s.mu.Lock()
	s.status.Ready = false
	if s.status.State, s.status.Reason = connector.StateStopped, ""; why != nil {
		s.status.State, s.status.Reason = connector.StateFailed, why.Error()
	}
	st := s.status
	s.mu.Unlock()
	notify.post(st)
}

// wait reports whether d passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
