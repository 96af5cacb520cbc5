package connector

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// guardLimit names one of the guard's limits, as the metric does.
type guardLimit string

// The limits.
const (
	limitIdentityCreates guardLimit = "identity_creates"
	limitIdentityPending guardLimit = "identity_pending"
	limitFactorCreates   guardLimit = "factor_creates"
	limitFactorPending   guardLimit = "factor_pending"
)

var guardLimits = []guardLimit{limitIdentityCreates, limitIdentityPending, limitFactorCreates, limitFactorPending}

// guard counts the creates of a lane that ring a phone. What has ended is in the
// rings of its ledger, which outlive the lane; what is under way is held here. A
// create holds its place from the moment at which it is let through, or, where a
// former owner may have called it, is taken in, until it has its outcome. So at
// any moment no more have been made within the period, or can still be, than the
// limits allow.
type guard struct {
	cfg   GuardConfig
	rings *rings // nil: it is off
	held  map[hash][]*entry
}

func newGuard(cfg GuardConfig, r *rings) *guard {
	return &guard{cfg: cfg, rings: r, held: map[hash][]*entry{}}
}

// guarded is what the guard knows of a record. The zero value is not watched.
type guarded struct {
	identity hash
	factor   hash
	held     bool // it counts
	passed   bool // it was let through
}

func (g guarded) watched() bool { return g.identity != hash{} }

// watch gives a record what it is counted by. A create that only checks a TOTP
// code rings nobody.
func (g *guard) watch(e *entry, m *marker) {
	if g.rings == nil {
		return
	}
	c := e.req.Create
	if c == nil || c.AuthPayload != "" && (c.Details == nil || c.Details.Message == "") {
		return
	}
	e.guard.identity, e.guard.factor = m.ringHashes(e.req)
}

func (g *guard) hold(e *entry) {
	if e.guard.watched() && !e.guard.held {
		e.guard.held = true
		g.held[e.guard.identity] = append(g.held[e.guard.identity], e)
	}
}

// unknown reports that no ring is remembered for the request of e, which would
// count in its place.
func (g *guard) unknown(e *entry) bool { return g.rings != nil && g.rings.byID[e.id] == nil }

func (g *guard) release(e *entry) {
	if !e.guard.held {
		return
	}
	e.guard.held = false
	rest := slices.DeleteFunc(g.held[e.guard.identity], func(other *entry) bool { return other == e })
	if g.held[e.guard.identity] = rest; len(rest) == 0 {
		delete(g.held, e.guard.identity)
	}
}

// excess is a limit that a create would exceed.
type excess struct {
	limit guardLimit
	text  string    // the limit in words
	until time.Time // when it would be let through, if nothing else comes; zero: not known
}

// exceeds reports the first limit that one more create would exceed. now is by
// our clock, apiNow by the API's.
func (g *guard) exceeds(e *entry, now, apiNow time.Time) (excess, bool) {
	var identity, factor tally
	for _, one := range g.rings.of(e.guard.identity) {
		if one.id == e.id {
			continue // an earlier try of the same request
		}
		identity.add(one, g.cfg.Period, now, apiNow)
		if one.factor == e.guard.factor {
			factor.add(one, g.cfg.Period, now, apiNow)
		}
	}
	for _, other := range g.held[e.guard.identity] {
		if other == e {
			continue
		}
		identity.open++
		if other.guard.factor == e.guard.factor {
			factor.open++
		}
	}
	for _, check := range []struct {
		limit guardLimit
		most  int
		open  int
		ends  []time.Time
		text  string
	}{
		{limitIdentityCreates, g.cfg.Identity.Creates, identity.open, identity.creates, "creates for one identity within " + shortDuration(g.cfg.Period)},
		{limitFactorCreates, g.cfg.Factor.Creates, factor.open, factor.creates, "creates for one factor within " + shortDuration(g.cfg.Period)},
		{limitIdentityPending, g.cfg.Identity.Pending, identity.open, identity.pending, "challenges of one identity pending at once"},
		{limitFactorPending, g.cfg.Factor.Pending, factor.open, factor.pending, "challenges of one factor pending at once"},
	} {
		if over := check.open + len(check.ends) - check.most; check.most > 0 && over >= 0 {
			out := excess{limit: check.limit, text: fmt.Sprintf("%d %s", check.most, check.text)}
			if over < len(check.ends) {
				slices.SortFunc(check.ends, time.Time.Compare)
				out.until = check.ends[over]
			}
			return out, true
		}
	}
	return excess{}, false
}

// tally is what counts towards the limits of an identity or a factor: what is
// under way, and when each of the others stops to count.
type tally struct {
	open             int
	creates, pending []time.Time
}

func (t *tally) add(r *rung, period time.Duration, now, apiNow time.Time) {
	if end := r.at.Add(period); end.After(now) {
		t.creates = append(t.creates, end)
	}
	if r.pending.After(apiNow) {
		t.pending = append(t.pending, r.pending)
	}
}

