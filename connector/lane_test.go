package connector

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// TestLaneKeepsKeyOrderAndRunsKeysAtOnce: random latencies, random failures
// that are tried again; results of one key come in the order of its records,
// while many keys are under way at once.
func TestLaneKeepsKeyOrderAndRunsKeysAtOnce(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			latency := map[string]time.Duration{}
			const records, keys = 300, 20
			for i := range records {
				id := fmt.Sprintf("r%03d", i)
				latency[id] = time.Duration(rng.IntN(500)) * time.Millisecond
				key := fmt.Sprintf("key-%d", rng.IntN(keys))
				r.log.add(key, createEvent(t, id, "identity-"+key), int64(rng.IntN(2)*rng.IntN(3)))
			}
			throttle := map[string]bool{}
			for id := range latency {
				throttle[id] = rng.IntN(10) == 0
			}
			r.api.answer = func(ctx context.Context, req *schemas.Request, n int) (answer, error) {
				pass(latency[req.ID])
				if throttle[req.ID] && n == 1 {
					return answer{}, apiErr(429, 20429)
				}
				return okAnswer(), nil
			}
			r.start()
			pass(2 * time.Minute)
			synctest.Wait()
			r.mustEnd()

			last := map[string]int64{}
			results := r.log.results()
			if len(results) != records {
				t.Fatalf("seed %d: %d results of %d records", seed, len(results), records)
			}
			for _, res := range results {
				if res.Outcome != schemas.OutcomeSucceeded {
					t.Errorf("seed %d: %s ended as %s: %+v", seed, res.RequestID, res.Outcome, res.Error)
				}
				if prev, seen := last[res.Identity]; seen && res.Request.Offset < prev {
					t.Errorf("seed %d: %s finished after offset %d of its key", seed, res.RequestID, prev)
				}
				last[res.Identity] = res.Request.Offset
			}
			if r.api.most < keys/2 {
				t.Errorf("seed %d: at most %d calls at once with %d keys", seed, r.api.most, keys)
			}
			if got := r.log.offset(); got.Offset != r.log.stable {
				t.Errorf("seed %d: committed %d of %d", seed, got.Offset, r.log.stable)
			}
		})
	}
}

func TestLaneStepsOverGapsWiderThanTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.add("a", createEvent(t, "first", "identity-1"), 0)
		r.log.add("b", createEvent(t, "second", "identity-2"), 50_000)
		r.log.stable += 70_000 // filtered records at the end
		r.start()
		pass(5 * time.Second)
		synctest.Wait()
		if got := r.log.offset().Offset; got != r.log.stable {
			t.Errorf("committed %d, want the end %d: nothing but filtered records is left", got, r.log.stable)
		}
		r.mustEnd()
		if n := len(r.log.results()); n != 2 {
			t.Errorf("%d results, want 2", n)
		}
	})
}

// TestLaneWindowIsBounded: while the first record hangs, no more than the span
// is taken in, and the lane says who is stuck.
func TestLaneWindowIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.window.Span = 16
		release := make(chan struct{})
		r.api.answer = func(ctx context.Context, req *schemas.Request, n int) (answer, error) {
			if req.ID == "r000" {
				<-release
			}
			return okAnswer(), nil
		}
		for i := range 100 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprintf("r%03d", i), "identity-1"), 0)
		}
		r.start()
		pass(time.Second)
		synctest.Wait()
		if got := r.api.total(); got != 16 {
			t.Errorf("%d records were called with a window of 16 and the first one stuck", got)
		}
		st, ok := r.lane.snapshot()
		if !ok || st.Stuck == nil || st.Stuck.Offset != 0 || st.Stuck.Why != "its call" {
			t.Errorf("the lane must name the stuck record 0, says %+v", st.Stuck)
		}
		if got := r.log.offset(); got.Offset != 0 || len(got.Metadata) == 0 {
			t.Errorf("committed %+v, want frontier 0 and a done set", got)
		}
		close(release)
		pass(time.Second)
		synctest.Wait()
		if got := r.log.offset().Offset; got != 100 {
			t.Errorf("committed %d, want 100", got)
		}
		r.mustEnd()
	})
}

// TestLaneBudgetIsBounded: the instance-wide budget stops intake, and room
// that comes back lets it go on.
func TestLaneBudgetIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.budget = newBudget(8, 1<<20)
		release := make(chan struct{})
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			<-release
			return okAnswer(), nil
		}
		for i := range 50 {
			r.log.add(fmt.Sprint(i), createEvent(t, fmt.Sprintf("r%03d", i), "identity-1"), 0)
		}
		r.start()
		pass(time.Second)
		synctest.Wait()
		if got := r.api.total(); got != 8 {
			t.Errorf("%d records in hand with a budget of 8", got)
		}
		close(release)
		pass(5 * time.Second)
		synctest.Wait()
		if got := len(r.log.results()); got != 50 {
			t.Errorf("%d results of 50", got)
		}
		r.mustEnd()
		if r.cfg.budget.records != 8 || r.cfg.budget.bytes != 1<<20 {
			t.Errorf("the budget is not whole again: %d records, %d bytes", r.cfg.budget.records, r.cfg.budget.bytes)
		}
	})
}

