package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refuse makes the broker refuse every batch of a topic with the word in it. The
// topic must have one partition: kfake's fault is that of a whole request.
func (w *world) refuse(topic, word string, why *kerr.Error) *kfake.FaultHandle {
	return w.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: why, Count: -1,
		When: func(req kmsg.Request) bool {
			for _, t := range req.(*kmsg.ProduceRequest).Topics {
				for _, p := range t.Partitions {
					if strings.Contains(string(p.Records), word) {
						return true
					}
				}
			}
			return false
		},
	})
}

func TestTransactNamesPoisonAndCommitsNothing(t *testing.T) {
	for e, code := range map[*kerr.Error]ErrorCode{
		kerr.MessageTooLarge: CodeTooLarge, kerr.RecordListTooLarge: CodeTooLarge,
		kerr.InvalidRecord: CodeInvalid, kerr.InvalidTimestamp: CodeInvalid,
	} {
		inLane(t, func(t *testing.T, w *world, s *Session) {
			w.refuse("letters", "poison", e)
			var msgs []Message
			for i := range 40 {
				msgs = append(msgs, say([]string{"out", "letters"}[i%2], fmt.Sprintf("%02d", i))...)
			}
			for _, i := range []int{1, 17, 39} {
				msgs[i].Value = []byte("poison")
			}
			for range 2 {
				wantPoison(t, s.Transact(t.Context(), msgs, Position{Offset: 1}), code, 1, 17, 39)
				wantCommitted(t, w, "out")
				wantCommitted(t, w, "letters")
				wantPosition(t, s, Position{Offset: -1})
			}
			for _, i := range []int{1, 17, 39} {
				msgs[i].Value = []byte("replaced")
			}
			if err := s.Transact(t.Context(), msgs, Position{Offset: 1}); err != nil {
				t.Fatal(err)
			}
			if got := len(w.committed("out")) + len(w.committed("letters")); got != 40 {
				t.Errorf("%d records", got)
			}
		})
	}
}

// What is larger than any batch is found along with what the broker refuses.
func TestTransactNamesAllPoisonAtOnce(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		w.refuse("letters", "poison", kerr.InvalidRecord)
		msgs := say("letters", "a", strings.Repeat("x", MaxMessageBytes), "b", "poison")
		wantPoison(t, s.Transact(t.Context(), msgs, Position{Offset: 1}), CodeTooLarge, 1, 3)
		wantPoison(t, s.Transact(t.Context(), msgs[1:2], Position{Offset: 1}), CodeTooLarge, 0)
		wantCommitted(t, w, "letters")
		if err := s.Transact(t.Context(), say("letters", "a", "b"), Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "letters", "a", "b")
	})
}

// More than one batch may hold goes to one partition in one transaction, in
// order.
func TestTransactOfManyBatches(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		var msgs []Message
		var want []string
		for i := range 2*batchSize + 10 {
			msgs = append(msgs, Message{Topic: "letters", Value: fmt.Appendf(nil, "%05d", i)})
			want = append(want, string(msgs[i].Value))
		}
		for i := range 3 {
			msgs = append(msgs, Message{Topic: "letters", Value: []byte(strings.Repeat(fmt.Sprint(i+6), MaxMessageBytes-100))})
			want = append(want, string(msgs[len(msgs)-1].Value))
		}
		sent := w.observe(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}})
		if err := s.Transact(t.Context(), msgs, Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		if n := sent.Hits(); n != 6 {
			t.Errorf("%d batches, want 6", n)
		}
		got := w.committedNow("letters")
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("record %d is not in order", i)
			}
		}
	})
}

func TestIdempotentProduceNamesPoison(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		w.refuse("letters", "poison", kerr.InvalidRecord)
		msgs := say("letters", "a", "poison", "b", "c", "poison", "d")
		wantPoison(t, s.Produce(t.Context(), msgs), CodeInvalid, 1, 4)
		wantCommitted(t, w, "letters", "a", "b", "c", "d")
		if got := fmt.Sprint(w.committedNow("letters")); got != "[a b c d]" {
			t.Errorf("order %s", got)
		}
	})
}

func TestIdempotentProduceNamesTheUnwritten(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, s *Session) {
		down := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "letters", Err: kerr.NotEnoughReplicas, Count: -1})
		msgs := append(say("out", "a", "b"), say("letters", "c", "d")...)
		again := wantUnwritten(t, s.Produce(t.Context(), msgs), CodeUnavailable)
		if fmt.Sprint(again) != "[2 3]" {
			t.Errorf("unwritten %v", again)
		}
		down.Remove()
		if err := s.Produce(t.Context(), pick(msgs, again)); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "out", "a", "b")
		wantCommitted(t, w, "letters", "c", "d")
		all := wantUnwritten(t, s.Produce(t.Context(), say("none", "x", "y")), CodeUnknownTopic)
		if len(all) != 2 {
			t.Errorf("unwritten %v", all)
		}
		wantCode(t, s.Produce(t.Context(), []Message{{}}), CodeInvalid)
		if err := s.Produce(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}
