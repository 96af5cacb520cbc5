package kafka

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFetchOfUnknownTopic(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		for _, req := range []FetchRequest{{Topic: "none"}, {Topic: "t", Partition: 7}} {
			start := time.Now()
			_, err := c.Fetch(t.Context(), req)
			wantCode(t, err, CodeUnknownTopic)
			if took := time.Since(start); took < metadataTTL || took > 2*metadataTTL {
				t.Errorf("%+v: given up after %s", req, took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = c.Fetch(ctx, req)
			wantCode(t, err, CodeCanceled)
			cancel()
		}
	})
}

func TestFetchFindsTopicThatIsNew(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		if _, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		// kafka-go's picture of the cluster is older than what follows.
		if err := w.cluster.CreateTopic("later", 1, nil); err != nil {
			t.Fatal(err)
		}
		put(t, w.plainProducer(), "later", 0, "x")
		res, err := c.Fetch(t.Context(), FetchRequest{Topic: "later"})
		if err != nil || len(res.Records) != 1 {
			t.Fatalf("%+v, %v", res, err)
		}
	})
}

func TestFetchOfRecreatedTopic(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		p, c := w.plainProducer(), w.client()
		put(t, p, "t", 0, "a", "b", "c")
		if got, _, _ := readAll(t, c, "t", 0, 0); len(got) != 3 {
			t.Fatal(got)
		}
		if err := w.cluster.DeleteTopic("t"); err != nil {
			t.Fatal(err)
		}
		if err := w.cluster.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		put(t, w.plainProducer(), "t", 0, "new")
		_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t", Offset: 3})
		wantCode(t, err, CodeOutOfRange)
		if got, _, _ := readAll(t, c, "t", 0, 0); !slices.Equal(got, []string{"new"}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestFetchReturnsAtOnceWhenContextEnds(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		start := time.Now()
		go func() {
			_, err := c.Fetch(ctx, FetchRequest{Topic: "t", MaxWait: time.Minute})
			done <- err
		}()
		synctest.Wait() // the broker holds the fetch
		cancel()
		wantCode(t, <-done, CodeCanceled)
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("closing took %s", took)
		}
		_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"})
		wantCode(t, err, CodeCanceled)
	})
}

// A time limit of our own is not the caller's: who waits for the brokers must
// not be told that it gave up.
func TestFetchFromSilentBroker(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		w.mute(kmsg.Fetch)
		start := time.Now()
		_, err := w.client().Fetch(t.Context(), FetchRequest{Topic: "t", MaxWait: time.Second})
		wantCode(t, err, CodeUnavailable)
		if took := time.Since(start); took != requestTimeout+time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestFetchReportsBrokerErrors(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	c := w.client()
	for err, want := range map[*kerr.Error]ErrorCode{
		kerr.TopicAuthorizationFailed: CodeDenied,
		kerr.NotLeaderForPartition:    CodeUnavailable,
		kerr.OffsetOutOfRange:         CodeOutOfRange,
		kerr.KafkaStorageError:        CodeUnavailable,
	} {
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: err})
		_, got := c.Fetch(t.Context(), FetchRequest{Topic: "t"})
		fault.Remove()
		wantCode(t, got, want)
		if !strings.Contains(got.Error(), "fetch t/0 at 0") {
			t.Errorf("%v does not say what was done", got)
		}
	}
	top := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, TopLevel: true, Err: kerr.UnknownServerError})
	defer top.Remove()
	_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"})
	wantCode(t, err, CodeUnavailable)
}
