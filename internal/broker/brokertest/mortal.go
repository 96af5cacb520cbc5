// Package brokertest ends a client of a broker at a chosen message, as the death
// of its process would.
package brokertest

import (
	"context"
	"net"
	"sync"
)

// DialFunc opens a connection to a broker.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Mortal is a client's way to the network that ends for good at the nth message
// to a broker. DialContext is the client's dial. It serves one client, and is
// safe for concurrent use.
type Mortal struct {
	dial   DialFunc
	last   int
	behind bool
	dead   chan struct{}

	mu    sync.Mutex
	count int
	conns []net.Conn
}

// NewMortal is a way that ends at the message last, from 1. Behind: that one is
// still sent, and its answer never read.
func NewMortal(dial DialFunc, last int, behind bool) *Mortal {
	return &Mortal{dial: dial, last: last, behind: behind, dead: make(chan struct{})}
}

// Run runs do and reports whether the client died meanwhile. It cancels do's
// context then, calls bury, and waits for do; what do returns counts only where
// it outlived.
func (m *Mortal) Run(ctx context.Context, do func(context.Context) error, bury func()) (died bool, err error) {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	over := make(chan struct{})
	go func() {
		defer close(over)
		err = do(ctx)
	}()
	select {
	case <-m.dead:
	case <-over:
	}
	select {
	case <-m.dead: // it counts also where both have come
		kill()
		bury()
		<-over
		return true, nil
	default:
		return false, err
	}
}

// DialContext opens a connection, as long as the client lives.
func (m *Mortal) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.count >= m.last {
		return nil, net.ErrClosed
	}
	c, err := m.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	m.conns = append(m.conns, c)
	return &mortalConn{Conn: c, of: m}, nil
}

// write reports whether the message may be sent, and whether it is the last.
func (m *Mortal) write() (send, end bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	if m.count < m.last {
		return true, false
	}
	return m.count == m.last && m.behind, m.count == m.last
}

func (m *Mortal) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		_ = c.Close()
	}
	close(m.dead)
}

type mortalConn struct {
	net.Conn
	of *Mortal
}

// Write counts the messages: a client writes each at once.
func (c *mortalConn) Write(b []byte) (n int, err error) {
	send, end := c.of.write()
	n, err = 0, net.ErrClosed
	if send {
		n, err = c.Conn.Write(b)
	}
	if end {
		c.of.end()
	}
	return n, err
}
