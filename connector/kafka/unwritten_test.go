package kafka

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func wantUnwritten(t testing.TB, err error, code ErrorCode) []int {
	t.Helper()
	unwritten, ok := errors.AsType[*UnwrittenError](err)
	if !ok || CodeOf(err) != code {
		t.Fatalf("got %v of code %q, want an UnwrittenError of %q", err, CodeOf(err), code)
	}
	return unwritten.Indexes
}

func TestUnwrittenAreThoseOfTheTopicThatFails(t *testing.T) {
	inBubble(t, map[string]int32{"up": 3, "down": 3}, func(t *testing.T, w *world) {
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "down", Err: kerr.NotEnoughReplicas, Count: -1})
		var msgs []Message
		var want []int
		for i := range 30 {
			topic := []string{"up", "down"}[i%2]
			if topic == "down" {
				want = append(want, i)
			}
			// One key in both topics: what follows in the other one is written.
			msgs = append(msgs, Message{Topic: topic, Key: fmt.Append(nil, "key", i/2%4), Value: fmt.Append(nil, i)})
		}
		c := w.client()
		got := wantUnwritten(t, c.Produce(t.Context(), msgs), CodeUnavailable)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		fault.Remove()
		if err := c.Produce(t.Context(), pick(msgs, got)); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"up", "down"} {
			n := 0
			for _, records := range w.written(topic) {
				n += len(records)
			}
			if n != 15 {
				t.Errorf("%s has %d records, want 15", topic, n)
			}
		}
	})
}

func pick(msgs []Message, indexes []int) (out []Message) {
	for _, i := range indexes {
		out = append(out, msgs[i])
	}
	return out
}

// A batch fails and the one behind it does not: what is repeated keeps the
// order of every key, and leaves the rest alone.
func TestRepeatingTheUnwrittenKeepsTheOrder(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		var msgs []Message
		for i := range batchSize + 200 {
			msgs = append(msgs, Message{Topic: "t", Key: fmt.Append(nil, i%(batchSize+100)), Value: fmt.Append(nil, i)})
		}
		msgs[batchSize-1].Key, msgs[batchSize+1].Key = nil, nil
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.NotEnoughReplicas, Count: writeAttempts})
		c := w.client()
		again := wantUnwritten(t, c.Produce(t.Context(), msgs), CodeUnavailable)
		if fault.Hits() != writeAttempts {
			t.Fatalf("%d faults", fault.Hits())
		}
		// The first batch, and of the second what shares a key with it.
		var want []int
		for i := range msgs {
			if i < batchSize || i >= batchSize+100 {
				want = append(want, i)
			}
		}
		if !slices.Equal(again, want) {
			t.Fatalf("got %d to repeat, %v…%v, want %d", len(again), again[0], again[len(again)-1], len(want))
		}
		if err := c.Produce(t.Context(), pick(msgs, again)); err != nil {
			t.Fatal(err)
		}
		last := map[string]string{}
		records := w.written("t")[0]
		for _, r := range records {
			last[string(r.Key)] = string(r.Value)
		}
		for i := range 100 {
			if got, want := last[fmt.Sprint(i)], fmt.Sprint(i+batchSize+100); got != want {
				t.Errorf("key %d ends with %s, want %s", i, got, want)
			}
		}
		if len(records) != len(msgs)+100 {
			t.Errorf("%d records for %d messages", len(records), len(msgs))
		}
	})
}

