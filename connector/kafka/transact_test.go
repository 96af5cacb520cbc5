package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inLane runs a test with one fenced session that owns the only partition of
// topic "t", and the topics "out" and "letters" to write to.
func inLane(t *testing.T, test func(t *testing.T, w *world, s *Session)) {
	t.Helper()
	inBubble(t, map[string]int32{"t": 1, "out": 3, "letters": 1}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 1})
		s := a.session(0)
		if err := s.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, w, s)
	})
}

// committed is what a franz-go reader finds in a topic under read_committed
// once no transaction is open there.
func (w *world) committed(topic string) []string {
	w.t.Helper()
	from, ends := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, p := range w.cluster.PartitionInfos(topic) {
		if p.LastStableOffset != p.HighWatermark {
			w.t.Fatalf("a transaction is open in %s/%d", topic, p.Partition)
		}
		if p.HighWatermark > 0 {
			from[p.Partition], ends[p.Partition] = kgo.NewOffset().AtStart(), p.HighWatermark
		}
	}
	if len(from) == 0 {
		return nil
	}
	c := w.franz(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
	)
	defer c.Close() // many readers would keep the broker busy
	var out []string
	for len(ends) > 0 {
		fetches := c.PollFetches(w.t.Context())
		if err := fetches.Err(); err != nil {
			w.t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			if !r.Attrs.IsControl() {
				out = append(out, string(r.Value))
			}
			if r.Offset == ends[r.Partition]-1 {
				delete(ends, r.Partition)
			}
		}
	}
	slices.Sort(out)
	return out
}

func say(topic string, values ...string) (out []Message) {
	for _, v := range values {
		out = append(out, Message{Topic: topic, Key: []byte(v), Value: []byte(v)})
	}
	return out
}

func wantPosition(t testing.TB, s *Session, want Position) {
	t.Helper()
	if got, err := s.Position(t.Context()); err != nil || got != want {
		t.Errorf("position %+v, %v, want %+v", got, err, want)
	}
}

func wantCommitted(t testing.TB, w *world, topic string, want ...string) {
	t.Helper()
	if got := w.committed(topic); !slices.Equal(got, want) {
		t.Errorf("%s holds %v, want %v", topic, got, want)
	}
}

func TestTransactIsSeenAsOne(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		for i := range 5 {
			v := fmt.Sprint(i)
			pos := Position{Offset: int64(i), Metadata: "m" + v}
			if err := s.Transact(t.Context(), append(say("out", v+"a", v+"b", v+"c"), say("letters", v)...), pos); err != nil {
				t.Fatal(err)
			}
			wantPosition(t, s, pos)
		}
		wantCommitted(t, w, "letters", "0", "1", "2", "3", "4")
		if got := w.committed("out"); len(got) != 15 {
			t.Errorf("%v", got)
		}
		if err := s.Transact(t.Context(), nil, Position{Offset: 9}); err != nil {
			t.Fatal(err)
		}
		wantPosition(t, s, Position{Offset: 9})
	})
}

func TestTransactNeedsAFence(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		wantCode(t, sessions[0].Transact(t.Context(), say("t", "a"), Position{}), CodeInvalid)
		wantPosition(t, sessions[0], Position{Offset: -1})
	})
}

func TestFencedSessionIsOver(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		if err := s.Transact(t.Context(), say("out", "before"), Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		successor := w.txnProducer(transactionalID("g", "t", 0))
		begin(t, successor)
		put(t, successor, "letters", 0, "successor")
		for range 2 {
			wantCode(t, s.Transact(t.Context(), say("out", "zombie"), Position{Offset: 2}), CodeFenced)
		}
		end(t, successor, kgo.TryCommit)
		wantCommitted(t, w, "out", "before")
		wantCommitted(t, w, "letters", "successor")
		wantPosition(t, s, Position{Offset: 1})
	})
}

