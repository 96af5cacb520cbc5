package connector

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/ratelimit"
	"github.com/countersign/countersign/schemas"
)

// endKind is how an attempt ended.
type endKind uint8

const (
	endCalled      endKind = iota // the call was made, or tried; the verdict says what came of it
	endExpired                    // not called: too late
	endParked                     // not called: the account is blocked
	endInterrupted                // not called: the lane drains
	endUnleased                   // not called: the group may have given the partition away
)

// task is what an attempt is to do for an entry: the request's own call, or a
// look at what an earlier one has left behind.
type task struct {
	entry *entry
	look  bool
	query query // of a look for a create; a look for an update is a fetch
	lease lease
}

// attemptEnd is what an attempt reports to its lane.
type attemptEnd struct {
	task
	kind     endKind
	verdict  challenge.Verdict
	answer   answer
	sighting sighting // of a look for a create
	err      error
	called   time.Time // when the call began; zero where none was made
	ended    time.Time
	why      string // of endExpired
	givenUp  bool   // the lane cancelled the call while it was under way
}

// attempt makes one call for an entry, if it may still be made. mayCall ends
// when no new call shall begin; callCtx ends when a call under way shall be
// given up. The order is: wait for the rate limit, then look whether the account
// is free, the request still fresh and the lease good, then call, with nothing
// that can wait between the look and the send.
func (a *account) attempt(mayCall, callCtx context.Context, t task) (end attemptEnd) {
	end.task = t
	e := t.entry
	defer func() { end.ended = time.Now() }()
	release, kind := a.acquire(mayCall, t)
	if kind != endCalled {
		end.kind, end.why = kind, "its time ended while it waited for the rate limit"
		return end
	}
	defer func() { release() }()
	if a.blocked() != notBlocked {
		end.kind = endParked
		return end
	}
	done, err := a.breaker.Allow()
	if err != nil {
		end.kind = endParked
		return end
	}
	if end.kind, end.why = a.lastLook(mayCall, t); end.kind != endCalled {
		done(errCallExcluded)
		return end
	}
	a.remember(probeTarget{e.req.ServiceSID, e.req.Identity})
	stopped := endCalled
	pay := func() error {
		// The slot goes back first: with one slot in all, waiting for a second
		// would be for ever.
		release()
		release = func() {}
		next, kind := a.acquire(mayCall, t)
		if kind == endCalled {
			if kind, _ = a.lastLook(mayCall, t); kind != endCalled {
				next()
			}
		}
		if kind != endCalled {
			stopped = kind
			return errListStopped
		}
		release = next
		return nil
	}
	end.called = time.Now()
	ctx := callCtx
	if t.writes() {
		// Its answer is worth nothing once somebody else may work on the partition.
		// A list looks at the lease for each page: with all of them it may take
		// longer than the lease that it began with.
		leased, cancel := context.WithTimeout(callCtx, t.lease.Left())
		defer cancel()
		ctx = leased
	}
	span := e.spans.call(t)
	defer func() { span.ended(end.kind, end.verdict.Class, end.err) }()
	a.stats.callBegan()
	operation := string(e.req.Operation)
	switch {
	case !t.look:
		end.answer, end.err = a.caller.call(ctx, outgoing{req: e.req, marker: e.marker, pay: pay})
	case e.req.Operation == schemas.OperationUpdate:
		operation = lookOperation
		end.answer, end.err = a.caller.call(ctx, outgoing{req: fetchOf(e.req), pay: pay})
	default:
		operation = lookOperation
		end.sighting, end.err = a.caller.look(ctx, t.query, pay)
		end.answer = answer{requestID: end.sighting.requestID, date: end.sighting.date}
	}
	end.givenUp = end.err != nil && callCtx.Err() != nil
	a.stats.callEnded(operation, time.Since(end.called), wasSent(end.err))
	if stopped != endCalled {
		done(errCallExcluded)
		end.kind, end.why = stopped, "its time ended between two pages of its list"
		return end
	}
	end.verdict = a.judge(ctx, judged{
		operation: operation, write: t.writes(), began: end.called, answer: end.answer, err: end.err,
	}, done)
	return end
}

// writes reports whether the task's call may change something at the API.
func (t task) writes() bool { return !t.look && isWrite(t.entry.req.Operation) }

