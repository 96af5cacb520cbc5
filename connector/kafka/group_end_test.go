package kafka

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/internal/broker"
)

// A member that has joined again is held by the group until all have. Leaving
// must not take as long.
func TestLeavingWhileTheGroupRebalances(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 2})
		b := w.join(j, "b", GroupConfig{}, slow(25*time.Second))
		owns(t, j, map[*member]int{a: 1, b: 1})
		b.leaveAfterRebalance(t, w, j, a)
	})
}

// leaveAfterRebalance makes a third member join and other leave while b drains.
func (m *member) leaveAfterRebalance(t *testing.T, w *world, j *journal, other *member) {
	t.Helper()
	third := w.join(j, "c", GroupConfig{}, nil)
	until(t, "the rebalance", func() bool { return w.cluster.GroupInfo("g").State == "PreparingRebalance" })
	pass(t, 3*time.Second) // other has joined again, m drains
	start := time.Now()
	other.leave()
	if err := <-other.left; err != nil {
		t.Errorf("left with %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("leaving took %s", took)
	}
	owns(t, j, map[*member]int{m: 1, third: 1})
	if n := w.members("g"); n != 2 {
		t.Errorf("%d members", n)
	}
}

// A member whose first join the group does not answer has no id to leave with.
func TestLeavingBeforeTheFirstJoinIsAnswered(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, slow(25*time.Second))
		owns(t, j, map[*member]int{a: 2})
		b := w.join(j, "b", GroupConfig{}, nil)
		until(t, "the rebalance", func() bool { return w.cluster.GroupInfo("g").State == "PreparingRebalance" })
		start := time.Now()
		b.leave()
		if err := <-b.left; err != nil {
			t.Errorf("left with %v", err)
		}
		if took := time.Since(start); took > leaveTimeout+time.Second {
			t.Errorf("leaving took %s", took)
		}
	})
}

// A member that lost its place joins as somebody new while the group still
// counts its former self. Leaving ends both.
func TestLeavingAsTwo(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 2})
		b := w.join(j, "b", GroupConfig{}, slow(6*time.Second))
		owns(t, j, map[*member]int{a: 1, b: 1})
		former := a.session(a.assignment().Partitions[0]).member
		w.cluster.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.NotCoordinator, When: func(r kmsg.Request) bool {
				return r.(*kmsg.HeartbeatRequest).MemberID == former
			}},
			kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.NotCoordinator, When: func(r kmsg.Request) bool {
				return r.(*kmsg.JoinGroupRequest).MemberID == former
			}},
		)
		until(t, "the loss", func() bool { return len(a.failures()) > 0 })
		until(t, "the rebalance", func() bool { return w.cluster.GroupInfo("g").State == "PreparingRebalance" })
		if n := w.members("g"); n != 3 {
			t.Fatalf("%d members, want b and a twice", n)
		}
		start := time.Now()
		a.leave()
		if err := <-a.left; err != nil {
			t.Errorf("left with %v", err)
		}
		if took := time.Since(start); took > leaveTimeout {
			t.Errorf("leaving took %s", took)
		}
		owns(t, j, map[*member]int{b: 2})
		if took := time.Since(start); took > testSession/2 || w.members("g") != 1 {
			t.Errorf("after %s there are %d members", took, w.members("g"))
		}
	})
}

// A rebalance that begins while a member drains for its own end must not make
// it join once more.
func TestRebalanceDuringShutdown(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, slow(10*time.Second))
		owns(t, j, map[*member]int{a: 2})
		start := time.Now()
		a.leave()
		b := w.join(j, "b", GroupConfig{}, nil)
		joins := w.observe(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}})
		if err := <-a.left; err != nil {
			t.Errorf("left with %v", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("leaving took %s", took)
		}
		owns(t, j, map[*member]int{b: 2})
		if joins.Hits() > 2 {
			t.Errorf("%d joins", joins.Hits())
		}
	})
}

