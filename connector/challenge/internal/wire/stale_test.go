package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
)

// dyingConn takes budget writes and then accept bytes of the next one; from
// there it fails as a socket does whose other side is gone.
type dyingConn struct {
	net.Conn
	budget atomic.Int64
	accept int
}

func (c *dyingConn) Write(p []byte) (int, error) {
	if c.budget.Add(-1) >= 0 {
		return c.Conn.Write(p)
	}
	if c.accept == 0 {
		return 0, syscall.EPIPE
	}
	n, _ := c.Conn.Write(p[:min(c.accept, len(p))])
	return n, syscall.EPIPE
}

// Read fails as Write does once a write has failed: net/http reports whichever
// of the two it hears of first.
func (c *dyingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.budget.Load() < 0 {
		err = syscall.EPIPE
	}
	return n, err
}

// dying makes the first few connections of p die after one request.
func (p *pipes) dying(few int64, accept int) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := p.dial(ctx, network, addr)
		if err != nil || p.dials.Load() > few {
			return conn, err
		}
		d := &dyingConn{Conn: conn, accept: accept}
		d.budget.Store(1)
		return d, nil
	}
}

func TestStaleConnection(t *testing.T) {
	for _, tc := range []struct {
		name   string
		dying  int64 // connections that die after one request
		accept int   // bytes that a dying connection takes of the next one
		kind   Kind  // of the call that meets them; empty: it succeeds
		sent   bool
		dials  int64 // in all
	}{
		{"takes nothing: sent on a new one", 1, 0, "", false, 2},
		{"takes a part: given up", 1, 40, NoAnswer, true, 1},
		{"takes all and fails: given up", 1, 1 << 20, NoAnswer, true, 1},
		{"two in a row take nothing", 2, 0, "", false, 3},
		{"many take nothing: it ends", 8, 0, NotSent, false, 8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen atomic.Int64
				var gate sync.WaitGroup
				gate.Add(int(tc.dying))
				p := servePipes(t, func(_ http.ResponseWriter, r *http.Request) {
					if r.FormValue("id") == "counts" {
						seen.Add(1)
						if tc.kind == NoAnswer {
							<-r.Context().Done() // an answer could overtake the failed write
						}
						return
					}
					gate.Done()
					gate.Wait() // all at once, so that each takes a connection
				})
				c := newClient(t, "http://127.0.0.1:1", Config{Transport: newTransport(0, p.dying(tc.dying, tc.accept))})
				var warm sync.WaitGroup
				for range tc.dying {
					warm.Go(func() {
						if _, f := post(t.Context(), t, c, "warm"); f != nil {
							t.Error(f)
						}
					})
				}
				warm.Wait()

				_, f := post(t.Context(), t, c, "counts")
				if tc.kind == "" && f != nil {
					t.Fatal(f)
				}
				if tc.kind != "" {
					wantFailure(t, f, tc.kind, tc.sent)
				}
				synctest.Wait() // the server has read what there is to read
				if n := seen.Load(); n > 1 || f == nil && n != 1 || f != nil && !f.Sent && n != 0 {
					t.Errorf("the server saw the request %d times, the client says %+v", n, f)
				}
				if got := p.dials.Load(); got != tc.dials {
					t.Errorf("%d dials, want %d", got, tc.dials)
				}
			})
		})
	}
}

// TestEarlierConnectionCounts lets net/http repeat a GET by itself: the first
// connection takes it and dies, the second can't be made or takes nothing. What
// the first took may have arrived.
func TestEarlierConnectionCounts(t *testing.T) {
	t.Run("second refused", func(t *testing.T) {
		earlierConnection(t, func(c net.Conn) (net.Conn, error) { return nil, errors.Join(syscall.ECONNREFUSED, c.Close()) }, syscall.ECONNREFUSED)
	})
	t.Run("second takes nothing", func(t *testing.T) {
		earlierConnection(t, func(c net.Conn) (net.Conn, error) { return &dyingConn{Conn: c}, nil }, syscall.EPIPE)
	})
}

func earlierConnection(t *testing.T, second func(net.Conn) (net.Conn, error), cause error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Int64
		p := servePipes(t, func(w http.ResponseWriter, _ *http.Request) {
			if seen.Add(1) == 1 {
				return
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.Close()
		})
		c := newClient(t, "http://127.0.0.1:1", Config{Transport: newTransport(0, func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := p.dial(ctx, network, addr)
			if err != nil || p.dials.Load() == 1 {
				return conn, err
			}
			return second(conn)
		})})
		u, f := c.Challenges(testService, testIdentity, "")
		if f != nil {
			t.Fatal(f)
		}
		if _, f := c.Get(t.Context(), u); f != nil {
			t.Fatal(f)
		}
		_, f = c.Get(t.Context(), u)
		wantFailure(t, f, NoAnswer, true)
		if seen.Load() != 2 || !errors.Is(f, cause) {
			t.Errorf("the server saw %d requests, the client says %v", seen.Load(), f)
		}
	})
}

// TestClosingRace posts to a server that closes each connection right after an
// answer that promised to keep it, so that the next request meets a dying one.
// Whatever happens, no request arrives twice, and none that wasn't sent.
func TestClosingRace(t *testing.T) {
	var seen sync.Map
	base := rawServer(t, func(conn net.Conn, n int) {
		r := bufio.NewReader(conn)
		for range n % 3 { // some connections die at once, some after a request or two
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, again := seen.LoadOrStore(req.FormValue("id"), true); again {
				t.Errorf("request %s came twice", req.FormValue("id"))
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	})
	c := newClient(t, base, Config{})
	var wg sync.WaitGroup
	var failures atomic.Int64
	for worker := range 4 {
		wg.Go(func() {
			for i := range 100 {
				id := strconv.Itoa(worker) + "-" + strconv.Itoa(i)
				_, f := post(t.Context(), t, c, id)
				if f == nil {
					continue
				}
				failures.Add(1)
				if _, came := seen.Load(id); came && !f.Sent {
					t.Errorf("request %s came, the client says it wasn't sent: %v", id, f)
				}
			}
		})
	}
	wg.Wait()
	if failures.Load() == 0 {
		t.Error("no call failed: the race wasn't met")
	}
}
