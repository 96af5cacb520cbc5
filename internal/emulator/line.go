package emulator

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// line is one accepted connection.
type line struct {
	conn net.Conn
	cut  atomic.Bool // an outage or Close dropped it
	// fresh is true until the first byte of a request arrives. Under lines.mu.
	fresh bool
}

type lineKey struct{}

func (l *line) isCut() bool { return l != nil && l.cut.Load() }

// lines tracks the accepted connections so that all can be dropped, and so
// that Close can wait for the last.
type lines struct {
	mu   sync.Mutex
	open map[net.Conn]*line
	dead bool          // accepted connections are dropped at once
	idle chan struct{} // not nil: somebody waits for the last one
}

func newLines() *lines { return &lines{open: map[net.Conn]*line{}} }

// accepted is http.Server.ConnContext.
func (ls *lines) accepted(ctx context.Context, conn net.Conn) context.Context {
	l := &line{conn: conn, fresh: true}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.open[conn] = l
	if ls.dead { // accepted just before the listener was shut
		l.cut.Store(true)
		abort(conn)
	}
	return context.WithValue(ctx, lineKey{}, l)
}

// changed is http.Server.ConnState.
func (ls *lines) changed(conn net.Conn, state http.ConnState) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	switch state {
	case http.StateActive:
		if l := ls.open[conn]; l != nil {
			l.fresh = false
		}
	case http.StateHijacked, http.StateClosed:
		delete(ls.open, conn)
		if len(ls.open) == 0 && ls.idle != nil {
			close(ls.idle)
			ls.idle = nil
		}
	}
}

// dropAll resets every connection but one, and each new one until revive.
func (ls *lines) dropAll(spared *line) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.dead = true
	for conn, l := range ls.open {
		if l != spared {
			l.cut.Store(true)
			abort(conn)
		}
	}
}

func (ls *lines) revive() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.dead = false
}

// dropFresh closes connections that have not carried a request yet: net/http
// waits seconds for one.
func (ls *lines) dropFresh() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for conn, l := range ls.open {
		if l.fresh {
			_ = conn.Close()
		}
	}
}

// drained returns a channel that is closed once no connection is left. No new
// ones may come.
func (ls *lines) drained() <-chan struct{} {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.idle == nil {
		ls.idle = make(chan struct{})
	}
	done := ls.idle
	if len(ls.open) == 0 {
		close(ls.idle)
		ls.idle = nil
	}
	return done
}

// crowd counts handlers that run and lets one caller wait for none.
type crowd struct {
	mu   sync.Mutex
	n    int
	idle chan struct{}
}

func (c *crowd) enter() {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

func (c *crowd) empty() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	done := c.idle
	if c.n == 0 {
		close(c.idle)
		c.idle = nil
	}
	return done
}
