package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A step's request or its answer is lost once or twice, or comes late: what is
// committed is committed once, and what is written next is not touched by it.
func TestLostSteps(t *testing.T) {
	for _, key := range txnKeys[1:] {
		for name, fates := range map[string][]fate{
			"request": {lost}, "answer": {unheard}, "late": {overtaken}, "late, then answer": {overtaken, unheard},
			"twice": {lost, unheard}, "answer twice": {unheard, unheard}, "late twice": {overtaken, overtaken},
		} {
			t.Run(key.Name()+" "+name, func(t *testing.T) {
				inLane(t, func(t *testing.T, w *world, owner *Session) {
					s, net := w.lossySession(owner)
					if err := s.Fence(t.Context()); err != nil {
						t.Fatal(err)
					}
					net.plan(key, fates...)
					var want []string
					for i := range 4 {
						want = append(want, fmt.Sprint(i))
						pos := Position{Offset: int64(i), Metadata: fmt.Sprint("commit ", i)}
						if err := s.Transact(t.Context(), say("out", want[i]), pos); err != nil {
							t.Fatalf("transaction %d: %v", i, err)
						}
						wantPosition(t, s, pos)
						if i == 1 {
							settled(t)
							wantPosition(t, s, pos)
						}
					}
					if net.met(key) != len(fates) {
						t.Fatalf("%d requests were lost, want %d", net.met(key), len(fates))
					}
					settled(t)
					wantCommitted(t, w, "out", want...)
				})
			})
		}
	}
}

// A late request of an old epoch arrives in the middle of the next transaction.
func TestLateRequestsMeetTheNextTransaction(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.Produce, kmsg.AddPartitionsToTxn} {
		t.Run(key.Name(), func(t *testing.T) {
			inLane(t, func(t *testing.T, w *world, owner *Session) {
				s, net := w.lossySession(owner)
				if err := s.Fence(t.Context()); err != nil {
					t.Fatal(err)
				}
				net.plan(key, overtaken)
				if err := s.Transact(t.Context(), say("out", "first"), Position{Offset: 1}); err != nil {
					t.Fatal(err)
				}
				pass(t, late-defaultTransactionTimeout/5)
				unmute := w.mute(kmsg.AddOffsetsToTxn)
				if key == kmsg.TxnOffsetCommit {
					unmute() // what the late one would undo is in place
					unmute = w.mute(kmsg.EndTxn)
				}
				done := make(chan error, 1)
				go func() { done <- s.Transact(t.Context(), say("out", "second"), Position{Offset: 2}) }()
				pass(t, defaultTransactionTimeout/5+defaultTransactionTimeout/50)
				if got := w.committedNow("out"); slices.Contains(got, "second") {
					t.Errorf("a late request has committed what is not complete: %v", got)
				}
				unmute()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				wantPosition(t, s, Position{Offset: 2})
				settled(t)
				wantCommitted(t, w, "out", "first", "second")
			})
		})
	}
}

// committedNow is what our own reader finds below the last stable offsets.
func (w *world) committedNow(topic string) (out []string) {
	w.t.Helper()
	c := w.client()
	for _, p := range w.cluster.PartitionInfos(topic) {
		for r, err := range c.Scan(w.t.Context(), topic, int(p.Partition), 0, p.HighWatermark) {
			if err != nil {
				w.t.Fatal(err)
			}
			out = append(out, string(r.Value))
		}
	}
	return out
}

// To Apache Kafka, a new epoch for a producer whose transaction is open is the
// fencing of that producer: it must be aborted first.
func TestAbandonedTransactionIsAbortedBeforeTheEpochMovesOn(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, owner *Session) {
		s, net := w.lossySession(owner)
		if err := s.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		denied := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.GroupAuthorizationFailed})
		net.plan(kmsg.EndTxn, slices.Repeat([]fate{lost}, 100)...)
		wantCode(t, s.Transact(t.Context(), say("out", "a"), Position{Offset: 1}), CodeDenied)
		denied.Remove()
		net.plan(kmsg.EndTxn)
		net.heard()
		if err := s.Transact(t.Context(), nil, Position{Offset: 2}); err != nil {
			t.Fatal(err)
		}
		want := []kmsg.Key{kmsg.EndTxn, kmsg.InitProducerID, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn}
		if got := net.heard(); !slices.Equal(got, want) {
			t.Errorf("requests %v, want %v", got, want)
		}
	})
}

