package wire

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// defaultIdle connections are kept for reuse: as many as calls that a busy
	// connector has at once, because a connection that can't be kept is closed
	// and costs the next call a TLS handshake.
	defaultIdle = 512
	// idleTimeout is below the 60 s after which common load balancers close an
	// idle connection, so that it is mostly this side that closes.
	idleTimeout = 30 * time.Second
	// connectTimeout bounds each of dialling and handshaking also where the
	// call has no deadline.
	connectTimeout    = 10 * time.Second
	maxResponseHeader = 256 << 10
)

// Transport is a connection pool that knows, per connection, how many bytes
// were written. It is safe for concurrent use. Proxies are taken from the
// environment as http.ProxyFromEnvironment does.
type Transport struct{ pool *http.Transport }

// NewTransport returns a Transport that keeps up to idle connections for
// reuse; zero means 512.
func NewTransport(idle int) *Transport {
	return newTransport(idle, (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext)
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func newTransport(idle int, dial dialFunc) *Transport {
	if idle <= 0 {
		idle = defaultIdle
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true) // and nothing else: see the package doc
	return &Transport{pool: &http.Transport{
		Proxy:     http.ProxyFromEnvironment,
		Protocols: &protocols,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: conn}, nil
		},
		TLSHandshakeTimeout:    connectTimeout,
		MaxIdleConns:           idle,
		MaxIdleConnsPerHost:    idle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		// No ResponseHeaderTimeout: with it net/http returns before the write
		// loop has ended, and the count of written bytes would not be final.
	}}
}

// RoundTrip sends req on a connection of the pool.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if e, ok := req.Context().Value(evidenceKey{}).(*evidence); ok {
		e.counts()
	}
	return t.pool.RoundTrip(req)
}

// CloseIdleConnections closes the connections that no call uses.
func (t *Transport) CloseIdleConnections() { t.pool.CloseIdleConnections() }

// countedConn counts the bytes that the connection took.
type countedConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}
