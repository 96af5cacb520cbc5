package emulator

import "fmt"

// Code says what kind of misuse an Error reports. The set is closed.
type Code string

const (
	// CodeConfig is a Config that New refuses.
	CodeConfig Code = "config"
	// CodeFaults is a Faults value, or its JSON form, that can't be used.
	CodeFaults Code = "faults"
	// CodeRule is a name that no rule has.
	CodeRule Code = "rule"
	// CodeState is a call that does not fit the moment: an outage during an
	// outage, a second Start, an outage of the listener where there is none.
	CodeState Code = "state"
	// CodeListen is a network address that can't be listened on.
	CodeListen Code = "listen"
	// CodeFactor is a factor that AddPushFactor or AddTOTPFactor can't make.
	CodeFactor Code = "factor"
)

// Error is the only error type of this package's methods; what the API answers
// to a request is not one of them. Err may be nil.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Error names the code, the message and the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("emulator: %s: %s: %v", e.Code, e.Message, e.Err)
	}
	return fmt.Sprintf("emulator: %s: %s", e.Code, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func failf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
