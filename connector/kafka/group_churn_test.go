package kafka

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// TestGroupChurn lets members with slow and quick sessions come and go while
// the coordinator stumbles, and replays what every one of them went through:
// each call of Handler in its place, no partition with two owners.
func TestGroupChurn(t *testing.T) {
	const partitions = 5
	inBubble(t, map[string]int32{"t": partitions}, func(t *testing.T, w *world) {
		checks := 0
		// Embedded, because rapid asks a *testing.T for its deadline, and a
		// bubble has none.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			checks++
			group, j := fmt.Sprint("g", checks), &journal{}
			var everybody, members []*member
			// Not both: kfake never lets go of a member that left before a join
			// of it was answered, and a fault makes joins take long.
			steps := []string{"join", "join", rapid.SampledFrom([]string{"leave", "fault"}).Draw(rt, "trouble")}
			for i := range rapid.IntRange(3, 10).Draw(rt, "steps") {
				switch rapid.SampledFrom(steps).Draw(rt, "step") {
				case "join":
					// Less than leaveTimeout, for the same reason.
					drain := time.Duration(rapid.IntRange(0, 8).Draw(rt, "drain seconds")) * time.Second
					m := w.join(j, fmt.Sprint("m", i), GroupConfig{Group: group}, slow(drain))
					everybody, members = append(everybody, m), append(members, m)
				case "leave":
					if len(members) > 0 {
						members[0].leave()
						members = members[1:]
					}
				case "fault":
					w.cluster.Fault(kfake.Fault{
						Keys:  []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.OffsetFetch, kmsg.FindCoordinator},
						Group: group, Err: kerr.NotCoordinator, Count: 2,
					})
				}
				pass(t, time.Duration(rapid.IntRange(0, 20_000).Draw(rt, "ms"))*time.Millisecond)
				j.running(t)
			}
			defer func() {
				if t.Failed() {
					t.Logf("%q %+v", j.all(), w.cluster.GroupInfo(group))
				}
			}()
			until(t, "every partition to have an owner", func() bool {
				owned := 0
				for _, partitions := range j.running(t) {
					owned += len(partitions)
				}
				return owned == partitions || len(members) == 0 && owned == 0
			})
			for _, m := range members {
				m.leave()
			}
			for _, m := range everybody {
				<-m.left
			}
			for name, partitions := range j.running(t) {
				if len(partitions) > 0 {
					rt.Fatalf("%s still runs %v", name, partitions)
				}
			}
		})
	})
}

// A broker that lags behind must not make the share of the rate limit larger
// than it is.
func TestAssignmentWaitsForItsTotal(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		m := newMembership(w.client(), GroupConfig{Group: "g", Topic: "t"}, &member{name: "a", journal: j}, nil)
		gen := &kafkago.Generation{ID: 3, Assignments: map[string][]kafkago.PartitionAssignment{"t": {{ID: 4}, {ID: 1}}}}
		done := make(chan Assignment, 1)
		go func() {
			a, err := m.assignment(t.Context(), gen)
			if err != nil {
				t.Error(err)
			}
			done <- a
		}()
		pass(t, time.Second)
		synctest.Wait()
		select {
		case a := <-done:
			t.Fatalf("took %+v although there are two partitions", a)
		default:
		}
		w.addPartitions("t", 5)
		if a := <-done; a.Total != 5 || fmt.Sprint(a.Partitions) != "[1 4]" || a.Generation != 3 {
			t.Errorf("got %+v", a)
		}
	})
}

// A generation that cannot be served is reported and ended, at a pace.
func TestGenerationWithoutTotalIsGivenUp(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		a := &member{name: "a", journal: &journal{}}
		m := newMembership(w.client(), GroupConfig{Group: "g", Topic: "none"}, a, nil)
		start := time.Now()
		m.generation(t.Context(), t.Context(), &kafkago.Generation{})
		if took := time.Since(start); took != joinBackoff || len(a.failures()) != 1 {
			t.Errorf("%v after %s", a.failures(), took)
		}
		wantCode(t, a.failures()[0], CodeUnknownTopic)
	})
}

// One that is over before it began is none of the handler's business.
func TestGenerationThatIsOverIsNotServed(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		a := &member{name: "a", journal: &journal{}}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		gen := &kafkago.Generation{Assignments: map[string][]kafkago.PartitionAssignment{"t": {{ID: 0}}}}
		m := newMembership(w.client(), GroupConfig{Group: "g", Topic: "t"}, a, nil)
		m.generation(t.Context(), over, gen)
		m.generation(over, t.Context(), gen)
		if got := a.journal.all(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
}
