package kafka

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bubbleClock is the bubble's own time.
func bubbleClock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) + 1 }
}

const leaseTerm = testSession - defaultLeaseMargin

func leased(work func(context.Context, *Session) error, test func(t *testing.T, w *world, j *journal, a *member)) func(*testing.T) {
	return func(t *testing.T) {
		inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
			j := &journal{}
			a := w.join(j, "a", GroupConfig{Clock: bubbleClock()}, work)
			owns(t, j, map[*member]int{a: 2})
			until(t, "the first renewal", func() bool { return a.session(0).Lease().Left() > 0 })
			test(t, w, j, a)
		})
	}
}

// ours tells the lease's heartbeats from kafka-go's own, which are of version 0.
func ours(req kmsg.Request) bool { return req.GetVersion() > 0 }

func TestLeaseIsRenewed(t *testing.T) {
	leased(nil, func(t *testing.T, w *world, j *journal, a *member) {
		if a.session(0).Lease() != a.session(1).Lease() {
			t.Error("the sessions of a generation have different leases")
		}
		for range 100 {
			pass(t, time.Second)
			if left := a.session(0).Lease().Left(); left < leaseTerm*3/4 || left > leaseTerm {
				t.Fatalf("%s left", left)
			}
		}
		a.leave()
		<-a.left
		if left := a.session(0).Lease().Left(); left > 0 {
			t.Errorf("%s left of a generation that is over", left)
		}
	})(t)
}

func TestLeaseRunsOutWhenNobodyAnswers(t *testing.T) {
	leased(nil, func(t *testing.T, w *world, j *journal, a *member) {
		var over atomic.Bool
		w.cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			return nil, nil, ours(req) && !over.Load()
		})
		l := a.session(0).Lease()
		before := l.Left()
		pass(t, before-time.Millisecond)
		if left := l.Left(); left != time.Millisecond {
			t.Errorf("%s left", left)
		}
		pass(t, time.Millisecond)
		if left := l.Left(); left > 0 {
			t.Errorf("%s left of a lease that nobody confirms", left)
		}
		over.Store(true)
		until(t, "a renewal", func() bool { return l.Left() > leaseTerm/2 })
	})(t)
}

// The group's own count begins before the answer arrives, by as long as the
// answer takes.
func TestLeaseCountsFromTheSend(t *testing.T) {
	leased(nil, func(t *testing.T, w *world, j *journal, a *member) {
		const slowness = 3 * time.Second
		w.cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			if ours(req) {
				w.cluster.SleepControl(func() { <-time.After(slowness) })
			}
			return nil, nil, false
		})
		l := a.session(0).Lease()
		pass(t, 20*time.Second)
		for range 60 {
			pass(t, 500*time.Millisecond)
			if left := l.Left(); left > leaseTerm-slowness {
				t.Fatalf("%s left, an answer takes %s", left, slowness)
			}
		}
		if left := l.Left(); left <= leaseTerm/2 {
			t.Errorf("only %s left: the slow answers do not count", left)
		}
	})(t)
}

func TestLeaseEndsWithTheOwnership(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID} {
		leased(nil, func(t *testing.T, w *world, j *journal, a *member) {
			l := a.session(0).Lease()
			w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: e, When: ours})
			until(t, "the end", func() bool { return l.Left() <= 0 })
			pass(t, time.Minute)
			if l.Left() > 0 {
				t.Error("a lease that had ended goes on")
			}
		})(t)
	}
}

// kafka-go stops its heartbeats when the generation ends. The lease's go on, so
// a member may drain for longer than its session, but once a rebalance is under
// way nothing extends the lease: the group goes on without the member when the
// rebalance times out.
func TestLeaseRunsOutWhileTheMemberDrains(t *testing.T) {
	drain := testSession + 15*time.Second
	leased(slow(drain), func(t *testing.T, w *world, j *journal, a *member) {
		draining := a.session(0)
		b := w.join(j, "b", GroupConfig{Clock: bubbleClock()}, nil)
		until(t, "the rebalance", func() bool { return w.cluster.GroupInfo("g").State == "PreparingRebalance" })
		left := draining.Lease().Left()
		if left <= leaseTerm/2 {
			t.Errorf("%s left when the rebalance begins", left)
		}
		pass(t, left)
		if left := draining.Lease().Left(); left > 0 {
			t.Errorf("%s left, extended while draining", left)
		}
		pass(t, drain-left-5*time.Second)
		if err := draining.Commit(t.Context(), Position{Offset: 3}); err != nil {
			t.Errorf("commit while draining: %v", err)
		}
		owns(t, j, map[*member]int{a: 1, b: 1})
		if left := draining.Lease().Left(); left > 0 {
			t.Errorf("%s left of a generation that is over", left)
		}
		if left := a.session(a.assignment().Partitions[0]).Lease().Left(); left <= leaseTerm/2 {
			t.Errorf("%s left of the new generation", left)
		}
	})(t)
}

// A rebalance that the member does not take part in times out: until then, and
// never after it, the lease may last.
func TestLeaseEndsBeforeTheGroupGoesOn(t *testing.T) {
	leased(slow(2*testRebalance), func(t *testing.T, w *world, j *journal, a *member) {
		lease := a.session(0).Lease()
		w.join(j, "b", GroupConfig{Clock: bubbleClock()}, nil)
		generation := w.cluster.GroupInfo("g").Epoch
		until(t, "the group to go on", func() bool {
			if info := w.cluster.GroupInfo("g"); info.Epoch != generation && info.State == "Stable" {
				return true
			}
			return false
		})
		if left := lease.Left(); left > 0 {
			t.Errorf("%s left when the partitions are somebody else's", left)
		}
	})(t)
}

// A heartbeat goes to the group's coordinator, whichever broker that is.
func TestLeaseFindsTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startCluster(t, kfake.SeedTopics(2, "t"))
		for i := range 6 {
			group := fmt.Sprint("group", i)
			j := &journal{}
			a := w.join(j, "a", GroupConfig{Group: group, Clock: bubbleClock()}, nil)
			owns(t, j, map[*member]int{a: 2})
			pass(t, leaseTerm)
			if left := a.session(0).Lease().Left(); left <= leaseTerm/2 {
				t.Errorf("%s: %s left", group, left)
			}
			a.leave()
			<-a.left
		}
	})
}

func TestZeroLeaseHasRunOut(t *testing.T) {
	var none *Lease
	if none.Left() != 0 || (&Lease{}).Left() != 0 {
		t.Errorf("%s, %s left", none.Left(), (&Lease{}).Left())
	}
}

func TestInvalidLeases(t *testing.T) {
	w := newWorld(t, map[string]int32{"t": 1})
	for name, conf := range map[string]GroupConfig{
		"margin":              {LeaseMargin: 30 * time.Second},
		"short session":       {SessionTimeout: 5 * time.Second},
		"short rebalance":     {RebalanceTimeout: time.Second},
		"negative":            {LeaseMargin: -1},
		"negative time limit": {TransactionTimeout: -1},
	} {
		conf.Group, conf.Topic = "g", "t"
		if err := w.client().RunGroup(t.Context(), conf, &member{journal: &journal{}}); CodeOf(err) != CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBootClockGoesOn(t *testing.T) {
	before := bootClock()
	for deadline := time.Now().Add(5 * time.Second); bootClock() <= before; {
		if time.Now().After(deadline) {
			t.Fatal("the clock stands still")
		}
	}
	if now := bootClock(); now-before > 10*time.Second || before <= 0 {
		t.Errorf("from %s to %s at once", before, now)
	}
}
