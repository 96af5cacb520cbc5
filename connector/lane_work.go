package connector

import (
	"errors"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
)

// activate makes a record that is the first of its key and of its id ready for
// its call, or ends it at once where its outcome is known. Each record that ends
// lets those behind it go on.
func (l *lane) activate(e *entry, now time.Time) {
	for work := []*entry{e}; len(work) > 0; work = work[1:] {
		e := work[0]
		if !e.firstKey || !l.ids.first(e) || e.state != entryQueued {
			continue
		}
		if e.verdict == nil {
			e.verdict = l.seenBefore(e, now)
		}
		if e.verdict == nil {
			e.verdict = l.guardCheck(e, now)
		}
		if e.verdict != nil {
			work = append(work, l.settleOutcome(*e.verdict, now)...)
			continue
		}
		e.enter(entryReady, now, "a free slot")
		q := l.queues[e.acct]
		q.ready = append(q.ready, e)
	}
}

// seenBefore is the outcome of a record whose id has had its outcome before, or
// nil.
func (l *lane) seenBefore(e *entry, now time.Time) *outcome {
	if e.id == (hash{}) {
		return nil
	}
	seen, ok := l.ids.fresh[e.id]
	if !ok {
		if seen, ok = l.ledger.lookup(e.id, now); !ok {
			return nil
		}
	}
	var o outcome
	switch seen.judge(e.body, e.record, e.rec.Topic, e.rec.Partition, e.rec.Offset) {
	case verdictAnswered:
		o = outcome{entry: e, ended: now, suppressed: true}
	case verdictConflict:
		o = conflicting(e, seen, now)
	case verdictDuplicate:
		o = duplicateOf(e, seen, l.cfg.events.group, now)
	default:
		if !seen.calledSince.IsZero() {
			// The first record ended in doubt, and this one would be its second call.
			e.anyAge = true
			if seen.calledSince.Before(e.since) {
				e.since = seen.calledSince
			}
			l.distrust(e, seen.at)
		}
		return nil
	}
	return &o
}

// finish gives a record its outcome and lets those behind it go on.
func (l *lane) finish(o outcome, now time.Time) {
	for _, next := range l.settleOutcome(o, now) {
		l.activate(next, now)
	}
}

// settleOutcome queues the outcome for the next commit and returns the records
// that waited for it.
func (l *lane) settleOutcome(o outcome, now time.Time) []*entry {
	e := o.entry
	e.enter(entryDone, now, "its commit")
	l.timers.remove(e)
	if e.acct != nil {
		e.acct.held.Add(-1)
	}
	l.trust(e)
	l.guardEnded(&o)
	if seen, ok := o.seen(); ok {
		l.ids.fresh[e.id] = seen
	}
	l.finished = append(l.finished, o)
	l.finishedBytes += o.size()
	l.cfg.stats.outcome(o)
	var free []*entry
	if next := l.keys.pop(e); next != nil {
		next.firstKey = true
		free = append(free, next)
	}
	if next := l.ids.done(e); next != nil {
		free = append(free, next)
	}
	return free
}

// dispatch starts attempts for ready records as far as slots go, parks those of
// blocked accounts and brings back those whose account is free again.
func (l *lane) dispatch(now time.Time) {
	l.unleased = false
	for a, q := range l.queues {
		if len(q.ready) == 0 && len(q.parked) == 0 {
			continue
		}
		if reason := a.blocked(); reason != notBlocked {
			for _, e := range q.ready {
				l.park(e, reason, now)
			}
			q.ready = q.ready[:0]
			continue
		}
		for _, e := range q.parked {
			l.timers.remove(e)
			e.enter(entryReady, now, "a free slot")
			q.ready = append(q.ready, e)
		}
		q.parked = q.parked[:0]
		if l.unleased = l.lease.Left() <= 0; l.unleased {
			return
		}
		l.dispatchReady(a, q, now)
	}
}

