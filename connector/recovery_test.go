package connector

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// TestRecoveredPosition: where a lane goes on for everything that may have
// happened to what was written down, and what is said about it.
func TestRecoveredPosition(t *testing.T) {
	own := func(frontier, calledTo int64, seq uint64) kafka.Position {
		p := position{frontier: frontier, calledTo: calledTo, seq: seq}
		p.done.set(5)
		return kafka.Position{Offset: frontier, Metadata: p.metadata()}
	}
	record := func(p kafka.Position) *schemas.Position {
		return &schemas.Position{Offset: p.Offset, Metadata: p.Metadata, Partitions: 6}
	}
	log := kafka.Range{Start: 50, End: 1000}
	none := kafka.Position{Offset: -1}
	for _, tc := range []struct {
		name       string
		committed  kafka.Position
		remembered *schemas.Position
		log        kafka.Range
		partitions int
		accept     Acceptance
		frontier   int64
		calledTo   int64
		done       int64 // an offset that must be known as done; 0: none
		notice     string
		code       RecoveryCode
		message    string
	}{
		{name: "first start", committed: none, log: log, frontier: 50, calledTo: 50},
		{name: "as it was left", committed: own(100, 120, 7), remembered: record(own(100, 120, 7)), log: log, frontier: 100, calledTo: 120, done: 105},
		{name: "set by hand before the first start", committed: kafka.Position{Offset: 300}, log: log, frontier: 300, calledTo: 300},
		{
			name: "foreign metadata", committed: kafka.Position{Offset: 300, Metadata: "another tool"}, log: log,
			frontier: 300, calledTo: 1000, notice: "another tool's",
		},
		{
			name: "the offset is behind the record", committed: own(90, 110, 6), remembered: record(own(100, 120, 7)), log: log,
			frontier: 100, calledTo: 120, done: 105, notice: "is not what the position record says: going on at 100",
		},
		{
			name: "set back by hand", committed: kafka.Position{Offset: 60}, remembered: record(own(100, 120, 7)), log: log,
			frontier: 100, calledTo: 120, done: 105, notice: "redrive them",
		},
		{
			name: "its metadata was removed", committed: kafka.Position{Offset: 100}, remembered: record(own(100, 120, 7)), log: log,
			frontier: 100, calledTo: 120, done: 105, notice: "going on at 100",
		},
		{
			name: "moved ahead by hand", committed: kafka.Position{Offset: 103}, remembered: record(own(100, 120, 7)), log: log,
			frontier: 103, calledTo: 120, done: 105, notice: "moved from 100 to 103 by hand",
		},
		{
			name: "moved far ahead by hand", committed: kafka.Position{Offset: 500}, remembered: record(own(100, 120, 7)), log: log,
			frontier: 500, calledTo: 500, notice: "is skipped",
		},
		{
			name: "the record is lost", committed: own(100, 120, 7), log: log, frontier: 100, calledTo: 120, done: 105,
		},
		{
			name: "the offset is lost", committed: none, remembered: record(own(100, 120, 7)), log: log,
			code: RecoveryLostOffsets, message: `its position record says 100. Put "lost_offsets" into recovery.accept`,
		},
		{
			name: "the offset is lost, accepted", committed: none, remembered: record(own(100, 120, 7)), log: log, accept: AcceptLostOffsets,
			frontier: 100, calledTo: 120, done: 105, notice: "which is accepted",
		},
		{
			name: "recreated and shorter", committed: own(100, 120, 7), remembered: record(own(100, 120, 7)), log: kafka.Range{End: 99},
			code: RecoveryRecreatedTopic, message: "the log ends at 99, below the position 100",
		},
		{
			name: "recreated and shorter, accepted", committed: own(100, 120, 7), remembered: record(own(100, 120, 7)),
			log: kafka.Range{Start: 3, End: 99}, accept: AcceptRecreatedTopic, frontier: 3, calledTo: 99, notice: "which is accepted",
		},
		{
			name: "another number of partitions", committed: own(100, 120, 7), remembered: record(own(100, 120, 7)), log: log, partitions: 8,
			code: RecoveryPartitionCount, message: "had 6 partitions and has 8 now",
		},
		{
			name: "another number of partitions, accepted", committed: own(100, 120, 7), remembered: record(own(100, 120, 7)), log: log,
			partitions: 8, accept: AcceptPartitionCount, frontier: 100, calledTo: 120, done: 105,
		},
		{
			name: "retention was faster", committed: own(40, 45, 7), remembered: record(own(40, 45, 7)), log: log,
			code: RecoveryRetention, message: "set the group's offset to 50",
		},
		{
			name: "a record of another version", committed: own(100, 120, 7), remembered: record(kafka.Position{Offset: 100, Metadata: "countersign.9/AA"}),
			log: log, frontier: 100, calledTo: 120, done: 105,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := found{topic: "requests", partition: 2, partitions: 6, committed: tc.committed, remembered: tc.remembered, log: tc.log}
			if tc.partitions != 0 {
				f.partitions = tc.partitions
			}
			if tc.accept != "" {
				f.accept = []Acceptance{tc.accept}
			}
			p, notice, err := f.position()
			refused, _ := errors.AsType[*RecoveryError](err)
			if tc.code != "" {
				if refused == nil || refused.Code != tc.code || !strings.Contains(refused.Message, tc.message) || refused.Partition != 2 {
					t.Fatalf("got %v, want %s: %s", err, tc.code, tc.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.frontier != tc.frontier || p.calledTo != tc.calledTo {
				t.Errorf("goes on at %d, called to %d, want %d, %d", p.frontier, p.calledTo, tc.frontier, tc.calledTo)
			}
			if tc.done != 0 && !p.has(tc.done) {
				t.Errorf("offset %d is no longer known as done", tc.done)
			}
			if (notice == "") != (tc.notice == "") || !strings.Contains(notice, tc.notice) {
				t.Errorf("notice %q, want %q", notice, tc.notice)
			}
		})
	}
}

// TestRecreatedTopicIsRecognised by the hash of the last record, even where the
// log has grown beyond the position.
func TestRecreatedTopicIsRecognised(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.log.add("a", createEvent(t, "first", "identity-1"), 0)
			r.start()
			pass(time.Second)
			r.mustEnd()
			r.log.mu.Lock()
			r.log.records, r.log.stable = nil, 0
			r.log.mu.Unlock()
			r.log.add("a", createEvent(t, "other", "identity-1"), 0)
			r.log.add("a", createEvent(t, "second", "identity-1"), 0)
			if accepted {
				r.cfg.recovery.Accept = []Acceptance{AcceptRecreatedTopic}
			}
			r.start()
			pass(time.Minute)
			err := r.end()
			refused, _ := errors.AsType[*RecoveryError](err)
			switch {
			case accepted && (err != nil || r.api.called("other") != 1 || r.api.called("second") != 1):
				t.Errorf("accepted, but %v, calls %v", err, r.api.calls)
			case !accepted && (refused == nil || refused.Code != RecoveryRecreatedTopic || len(r.api.calls) != 1):
				t.Errorf("got %v, calls %v", err, r.api.calls)
			}
		})
	}
}

