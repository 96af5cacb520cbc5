package audit

import (
	"context"
	"errors"
	"fmt"
)

// ErrorCode tells the failures of this package apart. The set is closed.
type ErrorCode string

const (
	CodeInvalid     ErrorCode = "invalid"     // an argument, the configuration or a file is wrong
	CodeInterrupted ErrorCode = "interrupted" // the context ended; a saved state goes on
	CodeKafka       ErrorCode = "kafka"       // Kafka failed; Err is a *kafka.Error
	CodeState       ErrorCode = "state"       // a saved state can't be written, or read, or is of another audit
	CodeAPI         ErrorCode = "api"         // the Challenge API refuses the credentials, or all calls failed
	CodeSignature   ErrorCode = "signature"   // a signature is not that of this report and key
)

// Error is the one error type of this package.
type Error struct {
	Code ErrorCode
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("audit: %s: %v", e.Code, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first *Error in err's chain, or "" where there is none.
func CodeOf(err error) ErrorCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func invalid(format string, args ...any) error {
	return &Error{Code: CodeInvalid, Err: fmt.Errorf(format, args...)}
}

// kafkaFailed wraps what Kafka said, or that ctx ended.
func kafkaFailed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return &Error{Code: CodeInterrupted, Err: context.Cause(ctx)}
	}
	return &Error{Code: CodeKafka, Err: err}
}
