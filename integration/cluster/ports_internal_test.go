package cluster

import (
	"net"
	"strconv"
	"sync"
	"testing"
)

// TestReservePorts: what is handed out to several at once is free, handed out
// once, and none of the ports that the kernel gives away.
func TestReservePorts(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := reservePorts(t.Context(), 12)
			if err != nil || len(got) != 12 {
				t.Errorf("%d ports, error %v", len(got), err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, port := range got {
				if seen[port] {
					t.Errorf("%d twice", port)
				}
				seen[port] = true
			}
		})
	}
	wg.Wait()
	taken := ephemeral()
	for port := range seen {
		if quiet(taken).size() < lastPort-firstPort && port >= taken.low && port <= taken.high {
			t.Errorf("%d is an ephemeral port, which are %+v", port, taken)
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Error(err)
			continue
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	// A port that somebody has taken is passed over.
	ports.Lock()
	ports.next = ports.of.low
	for seen[ports.next] {
		ports.next++
	}
	next := ports.next
	ports.Unlock()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(next)))
	if err == nil { // otherwise somebody else has it, which is as good
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	got, err := reservePorts(t.Context(), 1)
	if err != nil || got[0] == next {
		t.Errorf("got %v, error %v, and %d is taken", got, err, next)
	}
}

func TestQuietPorts(t *testing.T) {
	for _, c := range []struct{ ephemeral, want portRange }{
		{linuxDefault, portRange{15_000, 32_767}},
		{portRange{15_500, 40_000}, portRange{40_001, 65_535}},
		{portRange{1_024, 9_999}, portRange{15_000, 65_535}},
		{portRange{1_024, 65_535}, portRange{15_000, 65_535}},
		{portRange{15_500, 65_000}, portRange{15_000, 65_535}},
	} {
		if got := quiet(c.ephemeral); got != c.want {
			t.Errorf("beside %+v: %+v, want %+v", c.ephemeral, got, c.want)
		}
	}
}
