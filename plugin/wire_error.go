package plugin

import (
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin/pluginpb"
)

// wireCode is how a code travels: ours in the details, and gRPC's nearest for
// clients that read no details.
type wireCode struct {
	code Code
	pb   pluginpb.Failure_Code
	grpc codes.Code
}

// wireCodes lists the codes that cross the wire. All others are the host's own;
// should a plugin use one, it travels as CodeInternal.
var wireCodes = []wireCode{
	{CodeInternal, pluginpb.Failure_CODE_INTERNAL, codes.Internal},
	{CodeConfig, pluginpb.Failure_CODE_CONFIG, codes.InvalidArgument},
	{CodeState, pluginpb.Failure_CODE_STATE, codes.FailedPrecondition},
	{CodeLease, pluginpb.Failure_CODE_LEASE, codes.FailedPrecondition},
	{CodeUnimplemented, pluginpb.Failure_CODE_UNIMPLEMENTED, codes.Unimplemented},
	{CodeAbandoned, pluginpb.Failure_CODE_ABANDONED, codes.Aborted},
	{CodeTimeout, pluginpb.Failure_CODE_TIMEOUT, codes.DeadlineExceeded},
	{CodeCanceled, pluginpb.Failure_CODE_CANCELED, codes.Canceled},
}

func wireCodeOf(c Code) wireCode {
	for _, w := range wireCodes {
		if w.code == c {
			return w
		}
	}
	return wireCodes[0]
}

// failureToPB returns nil for a nil error.
func failureToPB(err error) *pluginpb.Failure {
	e := asError(err)
	if e == nil {
		return nil
	}
	message := e.Message
	if e.Err != nil {
		if message != "" {
			message += ": "
		}
		message += e.Err.Error()
	}
	return &pluginpb.Failure{
		Code:       wireCodeOf(e.Code).pb,
		Message:    valid(message),
		Retryable:  e.Retryable(),
		Violations: violationsToPB(e.Violations),
		Abandoned:  int64(e.Abandoned),
	}
}

// failureFromPB returns nil for nil. A code that this side does not know is
// CodeInternal.
func failureFromPB(f *pluginpb.Failure) *Error {
	if f == nil {
		return nil
	}
	e := &Error{
		Code:       CodeInternal,
		Message:    f.GetMessage(),
		Violations: violationsFromPB(f.GetViolations()),
		Abandoned:  int(f.GetAbandoned()),
	}
	for _, w := range wireCodes {
		if w.pb == f.GetCode() {
			e.Code = w.code
		}
	}
	if r := f.GetRetryable(); r != e.Code.Retryable() {
		e.Retry = &r
	}
	return e
}

// toStatus makes a gRPC error that carries the Failure.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	f := failureToPB(err)
	st := status.New(wireCodeOf(asError(err).Code).grpc, f.GetMessage())
	if detailed, err := st.WithDetails(f); err == nil {
		st = detailed
	}
	return st.Err()
}

// fromStatus reads what toStatus wrote. Without a Failure the error is gRPC's
// own, and its code decides: a lost connection is a crash.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		if errors.Is(err, io.EOF) {
			return &Error{Code: CodeCrashed, Message: "the plugin ended the stream", Err: err}
		}
		return asError(err)
	}
	for _, d := range st.Details() {
		if f, ok := d.(*pluginpb.Failure); ok {
			return failureFromPB(f)
		}
	}
	switch st.Code() {
	case codes.Unavailable:
		return &Error{Code: CodeCrashed, Message: "the connection to the plugin is lost", Err: err}
	case codes.Unimplemented:
		return &Error{Code: CodeUnimplemented, Err: err}
	case codes.DeadlineExceeded:
		return &Error{Code: CodeTimeout, Err: errors.Join(err, context.DeadlineExceeded)}
	case codes.Canceled:
		return &Error{Code: CodeCanceled, Err: errors.Join(err, context.Canceled)}
	default:
		return &Error{Code: CodeInternal, Err: err}
	}
}

// valid makes a text that protobuf accepts: one broken byte of a foreign error
// message would otherwise fail the whole frame.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func violationsToPB(vs []connector.Violation) []*pluginpb.Violation {
	var out []*pluginpb.Violation
	for _, v := range vs {
		out = append(out, &pluginpb.Violation{Path: valid(v.Path), Message: valid(v.Message)})
	}
	return out
}

func violationsFromPB(vs []*pluginpb.Violation) []connector.Violation {
	var out []connector.Violation
	for _, v := range vs {
		out = append(out, connector.Violation{Path: v.GetPath(), Message: v.GetMessage()})
	}
	return out
}
