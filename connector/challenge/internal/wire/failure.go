package wire

import (
	"context"
	"errors"
	"fmt"
)

// Kind says how a call ended without a usable answer. The set is closed.
type Kind string

// The kinds. Their texts are those of read.CallCode.
const (
	Invalid  Kind = "invalid"   // an argument or the configuration can't be used; nothing was tried
	NotSent  Kind = "not_sent"  // no connection, or a dead one with nothing written
	NoAnswer Kind = "no_answer" // the connection failed before the answer was complete
	Timeout  Kind = "timeout"   // a deadline passed during the call
	Canceled Kind = "canceled"  // the context was cancelled, or had ended before the call
	TooLarge Kind = "too_large" // a successful answer is larger than the bound
)

// Failure is a call that ended without a usable answer.
type Failure struct {
	Kind Kind
	Sent bool // the request may have left
	// Answer is what came before the failure, without its body; nil where no
	// answer began.
	Answer *Answer
	Err    error
}

func (f *Failure) Error() string {
	return fmt.Sprintf("challenge API: %s: %v", f.Kind, f.Err)
}

// Unwrap gives the cause: a context error, a network error or a fault's text.
func (f *Failure) Unwrap() error { return f.Err }

func invalid(fault string) *Failure {
	return &Failure{Kind: Invalid, Err: errors.New(fault)}
}

// failure names the end of a call that was begun with ctx. An ended context
// explains every error that a connection then shows, so it is asked first.
func failure(ctx context.Context, sent bool, err error) *Failure {
	f := &Failure{Kind: NotSent, Sent: sent, Err: err}
	if sent {
		f.Kind = NoAnswer
	}
	ended := ctx.Err()
	if ended == nil {
		return f
	}
	f.Kind = Canceled
	if errors.Is(ended, context.DeadlineExceeded) {
		f.Kind = Timeout
	}
	// net/http reports the context's cause, which need not be a context error.
	if !errors.Is(err, ended) {
		f.Err = fmt.Errorf("%w: %w", ended, err)
	}
	return f
}
