package connector

import (
	"errors"
	"strconv"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	apiverdict "github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/schemas"
)

// doubt takes note that a create or update may have been sent whose end is not
// known. It is looked for before anything else is done for its record.
func (l *lane) doubt(e *entry, end attemptEnd) {
	l.distrust(e, end.ended)
	if l.draining {
		if end.givenUp {
			l.abandoned++
		}
		e.enter(entryReady, end.ended, "the next owner of its partition")
		return
	}
	l.ready(e, end.ended)
}

// distrust marks e as uncertain: something may have been sent for it, at the
// given time at the latest.
func (l *lane) distrust(e *entry, sent time.Time) {
	if !e.uncertain {
		l.doubts++
	}
	e.uncertain = true
	if sent.After(e.lastSend) {
		e.lastSend = sent
	}
	if e.req.Operation == schemas.OperationCreate {
		l.looks.of(e).doubts[e] = struct{}{}
	}
}

// trust ends the doubt about e. What was seen of its factor is kept while
// somebody may still ask for it.
func (l *lane) trust(e *entry) {
	if !e.uncertain {
		return
	}
	e.uncertain = false
	l.doubts--
	if e.req.Operation != schemas.OperationCreate {
		return
	}
	delete(l.looks.of(e).doubts, e)
	l.forget(keyOf(e))
}

// forget drops what was seen of a factor, unless somebody waits for it or a
// record that is still to be taken in may ask.
func (l *lane) forget(factor factorKey) {
	ev := l.looks.factors[factor]
	if l.recovering() || len(ev.doubts) > 0 || ev.busy {
		return
	}
	delete(l.looks.factors, factor)
}

// recovering reports that records are still to be taken in that a former owner
// may have called.
func (l *lane) recovering() bool { return l.window.next < l.start.calledTo }

// The API's codes for a challenge that can no longer be updated (error
// dictionary, 60322 and 60323).
const (
	codeResponded = 60322
	codeExpired   = 60323
)

// The API's codes for what is not there: anything, a factor, an entity.
const (
	codeNotFound = 20404
	codeNoFactor = 60390
	codeNoEntity = 60392
)

// respondedAfterDoubt reports that the API refuses an update because the
// challenge has been answered, where an earlier try may have done that.
func respondedAfterDoubt(e *entry, err error) bool {
	api, ok := errors.AsType[*read.APIError](err)
	return ok && e.req.Operation == schemas.OperationUpdate && !e.lastSend.IsZero() &&
		(api.Code == codeResponded || api.Code == codeExpired)
}

// nextTask is what to do for a ready record. Where it reports false, the record
// has been given its outcome or waits.
func (l *lane) nextTask(e *entry, now time.Time) (task, bool) {
	t := task{entry: e, lease: l.lease}
	switch {
	case !e.uncertain:
		return t, true
	case e.req.Operation == schemas.OperationUpdate:
		return l.nextFetch(t, now)
	default:
		return l.nextLook(t, now)
	}
}

// patience is the account's rule for proving that a call was not made.
func (l *lane) patience(a *account) patience {
	return patience{settle: l.cfg.recovery.settleFor(a.timeout), apart: l.cfg.recovery.Apart}
}

