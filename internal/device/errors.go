package device

import "fmt"

// Code says what went wrong. The set is closed.
type Code string

const (
	// CodeConfig is a Config that can't be used.
	CodeConfig Code = "config"
	// CodeTransport is a call without an answer.
	CodeTransport Code = "transport"
	// CodeRefused is an answer outside 2xx: see Status and APICode.
	CodeRefused Code = "refused"
	// CodeAnswer is an answer that can't be understood.
	CodeAnswer Code = "answer"
	// CodeUnsignable is a challenge that can't be signed: no signature fields, or a
	// named property is missing.
	CodeUnsignable Code = "unsignable"
	// CodeNotPending is a challenge that is already answered or expired.
	CodeNotPending Code = "not_pending"
	// CodeUnsettled is an answer that was accepted, but the challenge does not show it.
	CodeUnsettled Code = "unsettled"
	// CodeTOTP is a TOTP secret, algorithm, step or length that can't be used.
	CodeTOTP Code = "totp"
)

// Error is the only error type of this package, apart from a context's own
// error inside it.
type Error struct {
	Code    Code
	Message string
	Status  int   // HTTP status of CodeRefused
	APICode int   // the API's error code of CodeRefused; zero: none
	Err     error // may be nil
}

// Error names the code, the message and the cause.
func (e *Error) Error() string {
	text := "device: " + string(e.Code) + ": " + e.Message
	if e.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d, code %d)", e.Status, e.APICode)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
