package emulator

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts since the emulator was made. Requests under /_emulator/ are not
// counted.
type Stats struct {
	// Calls by operation, those that were refused, throttled or reset included.
	Calls map[Operation]int64 `json:"calls"`
	// Statuses counts answers; calls that were reset have none.
	Statuses map[int]int64 `json:"statuses"`
	// Creates counts challenges that were made, whatever their caller heard.
	Creates int64 `json:"creates"`
	// Concurrent is how many requests are being processed, ConcurrentMax the
	// most there have been at once.
	Concurrent    int64 `json:"concurrent"`
	ConcurrentMax int64 `json:"concurrent_max"`
	// Faults that struck, by kind.
	Faults map[FaultKind]int64 `json:"faults"`
	// Rules that decided an answer, by name: it would have been another one without them.
	Rules map[string]int64 `json:"rules"`
}

// stats holds the counters. The maps are complete from the start and never
// change, so that counting takes no lock.
type stats struct {
	calls    map[Operation]*atomic.Int64
	faults   map[FaultKind]*atomic.Int64
	rules    map[string]*atomic.Int64
	statuses [600]atomic.Int64
	creates  atomic.Int64
	inflight gauge
}

func newStats(places map[place]map[string]endpoint) *stats {
	s := &stats{
		calls:  map[Operation]*atomic.Int64{OperationUnknown: new(atomic.Int64)},
		faults: map[FaultKind]*atomic.Int64{},
		rules:  map[string]*atomic.Int64{},
	}
	for _, methods := range places {
		for _, ep := range methods {
			s.calls[ep.operation] = new(atomic.Int64)
		}
	}
	for _, k := range faultKinds() {
		s.faults[k] = new(atomic.Int64)
	}
	for _, name := range RuleNames() {
		s.rules[name] = new(atomic.Int64)
	}
	return s
}

func (s *stats) called(op Operation) { s.calls[op].Add(1) }

func (s *stats) answered(status int) { s.statuses[status].Add(1) }

// fault counts a fault; FaultNone is none.
func (s *stats) fault(k FaultKind) {
	if n, ok := s.faults[k]; ok {
		n.Add(1)
	}
}

// decided counts an answer that would be another one without the rule of that name.
func (x *exchange) decided(rule string) { x.e.stats.rules[rule].Add(1) }

// Stats returns the counters as they are now. What is zero is left out of maps.
func (e *Emulator) Stats() Stats {
	out := Stats{
		Calls: map[Operation]int64{}, Statuses: map[int]int64{}, Faults: map[FaultKind]int64{}, Rules: map[string]int64{},
		Creates: e.stats.creates.Load(), Concurrent: e.stats.inflight.now(), ConcurrentMax: e.stats.inflight.most.Load(),
	}
	for op, n := range e.stats.calls {
		if v := n.Load(); v > 0 {
			out.Calls[op] = v
		}
	}
	for k, n := range e.stats.faults {
		if v := n.Load(); v > 0 {
			out.Faults[k] = v
		}
	}
	for name, n := range e.stats.rules {
		if v := n.Load(); v > 0 {
			out.Rules[name] = v
		}
	}
	for status := range e.stats.statuses {
		if v := e.stats.statuses[status].Load(); v > 0 {
			out.Statuses[status] = v
		}
	}
	return out
}

// gauge counts what is going on and remembers the most.
type gauge struct{ current, most atomic.Int64 }

func (g *gauge) enter() {
	n := g.current.Add(1)
	for {
		most := g.most.Load()
		if n <= most || g.most.CompareAndSwap(most, n) {
			return
		}
	}
}

func (g *gauge) leave() { g.current.Add(-1) }

func (g *gauge) now() int64 { return g.current.Load() }

// Created is one challenge that was made.
type Created struct {
	// Seq counts from 1 in the order of making.
	Seq           uint64            `json:"seq"`
	SID           string            `json:"sid"`
	AccountSID    string            `json:"account_sid"`
	ServiceSID    string            `json:"service_sid"`
	Identity      string            `json:"identity"`
	FactorSID     string            `json:"factor_sid"`
	HiddenDetails map[string]string `json:"hidden_details"`
	At            time.Time         `json:"at"`
	// Fault struck the call that made it, or hides the challenge itself by a script.
	// Empty: none did.
	Fault FaultKind `json:"fault,omitempty"`
	// Answered says that some answer to the create was handed to a connection that
	// stood, which is no proof that the caller read it. It is false until then, and
	// stays false where the call was reset. Whoever has read an answer finds it true.
	Answered bool `json:"answered"`
}

// createdLog keeps what was made, in order.
type createdLog struct {
	mu      sync.Mutex
	limit   int // zero: none
	dropped uint64
	entries []Created // Seq dropped+1 and up
}

// add returns the entry's sequence number.
func (l *createdLog) add(c Created) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Seq = l.dropped + uint64(len(l.entries)) + 1
	l.entries = append(l.entries, c)
	if l.limit > 0 && len(l.entries) >= 2*l.limit {
		// Half is dropped at once, so that keeping a limit costs next to nothing.
		gone := len(l.entries) - l.limit
		l.dropped += uint64(gone)
		l.entries = append([]Created(nil), l.entries[gone:]...)
	}
	return c.Seq
}

// setAnswered does nothing for the sequence number 0 and for dropped entries.
func (l *createdLog) setAnswered(seq uint64, answered bool) {
	if seq == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq > l.dropped {
		l.entries[seq-l.dropped-1].Answered = answered
	}
}

// after returns up to limit entries above seq, and the last sequence number there is.
func (l *createdLog) after(seq uint64, limit int) (entries []Created, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last = l.dropped + uint64(len(l.entries))
	if seq >= last {
		return []Created{}, last
	}
	from := l.entries[max(seq, l.dropped)-l.dropped:]
	return append([]Created{}, from[:min(limit, len(from))]...), last
}

// Created returns every logged challenge in the order of making.
func (e *Emulator) Created() []Created {
	entries, _ := e.log.after(0, 1<<62)
	return entries
}

// CreatedAfter returns up to limit entries with a Seq above seq, and the
// highest Seq there is. Entries that Config.LogLimit dropped are passed over.
func (e *Emulator) CreatedAfter(seq uint64, limit int) (entries []Created, last uint64) {
	return e.log.after(seq, max(limit, 0))
}
