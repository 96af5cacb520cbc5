package kafka

import (
	"net"
	"sync"
)

// watched is a connection without SASL. It knows by what comes back at first
// whether the broker takes what it is sent: kafka-go would read the alert of a TLS
// server as the length of an answer, and a broker that wants SASL answers
// ApiVersions and hangs up at the next request.
type watched struct {
	net.Conn
	address string
	plain   bool // no TLS
	refuse  func(*refusal)
	accept  func()
	known   func() bool // the address has been accepted before

	mu      sync.Mutex
	turn    int // requests, or so: what is written without an answer between
	heard   int // the last one that has been answered
	settled bool
}

// Of a record that carries an alert, which is what a TLS server answers to
// anything else: its type and the first byte of its version.
const (
	tlsAlert   = 0x15
	tlsVersion = 0x03
)

// Write implements net.Conn.
func (c *watched) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.turn == c.heard {
		c.turn++
	}
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *watched) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.settled:
	case n == 0 && isCut(err) && !c.known():
		if refused := c.hungUp(); refused != nil {
			c.settled = true
			c.refuse(refused)
			return 0, refused
		}
	case n == 0:
	case c.plain && c.heard == 0 && b[0] == tlsAlert && (n == 1 || b[1] == tlsVersion):
		c.settled = true
		refused := &refusal{code: CodeTLS, broker: c.address, text: "it speaks TLS on this port, and TLS is not enabled"}
		c.refuse(refused)
		return 0, refused
	default:
		c.heard = c.turn
		if c.heard > 1 {
			c.settled = true
			c.accept()
		}
	}
	return n, err
}

// hungUp says what it may mean that a broker that is not known ends the
// connection. The cause is left out: kafka-go would put its own in the place of an
// end of file.
func (c *watched) hungUp() *refusal {
	switch {
	case c.turn == 1 && c.heard == 0 && c.plain:
		return &refusal{code: CodeUnavailable, broker: c.address, text: "it closed the connection without an answer: does it want TLS on this port?"}
	case c.turn == 2 && c.heard == 1:
		return &refusal{code: CodeUnauthenticated, broker: c.address, text: "it closed the connection at the first request: does it want SASL on this port?"}
	default:
		return nil
	}
}
