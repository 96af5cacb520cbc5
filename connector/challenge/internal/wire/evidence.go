package wire

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync"
)

// evidence is what is known of one round trip: whether a connection was got,
// and whether the request was put on it. Its hooks run on several goroutines.
type evidence struct {
	mu      sync.Mutex
	counted bool // the round trip goes through a Transport, which counts
	asked   bool // net/http asked for a connection: the hooks work
	got     bool
	reused  bool
	conn    *countedConn // nil where the connection doesn't count
	start   int64        // conn's count when it was got
	headers bool         // the complete header was handed to the connection's buffer
	earlier bool         // a connection before this one may have carried the request
}

type evidenceKey struct{}

// watch returns a context whose round trip is recorded in e.
func (e *evidence) watch(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, evidenceKey{}, e)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { e.set(&e.asked) },
		GotConn:      e.gotConn,
		WroteHeaders: func() { e.set(&e.headers) },
	})
}

func (e *evidence) counts() { e.set(&e.counted) }

func (e *evidence) set(flag *bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*flag = true
}

func (e *evidence) gotConn(info httptrace.GotConnInfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.got { // net/http repeats a GET on another connection
		e.earlier = e.earlier || e.carried()
	}
	e.got, e.reused, e.headers, e.conn = true, info.Reused, false, nil
	conn := info.Conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		conn = t.NetConn()
	}
	if c, ok := conn.(*countedConn); ok {
		e.conn, e.start = c, c.written.Load()
	}
}

// carried reports whether the current connection may have taken the request.
//
// A server acts on nothing before it has the end of the header. The hook runs
// before the buffer that holds this end is flushed, so without the hook it
// can't have left. With it, the bytes that the connection took decide. For TLS
// they are counted below the records: a close alert counts too, an error on
// the safe side.
func (e *evidence) carried() bool {
	if e.conn == nil {
		return true
	}
	return e.headers && e.conn.written.Load() > e.start
}

// sent reports whether the request may have left. It is final once the round
// trip has returned an error: net/http then has waited for the write loop. A
// transport that shows nothing is taken to have sent.
func (e *evidence) sent() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.earlier:
		return true
	case e.got:
		return e.carried()
	default:
		return !e.counted && !e.asked
	}
}

// stale reports whether the round trip failed on a connection that had been
// kept for reuse and that took nothing of the request.
func (e *evidence) stale() bool {
	if e.sent() {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got && e.reused
}
