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
	held  map[hash]map[*entry]struct{}
	ids   map[hash]int // how many entries of a request id are held
}

func newGuard(cfg GuardConfig, r *rings) *guard {
	return &guard{cfg: cfg, rings: r, held: map[hash]map[*entry]struct{}{}, ids: map[hash]int{}}
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
	if !e.guard.watched() || e.guard.held {
		return
	}
	e.guard.held = true
	if g.held[e.guard.identity] == nil {
		g.held[e.guard.identity] = map[*entry]struct{}{}
	}
	g.held[e.guard.identity][e] = struct{}{}
	g.ids[e.id]++
}

func (g *guard) release(e *entry) {
	if !e.guard.held {
		return
	}
	e.guard.held = false
	if delete(g.held[e.guard.identity], e); len(g.held[e.guard.identity]) == 0 {
		delete(g.held, e.guard.identity)
	}
	if g.ids[e.id]--; g.ids[e.id] == 0 {
		delete(g.ids, e.id)
	}
}

// excess is a limit that a create would exceed.
type excess struct {
	limit guardLimit
	text  string    // the limit in words
	until time.Time // when it would be let through, if nothing else comes; zero: not known
}

// exceeds reports the first limit that one more create would exceed. now is by
// our clock, apiNow by the API's. It looks no further back than to where all
// limits are reached: somebody's flood must cost the others of the lane as little as can be.
func (g *guard) exceeds(e *entry, now, apiNow time.Time) (excess, bool) {
	tallies := []*tally{
		{limit: limitIdentityCreates, most: g.cfg.Identity.Creates},
		{limit: limitFactorCreates, most: g.cfg.Factor.Creates, factor: true},
		{limit: limitIdentityPending, most: g.cfg.Identity.Pending, pending: true},
		{limit: limitFactorPending, most: g.cfg.Factor.Pending, factor: true, pending: true},
	}
	tallies = slices.DeleteFunc(tallies, func(t *tally) bool { return t.most == 0 })
	counted := map[hash]struct{}{} // ids that stand in several records
	for other := range g.held[e.guard.identity] {
		if other.id == e.id { // e itself, or a repetition, which has its outcome from e
			continue
		}
		if g.ids[other.id] > 1 {
			if _, before := counted[other.id]; before {
				continue
			}
			counted[other.id] = struct{}{}
		}
		full := true
		for _, t := range tallies {
			t.hold(other.guard.factor == e.guard.factor)
			full = full && t.full()
		}
		if full {
			break
		}
	}
	// Each kind looks through what it counts alone, so that a factor without a limit
	// to reach does not lead through all that its identity was flooded with.
	g.addRings(g.rings.of(e.guard.identity), tallies, false, now, apiNow)
	g.addRings(g.rings.ofFactor(e.guard.factor), tallies, true, now, apiNow)
	var out excess
	for _, t := range tallies {
		if !t.full() {
			continue
		}
		if out.limit == "" {
			out = excess{limit: t.limit, text: t.words(g.cfg.Period), until: t.until}
		}
		if t.until.IsZero() || out.until.IsZero() {
			out.until = time.Time{}
		} else if t.until.After(out.until) {
			out.until = t.until
		}
	}
	return out, out.limit != ""
}

// addRings counts rings, the newest first, towards the limits of factors or towards
// those of identities, until these are reached.
func (g *guard) addRings(all []*rung, tallies []*tally, factors bool, now, apiNow time.Time) {
	open := func(t *tally) bool { return t.factor == factors && !t.full() }
	for _, one := range slices.Backward(all) {
		if !slices.ContainsFunc(tallies, open) {
			return
		}
		if g.ids[one.id] > 0 {
			continue // an earlier try of a request that holds its place
		}
		for _, t := range tallies {
			if open(t) {
				t.add(one, g.cfg.Period, now, apiNow)
			}
		}
	}
}

// tally counts what there is towards one limit, the newest first, until it is
// reached.
type tally struct {
	limit           guardLimit
	most            int
	factor, pending bool

	n     int
	until time.Time // when the one of those counted that ends first stops to count; zero: not known
}

