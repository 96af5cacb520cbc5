package connector

import (
	"slices"
	"strings"
	"time"
)

// ring is a challenge that was made, or may have been, for the guard's count.
// The zero value is none.
type ring struct {
	identity hash // keyed, of service and identity
	factor   hash // keyed
	at       time.Time
	pending  time.Time // when it expires; zero: it is not pending
}

func (r ring) counts() bool { return r.identity != hash{} }

// rings is what the guard remembers of one partition: the ledger's own entries,
// by identity. It belongs to a ledger, which one lane at a time may use. Nil
// remembers nothing.
//
// Nothing is forgotten within the retention, so its memory is bounded by the
// creates of that time: about 400 bytes each.
type rings struct {
	retention  time.Duration
	byID       map[hash]*rung   // by the request's id
	bySID      map[string]*rung // by the challenge in lower case, where it is known
	byIdentity ringIndex
	byFactor   ringIndex
	queue      []*rung // in the order in which they came, which is almost that of their times
}

// ringIndex is rings by a hash, the oldest first.
type ringIndex map[hash][]*rung

type rung struct {
	ring
	id  hash
	sid string // of the challenge; empty: not known
}

func newRings(cfg GuardConfig) *rings {
	if !cfg.watches() {
		return nil
	}
	r := &rings{retention: cfg.retention()}
	r.clear()
	return r
}

func (r *rings) clear() {
	r.byID, r.bySID, r.byIdentity, r.byFactor, r.queue = map[hash]*rung{}, map[string]*rung{}, ringIndex{}, ringIndex{}, nil
}

// note remembers what became of a request id. Whatever was noted for it before is
// forgotten: the younger word on an id is the true one.
func (r *rings) note(id hash, sid string, is ring) {
	if r == nil {
		return
	}
	r.forget(id)
	if !is.counts() {
		return
	}
	one := &rung{ring: is, id: id, sid: sid}
	r.byID[id] = one
	if sid != "" {
		r.bySID[strings.ToLower(sid)] = one
	}
	r.byIdentity.add(is.identity, one)
	r.byFactor.add(is.factor, one)
	r.queue = append(r.queue, one)
}

func (r *rings) forget(id hash) {
	one := r.byID[id]
	if one == nil {
		return
	}
	delete(r.byID, id)
	if sid := strings.ToLower(one.sid); r.bySID[sid] == one {
		delete(r.bySID, sid)
	}
	r.byIdentity.remove(one.identity, one)
	r.byFactor.remove(one.factor, one)
}

func (x ringIndex) add(under hash, one *rung) {
	all := x[under]
	at := len(all)
	for at > 0 && all[at-1].at.After(one.at) { // nearly always the last
		at--
	}
	x[under] = slices.Insert(all, at, one)
}

func (x ringIndex) remove(under hash, one *rung) {
	all := x[under]
	switch at := slices.Index(all, one); {
	case len(all) == 1:
		delete(x, under)
	case at == 0: // what has become too old is the first
		all[0] = nil
		x[under] = all[1:]
	default:
		x[under] = slices.Delete(all, at, at+1)
	}
}

// expire forgets what no limit can ask for any more.
func (r *rings) expire(now time.Time) {
	if r == nil {
		return
	}
	for len(r.queue) > 0 {
		one := r.queue[0]
		if known := r.byID[one.id] == one; known && now.Sub(one.at) <= r.retention {
			return
		} else if known {
			r.forget(one.id)
		}
		r.queue[0] = nil
		r.queue = r.queue[1:]
	}
}

// of returns what is remembered of an identity, the oldest first. The caller must
// not keep it.
func (r *rings) of(identity hash) []*rung { return r.byIdentity[identity] }

// ofFactor is the same for one factor of it.
func (r *rings) ofFactor(factor hash) []*rung { return r.byFactor[factor] }

// answered takes note that a challenge of an identity is no longer pending and
// returns the request id that it was made for; false where nothing changes. A SID
// is hexadecimal, and a request may spell it in another case than the API did.
func (r *rings) answered(identity hash, sid string) (id hash, changed bool) {
	one := r.bySID[strings.ToLower(sid)]
	if one == nil || one.identity != identity || one.pending.IsZero() {
		return hash{}, false
	}
	one.pending = time.Time{}
	return one.id, true
}