// nextLook settles an uncertain create by what the looks have shown so far, or
// says when to look.
func (l *lane) nextLook(t task, now time.Time) (task, bool) {
	e, ev, p := t.entry, l.looks.of(t.entry), l.patience(t.entry.acct)
	switch c, like := ev.match(e); like {
	case alike:
		l.finish(adopted(e, answer{challenge: c.Raw, requestID: ev.requestID, date: ev.date, sid: c.SID}, now), now)
		return t, false
	case odd:
		l.finish(ambiguous(e, "the API shows challenge "+c.SID+" with its marker, but with another factor, text or time", now), now)
		return t, false
	}
	if p.absent(e, ev.listings) {
		return t, l.provenAbsent(e, now)
	}
	if ev.capped != nil && ev.capped.counts(e) {
		l.finish(ambiguous(e, "the factor has more challenges than "+strconv.Itoa(l.cfg.recovery.MaxPages)+" pages show", now), now)
		return t, false
	}
	if l.tooOld(e, ev.listings) {
		l.finish(ambiguous(e, "its record is older than any challenge that the API still shows for certain", now), now)
		return t, false
	}
	if ev.busy {
		e.enter(entryWaiting, now, "a look at its factor")
		ev.waiting = append(ev.waiting, e)
		return t, false
	}
	if at := p.next(e, ev.listings, now); at.After(now) {
		e.enter(entryWaiting, now, "the time after which the API would show its challenge")
		l.timers.set(e, at)
		return t, false
	}
	t.look = true
	t.query = query{
		serviceSID: e.req.ServiceSID, identity: e.req.Identity, factorSID: e.req.Create.FactorSID,
		backTo: l.backTo(e), maxPages: l.cfg.recovery.MaxPages,
	}
	ev.busy = true
	return t, true
}

// backTo is how far a look for e must reach so that it serves the other
// uncertain creates of its factor, too.
func (l *lane) backTo(e *entry) time.Time {
	at := lookFrom(e)
	for other := range l.looks.of(e).doubts {
		if from := lookFrom(other); from.Before(at) {
			at = from
		}
	}
	return at
}

// tooOld reports that no further look can settle the doubt: the record is older
// than any challenge lives, and it was looked for, or could not be for long.
func (l *lane) tooOld(e *entry, listings []listing) bool {
	if !e.acct.now().After(patienceEnd(e)) {
		return false
	}
	_, _, n := l.patience(e.acct).valid(e, listings)
	return n > 0 || e.looked >= l.cfg.retry.Attempts
}

// provenAbsent lets a create be called whose earlier call was never made, and
// reports whether it may still be.
func (l *lane) provenAbsent(e *entry, now time.Time) bool {
	switch {
	case e.req.Create.AuthPayload != "" && now.Sub(e.since) > codeLife && tooLate(e, e.acct.now()) == "":
		l.finish(ambiguous(e, "its code has gone stale while it was looked for", now), now)
		return false
	case e.attempts >= l.cfg.retry.Attempts:
		l.finish(exhausted(e, now), now)
		return false
	}
	l.trust(e)
	if o := l.guardCheck(e, now); o != nil {
		l.finish(*o, now)
		return false
	}
	return true
}

// nextFetch settles an uncertain update by the state of its challenge.
func (l *lane) nextFetch(t task, now time.Time) (task, bool) {
	e, p := t.entry, l.patience(t.entry.acct)
	if p.absent(e, e.fetches) {
		e.fetches = nil
		if e.attempts >= l.cfg.retry.Attempts {
			l.finish(exhausted(e, now), now)
			return t, false
		}
		l.trust(e)
		return t, true
	}
	if l.tooOld(e, e.fetches) {
		l.finish(ambiguous(e, "its record is older than any challenge that the API still shows for certain", now), now)
		return t, false
	}
	if at := p.next(e, e.fetches, now); at.After(now) {
		e.enter(entryWaiting, now, "the time after which the API would show its update")
		l.timers.set(e, at)
		return t, false
	}
	t.look = true
	return t, true
}

// lookEnded lets the records go on that waited for the look.
func (l *lane) lookEnded(end attemptEnd) {
	if end.entry.req.Operation != schemas.OperationCreate {
		return
	}
	ev := l.looks.of(end.entry)
	ev.busy = false
	waiting := ev.waiting
	ev.waiting = nil
	for _, e := range waiting {
		l.ready(e, end.ended)
	}
}

