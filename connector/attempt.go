package connector

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// endKind is how an attempt ended.
type endKind uint8

const (
	endCalled      endKind = iota // the call was made, or tried; the verdict says what came of it
	endExpired                    // not called: too late
	endParked                     // not called: the account is blocked
	endInterrupted                // not called: the lane drains
)

// attemptEnd is what an attempt reports to its lane.
type attemptEnd struct {
	entry   *entry
	kind    endKind
	verdict challenge.Verdict
	answer  answer
	err     error
	called  time.Time // when the call began; zero where none was made
	ended   time.Time
	why     string // of endExpired
}

// attempt makes one call for e, if it may still be made. mayCall ends when no
// new call shall begin; callCtx ends when a call under way shall be given up.
// The order is: wait for the rate limit, then look whether the account is free
// and the request still fresh, then call, with nothing that can wait between
// the look and the send.
func (a *account) attempt(mayCall, callCtx context.Context, e *entry) (end attemptEnd) {
	end.entry = e
	defer func() { end.ended = time.Now() }()
	release, kind := a.acquire(mayCall, e)
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
	if a.blocked() != notBlocked {
		// The breaker opened and half-opened in between; that slot is the prober's.
		done(errCallExcluded)
		end.kind = endParked
		return end
	}
	if why := tooLate(e, a.now()); why != "" {
		done(errCallExcluded)
		end.kind, end.why = endExpired, why
		return end
	}
	if mayCall.Err() != nil {
		done(errCallExcluded)
		end.kind = endInterrupted
		return end
	}
	a.remember(probeTarget{e.req.ServiceSID, e.req.Identity})
	stopped := endCalled
	pay := func() error {
		// The slot goes back first: with one slot in all, waiting for a second
		// would be for ever.
		release()
		release = func() {}
		next, kind := a.acquire(mayCall, e)
		if kind == endCalled && a.blocked() != notBlocked {
			next()
			kind = endParked
		}
		if kind != endCalled {
			stopped = kind
			return errListStopped
		}
		release = next
		return nil
	}
	end.called = time.Now()
	a.stats.callBegan()
	end.answer, end.err = a.caller.call(callCtx, e.req, pay)
	a.stats.callEnded(string(e.req.Operation), time.Since(end.called), wasSent(end.err))
	if stopped != endCalled {
		done(errCallExcluded)
		end.kind, end.why = stopped, "its time ended between two pages of its list"
		return end
	}
	end.verdict = a.judge(callCtx, judged{
		write: isWrite(e.req.Operation), began: end.called, answer: end.answer, err: end.err,
	}, done)
	return end
}

// errListStopped ends a list whose next page must not be asked for.
var errListStopped = errors.New("the list was stopped between two pages")

// acquire waits for the rate limit, at most until the record is too late or
// the account is blocked: what waits behind a block would only keep the probe
// from its turn. It returns endCalled if the call may be made, and else why not.
func (a *account) acquire(mayCall context.Context, e *entry) (release func(), kind endKind) {
	left := deadline(e).Sub(a.now())
	if left <= 0 {
		return nil, endExpired
	}
	ctx, cancel := context.WithTimeout(mayCall, left)
	defer cancel()
	defer a.whenBlocked(cancel)()
	release, err := a.limiter.Acquire(ctx)
	switch {
	case err == nil:
		return release, endCalled
	case mayCall.Err() != nil:
		return nil, endInterrupted
	case a.blocked() != notBlocked:
		return nil, endParked
	default:
		return nil, endExpired
	}
}

// judged is a call's end.
type judged struct {
	write  bool
	began  time.Time
	answer answer
	err    error
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
	a.stats.called(string(v.Class))
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
