package emulator

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// outageKind is how the API is out.
type outageKind string

const (
	outageGraceful outageKind = "graceful"
	outageHard     outageKind = "hard"
	outage503      outageKind = "503"
)

// outageState is what requests see of an outage; at most one is under way.
type outageState struct {
	kind atomic.Value // outageKind; empty: none

	mu   sync.Mutex
	end  chan struct{} // closed to end it early; nil: none under way
	over chan struct{} // closed once it is over; nil: none under way
}

func (o *outageState) is(kind outageKind) bool {
	k, _ := o.kind.Load().(outageKind)
	return k == kind
}

func (o *outageState) unavailable() bool { return o.is(outage503) }
func (o *outageState) draining() bool    { return o.is(outageGraceful) }

// Outage makes the API unreachable for d without leaving a call in doubt. New
// connections are refused. A request in progress is answered in full, and so is
// one more request on each connection that stands, since its caller may just be
// sending it; these answers carry "Connection: close". No idle connection is
// closed from this side. Whoever dials within the few milliseconds that shutting
// takes is refused too, but learns it a second later (the kernel repeats its
// SYN). Outage returns once connections are refused. It needs Start.
func (e *Emulator) Outage(d time.Duration) error { return e.beginOutage(outageGraceful, d, nil) }

// OutageHard makes the API unreachable for d as if its machine had died:
// connections are reset, whatever they carry, and new ones refused. A request that was
// being processed may or may not have been carried out: Created tells. It needs Start.
func (e *Emulator) OutageHard(d time.Duration) error { return e.beginOutage(outageHard, d, nil) }

// OutageUnavailable answers 503 to every call of the API for d.
func (e *Emulator) OutageUnavailable(d time.Duration) error { return e.beginOutage(outage503, d, nil) }

// EndOutage ends an outage now and returns once the API is back. Without one
// it does nothing.
func (e *Emulator) EndOutage() {
	e.outage.mu.Lock()
	end, over := e.outage.end, e.outage.over
	if end != nil {
		close(end)
		e.outage.end = nil
	}
	e.outage.mu.Unlock()
	if over != nil {
		<-over
	}
}

// WaitUp returns once no outage is under way, or ctx's error where that ends first.
func (e *Emulator) WaitUp(ctx context.Context) error {
	e.outage.mu.Lock()
	over := e.outage.over
	e.outage.mu.Unlock()
	if over == nil {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// beginOutage spares one connection, if any: that of whoever asks for a hard
// outage.
func (e *Emulator) beginOutage(kind outageKind, d time.Duration, spared *line) error {
	if d <= 0 {
		return failf(CodeState, "an outage of %v", d)
	}
	g := e.listener()
	if g == nil && kind != outage503 {
		return failf(CodeState, "an outage of the listener needs Start")
	}
	end, over := make(chan struct{}), make(chan struct{})
	o := &e.outage
	o.mu.Lock()
	if o.over != nil {
		o.mu.Unlock()
		return failf(CodeState, "an outage is under way")
	}
	select {
	case <-e.closing:
		o.mu.Unlock()
		return failf(CodeState, "the emulator is closed")
	default:
	}
	o.end, o.over = end, over
	e.outages.Add(1)
	o.mu.Unlock()
	switch kind {
	case outageGraceful:
		// First no new connections, then no more requests on the old ones: callers
		// whose connection ends would else dial into the very moment of shutting.
		g.shut(true)
	case outageHard:
		g.shut(false)
		e.lines.dropAll(spared)
	}
	o.kind.Store(kind)
	go e.runOutage(g, kind, d, end, over)
	return nil
}

// runOutage brings the API back after d, or when it is told to.
func (e *Emulator) runOutage(g *gate, kind outageKind, d time.Duration, end, over chan struct{}) {
	defer e.outages.Done()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-end:
	case <-e.closing:
		kind = outage503 // nothing is to be opened again
	}
	if kind != outage503 {
		e.lines.revive()
		g.open()
	}
	o := &e.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kind.Store(outageKind(""))
	o.end, o.over = nil, nil
	close(over)
}
