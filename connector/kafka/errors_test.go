package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TestEveryBrokerCodeHasItsClass takes the codes and their names from another
// library than the one that the table in errors.go is made with.
func TestEveryBrokerCodeHasItsClass(t *testing.T) {
	classes := map[ErrorCode][]*kerr.Error{
		CodeOwnershipLost: {kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedInstanceID},
		CodeFenced:        {kerr.ProducerFenced, kerr.InvalidProducerEpoch},
		CodeOutOfRange:    {kerr.OffsetOutOfRange},
		CodeTooLarge:      {kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.OffsetMetadataTooLarge, kerr.InvalidCommitOffsetSize},
		CodeUnknownTopic:  {kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InconsistentTopicID},
		CodeDenied: {
			kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
			kerr.TransactionalIDAuthorizationFailed, kerr.DelegationTokenAuthorizationFailed,
		},
		CodeUnauthenticated: {kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState},
		CodeInvalid: {
			kerr.InvalidTopicException, kerr.InvalidRequest, kerr.InvalidGroupID, kerr.InvalidSessionTimeout,
			kerr.InconsistentGroupProtocol, kerr.InvalidPartitions, kerr.InvalidReplicationFactor, kerr.InvalidReplicaAssignment,
			kerr.InvalidConfig, kerr.PolicyViolation, kerr.InvalidTimestamp, kerr.InvalidRecord, kerr.InvalidFetchSize,
			kerr.InvalidRequiredAcks, kerr.UnsupportedForMessageFormat, kerr.UnsupportedVersion,
			kerr.UnsupportedCompressionType, kerr.TopicAlreadyExists, kerr.SecurityDisabled,
			kerr.InvalidTransactionTimeout,
		},
	}
	want := map[int16]ErrorCode{}
	for class, errs := range classes {
		for _, e := range errs {
			want[e.Code] = class
		}
	}
	for code := int16(-1); code < 140; code++ {
		if code == 0 {
			continue
		}
		class := want[code]
		if class == "" {
			class = CodeUnavailable
		}
		err := wrap(t.Context(), "op", fmt.Errorf("around it: %w", kafkago.Error(code)))
		if got := CodeOf(err); got != class {
			t.Errorf("%v: got %q, want %q", kerr.ErrorForCode(code), got, class)
		}
	}
}

func TestOtherErrorsHaveTheirClass(t *testing.T) {
	alive := t.Context()
	ended, cancel := context.WithCancel(alive)
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		want ErrorCode
	}{
		"too large for the client":      {alive, kafkago.MessageTooLargeError{}, CodeTooLarge},
		"too large, and ended":          {ended, kafkago.MessageTooLargeError{}, CodeTooLarge},
		"connection refused":            {alive, &net.OpError{Op: "dial", Err: errors.New("refused")}, CodeUnavailable},
		"connection lost":               {alive, io.ErrUnexpectedEOF, CodeUnavailable},
		"unheard of":                    {alive, errors.New("unheard of"), CodeUnavailable},
		"our own time limit":            {alive, context.DeadlineExceeded, CodeUnavailable},
		"somebody else's cancellation":  {alive, context.Canceled, CodeUnavailable},
		"the caller has gone":           {ended, context.Canceled, CodeCanceled},
		"the caller has gone, net":      {ended, &net.OpError{Op: "read", Err: errors.New("i/o timeout")}, CodeCanceled},
		"lost, although the caller too": {ended, kafkago.IllegalGeneration, CodeOwnershipLost},
		"closed":                        {alive, fmt.Errorf("sending: %w", errClosed), CodeCanceled},
		"no topic in the layout":        {alive, fetch.NewError(protocol.NewErrNoTopic("t")), CodeUnknownTopic},
		"no partition in the layout":    {alive, fetch.NewError(protocol.NewErrNoPartition("t", 1)), CodeUnknownTopic},
		"no leader in the layout":       {alive, fetch.NewError(protocol.NewErrNoLeader("t", 1)), CodeUnavailable},
	} {
		if got := CodeOf(wrap(test.ctx, "op", test.err)); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestWrapKeepsWhatIsClassified(t *testing.T) {
	if wrap(t.Context(), "op", nil) != nil {
		t.Error("nothing becomes an error")
	}
	inner := &Error{Code: CodeOutOfRange, Op: "fetch t/0 at 3", Err: kafkago.OffsetOutOfRange}
	err := wrap(t.Context(), "outer", fmt.Errorf("lane: %w", inner))
	if CodeOf(err) != CodeOutOfRange || !errors.Is(err, kafkago.OffsetOutOfRange) {
		t.Errorf("%v", err)
	}
	if s := inner.Error(); !strings.Contains(s, "fetch t/0 at 3") || !strings.Contains(s, "out_of_range") {
		t.Errorf("%q", s)
	}
	if CodeOf(nil) != "" || CodeOf(errors.New("another")) != "" {
		t.Error("an error of somebody else's has a code")
	}
}

func TestRetryIsPatientAsLongAsItShould(t *testing.T) {
	p := patience{unavailable: 4 * time.Second, unknownTopic: time.Second}
	for code, want := range map[ErrorCode]time.Duration{
		CodeUnavailable: 4 * time.Second, CodeUnknownTopic: time.Second,
		CodeOutOfRange: 0, CodeCanceled: 0, CodeInvalid: 0, CodeDenied: 0, CodeTooLarge: 0, CodeOwnershipLost: 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			start, calls := time.Now(), 0
			err := p.retry(t.Context(), func() error { calls++; return &Error{Code: code} })
			wantCode(t, err, code)
			took := time.Since(start)
			if took < want || took > want+retryCap || (calls > 1) != (want > 0) || calls > 20 {
				t.Errorf("%s: %d calls in %s", code, calls, took)
			}
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := briefly.retry(ctx, func() error {
			return &Error{Code: CodeUnavailable, Op: "fetch", Err: kafkago.LeaderNotAvailable}
		})
		wantCode(t, err, CodeCanceled)
		if !errors.Is(err, kafkago.LeaderNotAvailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestRetryReturnsTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := briefly.retry(t.Context(), func() error {
			if calls++; calls < 4 {
				return &Error{Code: CodeUnavailable}
			}
			return nil
		})
		if err != nil || calls != 4 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}