// lookJudged takes what a look has shown.
func (l *lane) lookJudged(end attemptEnd) {
	e, now := end.entry, end.ended
	l.cfg.stats.looked()
	e.looked++
	switch end.verdict.Class {
	case challenge.ClassOK:
	case challenge.ClassCanceled:
		l.ready(e, now)
		return
	case challenge.ClassCredentials:
		l.park(e, blockedCredentials, now)
		return
	case challenge.ClassRejected:
		if !notFound(end.err) || e.req.Operation == schemas.OperationUpdate {
			l.lookRefused(end)
			return
		}
		// No entity, no challenges: as good as an empty list.
		end.sighting = sighting{complete: true, date: apiDate(end.err)}
	default:
		l.again(end, now)
		return
	}
	date := end.answer.date
	if e.req.Operation == schemas.OperationUpdate {
		l.updateSeen(end, e.listing(end, date, lookFrom(e)))
		return
	}
	ev := l.looks.of(e)
	ev.requestID, ev.date = end.answer.requestID, end.sighting.last
	ev.take(end.sighting, e.listing(end, end.sighting.date, end.query.backTo))
	l.ready(e, now)
}

// listing is the look as evidence. What the API says of its own time counts;
// without that, ours as far as it is known to differ.
func (e *entry) listing(end attemptEnd, date, backTo time.Time) listing {
	l := listing{began: end.called, asOf: date, until: end.sighting.last, backTo: backTo}
	if date.IsZero() {
		l.asOf = e.acct.clock.now(end.called)
	}
	if l.until.IsZero() {
		l.until = e.acct.clock.now(end.ended)
	}
	return l
}

// notFound goes by the code alone. No status is documented for a factor and an
// entity that are not there, and a 404 of another code may be about a parameter.
func notFound(err error) bool {
	api, ok := errors.AsType[*read.APIError](err)
	return ok && (api.Code == codeNotFound || api.Code == codeNoFactor || api.Code == codeNoEntity)
}

func apiDate(err error) time.Time {
	if api, ok := errors.AsType[*read.APIError](err); ok {
		return api.Date
	}
	return time.Time{}
}

// lookRefused ends a record whose look the API refuses: it cannot tell.
func (l *lane) lookRefused(end attemptEnd) {
	if end.entry.req.Operation == schemas.OperationUpdate {
		// The fetch says of the challenge what the update would hear.
		o := fromVerdict(end)
		l.finish(o, end.ended)
		return
	}
	l.finish(ambiguous(end.entry, "the API refuses to list its challenges: "+apiverdict.ErrorOf(schemas.ClassAmbiguous, end.verdict, end.err).Message, end.ended), end.ended)
}

// updateSeen settles an uncertain update by its challenge: what is answered is
// reported as it is, never as our doing; what is pending was not updated.
func (l *lane) updateSeen(end attemptEnd, seen listing) {
	e, now := end.entry, end.ended
	c, err := read.ParseChallenge(end.answer.challenge)
	if err != nil {
		l.again(end, now)
		return
	}
	switch {
	case c.Status == read.StatusApproved, c.Status == read.StatusDenied, metadataIs(c, e.req.Update):
		l.finish(adopted(e, end.answer, now), now)
	case c.Status == read.StatusExpired:
		o := outcome{
			entry: e, outcome: schemas.OutcomeRejected, answer: end.answer, called: e.called, ended: now,
			err: &schemas.Error{Class: schemas.ClassRejected, Code: codeExpired, Message: "the challenge has expired without an answer"},
		}
		l.finish(o, now)
	default:
		e.fetches = append(e.fetches, seen)
		l.ready(e, now)
	}
}

// metadataIs reports that the challenge has exactly the metadata that an update
// without a code sets, so that the update need not be made.
func metadataIs(c read.Challenge, u *schemas.Update) bool {
	if u.AuthPayload != "" || len(u.Metadata) == 0 || len(c.Metadata) != len(u.Metadata) {
		return false
	}
	for name, want := range u.Metadata {
		if got, ok := c.Metadata.Text(name); !ok || got != want {
			return false
		}
	}
	return true
}