// TestRecreatedTopicAnswersAnew: where a topic that was made anew is accepted,
// its records are not taken for those that had their offsets before. The first is
// the same request again, the second another one under an id that is known.
func TestRecreatedTopicAnswersAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.add("a", createEvent(t, "again", "identity-1"), 0)
		r.log.add("a", createEvent(t, "other", "identity-1"), 0)
		r.start()
		pass(time.Second)
		r.mustEnd()
		before := len(r.log.results())
		r.log.mu.Lock()
		r.log.records, r.log.stable, r.log.finished = nil, 0, map[int64]bool{}
		r.log.mu.Unlock()
		r.log.add("a", createEvent(t, "again", "identity-1"), 0)
		r.log.add("a", createEvent(t, "other", "identity-2"), 0)
		r.cfg.recovery.Accept = []Acceptance{AcceptRecreatedTopic}
		r.start()
		pass(time.Minute)
		r.mustEnd()
		got := r.log.results()[before:]
		if len(got) != 2 || got[0].Outcome != schemas.OutcomeDuplicate || got[1].Outcome != schemas.OutcomeRejected {
			t.Errorf("answered %v, want a duplicate and a conflict", got)
		}
		if n := r.api.total(); n != 2 {
			t.Errorf("%d calls, want the two of the first topic", n)
		}
	})
}

// TestEmptyAnswerRecognisesNothing: a broker that has only just become the
// leader may not show yet what is there.
func TestEmptyAnswerRecognisesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.add("a", createEvent(t, "first", "identity-1"), 0)
		r.start()
		pass(time.Second)
		r.mustEnd()
		r.src = &emptySource{modelLog: r.log, empty: 3}
		r.start()
		pass(time.Second)
		r.log.add("a", createEvent(t, "second", "identity-1"), 0)
		pass(time.Minute)
		r.mustEnd()
		if r.api.called("second") != 1 {
			t.Error("the lane does not go on")
		}
	})
}

// TestLogShrinksWhileItIsRecognised: where the log has lost its end meanwhile,
// there is nothing to wait for.
func TestLogShrinksWhileItIsRecognised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.add("a", createEvent(t, "first", "identity-1"), 0)
		r.start()
		pass(time.Second)
		r.mustEnd()
		r.src = &emptySource{modelLog: r.log, empty: 1, shrinks: true}
		r.start()
		pass(time.Minute)
		err := r.end()
		if refused, ok := errors.AsType[*RecoveryError](err); !ok || refused.Code != RecoveryRecreatedTopic {
			t.Errorf("the lane ended with %v", err)
		}
	})
}

// emptySource answers its first fetches with nothing.
type emptySource struct {
	*modelLog
	empty   int
	shrinks bool // with its first answer
}

func (s *emptySource) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error) {
	if s.empty > 0 {
		s.empty--
		if s.shrinks {
			s.mu.Lock()
			s.records, s.stable = nil, 0
			s.mu.Unlock()
		}
		return kafka.Fetched{Next: offset, LastStable: offset}, nil
	}
	return s.modelLog.Fetch(ctx, offset, maxBytes, maxWait)
}

