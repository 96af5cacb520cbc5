package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

const (
	firstPort, lastPort = 15_000, 65_535
	enoughPorts         = 1_000
	rangeFile           = "/proc/sys/net/ipv4/ip_local_port_range"
)

// portRange is from low to high, both included.
type portRange struct{ low, high int }

func (r portRange) size() int { return r.high - r.low + 1 }

// linuxDefault are Linux's ephemeral ports where nobody has chosen others.
var linuxDefault = portRange{32_768, 60_999}

// ports hands out what a broker will bind seconds later, and again after each
// restart. A port of the ephemeral range would not do: in the meantime the
// kernel gives it to whoever connects or listens at port 0, and a client of the
// broker then talks to a stranger.
var ports struct {
	sync.Mutex
	of   portRange // zero: nothing was handed out yet
	next int
}

// reservePorts are n ports of loopback that nobody listens at, that the kernel
// gives to nobody, where it leaves enough of them, and that this process hands out
// once.
func reservePorts(ctx context.Context, n int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.of == (portRange{}) {
		ports.of = quiet(ephemeral())
		// Another process that does the same most likely starts elsewhere.
		ports.next = ports.of.low + rand.IntN(ports.of.size()) //nolint:gosec // no secret
	}
	var out []int
	for range ports.of.size() {
		port := ports.next
		if ports.next++; ports.next > ports.of.high {
			ports.next = ports.of.low
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		if out = append(out, port); len(out) == n {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%d ports free from %d to %d, want %d", len(out), ports.of.low, ports.of.high, n)
}

// quiet is the larger part beside the ephemeral ports, or all where too little is
// left of it.
func quiet(taken portRange) portRange {
	below, above := portRange{firstPort, taken.low - 1}, portRange{max(taken.high+1, firstPort), lastPort}
	if above.size() > below.size() {
		below = above
	}
	if below.size() < enoughPorts {
		return portRange{firstPort, lastPort}
	}
	return below
}

func ephemeral() portRange {
	data, err := os.ReadFile(rangeFile)
	if err != nil {
		return linuxDefault
	}
	var r portRange
	if _, err := fmt.Sscan(string(data), &r.low, &r.high); err != nil {
		return linuxDefault
	}
	return r
}