func TestFenceEndsThePredecessorsTransaction(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		predecessor := w.txnProducer(transactionalID("g", "t", 0))
		begin(t, predecessor)
		put(t, predecessor, "out", 0, "open")
		if err := s.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "out")
		if err := s.Transact(t.Context(), say("out", "mine"), Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		record := &kgo.Record{Topic: "out", Value: []byte("late")}
		if err := predecessor.ProduceSync(t.Context(), record).FirstErr(); !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
			t.Errorf("the predecessor is not fenced: %v", err)
		}
		wantCommitted(t, w, "out", "mine")
	})
}

// A transaction cannot end while too few replicas are in sync for its markers, and
// its coordinator is the only one to be told. Whoever waits for that says why.
func TestWaitingForATransactionSaysWhy(t *testing.T) {
	waits := map[string]struct {
		key kmsg.Key
		do  func(context.Context, *Session) error
	}{
		"fence": {kmsg.InitProducerID, func(ctx context.Context, s *Session) error { return s.Fence(ctx) }},
		"transact": {kmsg.AddPartitionsToTxn, func(ctx context.Context, s *Session) error {
			return s.Transact(ctx, say("out", "a"), Position{Offset: 1})
		}},
		"commit": {kmsg.EndTxn, func(ctx context.Context, s *Session) error {
			return s.Transact(ctx, say("out", "a"), Position{Offset: 1})
		}},
	}
	for name, c := range waits {
		t.Run(name, func(t *testing.T) {
			inLane(t, func(t *testing.T, w *world, s *Session) {
				fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: kerr.ConcurrentTransactions, Count: 3})
				var outer, inner []error
				ctx := OnRetry(t.Context(), func(err error) { outer = append(outer, err) })
				ctx = OnRetry(ctx, func(err error) { inner = append(inner, err) })
				if err := c.do(ctx, s); err != nil {
					t.Fatal(err)
				}
				if len(inner) != fault.Hits() || len(outer) != len(inner) {
					t.Fatalf("%d and %d told of %d", len(inner), len(outer), fault.Hits())
				}
				wantCode(t, inner[0], CodeUnavailable)
				if text := inner[0].Error(); !errors.Is(inner[0], kafkago.ConcurrentTransactions) || !strings.Contains(text, "min.insync.replicas") {
					t.Errorf("it says %q", text)
				}
			})
		})
	}
}

// What waits for a transaction and then for a broker still says what for.
func TestAnsweredBefore(t *testing.T) {
	late := &Error{Code: CodeUnavailable, Op: "start", Err: context.DeadlineExceeded}
	for answer, want := range map[string]string{
		"":                                     "context deadline exceeded",
		"busy":                                 "context deadline exceeded (before: busy)",
		kafkago.ConcurrentTransactions.Error(): "context deadline exceeded (before: " + kafkago.ConcurrentTransactions.Error() + "); its last transaction ends when each partition of it has a leader and min.insync.replicas in sync",
	} {
		err := unended(afterAnswer(late, answer))
		wantCode(t, err, CodeUnavailable)
		if !strings.HasSuffix(err.Error(), want) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kafkago.ConcurrentTransactions) {
			t.Errorf("%q, want %q at its end", err, want)
		}
	}
}

func TestStaleGenerationCommitsNothing(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		stale := *s
		stale.generation--
		wantCode(t, stale.Transact(t.Context(), say("out", "a"), Position{Offset: 1}), CodeOwnershipLost)
		wantCommitted(t, w, "out")
		wantPosition(t, s, Position{Offset: -1})
		if err := s.Transact(t.Context(), say("out", "b"), Position{Offset: 2}); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "out", "b")
	})
}

func TestTransactOutlastsTransientErrors(t *testing.T) {
	keys := []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn}
	inLane(t, func(t *testing.T, w *world, s *Session) {
		n := 0
		for _, key := range keys {
			for _, e := range []*kerr.Error{
				kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.ConcurrentTransactions,
				kerr.NotLeaderForPartition, kerr.RequestTimedOut,
			} {
				fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: e, Count: 3})
				if key == kmsg.InitProducerID {
					if err := s.Fence(t.Context()); err != nil {
						t.Errorf("fence, %v: %v", e, err)
					}
				}
				n++
				pos := Position{Offset: int64(n)}
				if err := s.Transact(t.Context(), say("out", fmt.Sprintf("%03d", n)), pos); err != nil || fault.Hits() != 3 {
					t.Fatalf("%v, %v: %v after %d faults", key.Name(), e, err, fault.Hits())
				}
				fault.Remove()
				wantPosition(t, s, pos)
			}
		}
		if got := w.committed("out"); len(got) != n || len(slices.Compact(got)) != n {
			t.Errorf("%d transactions, %d records", n, len(got))
		}
	})
}