// TestLastTraceIsKept: a lane that had nothing to do remembers all the same which
// record was the last that its predecessors answered.
func TestLastTraceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.add("a", createEvent(t, "first", "identity-1"), 0)
		for range 3 {
			r.start()
			pass(2 * idleCommit)
			r.mustEnd()
			r.cfg.partitions++ // is written down, so there is a commit without a record
			r.cfg.recovery.Accept = []Acceptance{AcceptPartitionCount}
		}
		if got := r.log.remembered; got.Last == nil || got.Last.Offset != 0 || got.Partitions != 3 {
			t.Errorf("remembered is %+v, want the first record and 3 partitions", got)
		}
	})
}

// TestBrokersAwayAtAssignment: a lane that begins waits for them; it does not
// end the connector.
func TestBrokersAwayAtAssignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.add("a", createEvent(t, "r", "identity-1"), 0)
		away := &moodySource{source: r.log, until: time.Now().Add(time.Minute)}
		r.src = away
		r.start()
		pass(59 * time.Second)
		if r.api.total() != 0 {
			t.Error("called before the brokers were back")
		}
		pass(5 * time.Second)
		r.mustEnd()
		if r.api.called("r") != 1 || away.refused < 3 {
			t.Errorf("%d calls after %d refusals", r.api.called("r"), away.refused)
		}
	})
}

// lateTopics are not known to the broker that is asked until some time.
type lateTopics struct {
	*modelLog
	memory
	requests, positions time.Time
}

func (l *lateTopics) Range(ctx context.Context) (kafka.Range, error) {
	if time.Now().Before(l.requests) {
		return kafka.Range{}, unknownTopic()
	}
	return l.modelLog.Range(ctx)
}

func (l *lateTopics) position(ctx context.Context) (*schemas.Position, error) {
	if time.Now().Before(l.positions) {
		return nil, unknownTopic()
	}
	return l.memory.position(ctx)
}

// TestTopicUnknownAtAssignment: a lane that begins gives a topic as long to be
// found as one that runs. Then it says what is missing, and only then that a
// topic of our own has too few partitions.
func TestTopicUnknownAtAssignment(t *testing.T) {
	for _, late := range []time.Duration{goneAfter / 2, 2 * goneAfter} {
		for _, own := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.log.add("a", createEvent(t, "r", "identity-1"), 0)
				l := &lateTopics{modelLog: r.log, memory: r.log.memory()}
				if found := time.Now().Add(late); own {
					l.positions = found
				} else {
					l.requests = found
				}
				r.src, r.memory = l, l
				r.start()
				pass(2 * time.Minute)
				err := r.end()
				refused, counted := errors.AsType[*RecoveryError](err)
				if late < goneAfter {
					if err != nil || r.api.called("r") != 1 {
						t.Errorf("late by %v, own %t: %v, calls %v", late, own, err, r.api.calls)
					}
					return
				}
				if kafka.CodeOf(err) != kafka.CodeUnknownTopic || counted != own || counted && refused.Code != RecoveryPartitionCount || r.api.total() != 0 {
					t.Errorf("late by %v, own %t: %v, calls %v", late, own, err, r.api.calls)
				}
			})
		}
	}
}

// TestTakenOverWhileReading: a member loses its partition between two of the
// reads with which it takes it up. What they say together is nobody's state, and
// no reason to end.
func TestTakenOverWhileReading(t *testing.T) {
	for _, back := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			u := &usurped{modelLog: r.log, back: back}
			r.src, r.lease = u, u
			r.start()
			pass(time.Minute)
			r.mustEnd()
			if got := r.api.called("r"); back != (got == 1) {
				t.Errorf("lease back: %t, %d calls", back, got)
			}
		})
	}
}

// usurped loses the lease once the range is known; then a successor works.
type usurped struct {
	*modelLog
	back   bool // the lease comes back
	ranges int
	lost   time.Time
}

func (u *usurped) Range(ctx context.Context) (kafka.Range, error) {
	before, err := u.modelLog.Range(ctx)
	if u.ranges++; u.ranges > 1 {
		return before, err
	}
	for range 3 {
		u.add("a", createEvent(u.t, "r", "identity-1"), 0)
	}
	theirs := position{frontier: 2, calledTo: 2, seq: 9}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lost, u.finished[0], u.finished[1] = time.Now(), true, true
	u.committed = kafka.Position{Offset: 2, Metadata: theirs.metadata()}
	u.remembered = &schemas.Position{Offset: 2, Metadata: theirs.metadata(), Partitions: 1}
	return before, err
}

func (u *usurped) Left() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.lost.IsZero() && (!u.back || time.Since(u.lost) < 10*time.Second) {
		return 0
	}
	return time.Hour
}

// moodySource is away until a moment.
type moodySource struct {
	source
	until   time.Time
	refused int
}

func (m *moodySource) Range(ctx context.Context) (kafka.Range, error) {
	if time.Now().Before(m.until) {
		m.refused++
		return kafka.Range{}, &kafka.Error{Code: kafka.CodeUnavailable, Op: "test"}
	}
	return m.source.Range(ctx)
}
