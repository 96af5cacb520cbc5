package phones

import (
	"cmp"
	"slices"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// The steps of a flow, in the order in which they are shown.
const (
	stepRequested = "requested"
	stepCreated   = "created"
	stepResult    = "result"
	stepAnswered  = "answered"
)

// flow is what became of one request. What tells of it may come in any order,
// so each step joins by what it knows.
type flow struct {
	seq      uint64
	ref      string // where the request stands in its topic; empty: no topic, or not read yet
	request  string // its id
	sid      string // of its challenge
	identity string
	message  string
	steps    []step
}

type step struct {
	kind, text string
	at         time.Time
}

// Requested is a request that stands in its topic.
type Requested struct {
	Ref       string // where, as Result names it; unique
	ID        string // as its writer chose it
	Identity  string // of a phone of the page: others are not shown
	FactorSID string
	Message   string
	At        time.Time
}

// Requested shows a request for one of the phones.
func (p *Page) Requested(r Requested) {
	b := p.book
	if !slices.ContainsFunc(b.phones, func(ph *phone) bool { return ph.factor == r.FactorSID }) {
		return
	}
	b.change(func() bool {
		f := b.find(func(f *flow) bool { return f.ref == r.Ref })
		if f == nil {
			f = b.find(func(f *flow) bool { return f.ref == "" && f.request != "" && f.request == r.ID })
		}
		if f == nil {
			f = b.begin(r.Identity)
		}
		f.ref, f.request, f.message = r.Ref, r.ID, r.Message
		f.add(stepRequested, "", r.At)
		return true
	})
}

// Result is a result, or a dead letter without one, that stands in its topic.
type Result struct {
	Ref      string // of the request, as Requested names it
	Identity string // of a phone of the page; empty: not known
	SID      string // of the challenge; empty: there is none
	Says     string // the outcome
}

// Result shows a result. It is passed over where its request has not been shown
// and its identity has no phone here.
func (p *Page) Result(r Result) {
	b := p.book
	now := b.now()
	b.change(func() bool {
		f := b.find(func(f *flow) bool { return f.ref == r.Ref })
		if f == nil && !slices.ContainsFunc(b.phones, func(ph *phone) bool { return ph.Identity == r.Identity }) {
			return false
		}
		if f == nil {
			f = b.begin(r.Identity) // the topics are read side by side
			f.ref = r.Ref
		}
		f.add(stepResult, r.Says, now)
		if r.SID == "" || f.sid == r.SID {
			return true
		}
		f.sid = r.SID
		// Its challenge may have been seen before, as one of nobody's request.
		other := b.find(func(o *flow) bool { return o != f && o.sid == r.SID })
		if other != nil {
			for _, s := range other.steps {
				f.add(s.kind, s.text, s.at)
			}
			f.message = cmp.Or(f.message, other.message)
			b.flows = slices.DeleteFunc(b.flows, func(o *flow) bool { return o == other })
		}
		return true
	})
}

// made shows a new challenge. The lock is held.
func (b *book) made(identity string, c emulator.Created) {
	request := ""
	if b.hidden != "" {
		request = c.HiddenDetails[b.hidden]
	}
	f := b.find(func(f *flow) bool { return f.sid == c.SID })
	if f == nil && request != "" {
		f = b.find(func(f *flow) bool { return f.sid == "" && f.request == request })
	}
	if f == nil {
		f = b.begin(identity)
		f.request = request
	}
	f.sid = c.SID
	f.add(stepCreated, "", c.At)
}

// told takes over a challenge's message where no request told it. The lock is held.
func (b *book) told(c *challenge) {
	if f := b.find(func(f *flow) bool { return f.sid == c.sid }); f != nil {
		f.message = cmp.Or(f.message, c.message)
	}
}

// answered shows how a challenge has ended. The lock is held.
func (b *book) answered(c *challenge) {
	if f := b.find(func(f *flow) bool { return f.sid == c.sid }); f != nil {
		f.add(stepAnswered, c.status, c.ended)
	}
}

// find returns the newest flow that fits, or nil. The lock is held.
func (b *book) find(fits func(*flow) bool) *flow {
	for _, f := range slices.Backward(b.flows) {
		if fits(f) {
			return f
		}
	}
	return nil
}

// begin starts a flow and drops the oldest where there are too many. The lock is held.
func (b *book) begin(identity string) *flow {
	b.flowSeq++
	f := &flow{seq: b.flowSeq, identity: identity}
	b.flows = append(b.flows, f)
	if len(b.flows) > maxFlows {
		b.flows = slices.Delete(b.flows, 0, len(b.flows)-maxFlows)
	}
	return f
}

// add notes a step once, and keeps the steps in their order.
func (f *flow) add(kind, text string, at time.Time) {
	if slices.ContainsFunc(f.steps, func(s step) bool { return s.kind == kind }) {
		return
	}
	f.steps = append(f.steps, step{kind: kind, text: text, at: at})
	order := []string{stepRequested, stepCreated, stepResult, stepAnswered}
	slices.SortStableFunc(f.steps, func(a, b step) int {
		return cmp.Compare(slices.Index(order, a.kind), slices.Index(order, b.kind))
	})
}
