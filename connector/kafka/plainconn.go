package kafka

import (
	"net"
	"sync/atomic"
)

// plainConn is a connection without TLS. It knows a TLS server by the first
// bytes of its answer, which kafka-go would take for the length of one.
type plainConn struct {
	net.Conn
	address string
	refuse  func(*refusal)
	accept  func()
	known   func() bool // the address has answered before
	heard   atomic.Bool
}

// Of a record that carries an alert, which is what a TLS server answers to
// anything else: its type and the first byte of its version.
const (
	tlsAlert   = 0x15
	tlsVersion = 0x03
)

// Read implements net.Conn.
func (c *plainConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	switch {
	case n == 0 && isCut(err) && !c.heard.Load():
		return 0, c.silent(err)
	case n == 0 || c.heard.Swap(true):
		return n, err
	}
	if b[0] == tlsAlert && (n == 1 || b[1] == tlsVersion) {
		refused := &refusal{code: CodeTLS, broker: c.address, text: "it speaks TLS on this port, and TLS is not enabled"}
		c.refuse(refused)
		return 0, refused
	}
	c.accept()
	return n, err
}

// silent says what it may mean that a broker hangs up at the first request. One
// that has answered before may just be going down.
func (c *plainConn) silent(err error) error {
	// err is left out: kafka-go would put its own in the place of an end of file.
	refused := &refusal{code: CodeUnavailable, broker: c.address, text: "it closed the connection without an answer: does it want TLS on this port?"}
	if c.known() {
		return err
	}
	c.refuse(refused)
	return refused
}
