package connector

import (
	"slices"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// query asks for the challenges of a factor, newest first, back to a moment.
type query struct {
	serviceSID, identity, factorSID string
	backTo                          time.Time
	maxPages                        int
}

// sighting is what a query found.
type sighting struct {
	challenges []read.Challenge // that carry a marker
	// complete: nothing that was created at or after query.backTo is missing for
	// want of pages.
	complete bool
	date     time.Time // of the first page's answer; zero: unknown
	last     time.Time // of the last page's answer; zero: unknown
	// requestID is the API's id of the last page's answer.
	requestID string
}

// What needs no setting.
const (
	// creationTolerance is how far the API's clock may be behind the clock that
	// dated a record.
	creationTolerance = 5 * time.Minute
	// maxAge is how old a record may be and still be settled by what the API
	// shows: no challenge lives longer than 60 minutes.
	maxAge = 60 * time.Minute
	// codeLife is how long after its record a TOTP code may still be good: two
	// steps of the default 30 seconds.
	codeLife = 60 * time.Second
	// lookPageSize balances the answer's size against the number of pages.
	lookPageSize = 100
	// maxListings bounds what is remembered of the looks at one factor.
	maxListings = 8
)

// listing is one complete look at the API.
type listing struct {
	began  time.Time // by our clock
	asOf   time.Time // by the API's: nothing is missing that was shown by then
	until  time.Time // by the API's: what it has forgotten since may be missing
	backTo time.Time
}

// factorKey is whose challenges one List shows.
type factorKey struct {
	acct                            *account
	serviceSID, identity, factorSID string
}

// evidence is what the lane knows of one factor's challenges from looking. One
// look serves all uncertain creates of the factor.
type evidence struct {
	doubts   map[*entry]struct{} // the factor's uncertain creates in the window
	listings []listing           // oldest first
	seen     map[string]read.Challenge
	capped   *listing // the last look that ran into the page cap
	busy     bool     // a look is under way
	waiting  []*entry // for it
	// requestID is the API's id of its last answer, date the API's time of it; zero:
	// unknown.
	requestID string
	date      time.Time
}

// looks is what a lane has seen at the API since it began.
type looks struct{ factors map[factorKey]*evidence }

func keyOf(e *entry) factorKey {
	return factorKey{e.acct, e.req.ServiceSID, e.req.Identity, e.req.Create.FactorSID}
}

func (k *looks) of(e *entry) *evidence {
	if k.factors == nil {
		k.factors = map[factorKey]*evidence{}
	}
	ev := k.factors[keyOf(e)]
	if ev == nil {
		ev = &evidence{doubts: map[*entry]struct{}{}, seen: map[string]read.Challenge{}}
		k.factors[keyOf(e)] = ev
	}
	return ev
}

// take adds a look. One that ran into the page cap shows what is there, but
// nothing of what is not.
func (ev *evidence) take(s sighting, l listing) {
	for i := range s.challenges {
		mark, ok := s.challenges[i].HiddenDetails.Text(schemas.MarkerKey)
		// The newest comes first, and an id may have been used the day before.
		if known, twice := ev.seen[mark]; ok && (!twice || createdAt(known).Before(createdAt(s.challenges[i]))) {
			ev.seen[mark] = s.challenges[i]
		}
	}
	if !s.complete {
		ev.capped = &l
		return
	}
	if len(ev.listings) == maxListings {
		// The first proves that time has passed, so it is the second that goes.
		ev.listings = append(ev.listings[:1], ev.listings[2:]...)
	}
	ev.listings = append(ev.listings, l)
}

// likeness is how much a challenge that carries a create's marker is its own.
type likeness uint8

const (
	unlike likeness = iota // none was seen, or it is older than the request can be
	alike                  // its own: marker, factor and text are right, and so is the time
	odd                    // its marker, but something else is not right: nobody can tell
)

// match looks for the challenge that was created for e. The marker stands for
// deployment, id and body; the rest is compared all the same, because adopting
// another's challenge would be as wrong as making one twice.
func (ev *evidence) match(e *entry) (read.Challenge, likeness) {
	c, ok := ev.seen[e.marker]
	if !ok || !carriesMark(c.HiddenDetails, e.marker) {
		return read.Challenge{}, unlike
	}
	created := createdAt(c)
	switch {
	case created.IsZero(), c.FactorSID != e.req.Create.FactorSID, !sameDetails(c.Details, e.req.Create.Details):
		return c, odd
	case !created.Before(lookFrom(e)):
		return c, alike
	case created.Before(e.since.Add(-maxAge)):
		return c, unlike // from an earlier use of the same id
	default:
		return c, odd
	}
}

// createdAt is zero where the API does not say it.
func createdAt(c read.Challenge) time.Time {
	if c.DateCreated == nil {
		return time.Time{}
	}
	return *c.DateCreated
}

// sameDetails compares what the user is shown. The API adds a date of its own.
func sameDetails(got *read.Details, want *schemas.Details) bool {
	var g read.Details
	var w schemas.Details
	if got != nil {
		g = *got
	}
	if want != nil {
		w = *want
	}
	if g.Message != w.Message || len(g.Fields) != len(w.Fields) {
		return false
	}
	for i, f := range g.Fields {
		if f.Label != w.Fields[i].Label || f.Value != w.Fields[i].Value {
			return false
		}
	}
	return true
}

// lookFrom is the moment before which no challenge can be e's.
func lookFrom(e *entry) time.Time { return e.since.Add(-creationTolerance) }

// counts reports whether a look can prove anything about e: it began after the
// last send that may have been made for it and reached back far enough.
func (l listing) counts(e *entry) bool {
	return !l.began.Before(e.lastSend) && !l.backTo.After(lookFrom(e))
}

// patience is how absence is proven: with two looks apart, the later of them no
// sooner than the settle time after the last possible send, by the API's clock.
type patience struct{ settle, apart time.Duration }

// absent reports whether the listings prove that nothing was created for e, or
// updated for it. What is no longer shown after an hour may have been there.
func (p patience) absent(e *entry, listings []listing) bool {
	end := patienceEnd(e)
	first, last, n := p.valid(e, slices.DeleteFunc(slices.Clone(listings), func(l listing) bool { return l.until.After(end) }))
	if n < 2 {
		return false
	}
	// Both clocks must say so: what is known of the API's may be two seconds off,
	// and it fades.
	return last.began.Sub(first.began) >= p.apart && last.began.Sub(e.lastSend) >= p.settle &&
		!last.asOf.Before(e.acct.clock.now(e.lastSend).Add(p.settle))
}

// next is when to look for e again.
func (p patience) next(e *entry, listings []listing, now time.Time) time.Time {
	first, last, n := p.valid(e, listings)
	if n == 0 {
		return now
	}
	// The Date header is cut to the second, so one more lets the look count.
	at := e.lastSend.Add(p.settle + time.Second)
	if apart := first.began.Add(p.apart); at.Before(apart) {
		at = apart
	}
	if n > 1 && !at.After(last.began) {
		// The API's clock lags: ask again, but not at once.
		at = last.began.Add(max(p.apart, time.Second))
	}
	return at
}

func (p patience) valid(e *entry, listings []listing) (first, last listing, n int) {
	for _, l := range listings {
		if !l.counts(e) {
			continue
		}
		if n == 0 {
			first = l
		}
		last = l
		n++
	}
	return first, last, n
}