// fetchOf is the read that shows what became of an update.
func fetchOf(r *schemas.Request) *schemas.Request {
	return &schemas.Request{
		ID: r.ID, Operation: schemas.OperationFetch, Account: r.Account,
		ServiceSID: r.ServiceSID, Identity: r.Identity, ChallengeSID: r.ChallengeSID,
	}
}

// lastLook is what is asked right before each send, of each page of a list, too.
func (a *account) lastLook(mayCall context.Context, t task) (kind endKind, why string) {
	if a.blocked() != notBlocked {
		// The breaker opened and half-opened in between; that slot is the prober's.
		return endParked, ""
	}
	if mayCall.Err() != nil {
		return endInterrupted, ""
	}
	if t.lease.Left() <= 0 {
		return endUnleased, ""
	}
	if !t.look {
		if why := tooLate(t.entry, a.now()); why != "" {
			return endExpired, why
		}
	}
	return endCalled, ""
}

// errListStopped ends a list whose next page must not be asked for.
var errListStopped = errors.New("the list was stopped between two pages")

// acquire waits for the rate limit, at most until the record is too late or
// the account is blocked: what waits behind a block would only keep the probe
// from its turn. It returns endCalled if the call may be made, and else why not.
func (a *account) acquire(mayCall context.Context, t task) (release func(), kind endKind) {
	left := time.Duration(0)
	if !t.look {
		if left = deadline(t.entry).Sub(a.now()); left <= 0 {
			return nil, endExpired
		}
	}
	stop := a.whenBlocked()
	release, err := a.limiter.AcquireUntil(mayCall, ratelimit.Until{Stop: stop, Left: left})
	switch {
	case err == nil:
		return release, endCalled
	case mayCall.Err() != nil:
		return nil, endInterrupted
	case t.look, errors.Is(err, context.Canceled), a.blocked() != notBlocked:
		return nil, endParked // the account may be free again by now, and is then served at once
	default:
		return nil, endExpired
	}
}

// judged is a call's end.
type judged struct {
	operation string // as metrics have it
	write     bool
	began     time.Time
	answer    answer
	err       error
}

// judge classifies an answer and tells the breaker, the limiter and the
// account's credentials about it.
func (a *account) judge(ctx context.Context, j judged, done func(error)) challenge.Verdict {
	v := classify(j.write, j.err)
	date := j.answer.date
	apiErr, ok := errors.AsType[*read.APIError](j.err)
	if ok {
		date = apiErr.Date
	}
	a.clock.saw(date, j.began, time.Now())
	a.stats.called(a.metrics, j.operation, v.Class)
	switch {
	case v.Class == challenge.ClassCanceled, ctx.Err() != nil && j.err != nil:
		done(errCallExcluded)
	case v.Failure:
		done(errCallFailed)
	default:
		done(nil)
	}
	switch v.Class {
	case challenge.ClassThrottled:
		a.limiter.Penalize(penalty(apiErr))
		a.authenticated(j.began, false)
	case challenge.ClassCredentials:
		a.credentialsRefused(j.err)
	case challenge.ClassRejected:
		a.authenticated(j.began, false)
		a.worked(j.write)
	case challenge.ClassOK:
		a.authenticated(j.began, j.write)
		a.worked(j.write)
	}
	return v
}

// classify adds to the API's table the one end that is ours.
func classify(write bool, err error) challenge.Verdict {
	if errors.Is(err, errListTooLong) {
		return challenge.Verdict{Class: challenge.ClassRejected, Reason: err.Error()}
	}
	return challenge.Classify(write, err)
}

// defaultPenalty is how long the bucket stops after a 429 without Retry-After.
const defaultPenalty = time.Second

func penalty(err *read.APIError) time.Duration {
	if err != nil && err.HasRetryAfter {
		return err.RetryAfter
	}
	return defaultPenalty
}

func isWrite(op schemas.Operation) bool {
	return op == schemas.OperationCreate || op == schemas.OperationUpdate
}

// tooLate says why a call for e must not be made any more at the given time,
// or "". It is asked right before each send.
func tooLate(e *entry, now time.Time) string {
	if !now.Before(e.notAfter) {
		return "not_after " + e.notAfter.UTC().Format(time.RFC3339) + " has passed"
	}
	if c := e.req.Create; c != nil && c.ExpirationDate != nil && !now.Before(*c.ExpirationDate) {
		return "expiration_date " + c.ExpirationDate.UTC().Format(time.RFC3339) + " has passed"
	}
	return ""
}
