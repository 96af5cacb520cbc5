package connector

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/schemas"
)

// memory is what the lanes of a partition wrote about themselves besides the
// committed offset. Both methods read committed records only and return what
// stood in the topic when they were called, or an error.
type memory interface {
	// position returns the newest position record; nil: there is none.
	position(ctx context.Context) (*schemas.Position, error)
	// otherCount is a number of partitions other than now that the position record
	// of another partition tells; zero: none does.
	otherCount(ctx context.Context, now int) (int, error)
	// ledger hands over the entries at from and above, in the order of the topic,
	// and returns where to go on. Below zero, and where nothing is at from any
	// more, it begins at the first entry that is as young as horizon or younger;
	// it may begin earlier. Entries that were handed over before an error are true.
	// Records are judged by readLedgerRecord.
	ledger(ctx context.Context, from int64, horizon time.Time, each func(schemas.LedgerEntry)) (next int64, err error)
}

// ledger remembers what became of the request ids of one partition for as long
// as the horizon. It belongs to the Connector, which keeps it across generations;
// one lane at a time may use it.
//
// It is filled from two sides: restore reads what the topic holds, add takes what
// the lane itself has committed. Both may bring the same entry, in any order and
// any number of times. Of two entries of one id within the horizon, a succeeded
// or adopted one wins over any other, because it is the one that a repeated
// request must not be called for; otherwise the younger wins. The topic is
// compacted by the id, where the last entry stays whatever it says: so a lane
// writes one only where it wins, and none for a duplicate or an id conflict, which
// point to the entry that is there.
//
// Nothing is forgotten within the horizon. The room is what bounds the memory:
// while it is full, a lane takes no new records.
type ledger struct {
	horizon time.Duration
	room    *ledgerRoom
	next    int64 // where in the topic restore goes on; below zero: by the horizon
	store   entryStore
	rings   *rings // what the guard counts; nil: there is none
	// passedOver counts entries that say nothing that could be remembered.
	passedOver int
}

// ledgerRoom bounds the entries of all partitions of an instance together. It is
// safe for concurrent use.
type ledgerRoom struct {
	limit int64
	used  atomic.Int64
}

func newLedgerRoom(entries int) *ledgerRoom { return &ledgerRoom{limit: int64(entries)} }

// full reports whether no new request may be taken in. Requests that are under
// way still get their entries, and so does a restore: the bound is exceeded by
// at most the windows and what other instances have left, and never by forgetting.
func (r *ledgerRoom) full() bool { return r.used.Load() >= r.limit }

func newLedger(horizon time.Duration, room *ledgerRoom) *ledger {
	return &ledger{horizon: horizon, room: room, next: -1}
}

// restore reads what the topic has above the last restore, or all within the
// horizon the first time. It must run after fencing, when nothing can be added
// by an earlier owner any more, and before the lane decides on any record. After
// an error the lane must not decide: what was remembered before still is, what
// was read is kept, and the next restore reads it again.
func (l *ledger) restore(ctx context.Context, mem memory, now time.Time) error {
	l.expire(now)
	oldest := now.Add(-l.horizon)
	next, err := mem.ledger(ctx, l.next, oldest, func(e schemas.LedgerEntry) {
		id, s, ok := seenOf(e)
		switch {
		case !ok:
			l.passedOver++
		case s.at.Before(oldest):
		default:
			if s.at.After(now) {
				// Nothing is written before it happens: the writer's clock is ahead.
				// Left so, the entry would be remembered for too long.
				s.at = now
			}
			if s.ring.at.After(now) {
				s.ring.at = now
			}
			l.rings.note(id, s.sid, s.ring)
			l.merge(id, s, now)
		}
	})
	if err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	l.next = next
	return nil
}

// lookup returns what is known of an id. seenID.judge says what follows from it.
// An entry older than the horizon never answers, in memory or not.
func (l *ledger) lookup(id hash, now time.Time) (seenID, bool) {
	s, ok := l.store.get(id)
	if !ok || l.outlived(s, now) {
		return seenID{}, false
	}
	return s, true
}

// wins reports whether an entry would be remembered, and so must be written to
// the topic. It is false for one that is remembered already.
func (l *ledger) wins(id hash, s seenID) bool { return l.beats(id, s, s.at) }

// add remembers an entry that is surely committed, if it wins.
func (l *ledger) add(id hash, s seenID) { l.merge(id, s, s.at) }

func (l *ledger) merge(id hash, s seenID, now time.Time) {
	if l.beats(id, s, now) {
		l.store.put(id, s)
		l.room.used.Add(1)
	}
}

// beats reports whether s takes the place of what is remembered.
func (l *ledger) beats(id hash, s seenID, now time.Time) bool {
	known, ok := l.store.get(id)
	switch {
	case !ok || l.outlived(known, now):
		return true
	case s.same(known):
		return false
	case s.settled() != known.settled():
		return s.settled()
	case s.at.Equal(known.at):
		return s.offset >= known.offset
	default:
		return s.at.After(known.at)
	}
}

func (l *ledger) outlived(s seenID, now time.Time) bool { return now.Sub(s.at) > l.horizon }

// full reports whether the lane must stop taking in records; see ledgerRoom.full.
// Room becomes free by expire alone, in any lane.
func (l *ledger) full() bool { return l.room.full() }

// expire frees what is older than the horizon, the oldest first. A lane calls it
// now and then; answers don't depend on it. An entry behind a younger one, which
// only a restore of clocks that differ can bring about, is freed with that one.
func (l *ledger) expire(now time.Time) {
	l.rings.expire(now)
	freed := l.store.dropWhile(func(at time.Time) bool { return now.Sub(at) > l.horizon })
	l.room.used.Add(-int64(freed))
}

// drop forgets everything and gives the room back, where the partition is
// somebody else's now. The ledger can be restored anew.
func (l *ledger) drop() {
	l.room.used.Add(-int64(l.store.slots()))
	l.store = entryStore{}
	if l.rings != nil {
		l.rings.clear()
	}
	l.next = -1
}
