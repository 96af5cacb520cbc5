package wire

import (
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	testAccount = "AC" + strings.Repeat("a", 32)
	testService = "VA" + strings.Repeat("b", 32)
	testSID     = "YC" + strings.Repeat("c", 32)
)

const (
	testIdentity = "ff483d1f-user-0001"
	testToken    = "the0token0that0nobody0sees"
)

// newClient returns a Client of the server at base, with cfg's other fields.
func newClient(t *testing.T, base string, cfg Config) *Client {
	t.Helper()
	cfg.AccountSID, cfg.Password, cfg.BaseURL = testAccount, testToken, base
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// rawServer accepts connections on loopback and hands each, with its number
// from 0, to serve, which owns it until it returns. The test ends only when
// every serve has returned.
func rawServer(t *testing.T, serve func(conn net.Conn, n int)) (base string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(conn, n)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// closedPort is a loopback address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
