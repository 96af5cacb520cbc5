package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/schemas"
)

// written is what another client finds in a topic, by partition.
func (w *world) written(topic string) map[int][]*kgo.Record {
	w.t.Helper()
	out, missing := map[int][]*kgo.Record{}, int64(0)
	from := map[int32]kgo.Offset{}
	for _, p := range w.cluster.PartitionInfos(topic) {
		from[p.Partition] = kgo.NewOffset().AtStart()
		missing += p.HighWatermark
	}
	c := w.franz(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	for missing > 0 {
		fetches := c.PollFetches(w.t.Context())
		if err := fetches.Err(); err != nil {
			w.t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			out[int(r.Partition)] = append(out[int(r.Partition)], r)
			missing--
		}
	}
	return out
}

func values(records []*kgo.Record) (out []string) {
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func TestProduceWritesWhatItIsGiven(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	at := time.Date(2031, 5, 6, 7, 8, 9, 123_456_789, time.UTC)
	before := time.Now().Truncate(time.Millisecond)
	err := w.client().Produce(t.Context(), []Message{
		{Topic: "t", Key: []byte("k"), Value: []byte("v"), Timestamp: at, Headers: []schemas.Header{
			{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}, {Key: "n"}, {Key: "e", Value: []byte{}},
		}},
		{Topic: "t", Key: []byte{}, Value: []byte{}},
		{Topic: "t"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := w.written("t")[0]
	if len(got) != 3 {
		t.Fatalf("%d records", len(got))
	}
	if r := got[0]; string(r.Key) != "k" || string(r.Value) != "v" || !r.Timestamp.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("got %+v", r)
	}
	var headers []string
	for _, h := range got[0].Headers {
		headers = append(headers, fmt.Sprintf("%s=%q nil:%t", h.Key, h.Value, h.Value == nil))
	}
	if want := []string{`h="1" nil:false`, `h="2" nil:false`, `n="" nil:true`, `e="" nil:false`}; !slices.Equal(headers, want) {
		t.Errorf("headers %v, want %v", headers, want)
	}
	if r := got[1]; r.Key == nil || r.Value == nil || r.Timestamp.Before(before) || r.Timestamp.After(time.Now()) {
		t.Errorf("empty key and value: %+v", r)
	}
	if r := got[2]; r.Key != nil || r.Value != nil {
		t.Errorf("null key and value: %+v", r)
	}
}

func TestProduceKeepsOrderWithinPartition(t *testing.T) {
	w := newWorld(t, map[string]int32{"a": 3, "b": 2})
	c := w.client()
	want := map[string][]string{}
	for call := range 5 {
		var msgs []Message
		for i := range 1500 { // more than a batch
			topic, key := []string{"a", "b"}[i%2], fmt.Sprint(i%11)
			value := fmt.Sprintf("%d.%d", call, i)
			msgs = append(msgs, Message{Topic: topic, Key: []byte(key), Value: []byte(value)})
			want[topic+key] = append(want[topic+key], value)
		}
		if err := c.Produce(t.Context(), msgs); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]string{}
	for _, topic := range []string{"a", "b"} {
		for _, records := range w.written(topic) {
			for _, r := range records {
				got[topic+string(r.Key)] = append(got[topic+string(r.Key)], string(r.Value))
			}
		}
	}
	for key := range want {
		if !slices.Equal(got[key], want[key]) {
			t.Errorf("key %s: %d records, want %d in order", key, len(got[key]), len(want[key]))
		}
	}
}

// The hashes are those of the Java client's own test of murmur2.
func TestProducePartitionsLikeJava(t *testing.T) {
	const partitions = 7
	hashes := map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	}
	w := newWorld(t, map[string]int32{"t": partitions})
	var msgs []Message
	for key := range hashes {
		msgs = append(msgs, Message{Topic: "t", Key: []byte(key)})
	}
	if err := w.client().Produce(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	for p, records := range w.written("t") {
		for _, r := range records {
			if want := int(uint32(hashes[string(r.Key)])&0x7fffffff) % partitions; p != want {
				t.Errorf("key %q is in partition %d, want %d", r.Key, p, want)
			}
		}
	}
}

func TestProducePartitionsLikeFranz(t *testing.T) {
	w := newWorld(t, map[string]int32{"ours": 12, "theirs": 12})
	var ours []Message
	var theirs []*kgo.Record
	for i := range 300 {
		key := bytes.Repeat([]byte{byte(i), byte(255 - i)}, i%9) // the first is empty, not null
		ours = append(ours, Message{Topic: "ours", Key: key})
		theirs = append(theirs, &kgo.Record{Topic: "theirs", Key: key})
	}
	if err := w.client().Produce(t.Context(), ours); err != nil {
		t.Fatal(err)
	}
	if err := w.franz().ProduceSync(t.Context(), theirs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	where := map[string]int{}
	for p, records := range w.written("theirs") {
		for _, r := range records {
			where[string(r.Key)] = p
		}
	}
	for p, records := range w.written("ours") {
		for _, r := range records {
			if where[string(r.Key)] != p {
				t.Errorf("key %x is in partition %d, franz-go puts it into %d", r.Key, p, where[string(r.Key)])
			}
		}
	}
}

func TestProduceOutlastsTransientErrors(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas} {
			fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: e, Count: 2})
			if err := w.client().Produce(t.Context(), []Message{{Topic: "t", Value: []byte(e.Message)}}); err != nil {
				t.Error(err)
			}
			if fault.Hits() != 2 {
				t.Errorf("%v: %d faults", e, fault.Hits())
			}
		}
		if got := w.written("t")[0]; len(got) != 3 {
			t.Errorf("%d records", len(got))
		}
	})
}

