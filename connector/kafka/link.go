package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
)

// errClosed is what a Client answers after Close. It is deliberately not
// net.ErrClosed, which calls itself temporary: kafka-go would try again.
var errClosed = errors.New("the client is closed")

// wires are open connections that can be cut all at once. kafka-go leaves a
// request that nobody waits for any more on its connection until the broker
// answers or ten seconds have passed, and a group that joins for as long as the
// rebalance takes; cutting the connection ends both.
type wires struct {
	via DialFunc

	mu   sync.Mutex
	open map[*wire]struct{} // nil once cut
}

// wire is one connection, or the attempt to make one.
type wire struct {
	net.Conn
	owner *wires
	end   func() // closes the connection or ends the attempt
}

func newWires(via DialFunc) *wires {
	return &wires{via: via, open: map[*wire]struct{}{}}
}

func (w *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &wire{owner: w, end: cancel}
	if !w.keep(c) {
		return nil, errClosed
	}
	conn, err := w.via(ctx, network, address)
	if err != nil {
		w.forget(c)
		return nil, err
	}
	w.mu.Lock()
	_, open := w.open[c]
	c.Conn, c.end = conn, func() { _ = conn.Close() }
	w.mu.Unlock()
	if !open {
		_ = conn.Close()
		return nil, errClosed
	}
	return c, nil
}

func (w *wires) keep(c *wire) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		return false
	}
	w.open[c] = struct{}{}
	return true
}

func (w *wires) forget(c *wire) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
}

// cut closes every connection and lets no new one be made.
func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		c.end()
	}
	w.open = nil
}

// Close implements net.Conn.
func (c *wire) Close() error {
	c.owner.forget(c)
	return c.Conn.Close()
}

// link is the transport of a Client, with an end. kafka-go's own would open
// new connections after it has been closed.
type link struct {
	wires     *wires
	transport *kafkago.Transport

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

func newLink(via DialFunc, transport func(DialFunc) *kafkago.Transport) *link {
	w := newWires(via)
	return &link{wires: w, transport: transport(w.dial)}
}

// RoundTrip implements kafkago.RoundTripper.
func (l *link) RoundTrip(ctx context.Context, addr net.Addr, req kafkago.Request) (kafkago.Response, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, errClosed
	}
	l.calls.Add(1)
	l.mu.Unlock()
	defer l.calls.Done()
	res, err := l.transport.RoundTrip(ctx, addr, req)
	if err != nil && l.isClosed() {
		return nil, fmt.Errorf("%w: %w", errClosed, err)
	}
	return res, err
}

func (l *link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wires.cut()
	l.calls.Wait()
	l.transport.CloseIdleConnections()
}