func (t *tally) full() bool { return t.n >= t.most }

// words is the limit as a result tells it.
func (t *tally) words(period time.Duration) string {
	of := "identity"
	if t.factor {
		of = "factor"
	}
	if t.pending {
		return fmt.Sprintf("%d challenges of one %s pending at once", t.most, of)
	}
	return fmt.Sprintf("%d creates for one %s within %s", t.most, of, shortDuration(period))
}

// hold counts one that is under way.
func (t *tally) hold(sameFactor bool) {
	if !t.full() && (sameFactor || !t.factor) {
		t.n++
	}
}

// add counts a ring that the limit is about, if it still counts.
func (t *tally) add(r *rung, period time.Duration, now, apiNow time.Time) {
	end, at := r.at.Add(period), now
	if t.pending {
		end, at = r.pending, apiNow
	}
	if !end.After(at) {
		return
	}
	t.n++
	if t.until.IsZero() || end.Before(t.until) {
		t.until = end
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
	if string(e.rec.Key) != strings.ToLower(e.req.Identity) {
		l.trouble.Warn("the guard counts within a partition, and creates come whose key is not their identity in lower case: " +
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
	if e.ring = l.ringOf(o); e.ring.counts() {
		l.guard.rings.note(e.id, challengeSID(o), e.ring)
	} else {
		l.guard.rings.forget(e.id)
	}
}

// ringOf is the ring that a create's outcome stands for. One whose end is not
// known counts as made at the last moment at which it can have been: no create is
// sent after its deadline. One that was found counts from when it was made.
func (l *lane) ringOf(o *outcome) ring {
	e := o.entry
	at := o.ended
	ahead := e.acct.clock.now(at).Sub(at) // of the API's clock
	var pending *time.Time
	switch {
	case o.outcome == schemas.OutcomeSucceeded, o.outcome == schemas.OutcomeAdopted:
		c, _ := shownIn(o.answer.challenge)
		if c.FactorType == read.FactorTOTP {
			return ring{}
		}
		if c.DateCreated != nil && o.outcome == schemas.OutcomeAdopted && !o.answer.date.IsZero() {
			// Both times are the API's, each cut to the second, so its clock does not matter.
			age := o.answer.date.Sub(*c.DateCreated)
			at = earlier(at, at.Add(2*time.Second-age))
		}
		if pending = c.ExpirationDate; c.Status != read.StatusPending && c.Status != "" {
			pending = new(time.Time)
		}
	case o.err != nil && o.err.Class == schemas.ClassAmbiguous:
		// By the API's clock, which may be off by as much as looks allow for.
		settle := l.cfg.recovery.settleFor(e.acct.timeout)
		if at = earlier(at, deadline(e).Add(settle+creationTolerance)); !e.lastSend.IsZero() {
			at = earlier(at, e.lastSend.Add(settle))
		}
	default:
		return ring{}
	}
	if at.Before(o.ended.Add(-maxGuardPeriod)) {
		at = o.ended.Add(-maxGuardPeriod) // it counts towards nothing, however wrong the date is
	}
	if pending == nil {
		pending = e.req.Create.ExpirationDate
	}
	r := ring{identity: e.guard.identity, factor: e.guard.factor, at: at, pending: at.Add(ahead + defaultLifetime)}
	if pending != nil {
		r.pending = earlier(*pending, at.Add(ahead+maxAge)) // none lives longer
	}
	if !r.pending.After(o.ended.Add(ahead)) {
		r.pending = time.Time{}
	}
	return r
}

// defaultLifetime is how long a challenge lives that was made without an
// expiration date (API specification).
const defaultLifetime = 5 * time.Minute

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// shown is what the guard reads of a challenge.
type shown struct {
	SID            string          `json:"sid"`
	Status         read.Status     `json:"status"`
	FactorType     read.FactorType `json:"factor_type"`
	DateCreated    *time.Time      `json:"date_created"`
	ExpirationDate *time.Time      `json:"expiration_date"`
}

func shownIn(challenge json.RawMessage) (shown, bool) {
	var c shown
	err := json.Unmarshal(challenge, &c)
	return c, err == nil
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
