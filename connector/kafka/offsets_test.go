package kafka

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRangeSeesWhatIsNotCommittedYet(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		s := sessions[0]
		want := func(start, end int64) {
			t.Helper()
			if got, err := s.Range(t.Context()); err != nil || got != (Range{Start: start, End: end}) {
				t.Errorf("got %+v, %v, want %d to %d", got, err, start, end)
			}
		}
		want(0, 0)
		put(t, w.plainProducer(), "t", 0, "a", "b", "c")
		want(0, 3)
		open := w.txnProducer("open")
		begin(t, open)
		put(t, open, "t", 0, "d")
		want(0, 4)
		if err := w.cluster.DeleteRecords("t", 0, 2); err != nil {
			t.Fatal(err)
		}
		want(2, 4)
		end(t, open, kgo.TryAbort)
		want(2, 5)
	})
}

// An answer that leaves the partition out is none: kafka-go's Client would
// have it that the log is empty.
func TestRangeOfAnAnswerThatLeavesThePartitionOut(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		put(t, w.plainProducer(), "t", 0, "a")
		w.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			res := req.ResponseKind()
			res.SetVersion(req.GetVersion())
			return res, nil, true
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := sessions[0].Range(ctx)
		wantCode(t, err, CodeCanceled)
	})
}

func TestRangeOutlastsTransientErrors(t *testing.T) {
	inSession(t, 1, func(t *testing.T, w *world, sessions []*Session) {
		put(t, w.plainProducer(), "t", 0, "a")
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: 7})
		if got, err := sessions[0].Range(t.Context()); err != nil || got.End != 1 || fault.Hits() < 7 {
			t.Errorf("%+v, %v after %d faults", got, err, fault.Hits())
		}
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.UnknownTopicOrPartition, Count: -1})
		_, err := sessions[0].Range(t.Context())
		wantCode(t, err, CodeUnknownTopic)
	})
}

func TestCommittedOfAllPartitions(t *testing.T) {
	inSession(t, 3, func(t *testing.T, w *world, sessions []*Session) {
		c := sessions[0].client
		want := map[int]Position{0: {Offset: 5, Metadata: "five"}, 1: {Offset: -1}, 2: {Offset: 0}}
		for p, pos := range want {
			if pos.Offset < 0 {
				continue
			}
			if err := sessions[p].Commit(t.Context(), pos); err != nil {
				t.Fatal(err)
			}
		}
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress, Count: 2})
		if got, err := c.Committed(t.Context(), "g", "t"); err != nil || !maps.Equal(got, want) || fault.Hits() != 2 {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if got, err := c.Committed(t.Context(), "nobody", "t"); err != nil || len(got) != 3 || got[0].Offset != -1 {
			t.Errorf("of nobody: %+v, %v", got, err)
		}
		_, err := c.Committed(t.Context(), "g", "none")
		wantCode(t, err, CodeUnknownTopic)
	})
}

func TestOffsetAt(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		c := w.client()
		base := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
		one := 1
		for i := range 5 {
			at := base.Add(time.Duration(i) * time.Minute)
			if err := c.Produce(t.Context(), []Message{{Topic: "t", Partition: &one, Timestamp: at}}); err != nil {
				t.Fatal(err)
			}
		}
		for after, want := range map[time.Duration]int64{
			-time.Hour: 0, 0: 0, time.Millisecond: 1, 2 * time.Minute: 2, 4 * time.Minute: 4, 5 * time.Minute: 5,
			-100 * 365 * 24 * time.Hour: 0,
		} {
			if got, err := c.OffsetAt(t.Context(), "t", 1, base.Add(after)); err != nil || got != want {
				t.Errorf("%s: got %d, %v, want %d", after, got, err, want)
			}
		}
		if got, err := c.OffsetAt(t.Context(), "t", 0, base); err != nil || got != 0 {
			t.Errorf("an empty partition: %d, %v", got, err)
		}
		_, err := c.OffsetAt(t.Context(), "t", 7, base)
		wantCode(t, err, CodeUnknownTopic)
	})
}

