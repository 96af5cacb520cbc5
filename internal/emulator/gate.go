package emulator

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// gate is a listener that can be shut and opened again on the same port while
// one http.Server keeps accepting from it.
//
// Shutting it gently must not lose a connection that the kernel has already
// completed but nobody has accepted: closing a listening socket resets those,
// and their callers, who may have sent a request by then, would be in doubt. So
// the kernel is first told to begin no more, then the queue is accepted until
// it is empty, and only then is the socket closed.
type gate struct {
	addr   *net.TCPAddr // the same through every outage
	listen func(addr string) (*net.TCPListener, error)

	mu      sync.Mutex
	ln      *net.TCPListener // nil: shut
	drain   bool             // shut as soon as the queue is empty
	closed  bool
	changed chan struct{} // closed and replaced whenever ln or closed changes
}

func openGate(ctx context.Context, addr string) (*gate, error) {
	listen := func(addr string) (*net.TCPListener, error) {
		var config net.ListenConfig
		config.SetMultipathTCP(false) // Go's default, but such sockets take no filter: see refuseNew
		ln, err := config.Listen(context.WithoutCancel(ctx), "tcp", addr)
		if err != nil {
			return nil, &Error{Code: CodeListen, Message: addr, Err: err}
		}
		return ln.(*net.TCPListener), nil //nolint:forcetypeassert // what "tcp" listens with
	}
	ln, err := listen(addr)
	if err != nil {
		return nil, err
	}
	return &gate{
		addr:   ln.Addr().(*net.TCPAddr), //nolint:forcetypeassert // as above
		listen: listen, ln: ln, changed: make(chan struct{}),
	}, nil
}

// Accept waits through outages. It fails only once the gate is closed, or as
// the listener itself does.
func (g *gate) Accept() (net.Conn, error) {
	for {
		ln, err := g.current()
		if err != nil {
			return nil, err
		}
		conn, err := ln.Accept()
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			g.drained(ln)
		case g.holds(ln):
			return nil, err
		}
	}
}

// queueWait is how long an empty queue is watched before the socket is closed:
// handshakes that had begun need that long on a busy machine.
const queueWait = 5 * time.Millisecond

// current returns the open listener, or waits for one.
func (g *gate) current() (*net.TCPListener, error) {
	for {
		g.mu.Lock()
		ln, closed, changed := g.ln, g.closed, g.changed
		if ln != nil && g.drain {
			_ = ln.SetDeadline(time.Now().Add(queueWait))
		}
		g.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if ln != nil {
			return ln, nil
		}
		<-changed
	}
}

// holds reports whether ln is still the open listener.
func (g *gate) holds(ln *net.TCPListener) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ln == ln
}

// drained closes a listener whose queue gave nothing for a while. A late
// schedule can make the deadline pass with the queue unread: then it is tried again.
func (g *gate) drained(ln *net.TCPListener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln == ln && g.drain && queued(ln) == 0 {
		g.shutLocked()
	}
}

func (g *gate) shutLocked() {
	if g.ln != nil {
		_ = g.ln.Close()
	}
	g.ln, g.drain = nil, false
	g.wake()
}

func (g *gate) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// shut returns once connections are refused. Gently: those that the kernel has
// completed before are accepted first.
func (g *gate) shut(gently bool) {
	g.mu.Lock()
	if g.ln == nil {
		g.mu.Unlock()
		return
	}
	if !gently {
		defer g.mu.Unlock()
		g.shutLocked()
		return
	}
	refuseNew(g.ln)
	g.drain = true
	_ = g.ln.SetDeadline(time.Now()) // wakes Accept, which then drains
	changed := g.changed
	g.mu.Unlock()
	<-changed
}

// open listens again on the same address. Another socket may hold the port for
// a moment, so it tries until it succeeds or the gate is closed.
func (g *gate) open() {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		g.mu.Lock()
		if g.closed || g.ln != nil {
			g.mu.Unlock()
			return
		}
		ln, err := g.listen(g.addr.String())
		if err == nil {
			g.ln = ln
			g.wake()
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-changed:
		}
	}
}

// Close ends Accept for good.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.shutLocked()
	return nil
}

// Addr is the address, also while the gate is shut.
func (g *gate) Addr() net.Addr { return g.addr }
