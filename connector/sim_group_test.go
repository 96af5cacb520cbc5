package connector

import (
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// simGroup is the coordinator of the consumer group. mu of the sim guards it.
type simGroup struct {
	w          *sim
	generation int
	rotation   int
	preparing  bool
	since      time.Time // of the rebalance under way
	members    map[string]*simMember
	owner      []string // of each partition, by the last assignment
}

// simMember is a member as the coordinator knows it.
type simMember struct {
	id       string
	joined   bool // it waits for the next generation
	seen     time.Time
	assigned chan simAssignment // capacity 1
}

// simAssignment is what a member gets.
type simAssignment struct {
	member     string
	generation int
	parts      []int
}

var (
	errSimFenced    = &kafka.Error{Code: kafka.CodeFenced, Op: "sim", Err: errSim("a later producer has taken over")}
	errSimBusy      = &kafka.Error{Code: kafka.CodeUnavailable, Op: "sim", Err: errSim("another transaction is open")}
	errSimLost      = &kafka.Error{Code: kafka.CodeUnavailable, Op: "sim", Err: errSim("no answer")}
	errSimEnded     = &kafka.Error{Code: kafka.CodeCanceled, Op: "sim", Err: errSim("the caller has given up")}
	errSimStale     = &kafka.Error{Code: kafka.CodeOwnershipLost, Op: "sim", Err: errSim("no such member in this generation")}
	errSimRebalance = &kafka.Error{Code: kafka.CodeUnavailable, Op: "sim", Err: errSim("the group rebalances")}
)

// errSim is a cause.
type errSim string

func (e errSim) Error() string { return string(e) }

func newSimGroup(w *sim) *simGroup {
	return &simGroup{w: w, members: map[string]*simMember{}, owner: make([]string, w.plan.partitions)}
}

// validate is what the coordinator asks of everything that names a member.
func (g *simGroup) validate(member string, generation int) error {
	m := g.members[member]
	if m == nil || generation != g.generation || m.joined {
		return errSimStale
	}
	m.seen = time.Now()
	return nil
}

// heartbeat is validate, and tells that the group rebalances.
func (g *simGroup) heartbeat(member string, generation int) error {
	if err := g.validate(member, generation); err != nil {
		return err
	}
	if g.preparing {
		return errSimRebalance
	}
	return nil
}

// join makes a member wait for the next generation.
func (g *simGroup) join(id string) *simMember {
	m := g.members[id]
	if m == nil {
		m = &simMember{id: id}
		g.members[id] = m
	}
	if !m.joined {
		m.joined, m.assigned = true, make(chan simAssignment, 1)
		g.prepare("join of " + id)
	}
	m.seen = time.Now()
	return m
}

func (g *simGroup) leave(id string) {
	if g.members[id] != nil {
		delete(g.members, id)
		g.prepare("leave of " + id)
	}
}

func (g *simGroup) prepare(why string) {
	if !g.preparing {
		g.preparing, g.since = true, time.Now()
		g.w.note("group prepares a rebalance: %s", why)
	}
}

// tick does what time does to a group.
func (g *simGroup) tick(now time.Time) {
	for _, id := range g.ids() {
		m := g.members[id]
		late := g.preparing && now.Sub(g.since) > simRebalance
		if !m.joined && (now.Sub(m.seen) > simSessionTime || late) {
			g.w.note("group drops %s", id)
			g.w.saw("member dropped")
			delete(g.members, id)
			g.prepare("drop of " + id)
		}
	}
	if !g.preparing || now.Sub(g.since) < 300*time.Millisecond {
		return
	}
	for _, m := range g.members {
		if !m.joined {
			return
		}
	}
	g.assign(now)
}

func (g *simGroup) ids() []string {
	ids := make([]string, 0, len(g.members))
	for id := range g.members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// assign begins a generation.
func (g *simGroup) assign(now time.Time) {
	g.preparing = false
	g.generation++
	g.rotation += g.w.below(3, "rotation")
	ids := g.ids()
	shares := map[string][]int{}
	for part := range g.owner {
		g.owner[part] = ""
		if len(ids) > 0 {
			id := ids[(part+g.rotation)%len(ids)]
			g.owner[part] = id
			shares[id] = append(shares[id], part)
		}
	}
	g.w.note("generation %d: %v", g.generation, shares)
	g.w.saw("generation")
	for _, id := range ids {
		m := g.members[id]
		m.joined, m.seen = false, now
		m.assigned <- simAssignment{id, g.generation, shares[id]}
	}
}
