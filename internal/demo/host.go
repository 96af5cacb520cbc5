package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
)

// host is the plugin and its supervisor at work.
type host struct {
	supervisor *plugin.Supervisor
	changed    chan struct{} // a signal after each change of the status, merged
	cancel     context.CancelFunc
	ended      chan struct{} // closed when the supervisor has ended
	err        error         // valid once ended is closed
	pid        atomic.Int64  // of the last plugin that was seen working
}

// joinTimeout bounds the time from the plugin's start until it has joined its
// consumer group.
const joinTimeout = time.Minute

// startHost starts the plugin. It ends with stop alone, so that it can be
// drained after ctx has ended.
func startHost(ctx context.Context, o Options, doc []byte, log *slog.Logger) (*host, error) {
	h := &host{changed: make(chan struct{}, 1), ended: make(chan struct{})}
	sp, err := spec(o, doc, log, h.see)
	if err != nil {
		return nil, err
	}
	if h.supervisor, err = plugin.NewSupervisor(sp); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(h.ended)
		h.err = h.supervisor.Run(ctx)
	}()
	return h, nil
}

func (h *host) see(connector.Status) {
	if pid := h.supervisor.PID(); pid != 0 {
		h.pid.Store(int64(pid))
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// ready returns the plugin's process id once it has joined its group.
func (h *host) ready(ctx context.Context) (pid int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, errors.New("demo: the plugin does not become ready"))
	defer cancel()
	for {
		if st := h.supervisor.Status(); st.Ready {
			return int(h.pid.Load()), nil
		}
		select {
		case <-h.changed:
		case <-h.ended:
			return 0, fmt.Errorf("demo: the plugin does not work: %w", h.err)
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// stop drains the plugin and waits for its end. A second call returns the same.
func (h *host) stop() error {
	h.cancel()
	<-h.ended
	return h.err
}

// over reports that the plugin and its supervisor have ended.
func (h *host) over() bool {
	select {
	case <-h.ended:
		return true
	default:
		return false
	}
}

// kill ends the plugin's processes at once. Its supervisor sees a crash.
func (h *host) kill() {
	if pid := h.supervisor.PID(); pid > 0 {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // it may have ended by itself
	}
}
