package connector

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// brokenSource fails while it is told to, and knows where its log begins.
type brokenSource struct {
	*modelLog
	fails  error
	missed bool // the next answer comes after the topic could not be found
	start  int64
}

func (s *brokenSource) Fetch(ctx context.Context, offset int64, maxBytes int, maxWait time.Duration) (kafka.Fetched, error) {
	s.mu.Lock()
	fails, start, end := s.fails, s.start, s.stable
	s.mu.Unlock()
	switch {
	case fails != nil:
		return kafka.Fetched{}, fails
	case offset < start, offset > end:
		return kafka.Fetched{}, &kafka.Error{Code: kafka.CodeOutOfRange, Op: "fetch", Err: errors.New("out of range")}
	}
	f, err := s.modelLog.Fetch(ctx, offset, maxBytes, maxWait)
	f.LogStart = start
	s.mu.Lock()
	f.Missed, s.missed = s.missed, false
	s.mu.Unlock()
	return f, err
}

func (s *brokenSource) Range(context.Context) (kafka.Range, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return kafka.Range{Start: s.start, End: s.stable}, nil
}

func (s *brokenSource) set(fails error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

func unknownTopic() error {
	return &kafka.Error{Code: kafka.CodeUnknownTopic, Op: "fetch", Err: errors.New("unknown topic")}
}

// running is a lane that has answered one record of a log that can break.
func running(t *testing.T) (*rig, *brokenSource) {
	t.Helper()
	r := newRig(t)
	s := &brokenSource{modelLog: r.log}
	r.src = s
	r.log.add("a", createEvent(t, "first", "identity-1"), 0)
	r.start()
	pass(5 * time.Second)
	return r, s
}

// TestRecreatedWhileRunning: a topic that is deleted and made anew under a
// running lane is noticed before one record of it is called, however far the new
// log has grown.
func TestRecreatedWhileRunning(t *testing.T) {
	for records, seen := range map[int]bool{0: true, 1: true, 5: true, 7: false} {
		synctest.Test(t, func(t *testing.T) {
			r, s := running(t)
			if seen {
				s.set(unknownTopic())
				pass(2 * time.Second)
			}
			s.mu.Lock()
			// Where the failure was not seen, the client has waited it out.
			s.records, s.stable, s.missed = nil, 0, !seen
			s.mu.Unlock()
			for range records {
				r.log.add("a", createEvent(t, "other", "identity-1"), 0)
			}
			s.set(nil)
			pass(time.Minute)
			refused, ok := errors.AsType[*RecoveryError](r.end())
			if !ok || refused.Code != RecoveryRecreatedTopic || len(r.api.calls) != 1 {
				t.Errorf("%d records: %v, calls %v", records, refused, r.api.calls)
			}
		})
	}
}

// TestTopicGoneForAMoment: brokers that start can be late to know a topic. Only
// one that stays away ends the lane, whatever there was before it.
func TestTopicGoneForAMoment(t *testing.T) {
	noBroker := &kafka.Error{Code: kafka.CodeUnavailable, Op: "fetch", Err: errors.New("no broker")}
	for _, before := range []time.Duration{0, time.Minute} {
		for _, away := range []time.Duration{time.Second, goneAfter / 2, 2 * goneAfter} {
			synctest.Test(t, func(t *testing.T) {
				r, s := running(t)
				if before > 0 {
					s.set(unknownTopic())
					pass(goneAfter - time.Second)
					s.set(noBroker)
					pass(before)
				}
				s.set(unknownTopic())
				pass(away)
				s.set(nil)
				r.log.add("a", createEvent(t, "second", "identity-1"), 0)
				pass(time.Minute)
				err := r.end()
				if gone := away > goneAfter; gone != (kafka.CodeOf(err) == kafka.CodeUnknownTopic) || gone == (r.api.called("second") == 1) {
					t.Errorf("away for %v, without brokers for %v: %v, calls %v", away, before, err, r.api.calls)
				}
			})
		}
	}
}

// TestTopicGoneAfterAPause: while the intake is closed nobody looks, and that is
// no sign that the topic was away.
func TestTopicGoneAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &brokenSource{modelLog: newRig(t).log}
		s.add("a", createEvent(t, "first", "identity-1"), 0)
		w := &logWatch{src: s}
		if _, err := w.fetch(t.Context(), 0, 1, 0); err != nil {
			t.Fatal(err)
		}
		pass(2 * goneAfter)
		s.set(unknownTopic())
		for waited := time.Duration(0); waited <= goneAfter; waited += goneAfter / 2 {
			want := kafka.CodeUnavailable
			if waited == goneAfter {
				want = kafka.CodeUnknownTopic
			}
			if _, err := w.fetch(t.Context(), 1, 1, 0); kafka.CodeOf(err) != want {
				t.Errorf("after %v: %v, want %s", waited, err, want)
			}
			pass(goneAfter / 2)
		}
	})
}

// TestRetentionPassesARunningLane: what was deleted before it was read is named,
// and nothing behind it is called.
func TestRetentionPassesARunningLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := running(t)
		s.set(&kafka.Error{Code: kafka.CodeUnavailable, Op: "fetch", Err: errors.New("away")})
		pass(time.Second)
		for range 4 {
			r.log.add("a", createEvent(t, "late", "identity-1"), 0)
		}
		s.mu.Lock()
		s.start = 3
		s.mu.Unlock()
		s.set(nil)
		pass(time.Minute)
		refused, ok := errors.AsType[*RecoveryError](r.end())
		if !ok || refused.Code != RecoveryRetention || len(r.api.calls) != 1 {
			t.Errorf("%v, calls %v", refused, r.api.calls)
		}
	})
}

// TestNewPartitionAsksTheOthers: a partition that nobody has worked on is not
// taken up while another one says that the topic had fewer.
func TestNewPartitionAsksTheOthers(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.log.others = r.cfg.partitions + 1
			if accepted {
				r.cfg.recovery.Accept = []Acceptance{AcceptPartitionCount}
			}
			r.log.add("a", createEvent(t, "first", "identity-1"), 0)
			r.start()
			pass(time.Minute)
			err := r.end()
			refused, ok := errors.AsType[*RecoveryError](err)
			if accepted != (r.api.called("first") == 1) || accepted == ok || ok && refused.Code != RecoveryPartitionCount {
				t.Errorf("accepted: %t, %v, calls %v", accepted, err, r.api.calls)
			}
		})
	}
}

// TestDeletedTopicsOffsets: brokers forget the offsets of a topic that is
// deleted. That it was made anew is the finding, and one acceptance is enough.
func TestDeletedTopicsOffsets(t *testing.T) {
	for _, records := range []int{0, 3} {
		for _, accepted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				r, s := running(t)
				r.mustEnd()
				s.mu.Lock()
				s.records, s.stable, s.committed = nil, 0, kafka.Position{Offset: -1}
				s.mu.Unlock()
				for range records {
					r.log.add("a", createEvent(t, "other", "identity-1"), 0)
				}
				if accepted {
					r.cfg.recovery.Accept = []Acceptance{AcceptRecreatedTopic}
				}
				r.start()
				pass(time.Minute)
				err := r.end()
				refused, _ := errors.AsType[*RecoveryError](err)
				switch {
				case accepted && (err != nil || r.api.called("other") != min(1, records)):
					t.Errorf("%d records, accepted, but %v, calls %v", records, err, r.api.calls)
				case !accepted && (refused == nil || refused.Code != RecoveryRecreatedTopic || len(r.api.calls) != 1):
					t.Errorf("%d records: %v, calls %v", records, err, r.api.calls)
				}
			})
		}
	}
}
