package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// errKilled stands for the end of a process: nothing runs after it.
var errKilled = errors.New("killed")

// killedInTransaction leaves a transaction open, as a process that is killed
// within Transact does: both partitions of "out" hold one of its records.
func killedInTransaction(t *testing.T, w *world, owner *Session) {
	t.Helper()
	s, net := w.lossySession(owner)
	if err := s.Fence(t.Context()); err != nil {
		t.Fatal(err)
	}
	unmute := w.mute(kmsg.TxnOffsetCommit)
	ctx, kill := context.WithCancelCause(t.Context())
	net.plan(kmsg.EndTxn, lost, lost, lost, lost, lost, lost)
	done := make(chan error, 1)
	go func() { done <- s.Transact(ctx, pinned("out", "dead", 0, 1), Position{Offset: 1}) }()
	until(t, "the records", func() bool { return w.cluster.PartitionInfo("out", 1).HighWatermark > 0 })
	kill(errKilled)
	wantCode(t, <-done, CodeCanceled)
	unmute()
}

// pinned is a message for each of some partitions.
func pinned(topic, value string, partitions ...int) (out []Message) {
	for _, p := range partitions {
		out = append(out, Message{Topic: topic, Partition: &p, Value: []byte(value)})
	}
	return out
}

// Another lane writes into a partition that a dead one's transaction holds up.
// Its reader waits for the broker to time the transaction out. The embedded broker
// does so on the dot; Apache Kafka looks every ten seconds
// (transaction.abort.timed.out.transaction.cleanup.interval.ms), so what is
// measured here must leave that much of the 15 seconds.
func TestKilledProducerHoldsUpReadersForAShortTime(t *testing.T) {
	const promised, cleanup = 15 * time.Second, 10 * time.Second
	inLane(t, func(t *testing.T, w *world, owner *Session) {
		killedInTransaction(t, w, owner)
		alive := owner.on(owner.client, "letters")
		if err := alive.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := alive.Transact(t.Context(), pinned("out", "alive", 1), Position{Offset: 1}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for r, err := range owner.client.Follow(t.Context(), "out", 1, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Value) != "alive" {
				t.Errorf("read %q", r.Value)
			}
			break
		}
		took := time.Since(start)
		if took+cleanup > promised+readerWait {
			t.Errorf("the reader waited for %s", took)
		}
		if took == 0 {
			t.Error("nothing held the reader up: the test shows nothing")
		}
	})
}

// The next owner of the dead one's partition does not wait for the time-out.
func TestSuccessorEndsTheWaitAtOnce(t *testing.T) {
	inLane(t, func(t *testing.T, w *world, owner *Session) {
		killedInTransaction(t, w, owner)
		start := time.Now()
		successor := owner.on(owner.client, owner.topic)
		if err := successor.Fence(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantCommitted(t, w, "out")
		wantPosition(t, successor, Position{Offset: -1})
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
}

// A process that is paused within a transaction and wakes up after its
// successor has begun can do no harm, whatever it was about to send.
func TestZombieWakesUp(t *testing.T) {
	for _, key := range txnKeys[1:] {
		t.Run(key.Name(), func(t *testing.T) {
			inLane(t, func(t *testing.T, w *world, owner *Session) {
				zombie, net := w.lossySession(owner)
				if err := zombie.Fence(t.Context()); err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				net.pause(key)
				go func() {
					done <- zombie.Transact(t.Context(), say("out", "zombie"), Position{Offset: 1, Metadata: "zombie"})
				}()
				pass(t, time.Second)
				successor := owner.on(owner.client, owner.topic)
				if err := successor.Fence(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantPosition(t, successor, Position{Offset: -1})
				want := Position{Offset: 1, Metadata: "successor"}
				if err := successor.Transact(t.Context(), say("out", "successor"), want); err != nil {
					t.Fatal(err)
				}
				net.resume()
				wantCode(t, <-done, CodeFenced)
				settled(t)
				wantPosition(t, successor, want)
				wantCommitted(t, w, "out", "successor")
			})
		})
	}
}
