package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inSession runs a test while a member owns the topic.
func inSession(t *testing.T, partitions int32, test func(t *testing.T, w *world, sessions []*Session)) {
	t.Helper()
	inBubble(t, map[string]int32{"t": partitions}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: int(partitions)})
		var sessions []*Session
		for p := range int(partitions) {
			sessions = append(sessions, a.session(p))
		}
		test(t, w, sessions)
	})
}

func TestSessionKnowsWhatItIs(t *testing.T) {
	inSession(t, 2, func(t *testing.T, w *world, sessions []*Session) {
		for p, s := range sessions {
			if s.Topic() != "t" || s.Partition() != p || int32(s.Generation()) != w.cluster.GroupInfo("g").Epoch {
				t.Errorf("%s/%d in generation %d", s.Topic(), s.Partition(), s.Generation())
			}
		}
	})
}

func TestPositionRoundTrip(t *testing.T) {
	inSession(t, 2, func(t *testing.T, w *world, sessions []*Session) {
		s, other := sessions[1], sessions[0]
		for _, s := range sessions {
			if pos, err := s.Position(t.Context()); err != nil || pos != (Position{Offset: -1}) {
				t.Errorf("before any commit: %+v, %v", pos, err)
			}
		}
		for _, want := range []Position{
			{Offset: 5, Metadata: "m"},
			{Offset: 5},
			{Offset: 1 << 40, Metadata: strings.Repeat("x", 4000)},
			{Offset: 0, Metadata: "ünïcode 本"},
		} {
			if err := s.Commit(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Position(t.Context()); err != nil || got != want {
				t.Errorf("got offset %d and %d bytes, %v, want %d and %d", got.Offset, len(got.Metadata), err, want.Offset, len(want.Metadata))
			}
		}
		if pos, err := other.Position(t.Context()); err != nil || pos.Offset != -1 {
			t.Errorf("the other partition: %+v, %v", pos, err)
		}
	})
}

func TestCommitOfTooMuchMetadata(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		s := sessions[0]
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: "g", Topic: "t", Err: kerr.OffsetMetadataTooLarge})
		wantCode(t, s.Commit(t.Context(), Position{Metadata: strings.Repeat("x", 5000)}), CodeTooLarge)
		fault.Remove()
		wantCode(t, s.Commit(t.Context(), Position{Metadata: strings.Repeat("x", 40_000)}), CodeTooLarge)
		if pos, err := s.Position(t.Context()); err != nil || pos.Offset != -1 {
			t.Errorf("%+v, %v", pos, err)
		}
	})
}

func TestStartIsWhatIsRetained(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		s := sessions[0]
		for want, deleteTo := range []int64{0, 2, 5} {
			if want == 1 {
				put(t, w.plainProducer(), "t", 0, "a", "b", "c", "d", "e")
			}
			if err := w.cluster.DeleteRecords("t", 0, deleteTo); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Range(t.Context()); err != nil || got.Start != deleteTo {
				t.Errorf("got %d, %v, want %d", got, err, deleteTo)
			}
		}
		res, err := s.Fetch(t.Context(), 5, 1000, 0)
		if err != nil || res.Next != 5 || res.LogStart != 5 {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestSessionCallsOutlastTransientErrors(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		s := sessions[0]
		for key, call := range map[kmsg.Key]func() error{
			kmsg.OffsetCommit: func() error { return s.Commit(t.Context(), Position{Offset: 1}) },
			kmsg.OffsetFetch:  func() error { _, err := s.Position(t.Context()); return err },
			kmsg.ListOffsets:  func() error { _, err := s.Range(t.Context()); return err },
		} {
			for _, e := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.NotLeaderForPartition} {
				fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: e, Count: 3})
				if err := call(); err != nil || fault.Hits() != 3 {
					t.Errorf("%v, %v: %v after %d faults", key.Name(), e, err, fault.Hits())
				}
			}
		}
		if err := s.Produce(t.Context(), []Message{{Topic: "t"}}); err != nil {
			t.Error(err)
		}
	})
}

// A commit must come back: its lane has a drain timeout. What a lane cannot
// begin without is waited for as long as the partition is owned.
func TestHowLongSessionCallsWait(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		s := sessions[0]
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.ListOffsets}, Err: kerr.NotEnoughReplicas, Count: -1,
		})
		start := time.Now()
		wantCode(t, s.Commit(t.Context(), Position{}), CodeUnavailable)
		if took := time.Since(start); took < briefly.unavailable || took > briefly.unavailable+time.Second {
			t.Errorf("commit gave up after %s", took)
		}
		for name, call := range map[string]func(context.Context) error{
			"position": func(ctx context.Context) error { _, err := s.Position(ctx); return err },
			"range":    func(ctx context.Context) error { _, err := s.Range(ctx); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			start := time.Now()
			err := call(ctx)
			wantCode(t, err, CodeCanceled)
			if took := time.Since(start); took != time.Minute || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Replicas") {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			cancel()
		}
	})
}

func TestSessionErrorsOfTheBroker(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		s := sessions[0]
		for e, want := range map[*kerr.Error]ErrorCode{
			kerr.GroupAuthorizationFailed: CodeDenied,
			kerr.IllegalGeneration:        CodeOwnershipLost,
			kerr.UnknownMemberID:          CodeOwnershipLost,
			kerr.FencedInstanceID:         CodeOwnershipLost,
			kerr.UnknownTopicOrPartition:  CodeUnknownTopic,
			kerr.InvalidCommitOffsetSize:  CodeTooLarge,
		} {
			fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: e})
			wantCode(t, s.Commit(t.Context(), Position{Offset: 1}), want)
			fault.Remove()
		}
		denied := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.GroupAuthorizationFailed})
		_, err := s.Position(t.Context())
		wantCode(t, err, CodeDenied)
		denied.Remove()
		unknown := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.UnknownTopicOrPartition, Count: -1})
		_, err = s.Range(t.Context())
		wantCode(t, err, CodeUnknownTopic)
		unknown.Remove()
	})
}

// Nothing may be concluded from an answer that leaves the partition out: a
// position taken for absent would make a lane begin at the log's start.
func TestAnswersThatLeaveThePartitionOut(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		s := sessions[0]
		for _, key := range []kmsg.Key{kmsg.OffsetFetch, kmsg.OffsetCommit, kmsg.Fetch} {
			w.cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				res := req.ResponseKind()
				res.SetVersion(req.GetVersion())
				return res, nil, true
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := s.Position(ctx)
		wantCode(t, err, CodeCanceled)
		wantCode(t, s.Commit(t.Context(), Position{}), CodeUnavailable)
		_, err = s.Fetch(t.Context(), 0, 0, 0)
		wantCode(t, err, CodeUnavailable)
	})
}
