package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin/pluginpb"
)

// missedHeartbeats is how many intervals of silence make a plugin hung.
const missedHeartbeats = 3

// watcher follows a plugin's Watch stream. Its goroutine ends with the stream.
type watcher struct {
	failed chan struct{} // closed at the first Failed state
	ended  chan struct{} // closed with the stream

	mu      sync.Mutex
	frames  int
	failure *Error // valid once failed is closed
}

// frameFunc takes every status that arrives; changed is false for a heartbeat.
type frameFunc func(st connector.Status, changed bool)

// watch opens the stream, which lives as long as ctx. take is called by one
// goroutine, and holds the next frame up.
func (r *remote) watch(ctx context.Context, interval time.Duration, take frameFunc) (*watcher, error) {
	stream, err := r.pb.Watch(ctx, &pluginpb.WatchRequest{Heartbeat: durationToPB(interval)})
	if err != nil {
		return nil, fromStatus(err)
	}
	w := &watcher{failed: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for {
			frame, err := stream.Recv()
			if err != nil {
				return
			}
			st := statusFromPB(frame.GetStatus())
			w.count(st, failureFromPB(frame.GetFailure()))
			take(st, frame.GetKind() != pluginpb.WatchResponse_KIND_HEARTBEAT)
		}
	}()
	return w, nil
}

func (w *watcher) count(st connector.Status, failure *Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames++
	if st.State != connector.StateFailed || w.failure != nil {
		return
	}
	if w.failure = failure; failure == nil {
		w.failure = &Error{Code: CodeInternal, Message: st.Reason}
	}
	close(w.failed)
}

func (w *watcher) seen() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frames
}

// why is the failure that closed failed.
func (w *watcher) why() *Error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// watchdog counts silent intervals. It counts ticks of the host's own clock
// rather than comparing times: where the host itself was stopped or its machine
// slept, at most one tick has piled up, and the plugin gets its full time.
type watchdog struct {
	w      *watcher
	seen   int
	missed int
}

// tick reports whether the plugin is hung.
func (d *watchdog) tick() bool {
	if seen := d.w.seen(); seen != d.seen {
		d.seen, d.missed = seen, 0
		return false
	}
	d.missed++
	return d.missed >= missedHeartbeats
}