// TestLaneHandover: a drained lane has called nothing that the next one calls
// again, although it left with records unfinished in the middle.
func TestLaneHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 40 {
			// One key has every fourth record, so that its queue is long.
			key := fmt.Sprint(i)
			if i%4 == 0 {
				key = "slow"
			}
			r.log.add(key, createEvent(t, fmt.Sprintf("r%03d", i), "identity-1"), 0)
		}
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			pass(time.Second)
			return okAnswer(), nil
		}
		r.start()
		pass(2500 * time.Millisecond)
		r.mustEnd()
		first := r.api.total()
		if first <= 30 || first >= 40 {
			t.Fatalf("%d calls before the handover: the test needs some done and some not", first)
		}
		if pos := r.log.offset(); pos.Offset >= 40 {
			t.Fatalf("frontier %d at handover", pos.Offset)
		}
		r.start()
		pass(time.Minute)
		synctest.Wait()
		r.mustEnd()
		for i := range 40 {
			if n := r.api.called(fmt.Sprintf("r%03d", i)); n != 1 {
				t.Errorf("record %d was called %d times over a graceful handover", i, n)
			}
		}
		if n := len(r.log.results()); n != 40 {
			t.Errorf("%d results of 40", n)
		}
		if got := r.log.offset(); got.Offset != 40 {
			t.Errorf("committed %d, want 40", got.Offset)
		}
	})
}

// TestLaneDrainTimeout: a call that outlasts the drain is given up, counted,
// and its record is not committed.
func TestLaneDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.add("a", fetchEvent(t, "hangs", "identity-1"), 0)
		r.log.add("b", fetchEvent(t, "works", "identity-2"), 0)
		r.api.answer = func(ctx context.Context, req *schemas.Request, n int) (answer, error) {
			if req.ID == "hangs" {
				<-ctx.Done()
				return answer{}, ctx.Err()
			}
			return okAnswer(), nil
		}
		r.start()
		pass(time.Second)
		began := time.Now()
		if err := r.end(); err != nil {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(began); took > r.cfg.drain {
			t.Errorf("the drain took %v, its budget is %v", took, r.cfg.drain)
		}
		if pos := r.log.offset(); pos.Offset != 0 {
			t.Errorf("committed %d past the record that did not end", pos.Offset)
		}
	})
}

// TestLaneAbort: everything ends at once, uncommitted work is counted.
func TestLaneAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.hold = make(chan struct{})
		r.log.add("a", fetchEvent(t, "done", "identity-1"), 0)
		r.start()
		pass(time.Second)
		began := time.Now()
		r.abort()
		if err := r.end(); err != nil {
			t.Errorf("ended with %v", err)
		}
		if time.Since(began) > time.Second || r.lane.abandoned != 1 {
			t.Errorf("abort took %v and counted %d abandoned, want at once and 1", time.Since(began), r.lane.abandoned)
		}
	})
}

// TestLaneAbortWhileDraining: outcomes that can no longer be committed do not
// keep the lane from ending.
func TestLaneAbortWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.api.answer = func(ctx context.Context, _ *schemas.Request, _ int) (answer, error) {
			<-ctx.Done()
			return answer{}, ctx.Err() // in doubt, so it ends as failed
		}
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		r.start()
		pass(time.Second)
		r.stop()
		pass(time.Second)
		began := time.Now()
		r.abort()
		if err := r.end(); err != nil {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(began); took > time.Second || r.lane.abandoned != 1 {
			t.Errorf("it took %v and %d were abandoned, want at once and 1", took, r.lane.abandoned)
		}
	})
}

// TestLaneLosesOwnership: when the group has moved on, the lane dies whole and
// takes nothing for committed.
func TestLaneLosesOwnership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.commitErr = func() error { return &kafka.Error{Code: kafka.CodeOwnershipLost, Op: "commit"} }
		r.log.add("a", createEvent(t, "r1", "identity-1"), 0)
		r.start()
		if err := <-r.stopped; err != nil {
			t.Errorf("losing a partition is no failure of the connector, got %v", err)
		}
		if r.log.offset().Offset != -1 {
			t.Error("something was committed")
		}
		r.stop()
		r.abort()
		r.stopProb()
	})
}

// TestLaneOutOfRange: nothing is skipped on a guess.
func TestLaneOutOfRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.stop()
		<-r.stopped
		r.abort()
		r.stopProb()
		err := r.lane.takeFetch(fetchEnd{err: &kafka.Error{Code: kafka.CodeOutOfRange, Op: "fetch"}})
		if kafka.CodeOf(err) != kafka.CodeOutOfRange {
			t.Errorf("got %v, want an error that keeps its code", err)
		}
	})
}