func TestLeavingWhileTheBrokersAreSilent(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 1})
		w.mute(kmsg.FindCoordinator)
		w.mute(kmsg.LeaveGroup)
		start := time.Now()
		a.leave()
		if err := <-a.left; err != nil {
			t.Errorf("left with %v", err)
		}
		if took := time.Since(start); took > leaveTimeout+time.Second {
			t.Errorf("leaving took %s", took)
		}
	})
}

func TestUnjoinedWhileBrokersAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, net := t.TempDir(), &kfake.VirtualNetwork{}
		start := func() *broker.Broker {
			b, err := broker.Start(broker.Config{Topics: map[string]int32{"t": 2}, DataDir: dir, Network: net})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		first := start()
		w := &world{t: t, net: net, cluster: first.Cluster(), addrs: first.Addrs()}
		first.Close()

		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		until(t, "a report", func() bool { return len(a.failures()) >= 3 })
		wantCode(t, a.failures()[0], CodeUnavailable)
		second := start()
		w.cluster = second.Cluster()
		owns(t, j, map[*member]int{a: 2})
		if err := a.session(1).Commit(t.Context(), Position{Offset: 9, Metadata: "kept"}); err != nil {
			t.Fatal(err)
		}

		before := len(a.failures())
		second.Close()
		until(t, "another report", func() bool { return len(a.failures()) > before })
		j.running(t)
		if got := j.all(); got[len(got)-2] != "a revoked" {
			t.Errorf("the report is not preceded by a revocation: %v", got)
		}
		third := start()
		defer third.Close()
		w.cluster = third.Cluster()
		owns(t, j, map[*member]int{a: 2})
		pos, err := a.session(1).Position(t.Context())
		if err != nil || pos != (Position{Offset: 9, Metadata: "kept"}) {
			t.Errorf("position %+v, %v", pos, err)
		}
		a.leave()
		<-a.left
	})
}

func TestLeavingWhileBrokersAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int64
		c, err := NewClient(Config{Brokers: []string{"away:9092"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("nobody is there")
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		if err := c.RunGroup(ctx, GroupConfig{Group: "g", Topic: "t"}, &member{name: "a", journal: &journal{}}); err != nil {
			t.Errorf("left with %v", err)
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("took %s", took)
		}
		if n := dials.Load(); n < 10 || n > 100 {
			t.Errorf("%d dials in 30 s", n)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestTopicIsWaitedForAndNotCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startCluster(t, kfake.AllowAutoTopicCreation())
		joins := w.observe(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}})
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		until(t, "some reports", func() bool { return len(a.failures()) > 5 })
		for _, err := range a.failures() {
			wantCode(t, err, CodeUnknownTopic)
		}
		if w.cluster.TopicInfo("t") != nil || joins.Hits() > 0 {
			t.Fatalf("topic %+v, %d joins", w.cluster.TopicInfo("t"), joins.Hits())
		}
		if err := w.cluster.CreateTopic("t", 3, nil); err != nil {
			t.Fatal(err)
		}
		owns(t, j, map[*member]int{a: 3})
		// Nor does a member that has it create it again.
		if err := w.cluster.DeleteTopic("t"); err != nil {
			t.Fatal(err)
		}
		before := joins.Hits()
		pass(t, time.Minute)
		if w.cluster.TopicInfo("t") != nil || joins.Hits() != before {
			t.Errorf("topic %+v after %d more joins", w.cluster.TopicInfo("t"), joins.Hits()-before)
		}
		j.running(t)
	})
}

func TestMovedCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startCluster(t, kfake.SeedTopics(2, "t"))
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 2})
		for range 3 {
			w.cluster.RehashCoordinators()
			pass(t, 10*time.Second)
			owns(t, j, map[*member]int{a: 2})
			if err := a.session(0).Commit(t.Context(), Position{Offset: 1}); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestInvalidMembership(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	for _, conf := range []GroupConfig{{Topic: "t"}, {Group: "g", Topic: "t", SessionTimeout: -time.Second}} {
		err := w.client().RunGroup(t.Context(), conf, &member{journal: &journal{}})
		wantCode(t, err, CodeInvalid)
	}
}