// guardCheck lets a create through, or returns the outcome of one that would
// ring once too often. One that may have been called already is looked for first:
// then it is only counted.
func (l *lane) guardCheck(e *entry, now time.Time) *outcome {
	if !e.guard.watched() || e.guard.passed {
		return nil
	}
	if e.uncertain {
		l.guard.hold(e)
		return nil
	}
	over, exceeded := l.guard.exceeds(e, now, e.acct.now())
	if exceeded {
		l.cfg.stats.guarded(over.limit, l.guard.cfg.Mode)
		if l.guard.cfg.Mode == GuardOn {
			l.trouble.Warn("creates beyond a limit of the guard are rejected", "limit", string(over.limit))
			o := tooOften(e, over, now)
			return &o
		}
		l.trouble.Warn("a dry run: creates beyond a limit of the guard are called all the same", "limit", string(over.limit))
	}
	e.guard.passed = true
	l.guard.hold(e)
	if !strings.EqualFold(string(e.rec.Key), e.req.Identity) {
		l.trouble.Warn("the guard counts within a partition, and creates come whose key is not their identity: " +
			"unless a partitioner of your own keeps an identity in one partition, each partition allows the limits anew")
	}
	return nil
}

// guardEnded takes a record's outcome into account: a create that rang, or may
// have, is remembered; an answer that shows a challenge as answered ends its wait.
func (l *lane) guardEnded(o *outcome) {
	e := o.entry
	if l.guard.rings == nil || e.req == nil || e.acct == nil {
		return
	}
	if !e.guard.watched() {
		l.guardLearns(o)
		return
	}
	l.guard.release(e)
	if o.suppressed || o.unnoted {
		return
	}
	if e.ring = ringOf(o); e.ring.counts() {
		l.guard.rings.note(e.id, challengeSID(o), e.ring)
	} else {
		l.guard.rings.forget(e.id)
	}
}

// defaultLifetime is how long a challenge lives that was made without an
// expiration date (API specification).
const defaultLifetime = 5 * time.Minute

// ringOf is the ring that a create's outcome stands for. One whose end is not
// known counts as made.
func ringOf(o *outcome) ring {
	e := o.entry
	r := ring{identity: e.guard.identity, factor: e.guard.factor, at: o.ended}
	expires := e.acct.now().Add(defaultLifetime)
	if at := e.req.Create.ExpirationDate; at != nil {
		expires = *at
	}
	switch {
	case o.outcome == schemas.OutcomeSucceeded, o.outcome == schemas.OutcomeAdopted:
		c, _ := shownIn(o.answer.challenge)
		if c.FactorType == read.FactorTOTP {
			return ring{}
		}
		if c.ExpirationDate != nil {
			expires = *c.ExpirationDate
		}
		if c.Status == read.StatusPending || c.Status == "" {
			r.pending = expires
		}
	case o.err != nil && o.err.Class == schemas.ClassAmbiguous:
		r.pending = expires
	default:
		return ring{}
	}
	return r
}

// shown is what the guard reads of a challenge.
type shown struct {
	SID            string          `json:"sid"`
	Status         read.Status     `json:"status"`
	FactorType     read.FactorType `json:"factor_type"`
	ExpirationDate *time.Time      `json:"expiration_date"`
}

func shownIn(challenge json.RawMessage) (shown, bool) {
	var c shown
	return c, json.Unmarshal(challenge, &c) == nil
}

// guardLearns takes from the answer to a read or an update which challenges are
// no longer pending. What it learns goes to the ledger with the next commit.
func (l *lane) guardLearns(o *outcome) {
	e := o.entry
	identity, _ := l.cfg.marker.ringHashes(e.req)
	if len(l.guard.rings.of(identity)) == 0 {
		return
	}
	if o.err != nil && (o.err.Code == codeResponded || o.err.Code == codeExpired) {
		l.guardAnswered(identity, e.req.ChallengeSID)
	}
	for _, raw := range append(slices.Clip(o.answer.challenges), o.answer.challenge) {
		if c, ok := shownIn(raw); ok && c.Status != "" && c.Status != read.StatusPending {
			l.guardAnswered(identity, c.SID)
		}
	}
}

func (l *lane) guardAnswered(identity hash, sid string) {
	if id, changed := l.guard.rings.answered(identity, sid); changed {
		l.answered = append(l.answered, id)
	}
}

// answeredEntries are the ledger entries, written anew, of challenges that are no
// longer pending. Those whose entry is not committed yet wait for the next commit.
func (l *lane) answeredEntries(now time.Time) []seenEntry {
	var out []seenEntry
	later := l.answered[:0]
	for _, id := range l.answered {
		one := l.guard.rings.byID[id]
		seen, ok := l.ledger.lookup(id, now)
		switch {
		case one == nil || !one.pending.IsZero():
		case !ok || seen.sid != one.sid:
			later = append(later, id)
		default:
			seen.ring = one.ring
			out = append(out, seenEntry{id, seen})
		}
	}
	l.answered = later
	return out
}

// tooOften is the outcome of a create that the guard forbids.
func tooOften(e *entry, over excess, now time.Time) outcome {
	message := "the push-fatigue guard allows " + over.text + ": nothing was called"
	if !over.until.IsZero() {
		message += "; the next is allowed from about " + over.until.UTC().Format(time.RFC3339)
	}
	return outcome{
		entry: e, outcome: schemas.OutcomeRejected, called: e.called, ended: now,
		err: &schemas.Error{Class: schemas.ClassGuard, Message: message, Limit: over.text},
	}
}
