package kafka

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fate is what becomes of one request on its way.
type fate int

const (
	arrives   fate = iota
	lost           // the broker never sees it
	unheard        // the broker carries it out, its answer is lost
	overtaken      // as lost, but the broker sees it seconds later
	passed         // as lost, but the broker sees it a moment later
)

const (
	// late is when the broker sees what has been overtaken.
	late = 4 * time.Second
	// moment is within a pause between two attempts.
	moment = retryBase + retryBase/2
)

// lossyNet loses what it is told to lose.
type lossyNet struct {
	dial DialFunc

	mu    sync.Mutex
	fates map[kmsg.Key][]fate // of the next requests of a kind
	done  map[kmsg.Key]int    // fates other than arrives that were met
	sent  []kmsg.Key          // all that was not lost
	gates map[kmsg.Key]chan struct{}
}

// lossySession is the session as seen through a network that loses things.
func (w *world) lossySession(s *Session) (*Session, *lossyNet) {
	w.t.Helper()
	n := &lossyNet{dial: w.net.DialContext, fates: map[kmsg.Key][]fate{}, done: map[kmsg.Key]int{}}
	c, err := NewClient(Config{Brokers: w.addrs, ClientID: "lossy", Dial: n.dialContext})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return s.on(c, s.topic), n
}

// on is the session on another client and topic, with producers of its own.
func (s *Session) on(c *Client, topic string) *Session {
	out := *s
	out.client, out.topic = c, topic
	out.txn = newProducer(c, transactionalID(s.group, topic, s.partition), defaultTransactionTimeout)
	out.idempotent = newProducer(c, "", requestTimeout)
	return &out
}

func (n *lossyNet) plan(key kmsg.Key, fates ...fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fates[key] = slices.Clone(fates)
}

// met is how many requests of a kind something has become of.
func (n *lossyNet) met(key kmsg.Key) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done[key]
}

func (n *lossyNet) next(key kmsg.Key) fate {
	n.mu.Lock()
	defer n.mu.Unlock()
	fates := n.fates[key]
	if len(fates) == 0 {
		n.sent = append(n.sent, key)
		return arrives
	}
	n.fates[key] = fates[1:]
	if fates[0] != arrives {
		n.done[key]++
	}
	return fates[0]
}

func (n *lossyNet) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	inner, err := n.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &lossyConn{Conn: inner, net: n}, nil
}

// lossyConn is a connection that breaks with the first request that is lost.
type lossyConn struct {
	net.Conn
	net    *lossyNet
	buffer []byte

	mu     sync.Mutex
	broken bool
}

func (c *lossyConn) Write(b []byte) (int, error) {
	c.buffer = append(c.buffer, b...)
	for len(c.buffer) >= 6 {
		size := 4 + int(binary.BigEndian.Uint32(c.buffer))
		if len(c.buffer) < size {
			break
		}
		frame := slices.Clone(c.buffer[:size])
		c.buffer = c.buffer[size:]
		if err := c.forward(frame); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (c *lossyConn) forward(frame []byte) error {
	key := kmsg.Key(binary.BigEndian.Uint16(frame[4:]))
	c.net.await(key)
	what := c.net.next(key)
	if what == arrives {
		_, err := c.Conn.Write(frame)
		return err
	}
	c.mu.Lock()
	c.broken = true
	c.mu.Unlock()
	go func() {
		defer c.Conn.Close()
		switch what {
		case lost:
			return
		case overtaken:
			<-time.After(late)
		case passed:
			<-time.After(moment)
		}
		if _, err := c.Conn.Write(frame); err != nil {
			return
		}
		// The answer's first byte is heard once the work is done.
		_, _ = io.ReadFull(c.Conn, make([]byte, 1))
	}()
	if what == unheard {
		// The client must not go on before the broker has done its part.
		<-time.After(10 * time.Millisecond)
	}
	return nil
}

func (c *lossyConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	if broken {
		return 0, io.ErrUnexpectedEOF
	}
	return c.Conn.Read(b)
}

// Close leaves a broken connection to what is still on its way.
func (c *lossyConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return nil
	}
	return c.Conn.Close()
}

var txnKeys = []kmsg.Key{
	kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn,
}

// pause holds back the requests of a kind until resume is called.
func (n *lossyNet) pause(key kmsg.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gates = map[kmsg.Key]chan struct{}{key: make(chan struct{})}
}

func (n *lossyNet) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, gate := range n.gates {
		close(gate)
	}
	n.gates = nil
}

func (n *lossyNet) await(key kmsg.Key) {
	n.mu.Lock()
	gate := n.gates[key]
	n.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

// heard is what of the transactions' requests has got through since the last
// time.
func (n *lossyNet) heard() (out []kmsg.Key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range n.sent {
		if slices.Contains(txnKeys, key) {
			out = append(out, key)
		}
	}
	n.sent = nil
	return out
}

// settled waits until what has been overtaken has arrived and what it may have
// opened has timed out.
func settled(t testing.TB) {
	t.Helper()
	pass(t, late+defaultTransactionTimeout+time.Second)
}