func TestLastOf(t *testing.T) {
	inBubble(t, map[string]int32{"t": 3}, func(t *testing.T, w *world) {
		c := w.client()
		want := func(partition int, key, value string, found bool) {
			t.Helper()
			r, ok, err := c.LastOf(t.Context(), "t", partition, []byte(key))
			if err != nil || ok != found || string(r.Value) != value {
				t.Errorf("%q in %d: %q at %d, %t, %v, want %q", key, partition, r.Value, r.Offset, ok, err, value)
			}
		}
		want(0, "a", "", false)

		var msgs []Message
		zero := 0
		add := func(key, value string) {
			msgs = append(msgs, Message{Topic: "t", Partition: &zero, Key: []byte(key), Value: []byte(value)})
		}
		add("old", "1")
		add("old", "2")
		for i := range 3000 {
			add("many", fmt.Sprint(i))
			if i == 2990 {
				add("young", "x")
			}
		}
		if err := c.Produce(t.Context(), msgs); err != nil {
			t.Fatal(err)
		}
		want(0, "old", "2", true)
		want(0, "many", "2999", true)
		want(0, "young", "x", true)
		want(0, "never", "", false)

		// What is not committed does not count, however much of it there is.
		txn := w.txnProducer("aborts")
		for _, how := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryAbort} {
			begin(t, txn)
			for i := range 300 {
				r := &kgo.Record{Topic: "t", Key: []byte("young"), Value: fmt.Append(nil, "aborted", i)}
				if err := txn.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			end(t, txn, how)
		}
		begin(t, txn)
		if err := txn.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Key: []byte("young"), Value: []byte("open")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		want(0, "young", "x", true)
		want(0, "old", "2", true)
		end(t, txn, kgo.TryCommit)
		want(0, "young", "open", true)

		if err := w.cluster.DeleteRecords("t", 0, 2); err != nil {
			t.Fatal(err)
		}
		want(0, "old", "", false)
		want(0, "young", "open", true)
		_, _, err := c.LastOf(t.Context(), "t", 9, nil)
		wantCode(t, err, CodeUnknownTopic)
	})
}

// What is looked for stands at the end as a rule: that costs no more than the
// end.
func TestLastOfReadsAsLittleAsItCan(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	c := w.client()
	for range 20 {
		if err := c.Produce(t.Context(), []Message{{Topic: "t", Key: []byte("k"), Value: []byte(strings.Repeat("x", 500_000))}, {Topic: "t", Key: []byte("k")}}); err != nil {
			t.Fatal(err)
		}
	}
	fetches := w.observe(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}})
	if _, ok, err := c.LastOf(t.Context(), "t", 0, []byte("k")); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if n := fetches.Hits(); n > 6 {
		t.Errorf("%d fetches of up to 4 MiB", n)
	}
}

// TestAwaitStable: what was open when it was asked has to end, what was begun
// later has not.
func TestAwaitStable(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		if err := c.AwaitStable(t.Context(), "t", 0); err != nil {
			t.Fatal(err)
		}
		early, late := w.txnProducer("early"), w.txnProducer("late")
		begin(t, early)
		put(t, early, "t", 0, "open")
		ended := make(chan error, 1)
		go func() { ended <- c.AwaitStable(t.Context(), "t", 0) }()
		<-time.After(10 * time.Second)
		select {
		case err := <-ended:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		begin(t, late)
		put(t, late, "t", 0, "later")
		end(t, early, kgo.TryAbort)
		<-time.After(2 * stableWatch)
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("it waits for a transaction that was begun later")
			end(t, late, kgo.TryAbort)
			<-ended
		}

		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCode(t, c.AwaitStable(gone, "t", 0), CodeCanceled)
		wantCode(t, c.AwaitStable(t.Context(), "t", 9), CodeUnknownTopic)
	})
}
