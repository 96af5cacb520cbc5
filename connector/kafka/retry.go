package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

const (
	retryBase = 10 * time.Millisecond
	retryCap  = 500 * time.Millisecond
)

// patience says for how long a failed attempt is followed by another. The zero
// value gives up at the first failure.
type patience struct {
	unavailable  time.Duration // for CodeUnavailable
	unknownTopic time.Duration // for CodeUnknownTopic
}

var (
	// The first contact with a fresh broker answers "not available" or
	// "loading" for a moment, for groups and transactions alike.
	briefly = patience{unavailable: 8 * time.Second}
	// kafka-go learns of a new topic or partition with its next look at the
	// cluster, and brokers of each other after a moment.
	ifNew = patience{unknownTopic: metadataTTL + time.Second}
	// Both.
	brieflyIfNew = patience{unavailable: briefly.unavailable, unknownTopic: ifNew.unknownTopic}
)

// within is patient with both until a point in time.
func within(deadline time.Time) patience {
	left := time.Until(deadline)
	return patience{unavailable: left, unknownTopic: min(left, ifNew.unknownTopic)}
}

// retry repeats do, at growing intervals, and returns its last error. Once
// ctx has ended, that error has CodeCanceled.
func (p patience) retry(ctx context.Context, do func() error) error {
	start := time.Now()
	answer := "" // the last that a broker gave
	for delay := retryBase; ; delay = min(2*delay, retryCap) {
		err := do()
		if err == nil || time.Since(start) >= p.limit(CodeOf(err)) {
			return unended(afterAnswer(err, answer))
		}
		if said, ok := errors.AsType[kafkago.Error](err); ok {
			answer = said.Error()
		}
		retrying(ctx, afterAnswer(err, answer))
		if !wait(ctx, delay) {
			return canceled(ctx, err)
		}
	}
}

type onRetry struct{}

// OnRetry is a context under which each failed attempt that is followed by another is
// told to f, after what ctx has for that already. f must not be nil nor block, and may
// be called by several goroutines at once. It is not called any more once the call has
// returned that was given the context.
func OnRetry(ctx context.Context, f func(error)) context.Context {
	if before, ok := ctx.Value(onRetry{}).(func(error)); ok {
		own := f
		f = func(err error) { before(err); own(err) }
	}
	return context.WithValue(ctx, onRetry{}, f)
}

func retrying(ctx context.Context, err error) {
	if f, ok := ctx.Value(onRetry{}).(func(error)); ok {
		f(unended(err))
	}
}

// afterAnswer adds to a last attempt that failed of something else what a broker had
// said before: that names the trouble, and a time limit does not. What may have become
// of the last attempt is still not known, so errors.Is does not find the answer.
func afterAnswer(err error, answer string) error {
	e, plain := err.(*Error) //nolint:errorlint // one that wraps it says more, and stays
	if !plain || answer == "" {
		return err
	}
	if _, said := errors.AsType[kafkago.Error](err); said {
		return err
	}
	return &Error{Code: e.Code, Op: e.Op, Err: &AnsweredBefore{Err: e.Err, Answer: answer}}
}

// AnsweredBefore is the failure of an attempt that ended without an error code of a
// broker, with the one of an earlier attempt.
type AnsweredBefore struct {
	Err    error  // of the last attempt; never nil
	Answer string // a broker's error before it; never empty
}

// Error implements error.
func (a *AnsweredBefore) Error() string { return a.Err.Error() + " (before: " + a.Answer + ")" }

// Unwrap gives the last attempt's failure.
func (a *AnsweredBefore) Unwrap() error { return a.Err }

// unended says what a transactional id waits for while its last transaction is being
// ended: the coordinator writes markers like any record, with acks=all, and what
// their leaders answer is not told to us.
func unended(err error) error {
	e, plain := err.(*Error) //nolint:errorlint // as in afterAnswer
	if !plain {
		return err
	}
	before, _ := errors.AsType[*AnsweredBefore](err)
	if !errors.Is(err, kafkago.ConcurrentTransactions) && (before == nil || before.Answer != kafkago.ConcurrentTransactions.Error()) {
		return err
	}
	return &Error{Code: e.Code, Op: e.Op, Err: fmt.Errorf(
		"%w; its last transaction ends when each partition of it has a leader and min.insync.replicas in sync", e.Err)}
}

func (p patience) limit(code ErrorCode) time.Duration {
	switch code {
	case CodeUnavailable:
		return p.unavailable
	case CodeUnknownTopic:
		return p.unknownTopic
	default:
		return 0
	}
}

// canceled is err, seen as the failure that was being waited out when ctx
// ended.
func canceled(ctx context.Context, err error) error {
	e, _ := errors.AsType[*Error](err) // nothing else has a code to be patient with
	return &Error{Code: CodeCanceled, Op: e.Op, Err: fmt.Errorf("%w while waiting after: %w", context.Cause(ctx), e.Err)}
}

// wait reports false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