func TestProduceReportsLastingErrors(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		c := w.client()
		msgs := []Message{{Topic: "t", Key: []byte("a")}, {Topic: "t", Key: []byte("b")}, {Topic: "t", Key: []byte("c")}}
		for e, want := range map[*kerr.Error]ErrorCode{
			kerr.NotEnoughReplicas:        CodeUnavailable,
			kerr.TopicAuthorizationFailed: CodeDenied,
		} {
			fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: e, Count: -1})
			wantCode(t, c.Produce(t.Context(), msgs), want)
			fault.Remove()
		}
		wantCode(t, c.Produce(t.Context(), []Message{{Topic: "none"}}), CodeUnknownTopic)
		wantCode(t, c.Produce(t.Context(), []Message{{Topic: "t"}, {}}), CodeInvalid)
		if got := w.written("t"); len(got) != 0 {
			t.Errorf("written: %v", got)
		}
	})
}

func TestProduceEndsWithItsContext(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Produce(t.Context(), []Message{{Topic: "t"}}); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			wantCode(t, c.Produce(ended, []Message{{Topic: "t"}}), CodeCanceled)
		}
		pass(t, time.Second)
		if got := w.written("t")[0]; len(got) != 1 {
			t.Errorf("%d records are written under a context that had ended", len(got)-1)
		}
		w.mute(kmsg.Produce)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		wantCode(t, c.Produce(ctx, []Message{{Topic: "t"}}), CodeCanceled)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		// What nobody waits for any more must not hold up the end.
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("closing took %s", took-3*time.Second)
		}
		wantCode(t, c.Produce(t.Context(), []Message{{Topic: "t"}}), CodeCanceled)
	})
}

// The caller must not be told that it gave up when it was the broker that did
// not answer.
func TestProduceToSilentBroker(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		w.mute(kmsg.Produce)
		wantCode(t, w.client().Produce(t.Context(), []Message{{Topic: "t"}}), CodeUnavailable)
	})
}

func TestProduceNothing(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.client().Produce(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestPoisonErrorExplainsItself(t *testing.T) {
	cause := &Error{Code: CodeTooLarge, Op: "produce", Err: errors.New("cause")}
	err := error(&PoisonError{Indexes: []int{1, 5}, Err: cause})
	if !strings.Contains(err.Error(), "2 message(s)") || !errors.Is(err, cause) || CodeOf(err) != CodeTooLarge {
		t.Errorf("%v", err)
	}
}
