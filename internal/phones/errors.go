package phones

import "fmt"

// Code says what kind of misuse or failure an Error reports. The set is closed.
type Code string

const (
	// CodeConfig is a Config that New refuses.
	CodeConfig Code = "config"
	// CodeListen is a network address that can't be listened on.
	CodeListen Code = "listen"
	// CodeState is a second Start.
	CodeState Code = "state"
	// CodeClose is a Close that had to drop requests under way.
	CodeClose Code = "close"
)

// Error is the only error type of this package's methods. Err may be nil.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Error names the code, the message and the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("phones: %s: %s: %v", e.Code, e.Message, e.Err)
	}
	return fmt.Sprintf("phones: %s: %s", e.Code, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