func (l *lane) dispatchReady(a *account, q *accountQueue, now time.Time) {
	var held []*entry // for calledTo
	for slots := a.slots(); len(q.ready) > 0 && q.active < slots && !l.stalled(now); {
		e := q.ready[0]
		q.ready[0] = nil
		q.ready = q.ready[1:]
		if e.state != entryReady {
			continue
		}
		if t, do := l.nextTask(e, now); do && !t.look && !l.mayCall(e) {
			held = append(held, e)
			if len(held) == slots {
				break
			}
		} else if do {
			l.startAttempt(t, q, now)
		}
	}
	q.ready = append(held, q.ready...)
}

// commitPatience is how long a commit may take before no new call is made.
const commitPatience = 5 * time.Second

// maxFinished bounds the outcomes that wait for the next commit, as a multiple
// of what one commit takes, and maxFinishedBytes what their answers hold.
const (
	maxFinished      = 2
	maxFinishedBytes = 64 << 20
)

// stalled reports that outcomes do not get committed. Calls whose outcome may
// be lost with the process are calls that may be made twice, so none is begun.
func (l *lane) stalled(now time.Time) bool {
	return l.commitBusy && now.Sub(l.lastCommit) > commitPatience ||
		len(l.finished) >= maxFinished*l.cfg.maxBatch || l.finishedBytes >= maxFinishedBytes
}

func (l *lane) startAttempt(t task, q *accountQueue, now time.Time) {
	why := "its call"
	if t.look {
		why = "a look at what an earlier call has left"
	}
	t.entry.enter(entryInFlight, now, why)
	q.active++
	l.inFlight++
	select {
	case l.tasks <- t:
	default:
		l.workers.Go(func() { l.work(t) })
	}
}

// takeEnds takes what else has ended, so that all of it is seen before the lane
// looks around for what can be done.
func (l *lane) takeEnds() {
	for range maxSpare {
		select {
		case end := <-l.ends:
			l.attemptEnded(end)
		default:
			return
		}
	}
}

// park lets a record wait for its account. Only its deadline ends the wait.
func (l *lane) park(e *entry, reason blockReason, now time.Time) {
	e.enter(entryParked, now, "account "+e.acct.name+": "+string(reason))
	q := l.queues[e.acct]
	q.parked = append(q.parked, e)
	l.timers.set(e, patienceEnd(e))
}

// patienceEnd is when a record that has to wait is given up: by its own terms,
// or, where it may have been called, once the API can no longer tell.
func patienceEnd(e *entry) time.Time {
	if !e.uncertain {
		return deadline(e)
	}
	if e.anyAge {
		// The call in doubt is that of an earlier record, unless a former owner
		// may have made one for this record.
		if from := e.rec.Timestamp; e.former && from.Before(e.received) {
			return from.Add(maxAge)
		}
		return e.received.Add(maxAge)
	}
	return e.since.Add(maxAge)
}

// deadline is when a record is too late by its own terms.
func deadline(e *entry) time.Time {
	d := e.notAfter
	if c := e.req.Create; c != nil && c.ExpirationDate != nil && c.ExpirationDate.Before(d) {
		d = *c.ExpirationDate
	}
	return d
}

// fireTimers brings back the records whose time has come.
func (l *lane) fireTimers(now time.Time) {
	unparked := map[*accountQueue]bool{}
	for e := l.timers.due(now); e != nil; e = l.timers.due(now) {
		if e.state == entryWaiting {
			l.ready(e, now)
			continue
		}
		if e.uncertain {
			unparked[l.queues[e.acct]] = true
			l.finish(ambiguous(e, "its account was blocked for as long as the API could tell", now), now)
			continue
		}
		why := tooLate(e, e.acct.now())
		if why == "" {
			// The API's clock is behind ours; by it there is time left.
			l.timers.set(e, now.Add(time.Second))
			continue
		}
		unparked[l.queues[e.acct]] = true
		l.finish(expired(e, why+" while its account was blocked", now), now)
	}
	for q := range unparked {
		q.parked = slices.DeleteFunc(q.parked, func(e *entry) bool { return e.state != entryParked })
	}
}