func TestTransactReportsWhatDoesNotPass(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		for _, c := range []struct {
			key  kmsg.Key
			err  *kerr.Error
			want ErrorCode
		}{
			{kmsg.AddPartitionsToTxn, kerr.TransactionalIDAuthorizationFailed, CodeDenied},
			{kmsg.AddPartitionsToTxn, kerr.TopicAuthorizationFailed, CodeDenied},
			{kmsg.AddPartitionsToTxn, kerr.CoordinatorNotAvailable, CodeUnavailable},
			{kmsg.Produce, kerr.TopicAuthorizationFailed, CodeDenied},
			{kmsg.Produce, kerr.NotEnoughReplicas, CodeUnavailable},
			{kmsg.Produce, kerr.OutOfOrderSequenceNumber, CodeUnavailable},
			{kmsg.AddOffsetsToTxn, kerr.GroupAuthorizationFailed, CodeDenied},
			{kmsg.TxnOffsetCommit, kerr.GroupAuthorizationFailed, CodeDenied},
			{kmsg.TxnOffsetCommit, kerr.OffsetMetadataTooLarge, CodeTooLarge},
			{kmsg.TxnOffsetCommit, kerr.UnknownMemberID, CodeOwnershipLost},
			{kmsg.TxnOffsetCommit, kerr.RebalanceInProgress, CodeUnavailable},
		} {
			fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: -1})
			start := time.Now()
			err := s.Transact(t.Context(), say("out", "never"), Position{Offset: 7})
			if CodeOf(err) != c.want {
				t.Errorf("%v, %v: %v, want %s", c.key.Name(), c.err, err, c.want)
			}
			if took := time.Since(start); took > defaultTransactionTimeout {
				t.Errorf("%v, %v: took %s", c.key.Name(), c.err, took)
			}
			fault.Remove()
		}
		if err := s.Transact(t.Context(), say("out", "once"), Position{Offset: 8}); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "out", "once")
		wantPosition(t, s, Position{Offset: 8})
	})
}

func TestTransactToUnknownPlaces(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		opened := w.observe(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}})
		three, two := 3, 2
		wantCode(t, s.Transact(t.Context(), say("none", "a"), Position{}), CodeUnknownTopic)
		wantCode(t, s.Transact(t.Context(), []Message{{Topic: "out", Partition: &three}}, Position{}), CodeUnknownTopic)
		wantCode(t, s.Transact(t.Context(), []Message{{}}, Position{}), CodeInvalid)
		wantCode(t, s.Transact(t.Context(), nil, Position{Metadata: strings.Repeat("x", 40_000)}), CodeTooLarge)
		if opened.Hits() > 0 {
			t.Error("a transaction was opened for a batch that was not complete")
		}
		if err := s.Transact(t.Context(), []Message{{Topic: "out", Partition: &two, Key: []byte("k"), Value: []byte("v")}}, Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		if got := w.cluster.PartitionInfo("out", 2).HighWatermark; got != 2 {
			t.Errorf("partition 2 ends at %d", got)
		}
	})
}

func TestTransactEndsWithItsContext(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		unmute := w.mute(kmsg.TxnOffsetCommit)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		wantCode(t, s.Transact(ctx, say("out", "given up"), Position{Offset: 1}), CodeCanceled)
		if took := time.Since(start); took > 600*time.Millisecond {
			t.Errorf("took %s", took)
		}
		unmute()
		// Its readers are not kept waiting until it times out.
		wantCommitted(t, w, "out")
		if err := s.Transact(t.Context(), say("out", "again"), Position{Offset: 2}); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "out", "again")
		wantPosition(t, s, Position{Offset: 2})
	})
}
