package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (w *world) members(group string) int {
	info := w.cluster.GroupInfo(group)
	if info == nil {
		return 0
	}
	return len(info.Members)
}

func TestGroupSharesAndHandsOver(t *testing.T) {
	inBubble(t, map[string]int32{"t": 4}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 4})
		if got := a.assignment(); !slices.Equal(got.Partitions, []int{0, 1, 2, 3}) || got.Total != 4 || got.Generation == 0 {
			t.Errorf("alone: %+v", got)
		}
		b := w.join(j, "b", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 2, b: 2})
		if got := b.assignment(); got.Total != 4 {
			t.Errorf("shared: %+v", got)
		}
		start := time.Now()
		a.leave()
		owns(t, j, map[*member]int{b: 4})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("the partitions rested for %s", took)
		}
		if err := <-a.left; err != nil {
			t.Errorf("a left with %v", err)
		}
		b.leave()
		if err := <-b.left; err != nil {
			t.Errorf("b left with %v", err)
		}
		if n := w.members("g"); n != 0 {
			t.Errorf("%d members are left behind", n)
		}
		j.running(t)
	})
}

func TestGroupWithMoreMembersThanPartitions(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 1})
		b := w.join(j, "b", GroupConfig{}, nil)
		until(t, "b to be assigned nothing", func() bool { return j.index("b assigned [] of 1") >= 0 || j.index("a assigned [] of 1") >= 0 })
		pass(t, time.Minute) // the one without partitions stays a member
		if n := w.members("g"); n != 2 {
			t.Errorf("%d members", n)
		}
		idle, owner := a, b
		if len(a.assignment().Partitions) == 1 {
			idle, owner = b, a
		}
		owner.leave()
		owns(t, j, map[*member]int{idle: 1})
		idle.leave()
		<-idle.left
		j.running(t)
	})
}

func TestMemberDrainsBeforeAnotherGetsThePartition(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		j := &journal{}
		release := make(chan struct{})
		a := w.join(j, "a", GroupConfig{}, func(ctx context.Context, s *Session) error {
			<-ctx.Done()
			if j.index("a drains") >= 0 {
				return nil // in a later generation
			}
			if !errors.Is(context.Cause(ctx), errRebalance) {
				t.Errorf("the cause is %v", context.Cause(ctx))
			}
			j.add("a drains")
			<-release
			// The group waits for us: our generation is still the group's.
			if state := w.cluster.GroupInfo("g").State; state != "PreparingRebalance" {
				t.Errorf("the group is %s", state)
			}
			return s.Commit(context.WithoutCancel(ctx), Position{Offset: 7, Metadata: "drained"})
		})
		owns(t, j, map[*member]int{a: 1})
		b := w.join(j, "b", GroupConfig{}, nil)
		until(t, "a to drain", func() bool { return j.index("a drains") >= 0 })
		pass(t, testSession/2)
		if b.session(0) != nil || j.index("a ends 0") >= 0 {
			t.Fatalf("the partition is handed over already:\n%s", strings.Join(j.all(), "\n"))
		}
		close(release)
		until(t, "the group to settle", func() bool {
			return len(a.assignment().Partitions)+len(b.assignment().Partitions) == 1 && w.cluster.GroupInfo("g").State == "Stable"
		})
		j.running(t)
		if got := w.cluster.GroupInfo("g").Commits["t"][0]; got.Offset != 7 || got.Metadata != "drained" {
			t.Errorf("committed %+v", got)
		}
	})
}

func TestCommitOfFormerOwnerIsRefused(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 2})
		old := a.session(0)
		old.client = w.client() // a's own is closed when it has left
		if err := old.Commit(t.Context(), Position{Offset: 5}); err != nil {
			t.Fatal(err)
		}
		b := w.join(j, "b", GroupConfig{}, nil)
		owns(t, j, map[*member]int{a: 1, b: 1})
		wantCode(t, old.Commit(t.Context(), Position{Offset: 1}), CodeOwnershipLost)
		a.leave()
		<-a.left
		wantCode(t, old.Commit(t.Context(), Position{Offset: 1}), CodeOwnershipLost)
		if got := w.cluster.GroupInfo("g").Commits["t"][0].Offset; got != 5 {
			t.Errorf("the offset is %d", got)
		}
	})
}

