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

func wantPoison(t testing.TB, err error, code ErrorCode, indexes ...int) {
	t.Helper()
	poison, ok := errors.AsType[*PoisonError](err)
	if !ok {
		t.Fatalf("got %v, want a PoisonError", err)
	}
	if !slices.Equal(poison.Indexes, indexes) || CodeOf(err) != code {
		t.Fatalf("got %v of code %q, want %v of %q", poison.Indexes, CodeOf(err), indexes, code)
	}
}

func TestPoisonOverTheClientsLimit(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	var msgs []Message
	var want []string
	for i := range 50 {
		value := fmt.Sprint("good", i)
		if i == 13 || i == 49 {
			value = strings.Repeat("x", MaxMessageBytes)
		} else {
			want = append(want, value)
		}
		msgs = append(msgs, Message{Topic: "t", Value: []byte(value)})
	}
	wantPoison(t, w.client().Produce(t.Context(), msgs), CodeTooLarge, 13, 49)
	if got := values(w.written("t")[0]); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What fits the client's limit but not the broker's, whose own count includes
// the batch around the message.
func TestPoisonAtTheLimit(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	c := w.client()
	refused, accepted := 0, 0
	for size := MaxMessageBytes - 100; size <= MaxMessageBytes; size += 10 {
		err := c.Produce(t.Context(), []Message{{Topic: "t", Value: make([]byte, size)}, {Topic: "t", Value: []byte("good")}})
		if err == nil {
			accepted++
			continue
		}
		refused++
		wantPoison(t, err, CodeTooLarge, 0)
	}
	if refused == 0 || accepted == 0 {
		t.Errorf("%d refused, %d accepted: the limit is elsewhere", refused, accepted)
	}
	if got := w.written("t")[0]; len(got) != 2*accepted+refused {
		t.Errorf("%d records after %d accepted and %d refused", len(got), accepted, refused)
	}
}

func TestPoisonOfTheBroker(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	for e, code := range map[*kerr.Error]ErrorCode{
		kerr.MessageTooLarge: CodeTooLarge, kerr.RecordListTooLarge: CodeTooLarge,
		kerr.InvalidRecord: CodeInvalid, kerr.InvalidTimestamp: CodeInvalid,
	} {
		fault := w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: e, Count: -1,
			When: func(req kmsg.Request) bool {
				records := req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
				return strings.Contains(string(records), "poison")
			},
		})
		msgs := make([]Message, 21)
		for i := range msgs {
			msgs[i] = Message{Topic: "t", Value: fmt.Append(nil, "good", i)}
		}
		msgs[0].Value, msgs[10].Value = []byte("poison"), []byte("poison too")
		before := len(w.written("t")[0])
		wantPoison(t, w.client().Produce(t.Context(), msgs), code, 0, 10)
		fault.Remove()
		if got := len(w.written("t")[0]) - before; got != 19 {
			t.Errorf("%v: %d records written", e, got)
		}
	}
}

func TestPoisonOnly(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.cluster.CreateTopic("t", 1, map[string]string{"max.message.bytes": "500"}); err != nil {
		t.Fatal(err)
	}
	msgs := slices.Repeat([]Message{{Topic: "t", Value: make([]byte, 600)}}, 3)
	wantPoison(t, w.client().Produce(t.Context(), msgs), CodeTooLarge, 0, 1, 2)
}

// What may pass outweighs what will not: the caller repeats everything then,
// and learns of the poison at that time.
func TestTransientErrorOutweighsPoison(t *testing.T) {
	inBubble(t, map[string]int32{"big": 1, "away": 1}, func(t *testing.T, w *world) {
		w.cluster.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "big", Err: kerr.MessageTooLarge, Count: -1},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "away", Err: kerr.NotEnoughReplicas, Count: -1},
		)
		err := w.client().Produce(t.Context(), []Message{{Topic: "big"}, {Topic: "away"}, {Topic: "big"}})
		wantCode(t, err, CodeUnavailable)
		if poison, ok := errors.AsType[*PoisonError](err); ok {
			t.Errorf("poison %v", poison.Indexes)
		}
	})
}

func TestEverythingButPoisonIsWrittenOnce(t *testing.T) {
	inBubble(t, nil, everythingButPoisonIsWrittenOnce)
}

func everythingButPoisonIsWrittenOnce(t *testing.T, w *world) {
	c := w.client()
	topics := 0
	// Embedded, because rapid asks a *testing.T for its deadline, and a bubble
	// has none.
	rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
		topics++
		topic := fmt.Sprint("t", topics)
		if err := c.EnsureTopics(t.Context(), []TopicSpec{{Name: topic, Partitions: 2, Configs: map[string]string{"max.message.bytes": "1000"}}}); err != nil {
			rt.Fatal(err)
		}
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{10, 300, 600, 2000}), 1, 25).Draw(rt, "sizes")
		var msgs []Message
		var poison []int
		want := map[string][]string{}
		for i, size := range sizes {
			key, value := fmt.Sprint(i%3), fmt.Sprintf("%-*d", size, i)
			msgs = append(msgs, Message{Topic: topic, Key: []byte(key), Value: []byte(value)})
			if size > 1000 {
				poison = append(poison, i)
			} else {
				want[key] = append(want[key], value)
			}
		}
		err := c.Produce(t.Context(), msgs)
		if len(poison) > 0 {
			wantPoison(t, err, CodeTooLarge, poison...)
		} else if err != nil {
			rt.Fatal(err)
		}
		got := map[string][]string{}
		for p := range 2 {
			for r, err := range c.Scan(t.Context(), topic, p, 0, 1000) {
				if err != nil {
					rt.Fatal(err)
				}
				got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}
