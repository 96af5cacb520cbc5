package emulator

import (
	"net"
	"testing"
	"time"
)

// A listener that begins no more connections keeps those that it has, also
// one that was opened again: neither may be a kind of socket that takes no filter.
func TestRefuseNewBeginsNoConnection(t *testing.T) {
	g, err := openGate(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	for _, when := range []string{"first", "opened again"} {
		for range 3 {
			dial(t, g)
		}
		refuseNew(g.ln)
		if n := queued(g.ln); n != 3 {
			t.Errorf("%s: %d connections wait", when, n)
		}
		_, err := net.DialTimeout("tcp", g.Addr().String(), 100*time.Millisecond)
		if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() { //nolint:errorlint // net's own
			t.Errorf("%s: a dial ends with %v", when, err)
		}
		for range 3 {
			conn, err := g.ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		if n := queued(g.ln); n != 0 {
			t.Errorf("%s: %d connections wait after all were accepted", when, n)
		}
		g.shut(false)
		g.open()
	}
}
