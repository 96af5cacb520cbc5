package redrive

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/countersign/countersign/connector/kafka"
)

// mortal is a client's way to the network that ends at the nth message to a
// broker, as the process behind it would: with that message, or behind it.
type mortal struct {
	dial   kafka.DialFunc
	last   int  // the message at which it ends
	behind bool // the message is sent, its answer never read
	dead   chan struct{}

	mu    sync.Mutex
	count int
	conns []net.Conn
}

func (m *mortal) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
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

// write reports whether the message may be sent, and whether it was the last.
func (m *mortal) write() (send, end bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	if m.count < m.last {
		return true, false
	}
	return m.count == m.last && m.behind, m.count == m.last
}

func (m *mortal) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		_ = c.Close()
	}
	close(m.dead)
}

type mortalConn struct {
	net.Conn
	of *mortal
}

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

// A run that dies at any message that it sends, or right behind it, and the run
// after it: together they redrive every dead letter once, as a reader sees it.
func TestCrashAnywhereSendsOnce(t *testing.T) {
	const letters = 6
	finished, died := 0, 0
	for last := 1; last <= 400 && finished < 2; last++ {
		behind := last%2 == 0
		t.Run(fmt.Sprintf("message %d, behind %v", last, behind), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.dead(many(letters)...)
				m := &mortal{dial: w.net.DialContext, last: last, behind: behind, dead: make(chan struct{})}
				doomed, err := kafka.NewClient(kafka.Config{Brokers: w.addrs, Dial: m.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				cfg := config()
				cfg.Rate = 20 // batches of two
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				over := make(chan error, 1)
				go func() {
					_, err := Run(ctx, doomed, cfg)
					over <- err
				}()
				select {
				case <-m.dead:
					died++
					kill()
					_ = doomed.Close()
					<-over
				case err := <-over:
					finished++
					if err != nil {
						t.Error(err)
					}
					_ = doomed.Close()
				}
				cfg.Rate = 0
				if _, err := w.run(t.Context(), cfg); err != nil {
					t.Error(err)
				}
				wantOnce(t, w.ids(topics.Requests), letters)
				if n := len(w.all(topics.Journal)); n != letters {
					t.Errorf("%d marks", n)
				}
			})
		})
	}
	if died < 30 || finished < 2 {
		t.Errorf("it died at %d messages, and lived %d times: the count is wrong", died, finished)
	}
}