// The broker commits, and says so to nobody until the client has asked for
// minutes: it is not taken for failed.
func TestCommitIsAskedForUntilItIsKnown(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, owner *Session) {
		s, net := w.lossySession(owner)
		if err := s.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		net.plan(kmsg.EndTxn, append([]fate{unheard}, slices.Repeat([]fate{lost}, 100)...)...)
		if err := s.Transact(t.Context(), say("out", "a"), Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		wantPosition(t, s, Position{Offset: 1})
		wantCommitted(t, w, "out", "a")
	})
}

// A commit is answered as one of no open transaction: what is committed
// decides.
func TestVerdictOfTheCommittedPosition(t *testing.T) {
	for name, carriedOut := range map[string]bool{"committed": true, "not committed": false} {
		t.Run(name, func(t *testing.T) {
			inLane(t, func(t *testing.T, w *world, owner *Session) {
				s, net := w.lossySession(owner)
				if err := s.Fence(t.Context()); err != nil {
					t.Fatal(err)
				}
				var want []string
				seen := 0
				if carriedOut {
					net.plan(kmsg.EndTxn, unheard)
					seen, want = -1, []string{"a"}
				}
				w.cluster.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState,
					When: func(kmsg.Request) bool { seen++; return seen > 0 },
				})
				err := s.Transact(t.Context(), say("out", "a"), Position{Offset: 1, Metadata: "1"})
				if carriedOut && err != nil || !carriedOut && CodeOf(err) != CodeUnavailable {
					t.Errorf("got %v", err)
				}
				settled(t)
				wantCommitted(t, w, "out", want...)
				if err := s.Transact(t.Context(), say("out", "b"), Position{Offset: 1, Metadata: "2"}); err != nil {
					t.Fatal(err)
				}
				wantCommitted(t, w, "out", append(want, "b")...)
			})
		})
	}
}

// The transaction times out before the commit gets through: it is not taken
// for committed.
func TestCommitThatComesTooLate(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, owner *Session) {
		s, net := w.lossySession(owner)
		if err := s.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		net.plan(kmsg.EndTxn, slices.Repeat([]fate{lost}, 100)...)
		wantCode(t, s.Transact(t.Context(), say("out", "a"), Position{Offset: 1}), CodeFenced)
		wantPosition(t, s, Position{Offset: -1})
		wantCommitted(t, w, "out")
		if err := s.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		net.plan(kmsg.EndTxn)
		if err := s.Transact(t.Context(), say("out", "b"), Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "out", "b")
	})
}

func TestIdempotentProduceLosesNothingAndRepeatsNothing(t *testing.T) {
	for name, fates := range map[string][]fate{
		"request": {lost}, "answer": {unheard}, "late": {overtaken}, "answers": {unheard, unheard, unheard},
		"mixed": {unheard, overtaken, lost, unheard},
	} {
		t.Run(name, func(t *testing.T) {
			inLane(t, func(t *testing.T, w *world, owner *Session) {
				s, net := w.lossySession(owner)
				net.plan(kmsg.Produce, fates...)
				var want []string
				for i := range 5 {
					v := fmt.Sprint(i)
					if err := s.Produce(t.Context(), say("out", v+"a", v+"b", v+"c")); err != nil {
						t.Fatal(err)
					}
					want = append(want, v+"a", v+"b", v+"c")
				}
				settled(t)
				if net.met(kmsg.Produce) != len(fates) {
					t.Fatalf("%d requests were lost", net.met(kmsg.Produce))
				}
				wantCommitted(t, w, "out", want...)
			})
		})
	}
}