// attemptEnded decides what becomes of a record after an attempt.
func (l *lane) attemptEnded(end attemptEnd) {
	e, now := end.entry, end.ended
	l.inFlight--
	l.queues[e.acct].active--
	if end.look {
		l.lookEnded(end)
	}
	switch end.kind {
	case endInterrupted:
		e.enter(entryReady, now, "the next owner of its partition")
		return
	case endUnleased:
		l.unlease(e, now)
		return
	case endParked:
		l.park(e, e.acct.blocked(), now)
		return
	case endExpired:
		l.finish(expired(e, end.why, now), now)
		return
	}
	if end.look {
		l.lookJudged(end)
		return
	}
	if e.first.IsZero() {
		e.first, e.stopped = end.called, e.acct.blockedFor(now)
	}
	if wasSent(end.err) {
		e.called = end.called
		e.attempts++
	}
	switch end.verdict.Class {
	case challenge.ClassCanceled:
		if !l.draining {
			l.ready(e, now) // its lease ended while it was under way
			return
		}
		l.abandoned++
		e.enter(entryReady, now, "the next owner of its partition")
	case challenge.ClassAmbiguous:
		l.doubt(e, end)
	case challenge.ClassCredentials:
		l.park(e, blockedCredentials, now)
	case challenge.ClassThrottled, challenge.ClassUnavailable:
		if l.spent(end, now) {
			l.finish(fromVerdict(end), now)
			return
		}
		l.again(end, now)
	case challenge.ClassRejected:
		if respondedAfterDoubt(e, end.err) {
			l.doubt(e, end)
			return
		}
		l.finish(fromVerdict(end), now)
	default:
		l.finish(fromVerdict(end), now)
	}
}

func (l *lane) ready(e *entry, now time.Time) {
	e.enter(entryReady, now, "a free slot")
	q := l.queues[e.acct]
	q.ready = append(q.ready, e)
}

// unlease puts a record back that was about to be called when the lease had
// run out.
func (l *lane) unlease(e *entry, now time.Time) {
	l.ready(e, now)
	e.why = "the group's word that the partition is still ours"
	l.unleased = true
}

// wasSent reports whether an attempt's request may have reached the API.
func wasSent(err error) bool {
	call, ok := errors.AsType[*read.CallError](err)
	return !ok || call.Sent
}

// spent reports whether a record has used up its attempts or its time. The
// clock stops while the account is blocked, and a call that was never sent
// counts as nothing: an outage ends no record, only its not_after does.
func (l *lane) spent(end attemptEnd, now time.Time) bool {
	e := end.entry
	if !wasSent(end.err) || e.acct.blocked() != notBlocked {
		return false
	}
	elapsed := now.Sub(e.first) - (e.acct.blockedFor(now) - e.stopped)
	return e.attempts >= l.cfg.retry.Attempts || elapsed >= l.cfg.retry.Elapsed
}

// again schedules the next attempt with full jitter under a ceiling that
// doubles, after any Retry-After. The record keeps its place in the window but
// no slot.
func (l *lane) again(end attemptEnd, now time.Time) {
	e := end.entry
	e.retries++
	l.cfg.stats.retried(end)
	delay := jitter(backoff(l.cfg.retry, e.retries))
	if api, ok := errors.AsType[*read.APIError](end.err); ok && api.HasRetryAfter {
		delay += api.RetryAfter
	}
	e.spans.again(end.verdict.Class, delay)
	e.enter(entryWaiting, now, "its next attempt: "+end.verdict.Reason)
	at := now.Add(delay)
	if d := patienceEnd(e); at.After(d) && d.After(now) {
		// It will be too late then; do not let its key wait any longer.
		at = d
	}
	l.timers.set(e, at)
}

// backoff is the ceiling of the n-th retry's pause: base, doubled each time, up
// to cap.
func backoff(cfg RetryConfig, n int) time.Duration {
	shift := min(n-1, 62)
	if cfg.Base > cfg.Cap>>shift {
		return cfg.Cap
	}
	return cfg.Base << shift
}