// Under load a commit carries what has ended in a while, and with little to do
// each outcome is committed at once.
func TestBusyLaneGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.maxBatch = maxBatch
		const each = 100 * time.Millisecond
		var rng atomic.Uint64
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			pass(each/2 + time.Duration(rng.Add(7919)%uint64(each/2)))
			return okAnswer(), nil
		}
		const takes = 10 * time.Millisecond
		r.log.commitErr = func() error { pass(takes); return nil }
		const records = 4000
		for i := range records {
			id := fmt.Sprintf("r%05d", i)
			r.log.add(id, createEvent(t, id, "identity-"+id), 0)
		}
		began := time.Now()
		r.start()
		for r.log.offset().Offset < records {
			pass(each)
			synctest.Wait()
		}
		took := time.Since(began)
		commits := func() int {
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			return r.log.commits
		}
		// Until it knows its pace, it commits one group after the other.
		if most := int(paceOver/takes) + int((took-paceOver)/(gatherFor+takes)) + 10; commits() > most {
			t.Errorf("%d commits in %v, want at most %d", commits(), took, most)
		}
		for i := range 5 {
			id := fmt.Sprintf("single-%d", i)
			r.log.add(id, createEvent(t, id, "identity-"+id), 0)
			before := commits()
			pass(each + takes + time.Millisecond)
			synctest.Wait()
			if r.log.offset().Offset != records+int64(i)+1 {
				t.Errorf("record %d is not committed a millisecond after its call and a commit", i)
			}
			if commits() == before {
				t.Error("there was no commit")
			}
			pass(time.Second)
		}
		r.mustEnd()
	})
}

// A broker that was slow once makes no lane wait that has little to do.
func TestSlowCommitMakesNoLaneGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		const every, call, commit, slow = 40 * time.Millisecond, 60 * time.Millisecond, 5 * time.Millisecond, 500 * time.Millisecond
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			pass(call)
			return okAnswer(), nil
		}
		var stuck atomic.Bool
		r.log.commitErr = func() error {
			if stuck.CompareAndSwap(true, false) {
				pass(slow)
			}
			pass(commit)
			return nil
		}
		r.start()
		for i := range int64(60) {
			stuck.CompareAndSwap(false, i == 20)
			id := fmt.Sprintf("r%02d", i)
			r.log.add(id, createEvent(t, id, "identity-"+id), 0)
			pass(every)
			synctest.Wait()
			if late := i == 0 || i >= 20 && i < 22+int64(slow/every); !late && r.log.offset().Offset < i {
				t.Errorf("record %d is not committed %v after its call", i-1, 2*every-call)
			}
		}
		r.mustEnd()
	})
}

// A burst makes a lane busy, and not what comes seconds after it.
func TestPace(t *testing.T) {
	began := time.Now()
	var p pace
	at := func(after time.Duration, records int) bool {
		p.count(records, began.Add(after))
		return p.busy
	}
	if at(0, 1) {
		t.Error("busy with the first record")
	}
	at(100*time.Millisecond, 500)
	if !at(time.Second, 1) {
		t.Error("500 records in a second make no lane busy")
	}
	if !at(2*time.Second, 40) || at(3*time.Second, 39) {
		t.Error("40 records in a second are busy, and 39 are not")
	}
	at(3100*time.Millisecond, 500)
	if at(8*time.Second, 1) {
		t.Error("busy with a record that comes seconds after a burst")
	}
}

// What a lane takes in by and by it takes in to the end, whatever timers run for
// the records that it has by then.
func TestGulpsGoOnWhileRecordsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		other := &modelAPI{}
		r.addAccount("other", other, testAccountConfig())
		r.acct.credentialsRefused(apiErr(401, 20003))
		fetch := func(account, id string) {
			r.log.add(id, encodeRequest(t, schemas.Request{
				ID: id, Operation: schemas.OperationFetch, Account: account, ServiceSID: testService, Identity: "identity-" + id, ChallengeSID: testSID,
			}), 0)
		}
		for i := range 5 * maxGulp {
			fetch("main", fmt.Sprintf("waits-%03d", i)) // for its account, until its deadline
		}
		fetch("other", "free")
		r.start()
		pass(time.Second)
		synctest.Wait()
		if other.total() != 1 {
			t.Error("a record that waits for nothing is not called")
		}
		r.mustEnd()
	})
}

// A lane that finds thousands of records takes them in by and by, so that calls
// begin, and their ends are seen, before it has them all.
func TestIntakeInGulps(t *testing.T) {
	r := newRig(t)
	r.src, r.lease = r.log, freeLease{}
	l := newLane(r.cfg, 0, r.deps())
	l.window, l.tracing = newWindow(0, 1024), newTracing(t.Context(), nil, r.cfg.events)
	const records = 3*maxGulp - 1
	for i := range int64(records) {
		id := fmt.Sprintf("identity-%03d", i)
		l.backlog = append(l.backlog, kafka.Record{Topic: "requests", Offset: i, Timestamp: time.Now(), Value: createEvent(t, id, id)})
	}
	l.resume = records
	for i, want := range []int{maxGulp, 2 * maxGulp, records} {
		l.fill(time.Now())
		if more := want < records; l.window.held != want || l.hungry != more {
			t.Errorf("%d records are in after gulp %d, more at once: %t; want %d, %t", l.window.held, i+1, l.hungry, want, more)
		}
	}
}
