package kafka

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestScanEndsWhereTheLogDoes(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		put(t, w.plainProducer(), "t", 0, "a", "b")
		p := w.txnProducer("p")
		begin(t, p)
		put(t, p, "t", 0, "open")
		n := 0
		for _, err := range w.client().Scan(t.Context(), "t", 0, 0, 100) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%d records, want those below the open transaction", n)
		}
		end(t, p, kgo.TryAbort)
	})
}

// An end that one broker tells of is not the cursor's end: its leader may not know yet
// how far it is.
func TestCursorGoesOnBehindAnEnd(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		plain := w.plainProducer()
		put(t, plain, "t", 0, "a")
		cursor := w.client().Cursor("t", 0, 0, 2, 1<<20)
		for i, want := range []bool{true, false, false, true, false} {
			if i == 3 {
				put(t, plain, "t", 0, "b")
			}
			page, more, err := cursor.Next(t.Context())
			if err != nil || more != want || len(page.Records) > 0 != want {
				t.Errorf("page %d: %d records, more %v, %v", i, len(page.Records), more, err)
			}
		}
		if cursor.Offset() != 2 {
			t.Errorf("at %d", cursor.Offset())
		}
	})
}

func TestScanErrorIsTheLastPair(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	put(t, w.plainProducer(), "t", 0, "a", "b")
	if err := w.cluster.DeleteRecords("t", 0, 1); err != nil {
		t.Fatal(err)
	}
	var errs []error
	for r, err := range w.client().Scan(t.Context(), "t", 0, 0, 2) {
		if r.Value != nil {
			t.Errorf("record %+v beside an error", r)
		}
		errs = append(errs, err)
	}
	if len(errs) != 1 {
		t.Fatal(errs)
	}
	wantCode(t, errs[0], CodeOutOfRange)
}

func TestScanOutlastsShortOutage(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		put(t, w.plainProducer(), "t", 0, "a")
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: kerr.NotLeaderForPartition, Count: 5})
		defer fault.Remove()
		n := 0
		for _, err := range w.client().Scan(t.Context(), "t", 0, 0, 1) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1 || fault.Hits() != 5 {
			t.Errorf("%d records after %d faults", n, fault.Hits())
		}
	})
}

func TestScanEndsWithItsContext(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range w.client().Scan(ctx, "t", 0, 0, 1) {
		wantCode(t, err, CodeCanceled)
	}
}

func TestFollowYieldsWhatComes(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c, plain, p := w.client(), w.plainProducer(), w.txnProducer("p")
		put(t, plain, "t", 0, "before")
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string, 100)
		over := make(chan struct{})
		go func() {
			defer close(over)
			for r, err := range c.Follow(ctx, "t", 0, 1) {
				if err != nil {
					t.Error(err)
				}
				got <- string(r.Value)
			}
		}()
		var want []string
		for i := range 5 {
			put(t, plain, "t", 0, "plain"+strconv.Itoa(i))
			begin(t, p)
			put(t, p, "t", 0, "aborted")
			end(t, p, kgo.TryAbort)
			begin(t, p)
			put(t, p, "t", 0, "committed"+strconv.Itoa(i))
			end(t, p, kgo.TryCommit)
			want = append(want, "plain"+strconv.Itoa(i), "committed"+strconv.Itoa(i))
			pass(t, time.Second) // the reader sees the end of the log
		}
		synctest.Wait()
		cancel()
		<-over
		close(got)
		var values []string
		for v := range got {
			values = append(values, v)
		}
		if !slices.Equal(values, want) {
			t.Errorf("got %v, want %v", values, want)
		}
	})
}

func TestFollowWaitsForBrokersAndGivesUp(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		put(t, w.plainProducer(), "t", 0, "a")
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: kerr.LeaderNotAvailable, Count: 4})
		c := w.client()
		for r, err := range c.Follow(t.Context(), "t", 0, 0) {
			if err != nil || string(r.Value) != "a" {
				t.Fatalf("%+v, %v", r, err)
			}
			break
		}
		fault.Remove()
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: kerr.LeaderNotAvailable, Count: -1})
		start := time.Now()
		pairs := 0
		for _, err := range c.Follow(t.Context(), "t", 0, 0) {
			pairs++
			wantCode(t, err, CodeUnavailable)
		}
		if took := time.Since(start); pairs != 1 || took < briefly.unavailable || took > briefly.unavailable+time.Second {
			t.Errorf("%d pairs after %s", pairs, took)
		}
	})
}