func TestSessionErrorEndsTheMembership(t *testing.T) {
	inBubble(t, map[string]int32{"t": 3}, func(t *testing.T, w *world) {
		j := &journal{}
		broken, fail := errors.New("broken"), make(chan struct{})
		a := w.join(j, "a", GroupConfig{}, func(ctx context.Context, s *Session) error {
			if s.Partition() == 1 {
				<-fail
				return broken
			}
			<-ctx.Done()
			<-time.After(2 * time.Second)
			return fmt.Errorf("partition %d, later", s.Partition())
		})
		owns(t, j, map[*member]int{a: 3})
		start := time.Now()
		close(fail)
		if err := <-a.left; !errors.Is(err, broken) {
			t.Errorf("left with %v", err)
		}
		if took := time.Since(start); took > 3*time.Second || w.members("g") != 0 {
			t.Errorf("after %s the group has %d members", took, w.members("g"))
		}
		j.running(t)
	})
}

// An error that a session meets while it drains must not be lost because the
// caller's context has ended too.
func TestSessionErrorWhileDrainingIsReturned(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		j := &journal{}
		broken := errors.New("broken")
		a := w.join(j, "a", GroupConfig{}, func(ctx context.Context, _ *Session) error {
			<-ctx.Done()
			return broken
		})
		owns(t, j, map[*member]int{a: 1})
		a.leave()
		if err := <-a.left; !errors.Is(err, broken) {
			t.Errorf("left with %v", err)
		}
	})
}

func TestSessionThatGivesUpJoinsAnew(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		giveUp := make(chan struct{}, 1)
		a := w.join(j, "a", GroupConfig{}, func(ctx context.Context, s *Session) error {
			if s.Partition() == 0 {
				select {
				case <-giveUp:
					return nil
				case <-ctx.Done():
				}
			}
			<-ctx.Done()
			return nil
		})
		owns(t, j, map[*member]int{a: 2})
		first := a.assignment().Generation
		giveUp <- struct{}{}
		until(t, "another generation", func() bool { return a.assignment().Generation > first })
		owns(t, j, map[*member]int{a: 2})
	})
}

func TestHeartbeatsGoOnWhileDrainingOnShutdown(t *testing.T) {
	inBubble(t, map[string]int32{"t": 1}, func(t *testing.T, w *world) {
		j := &journal{}
		const session = 6 * time.Second // the least that the broker takes
		a := w.join(j, "a", GroupConfig{SessionTimeout: session}, func(ctx context.Context, s *Session) error {
			<-ctx.Done()
			for range 10 {
				<-time.After(session)
				if n := w.members("g"); n != 1 {
					t.Errorf("%d members while draining", n)
				}
			}
			return s.Commit(context.WithoutCancel(ctx), Position{Offset: 3})
		})
		owns(t, j, map[*member]int{a: 1})
		start := time.Now()
		a.leave()
		if err := <-a.left; err != nil {
			t.Errorf("left with %v", err)
		}
		if took := time.Since(start); took < 10*session || took > 10*session+time.Second {
			t.Errorf("took %s", took)
		}
		if got := w.cluster.GroupInfo("g").Commits["t"][0].Offset; got != 3 || w.members("g") != 0 {
			t.Errorf("committed %d, %d members", got, w.members("g"))
		}
	})
}

func TestAddedPartitionsBeginAnotherGeneration(t *testing.T) {
	inBubble(t, map[string]int32{"t": 2}, func(t *testing.T, w *world) {
		j := &journal{}
		a := w.join(j, "a", GroupConfig{}, func(ctx context.Context, s *Session) error {
			// A session of a partition that is new everywhere has to work at once.
			pos, err := s.Position(ctx)
			if err != nil || pos.Offset != -1 {
				return fmt.Errorf("position %+v: %w", pos, err)
			}
			log, err := s.Range(ctx)
			if err != nil {
				return err
			}
			if _, err := s.Fetch(ctx, log.Start, 0, 0); err != nil && ctx.Err() == nil {
				return err
			}
			<-ctx.Done()
			return nil
		})
		owns(t, j, map[*member]int{a: 2})
		w.addPartitions("t", 6)
		owns(t, j, map[*member]int{a: 6})
		if got := a.assignment(); got.Total != 6 {
			t.Errorf("%+v", got)
		}
		synctest.Wait()
		select {
		case err := <-a.left:
			t.Errorf("left with %v", err)
		default:
		}
	})
}
