package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/connector"
)

// Code says what kind of failure an Error is. The set is closed.
type Code string

// The codes, with the side that makes them.
const (
	CodeInternal      Code = "internal"      // either: none of the others
	CodeConfig        Code = "config"        // either: the Spec or the configuration is wrong; see Violations
	CodeSecrets       Code = "secrets"       // host: the Secrets callback failed
	CodeChecksum      Code = "checksum"      // host: the binary is not the one that was named
	CodeHandshake     Code = "handshake"     // host: no process, or it is no plugin
	CodeVersion       Code = "version"       // host: no protocol version in common
	CodeCapability    Code = "capability"    // host: the plugin lacks what the host needs
	CodeState         Code = "state"         // plugin: the call is illegal in this state
	CodeLease         Code = "lease"         // plugin: no host holds a lease, or one does already
	CodeUnimplemented Code = "unimplemented" // plugin: it does not know the call
	CodeAbandoned     Code = "abandoned"     // either: work was left unfinished; see Abandoned
	CodeCrashed       Code = "crashed"       // host: the process ended by itself
	CodeHung          Code = "hung"          // host: no heartbeat
	CodeNotRunning    Code = "not_running"   // host: there is no child to ask at the moment
	CodeTimeout       Code = "timeout"       // either: a deadline passed
	CodeCanceled      Code = "canceled"      // either: the caller's context ended
)

// Retryable reports whether a fresh process may do better. A wrong
// configuration, binary or protocol stays wrong, so trying again only hides it;
// a host's Run ends with it. An illegal call is a bug on our side and repeats
// itself too.
func (c Code) Retryable() bool {
	switch c {
	case CodeCrashed, CodeHung, CodeTimeout, CodeCanceled, CodeInternal, CodeAbandoned, CodeNotRunning:
		return true
	case CodeHandshake, CodeSecrets:
		// Both may pass: the machine was out of memory, the vault was sealed.
		// Supervisor nevertheless ends with them before the first good start.
		return true
	default:
		return false
	}
}

// Error is every error of this package.
type Error struct {
	Code    Code
	Message string // for a person; holds no secret
	// Violations are the faults of the configuration, with CodeConfig.
	Violations []connector.Violation
	// Abandoned is how many records were left unfinished, with CodeAbandoned;
	// negative where nobody knows.
	Abandoned int
	// Retry overrides Code.Retryable where a plugin knows better; nil leaves it.
	Retry *bool
	Err   error // the cause, or nil
}

// Error shows code, message, cause and the first violation.
func (e *Error) Error() string {
	text := "plugin: " + string(e.Code)
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Code == CodeAbandoned && e.Abandoned > 0 {
		text += fmt.Sprintf(" (%d records)", e.Abandoned)
	}
	if n := len(e.Violations); n > 0 {
		text += fmt.Sprintf(": %s: %s", e.Violations[0].Path, e.Violations[0].Message)
		if n > 1 {
			text += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether a fresh process may do better.
func (e *Error) Retryable() bool {
	if e.Retry != nil {
		return *e.Retry
	}
	return e.Code.Retryable()
}

// CodeOf returns the code of err: CodeInternal where it is not an *Error, ""
// for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return asError(err).Code
}

// asError makes an *Error of any error; nil for nil.
func asError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Code: CodeCanceled, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: CodeTimeout, Err: err}
	default:
		return &Error{Code: CodeInternal, Err: err}
	}
}
