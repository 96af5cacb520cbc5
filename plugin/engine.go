package plugin

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign/countersign/connector"
)

// Runner is an engine that is configured and not yet running.
// *connector.Connector is one.
type Runner interface {
	// Run works until ctx ends, then drains. nil means that nothing was
	// abandoned.
	Run(ctx context.Context) error
	// Abort makes Run give up and return soon. Idempotent.
	Abort()
	Status() connector.Status
	// Changes gets a signal after Status has changed; signals may be merged.
	Changes() <-chan struct{}
	WriteMetrics(w io.Writer) error
}

// EngineConfig says how an Engine makes and judges its Runner.
type EngineConfig struct {
	Info Info
	// New makes the Runner. A faulty document is a CodeConfig error.
	New func(doc []byte, secrets map[string]string, log *slog.Logger) (Runner, error)
	// Validate is Connector.Validate.
	Validate func(ctx context.Context, doc []byte, secrets map[string]string, probe bool) ([]connector.Violation, error)
	// Abandoned tells whether an error of Run means unfinished work, and how
	// much. nil: none does.
	Abandoned func(err error) (records int, ok bool)
	// Logger is handed to New. nil: none.
	Logger *slog.Logger
}

// Engine makes a Connector of a Runner, which has one call for its whole life.
type Engine struct {
	cfg EngineConfig

	mu      sync.Mutex
	runner  Runner // nil before Configure
	cancel  context.CancelFunc
	done    chan struct{} // closed when Run has returned; nil before Start
	err     error         // of Run, valid once done is closed
	leaving bool          // Drain or Stop was called: Run is meant to end
	changed chan struct{}
}

var _ Connector = (*Engine)(nil)

// NewEngine returns an Engine in state New.
func NewEngine(cfg EngineConfig) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Engine{cfg: cfg, changed: make(chan struct{})}
}

// Info implements Connector.
func (e *Engine) Info() Info { return e.cfg.Info }

// Validate implements Connector.
func (e *Engine) Validate(ctx context.Context, doc []byte, secrets map[string]string, probe bool) ([]connector.Violation, error) {
	return e.cfg.Validate(ctx, doc, secrets, probe)
}

// Configure implements Connector.
func (e *Engine) Configure(_ context.Context, doc []byte, secrets map[string]string) error {
	r, err := e.cfg.New(doc, secrets, e.cfg.Logger)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.runner = r
	e.mu.Unlock()
	e.notify()
	return nil
}

// Start implements Connector. Joining the group goes on after it has returned;
// Status says when progress is possible.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runner == nil || e.done != nil || e.leaving {
		return &Error{Code: CodeState, Message: "the engine is not configured, or was started or stopped before"}
	}
	ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	e.done = make(chan struct{})
	go e.run(ctx, e.runner, e.done)
	return nil
}

// run ends with Runner.Run. It passes the Runner's signals on meanwhile.
func (e *Engine) run(ctx context.Context, r Runner, done chan struct{}) {
	var forward sync.WaitGroup
	forward.Go(func() {
		for {
			select {
			case <-r.Changes():
				e.notify()
			case <-done:
				return
			}
		}
	})
	err := r.Run(ctx)
	e.mu.Lock()
	e.err = err
	e.mu.Unlock()
	close(done)
	forward.Wait()
	e.notify()
}

// Drain implements Connector.
func (e *Engine) Drain(ctx context.Context, progress func(Progress)) error {
	r, done := e.leave(false)
	if done == nil {
		return &Error{Code: CodeState, Message: "the engine was not started"}
	}
	for {
		changes := e.Changes()
		progress(progressOf(r.Status()))
		select {
		case <-done:
			return e.outcome()
		case <-changes:
		case <-ctx.Done():
			r.Abort()
			return e.aborted(r, done)
		}
	}
}

// aborted waits for a Runner that was told to give up, but not for ever.
func (e *Engine) aborted(r Runner, done <-chan struct{}) error {
	timer := time.NewTimer(stopBudget)
	defer timer.Stop()
	select {
	case <-done:
		return e.outcome()
	case <-timer.C:
		return &Error{Code: CodeAbandoned, Abandoned: progressOf(r.Status()).Held, Message: "the engine does not give up"}
	}
}

// outcome is what Run's end means for a drain.
func (e *Engine) outcome() error {
	e.mu.Lock()
	err := e.err
	e.mu.Unlock()
	if err == nil {
		return nil
	}
	if e.cfg.Abandoned != nil {
		if n, ok := e.cfg.Abandoned(err); ok {
			return &Error{Code: CodeAbandoned, Abandoned: n, Err: err}
		}
	}
	return asError(err)
}

// Stop implements Connector.
func (e *Engine) Stop(ctx context.Context) error {
	_, done := e.leave(true)
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return &Error{Code: CodeTimeout, Message: "the engine does not stop", Err: ctx.Err()}
	}
}

// leave lets Run end. done is nil where it was never called.
func (e *Engine) leave(abort bool) (r Runner, done chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaving = true
	if e.done == nil {
		return e.runner, nil
	}
	if abort {
		e.runner.Abort()
	}
	e.cancel()
	return e.runner, e.done
}

// Status implements Connector.
func (e *Engine) Status() connector.Status {
	e.mu.Lock()
	r := e.runner
	e.mu.Unlock()
	if r == nil {
		return connector.Status{State: connector.StateNew}
	}
	return r.Status()
}

// Err implements Connector: a Run that ended unasked has failed, whatever it
// returned.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done == nil || e.leaving {
		return nil
	}
	select {
	case <-e.done:
		return &Error{Code: CodeInternal, Message: "the engine ended by itself", Err: e.err}
	default:
		return nil
	}
}

// Changes implements Connector.
func (e *Engine) Changes() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

func (e *Engine) notify() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.changed)
	e.changed = make(chan struct{})
}

// WriteMetrics implements Connector; nothing is written before Configure.
func (e *Engine) WriteMetrics(w io.Writer) error {
	e.mu.Lock()
	r := e.runner
	e.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.WriteMetrics(w)
}

// progressOf reads a drain's progress from a status.
func progressOf(st connector.Status) Progress {
	p := Progress{InFlight: st.InFlight}
	for _, l := range st.Lanes {
		p.Held += l.Window
	}
	return p
}
