package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
)

// activate makes the first record of a key ready for its call, or ends it at
// once where its outcome is known. Each record that ends lets the next of its
// key go on.
func (l *lane) activate(e *entry, now time.Time) {
	for e != nil && e.verdict != nil {
		e = l.settleOutcome(*e.verdict, now)
	}
	if e == nil {
		return
	}
	e.enter(entryReady, now, "a free slot")
	q := l.queues[e.acct]
	q.ready = append(q.ready, e)
}

// finish gives a record its outcome and lets the next of its key go on.
func (l *lane) finish(o outcome, now time.Time) {
	if next := l.settleOutcome(o, now); next != nil {
		l.activate(next, now)
	}
}

// settleOutcome queues the outcome for the next commit and returns the record
// that follows in its key, if any.
func (l *lane) settleOutcome(o outcome, now time.Time) *entry {
	e := o.entry
	e.enter(entryDone, now, "its commit")
	l.timers.remove(e)
	if e.acct != nil {
		l.queues[e.acct].held--
	}
	l.finished = append(l.finished, o)
	l.cfg.stats.outcome(o)
	return l.keys.pop(e)
}

// dispatch starts attempts for ready records as far as slots go, parks those of
// blocked accounts and brings back those whose account is free again.
func (l *lane) dispatch(now time.Time) {
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
		n := 0
		for n < len(q.ready) && q.active < a.concurrency {
			l.startAttempt(q.ready[n], q, now)
			n++
		}
		q.ready = append(q.ready[:0], q.ready[n:]...)
	}
}

func (l *lane) startAttempt(e *entry, q *accountQueue, now time.Time) {
	e.enter(entryInFlight, now, "its call")
	if e.first.IsZero() {
		e.first, e.stopped = now, e.acct.blockedFor(now)
	}
	q.active++
	l.inFlight++
	l.workers.Go(func() { l.ends <- l.attempt(e) })
}

// park lets a record wait for its account. Only its deadline ends the wait.
func (l *lane) park(e *entry, reason blockReason, now time.Time) {
	e.enter(entryParked, now, "account "+e.acct.name+": "+string(reason))
	q := l.queues[e.acct]
	q.parked = append(q.parked, e)
	l.timers.set(e, deadline(e))
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
	for e := l.timers.due(now); e != nil; e = l.timers.due(now) {
		if e.state == entryWaiting {
			e.enter(entryReady, now, "a free slot")
			l.queues[e.acct].ready = append(l.queues[e.acct].ready, e)
			continue
		}
		why := tooLate(e, e.acct.now())
		if why == "" {
			// The API's clock is behind ours; by it there is time left.
			l.timers.set(e, now.Add(time.Second))
			continue
		}
		l.unpark(e)
		l.finish(expired(e, why+" while its account was blocked", now), now)
	}
}

func (l *lane) unpark(e *entry) {
	q := l.queues[e.acct]
	for i, p := range q.parked {
		if p == e {
			q.parked = append(q.parked[:i], q.parked[i+1:]...)
			return
		}
	}
}

// attemptEnded decides what becomes of a record after an attempt.
func (l *lane) attemptEnded(end attemptEnd) {
	e, now := end.entry, end.ended
	l.inFlight--
	l.queues[e.acct].active--
	switch end.kind {
	case endInterrupted:
		e.enter(entryReady, now, "the next owner of its partition")
		return
	case endParked:
		l.park(e, e.acct.blocked(), now)
		return
	case endExpired:
		l.finish(expired(e, end.why, now), now)
		return
	}
	e.called = end.called
	if wasSent(end.err) {
		e.attempts++
	}
	switch end.verdict.Class {
	case challenge.ClassCanceled:
		e.enter(entryReady, now, "the next owner of its partition")
	case challenge.ClassCredentials:
		l.park(e, blockedCredentials, now)
	case challenge.ClassThrottled, challenge.ClassUnavailable:
		if l.spent(end, now) {
			l.finish(fromVerdict(end), now)
			return
		}
		l.again(end, now)
	default:
		l.finish(fromVerdict(end), now)
	}
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
	l.cfg.stats.retried()
	ceiling := l.cfg.retry.Cap
	if shift := e.retries - 1; shift < 30 {
		ceiling = min(ceiling, l.cfg.retry.Base<<shift)
	}
	delay := jitter(ceiling)
	if api, ok := errors.AsType[*read.APIError](end.err); ok && api.HasRetryAfter {
		delay += api.RetryAfter
	}
	e.enter(entryWaiting, now, "its next attempt: "+end.verdict.Reason)
	at := now.Add(delay)
	if d := deadline(e); at.After(d) {
		// It will be too late then; do not let its key wait any longer.
		at = d
	}
	l.timers.set(e, at)
}

// status is the lane's part of a Status.
func (l *lane) status() LaneStatus {
	s := LaneStatus{
		Partition: l.partition, Committed: l.committed, Fetched: l.resume, End: l.end,
		InFlight: l.inFlight, Waiting: l.timers.len(),
	}
	if l.window == nil {
		return s
	}
	s.Window = l.window.held
	if e := l.window.oldest(); e != nil {
		sum := sha256.Sum256([]byte(e.key))
		s.Stuck = &Stuck{Offset: e.rec.Offset, Key: hex.EncodeToString(sum[:6]), Since: e.since, Why: e.why}
	}
	return s
}
