package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"

	kafkago "github.com/segmentio/kafka-go"
)

// ErrorCode tells the failures of this package apart. The set is closed.
type ErrorCode string

const (
	// CodeUnavailable: no broker, no leader or no coordinator answered, or one
	// asked to try again. Trying again later is right.
	CodeUnavailable ErrorCode = "unavailable"
	// CodeOwnershipLost: the group has moved on without this member. Nothing
	// may be committed or called for its partitions any more.
	CodeOwnershipLost ErrorCode = "ownership_lost"
	// CodeOutOfRange: the offset is below the log's start or beyond its end.
	CodeOutOfRange ErrorCode = "out_of_range"
	// CodeTooLarge: one record or its metadata is over the broker's limit.
	CodeTooLarge ErrorCode = "too_large"
	// CodeUnknownTopic: the topic or partition does not exist.
	CodeUnknownTopic ErrorCode = "unknown_topic"
	// CodeDenied: authentication or authorization failed.
	CodeDenied ErrorCode = "denied"
	// CodeInvalid: the request or the configuration is wrong, or the broker
	// refused a record for good.
	CodeInvalid ErrorCode = "invalid"
	// CodeCanceled: the caller's context ended first.
	CodeCanceled ErrorCode = "canceled"
)

// Error is the one error type of this package.
type Error struct {
	Code ErrorCode
	Op   string // e.g. "fetch challenge.requests/3 at 17"
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("kafka: %s: %s: %v", e.Op, e.Code, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first *Error in err's chain, or "" where there is none.
func CodeOf(err error) ErrorCode {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	return &Error{Code: classify(err), Op: op, Err: err}
}

// classify puts kafka-go's errors into our codes. What it does not know is
// unavailable, because for an unknown failure waiting is safe and giving up is
// not.
func classify(err error) ErrorCode {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kafkago.ErrGroupClosed):
		return CodeCanceled
	case errors.Is(err, kafkago.ErrGenerationEnded):
		return CodeOwnershipLost
	}
	var tooLarge kafkago.MessageTooLargeError
	if errors.As(err, &tooLarge) {
		return CodeTooLarge
	}
	var code kafkago.Error
	if errors.As(err, &code) {
		return classifyCode(code)
	}
	var netErr net.Error
	if errors.As(err, &netErr) {
		return CodeUnavailable
	}
	return CodeUnavailable
}

func classifyCode(code kafkago.Error) ErrorCode {
	switch code {
	case kafkago.IllegalGeneration, kafkago.UnknownMemberId, kafkago.FencedInstanceID:
		return CodeOwnershipLost
	case kafkago.OffsetOutOfRange:
		return CodeOutOfRange
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.OffsetMetadataTooLarge, kafkago.InvalidMessageSize:
		return CodeTooLarge
	case kafkago.UnknownTopicOrPartition, kafkago.UnknownTopicID:
		return CodeUnknownTopic
	case kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
		kafkago.SASLAuthenticationFailed, kafkago.TransactionalIDAuthorizationFailed:
		return CodeDenied
	case kafkago.InvalidTopic, kafkago.InvalidRequest, kafkago.InvalidGroupId, kafkago.InvalidSessionTimeout,
		kafkago.InconsistentGroupProtocol, kafkago.InvalidPartitionNumber, kafkago.InvalidReplicationFactor,
		kafkago.InvalidConfiguration, kafkago.PolicyViolation, kafkago.InvalidTimestamp, kafkago.InvalidRecord,
		kafkago.UnsupportedForMessageFormat, kafkago.InvalidRequiredAcks, kafkago.UnsupportedVersion:
		return CodeInvalid
	default:
		return CodeUnavailable
	}
}
