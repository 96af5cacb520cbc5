package read

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
)

// APIError is an answer of the API, or of something before it, whose status is
// not 2xx.
type APIError struct {
	// Status is the HTTP status.
	Status int
	// Code is the API's error code, e.g. 60318; 0 where the body is no error
	// of the API.
	Code int
	// Message is what the API says, or the beginning of a body of another
	// kind, without control characters and at most 512 characters long. It may
	// quote the request's path, identity included.
	Message string
	// MoreInfo is a URL of the error dictionary; empty where none was given.
	MoreInfo string
	// Details is the body's own object or list of details, as it came; nil
	// where there is none.
	Details json.RawMessage
	// RetryAfter is how long the API asks to wait, between 0 and one hour. It
	// has a meaning only where HasRetryAfter is set.
	RetryAfter    time.Duration
	HasRetryAfter bool
	// RequestID, Date and ConcurrentRequests are as in Response.
	RequestID          string
	Date               time.Time
	ConcurrentRequests int
}

// Error names status, code and request. It leaves the message out, so that it
// can be logged where no identity may appear.
func (e *APIError) Error() string {
	text := fmt.Sprintf("challenge API: status %d", e.Status)
	if e.Code != 0 {
		text += fmt.Sprintf(", code %d", e.Code)
	}
	if e.RequestID != "" {
		text += ", request " + e.RequestID
	}
	return text
}

// CallCode says how a call ended without a usable answer. The set is closed.
type CallCode string

// The codes. In the first two and the first kind of CodeCanceled nothing of
// the request left; for the others see CallError.Sent.
const (
	// CodeInvalid: an argument or the configuration can't be used. Nothing was tried.
	CodeInvalid CallCode = "invalid"
	// CodeNotSent: no connection could be made (refused, no such host, TLS), or
	// the request couldn't be put on it.
	CodeNotSent CallCode = "not_sent"
	// CodeNoAnswer: the connection failed, or spoke no HTTP, before the answer
	// was complete.
	CodeNoAnswer CallCode = "no_answer"
	// CodeTimeout: Config.Timeout or the context's deadline passed during the call.
	CodeTimeout CallCode = "timeout"
	// CodeCanceled: the context was cancelled; or it had ended, by cancellation
	// or deadline, before the call, and nothing was tried.
	CodeCanceled CallCode = "canceled"
	// CodeTooLarge: a successful answer is larger than Config.MaxBodyBytes.
	CodeTooLarge CallCode = "too_large"
	// CodeBadAnswer: a successful answer is not what was asked for: no JSON, a
	// required property missing or of another form, another challenge, a page
	// URL that can't be followed.
	CodeBadAnswer CallCode = "bad_answer"
)

// CallError is a call without a usable answer. errors.Is finds the context's
// error behind CodeTimeout and CodeCanceled where the context ended the call.
type CallError struct {
	Code CallCode
	// Sent is false only where nothing of the request can have reached the API.
	Sent bool
	// Status and RequestID are those of the answer; zero where none began.
	Status    int
	RequestID string
	// Err says what went wrong. It shows nothing of the request but its host.
	Err error
}

func (e *CallError) Error() string {
	text := "challenge API: " + string(e.Code)
	if e.Status != 0 {
		text += fmt.Sprintf(", status %d", e.Status)
	}
	if e.RequestID != "" {
		text += ", request " + e.RequestID
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *CallError) Unwrap() error { return e.Err }

// callError words a failure of the exchange in this package's type.
func callError(f *wire.Failure) *CallError {
	e := &CallError{Code: CallCode(f.Kind), Sent: f.Sent, Err: f.Err}
	if f.Answer != nil {
		e.Status, e.RequestID = f.Answer.Status, f.Answer.RequestID()
	}
	return e
}

func invalid(format string, args ...any) *CallError {
	return &CallError{Code: CodeInvalid, Err: fmt.Errorf(format, args...)}
}

func badAnswer(format string, args ...any) *CallError {
	return &CallError{Code: CodeBadAnswer, Sent: true, Err: fmt.Errorf(format, args...)}
}