// What is refused for good is unwritten too, until the caller has replaced it.
func TestUnwrittenIncludesPoison(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		holds := func(what string) func(kmsg.Request) bool {
			return func(req kmsg.Request) bool {
				return strings.Contains(string(req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records), what)
			}
		}
		w.cluster.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.MessageTooLarge, Count: -1, When: holds("poison")},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.NotEnoughReplicas, Count: -1, When: holds("unlucky")},
		)
		c := w.client()
		for _, test := range []struct {
			values  []string
			want    []int
			written []string
		}{
			{[]string{"unlucky", "its neighbour", "never tried", "poison"}, []int{0, 1, 2, 3}, nil},
			{[]string{"poison", "good", "unlucky", "its neighbour"}, []int{0, 2, 3}, []string{"good"}},
		} {
			var msgs []Message
			for _, value := range test.values {
				msgs = append(msgs, Message{Topic: "t", Value: []byte(value)})
			}
			got := wantUnwritten(t, c.Produce(t.Context(), msgs), CodeUnavailable)
			if written := values(w.written("t")[0]); !slices.Equal(got, test.want) || !slices.Equal(written, test.written) {
				t.Errorf("%v: got %v, written %v", test.values, got, written)
			}
		}
	})
}

func TestUnwrittenAfterCancellationIsEverything(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		c := w.client()
		w.mute(kmsg.Produce)
		done := make(chan error, 1)
		go func() { done <- c.Produce(t.Context(), []Message{{Topic: "t"}, {Topic: "t"}}) }()
		pass(t, 1)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got := wantUnwritten(t, <-done, CodeCanceled); !slices.Equal(got, []int{0, 1}) {
			t.Errorf("got %v", got)
		}
		if got := wantUnwritten(t, c.Produce(t.Context(), []Message{{Topic: "t"}}), CodeCanceled); !slices.Equal(got, []int{0}) {
			t.Errorf("after Close: %v", got)
		}
	})
}

// TestBehindKeepsTheOrderOfKeys writes with any failures, repeats what behind
// says and looks at what a reader is left with.
func TestBehindKeepsTheOrderOfKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msgs := make([]Message, rapid.IntRange(1, 20).Draw(t, "messages"))
		for i := range msgs {
			msgs[i].Topic = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic")
			if key := rapid.IntRange(-1, 2).Draw(t, "key"); key >= 0 {
				msgs[i].Key = []byte{byte(key)}[:min(key, 1)] // the empty key is one
			}
		}
		failed := rapid.SliceOfDistinct(rapid.IntRange(0, len(msgs)-1), rapid.ID[int]).Draw(t, "failed")
		again := behind(msgs, failed)
		log, repeated := []int{}, map[int]bool{}
		for i := range msgs {
			if !slices.Contains(failed, i) {
				log = append(log, i)
			}
		}
		log = append(log, again...)
		for _, i := range again {
			repeated[i] = true
		}
		last := map[int]int{}
		for at, i := range log {
			last[i] = at
		}
		for i := range msgs {
			if _, there := last[i]; !there {
				t.Fatalf("message %d is lost", i)
			}
			for k := range i {
				same := msgs[k].Topic == msgs[i].Topic && msgs[k].Key != nil && msgs[i].Key != nil && string(msgs[k].Key) == string(msgs[i].Key)
				if same && last[k] > last[i] {
					t.Fatalf("message %d is behind %d: %v", k, i, log)
				}
				if same && repeated[k] && !repeated[i] {
					t.Fatalf("message %d is repeated, %d is not", k, i)
				}
			}
			first := slices.IndexFunc(msgs[:i], func(m Message) bool {
				return m.Topic == msgs[i].Topic && m.Key != nil && msgs[i].Key != nil && string(m.Key) == string(msgs[i].Key)
			})
			if repeated[i] && !slices.Contains(failed, i) && first < 0 {
				t.Fatalf("message %d is repeated for nothing", i)
			}
		}
	})
}

func TestUnwrittenErrorExplainsItself(t *testing.T) {
	cause := &Error{Code: CodeUnavailable, Op: "produce", Err: errors.New("cause")}
	err := error(&UnwrittenError{Indexes: []int{1, 5, 7}, Err: cause})
	if !strings.Contains(err.Error(), "3 message(s)") || !errors.Is(err, cause) || CodeOf(err) != CodeUnavailable {
		t.Errorf("%v", err)
	}
}
