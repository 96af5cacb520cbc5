package kafka

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"
)

// After a refusal a broker is not connected to again for a while that grows,
// because kafka-go and whoever uses it try again at once and for ever: brokers
// count failed authentications, and some lock the account. New credentials are
// tried at once.
const (
	refusedBase = time.Second
	refusedCap  = 30 * time.Second
	// What may be no refusal, as where a proxy is up before its broker, is asked
	// more often.
	unsureCap = 2 * time.Second
)

// gate remembers which brokers refuse this client.
type gate struct {
	log *slog.Logger

	mu       sync.Mutex
	doors    map[string]*door
	refusing map[string]standing // by address
}

// standing is a refusal that nothing has taken back.
type standing struct {
	reason string
	stamp  string // of the credentials
}

func newGate(log *slog.Logger) *gate {
	return &gate{log: log, doors: map[string]*door{}, refusing: map[string]standing{}}
}

// door is one broker's address.
type door struct {
	gate    *gate
	address string
	turn    chan struct{} // holds one element while somebody tries an address that is not proven

	mu       sync.Mutex
	proven   bool   // an attempt was accepted, and none refused since
	answered bool   // an attempt was accepted ever
	rounds   int    // attempts that are over
	failed   error  // the last one's, unless its caller gave up
	last     error  // the last refusal
	stamp    string // of the credentials that were refused
	pause    time.Duration
	next     time.Time
}

func (g *gate) door(address string) *door {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.doors[address]
	if d == nil {
		d = &door{gate: g, address: address, turn: make(chan struct{}, 1)}
		g.doors[address] = d
	}
	return d
}

// pass makes the attempt, or returns the last refusal while it is too early for
// another one. As long as an address is not proven it is tried by one at a time,
// and all who wait share what becomes of that.
func (g *gate) pass(ctx context.Context, address string, stamp func() string, attempt func(*door) (net.Conn, error)) (net.Conn, error) {
	d := g.door(address)
	if proven, before := d.state(); !proven {
		select {
		case d.turn <- struct{}{}:
			defer func() { <-d.turn }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if err := d.closed(stamp(), before); err != nil {
			return nil, err
		}
	}
	with := stamp()
	conn, err := attempt(d)
	d.over(ctx, err)
	if refused, ok := errors.AsType[*refusal](err); ok {
		d.refuse(refused, with)
	}
	return conn, err
}

func (d *door) state() (proven bool, rounds int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.proven, d.rounds
}

func (d *door) over(ctx context.Context, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rounds, d.failed = d.rounds+1, err
	if ctx.Err() != nil {
		d.failed = nil
	}
}

// closed is the failure of an attempt since that round, or else the refusal
// that still holds for credentials of that stamp.
func (d *door) closed(stamp string, before int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.proven && d.rounds != before && d.failed != nil {
		return d.failed
	}
	if d.last != nil && d.stamp == stamp && time.Now().Before(d.next) {
		return d.last
	}
	return nil
}

// refuse notes a refusal, and tells about it unless it is known, of this broker
// or of another.
func (d *door) refuse(err *refusal, stamp string) {
	news := d.gate.begins(d.address, standing{reason: err.reason(), stamp: stamp})
	d.mu.Lock()
	defer d.mu.Unlock()
	if news {
		d.gate.log.Error("a Kafka broker refuses the connection: trying again, ever more rarely",
			"broker", d.address, "code", string(err.code), "error", err.reason())
	}
	now := time.Now()
	if d.last == nil || d.stamp != stamp {
		d.pause, d.next = 0, now
	}
	if !now.Before(d.next) { // not one of several at once
		most := refusedCap
		if err.code == CodeUnavailable {
			most = unsureCap
		}
		d.pause = min(max(2*d.pause, refusedBase), most)
		d.next = now.Add(d.pause)
	}
	d.proven, d.last, d.stamp = false, err, stamp
}

// accept notes that the broker takes credentials of that stamp, and tells about
// it if that was the last refusal.
func (d *door) accept(stamp string) {
	d.mu.Lock()
	d.proven, d.answered, d.last = true, true, nil
	d.mu.Unlock()
	if d.gate.ends(d.address, stamp) {
		d.gate.log.Info("no Kafka broker refuses the connection any more", "broker", d.address)
	}
}

// known reports that the address has answered before.
func (d *door) known() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answered
}

// begins notes that a broker refuses, and reports whether no other does for the
// same reason, and it did not itself.
func (g *gate) begins(address string, now standing) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	news := true
	for _, known := range g.refusing {
		news = news && known.reason != now.reason
	}
	g.refusing[address] = now
	return news
}

// ends notes that a broker takes credentials of that stamp, and reports whether
// none refuses any more, where one did. A refusal of other credentials is over as
// well: the broker that it came from has not been asked with these, and where
// nobody needs it, never will be.
func (g *gate) ends(address, stamp string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := len(g.refusing)
	maps.DeleteFunc(g.refusing, func(at string, r standing) bool { return at == address || r.stamp != stamp })
	return before > 0 && len(g.refusing) == 0
}
