package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
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
	// CodeFenced: a later producer with the same transactional id has taken
	// over, or the broker has timed a transaction out. Nothing more may be
	// written or called by this one.
	CodeFenced ErrorCode = "fenced"
	// CodeOutOfRange: the offset is below the log's start or beyond its end.
	CodeOutOfRange ErrorCode = "out_of_range"
	// CodeTooLarge: one record or its metadata is over the broker's limit.
	CodeTooLarge ErrorCode = "too_large"
	// CodeUnknownTopic: the topic or partition does not exist.
	CodeUnknownTopic ErrorCode = "unknown_topic"
	// CodeDenied: the brokers know the client and deny it a right, which the
	// message names.
	CodeDenied ErrorCode = "denied"
	// CodeUnauthenticated: a broker refuses the user, its password or the SASL
	// mechanism.
	CodeUnauthenticated ErrorCode = "unauthenticated"
	// CodeTLS: a broker's certificate is not accepted here, or the client's not
	// there, or only one of the two speaks TLS.
	CodeTLS ErrorCode = "tls"
	// CodeInvalid: the request or the configuration is wrong, or the broker
	// refused a record for good.
	CodeInvalid ErrorCode = "invalid"
	// CodeCanceled: the caller's context ended first, or the Client was
	// closed. A time limit of this package's own is CodeUnavailable.
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
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// wrap makes an *Error of what a call under ctx returned, and keeps one that
// is one already.
func wrap(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if _, already := errors.AsType[*Error](err); already {
		return err
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		// It says all that is in kafka-go's wrapping.
		err = refused
	}
	return &Error{Code: classify(ctx, err), Op: op, Err: err}
}

// Refused reports that somebody has to mend a right, a password or a
// certificate, here or at the brokers. It is worth trying again, now and then,
// because that may happen at any time.
func Refused(err error) bool {
	switch CodeOf(err) {
	case CodeDenied, CodeUnauthenticated, CodeTLS:
		return true
	default:
		return false
	}
}

// classify puts kafka-go's errors into our codes. What a broker said comes
// before the context, because it stays true. What is not known is unavailable:
// for an unknown failure waiting is safe and giving up is not.
func classify(ctx context.Context, err error) ErrorCode {
	if refused, ok := errors.AsType[*refusal](err); ok {
		return refused.code
	}
	code, said := errors.AsType[kafkago.Error](err)
	switch {
	case said:
		return classifyCode(code)
	case ctx.Err() != nil, errors.Is(err, errClosed):
		return CodeCanceled
	case isNoTopic(err):
		return CodeUnknownTopic
	default:
		return CodeUnavailable
	}
}

// isNoTopic reports that kafka-go did not send a request because its picture
// of the cluster lacks the topic or the partition.
func isNoTopic(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

func classifyCode(code kafkago.Error) ErrorCode {
	switch code {
	case kafkago.IllegalGeneration, kafkago.UnknownMemberId, kafkago.FencedInstanceID:
		return CodeOwnershipLost
	case kafkago.ProducerFenced, kafkago.InvalidProducerEpoch:
		return CodeFenced
	case kafkago.OffsetOutOfRange:
		return CodeOutOfRange
	case kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge, kafkago.OffsetMetadataTooLarge,
		kafkago.InvalidCommitOffsetSize:
		return CodeTooLarge
	case kafkago.UnknownTopicOrPartition, kafkago.UnknownTopicID, kafkago.InconsistentTopicID:
		return CodeUnknownTopic
	case kafkago.TopicAuthorizationFailed, kafkago.GroupAuthorizationFailed, kafkago.ClusterAuthorizationFailed,
		kafkago.TransactionalIDAuthorizationFailed, kafkago.DelegationTokenAuthorizationFailed:
		return CodeDenied
	case kafkago.SASLAuthenticationFailed, kafkago.UnsupportedSASLMechanism, kafkago.IllegalSASLState:
		return CodeUnauthenticated
	case kafkago.InvalidTopic, kafkago.InvalidRequest, kafkago.InvalidGroupId, kafkago.InvalidSessionTimeout,
		kafkago.InconsistentGroupProtocol, kafkago.InvalidPartitionNumber, kafkago.InvalidReplicationFactor,
		kafkago.InvalidReplicaAssignment, kafkago.InvalidConfiguration, kafkago.PolicyViolation,
		kafkago.InvalidTimestamp, kafkago.InvalidRecord, kafkago.InvalidMessageSize, kafkago.InvalidRequiredAcks,
		kafkago.UnsupportedForMessageFormat, kafkago.UnsupportedVersion, kafkago.UnsupportedCompressionType,
		kafkago.TopicAlreadyExists, kafkago.SecurityDisabled, kafkago.InvalidTransactionTimeout:
		return CodeInvalid
	default:
		return CodeUnavailable
	}
}
