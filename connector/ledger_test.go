package connector

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

var ledgerStart = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func testHash(n int) (h hash) {
	binary.BigEndian.PutUint64(h[8:], uint64(n))
	return h
}

// ledgerTopic is a partition of the ledger topic; an entry's index is its offset.
type ledgerTopic struct {
	entries []schemas.LedgerEntry
	failAt  int // offset at which reading fails; below zero: none
	froms   []int64
}

var errTopic = errors.New("the broker is gone")

func (*ledgerTopic) otherCount(context.Context, int) (int, error) { return 0, nil }

func (m *ledgerTopic) position(context.Context) (*schemas.Position, error) { return nil, nil }

func (m *ledgerTopic) ledger(_ context.Context, from int64, horizon time.Time, each func(schemas.LedgerEntry)) (int64, error) {
	m.froms = append(m.froms, from)
	if from < 0 {
		from = int64(len(m.entries))
		for i, e := range slices.Backward(m.entries) {
			if !e.At.Before(horizon) {
				from = int64(i)
			}
		}
	}
	for i, e := range m.entries[from:] {
		if from+int64(i) == int64(m.failAt) {
			return 0, errTopic
		}
		each(e)
	}
	return int64(len(m.entries)), nil
}

func newTopic(entries ...schemas.LedgerEntry) *ledgerTopic {
	return &ledgerTopic{entries: entries, failAt: -1}
}

func succeeded(offset int64, at time.Time) seenID {
	return seenID{
		outcome: schemas.OutcomeSucceeded, body: testHash(1), sid: "YC0123456789abcdef0123456789abcdef", record: recordHash{3, 1, 4},
		topic: "challenge.requests", partition: 3, offset: offset, at: at,
	}
}

func failed(offset int64, at time.Time) seenID {
	s := succeeded(offset, at)
	s.outcome, s.sid = schemas.OutcomeFailed, ""
	return s
}

// tester is a test of either kind.
type tester interface {
	rapid.TB
	Context() context.Context
}

func mustRestore(t tester, l *ledger, mem memory, now time.Time) {
	t.Helper()
	if err := l.restore(t.Context(), mem, now); err != nil {
		t.Fatal(err)
	}
}

// wantOffset checks which entry answers for an id: that of the record at offset.
func wantOffset(t testing.TB, l *ledger, id hash, now time.Time, offset int64) {
	t.Helper()
	if got, ok := l.lookup(id, now); !ok || got.offset != offset {
		t.Errorf("the id is known as %+v, %v; want that of offset %d", got, ok, offset)
	}
}

func wantUnknown(t testing.TB, l *ledger, id hash, now time.Time) {
	t.Helper()
	if got, ok := l.lookup(id, now); ok {
		t.Errorf("the id is known as %+v, want it forgotten", got)
	}
}

func TestLedgerHorizon(t *testing.T) {
	const horizon = time.Hour
	id, edge := testHash(7), ledgerStart.Add(horizon)
	for name, fill := range map[string]func(l *ledger){
		"added":    func(l *ledger) { l.add(id, succeeded(5, ledgerStart)) },
		"restored": func(l *ledger) { mustRestore(t, l, newTopic(succeeded(5, ledgerStart).entry(id)), edge) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(horizon, newLedgerRoom(10))
			fill(l)
			wantOffset(t, l, id, ledgerStart, 5)
			wantOffset(t, l, id, edge, 5)
			wantUnknown(t, l, id, edge.Add(1))
			l.expire(edge)
			if n := l.room.used.Load(); n != 1 {
				t.Errorf("at the edge %d entries are in memory", n)
			}
			l.expire(edge.Add(1))
			if n := l.room.used.Load(); n != 0 {
				t.Errorf("beyond the edge %d entries are in memory", n)
			}
			wantUnknown(t, l, id, edge)
		})
	}
	l := newLedger(horizon, newLedgerRoom(10))
	mustRestore(t, l, newTopic(succeeded(5, ledgerStart).entry(id)), edge.Add(1))
	wantUnknown(t, l, id, edge)
	// One that is too old takes no younger one's place, though it is the stronger.
	mustRestore(t, l, newTopic(failed(6, edge).entry(id), succeeded(5, ledgerStart).entry(id)), edge.Add(1))
	wantUnknown(t, l, testHash(8), edge)
}

// An entry whose time has passed yields its place even while it is in memory.
func TestLedgerOldStrengthDoesNotCount(t *testing.T) {
	l := newLedger(time.Hour, newLedgerRoom(10))
	id, late := testHash(7), ledgerStart.Add(time.Hour+1)
	l.add(id, succeeded(5, ledgerStart))
	if s := failed(6, late); !l.wins(id, s) {
		t.Error("a new entry must be written where the old one is past the horizon")
	}
	l.add(id, failed(6, late))
	wantOffset(t, l, id, late, 6)

	// Read later than it was written: what counts is when it is read.
	l = newLedger(time.Hour, newLedgerRoom(10))
	l.add(testHash(1), succeeded(4, late)) // keeps expire from freeing what is behind it
	l.add(id, succeeded(5, ledgerStart))
	mustRestore(t, l, newTopic(failed(6, ledgerStart.Add(time.Minute)).entry(id)), late)
	wantOffset(t, l, id, late, 6)
}

// A writer's clock that is ahead doesn't make an entry live longer.
func TestLedgerClockAhead(t *testing.T) {
	l := newLedger(time.Hour, newLedgerRoom(10))
	id, odd := testHash(7), testHash(8)
	mustRestore(t, l, newTopic(
		succeeded(5, ledgerStart.Add(30*time.Minute)).entry(id),
		succeeded(6, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)).entry(odd),
	), ledgerStart)
	for _, id := range []hash{id, odd} {
		if _, ok := l.lookup(id, ledgerStart.Add(time.Hour)); !ok {
			t.Error("within the horizon it is forgotten")
		}
		wantUnknown(t, l, id, ledgerStart.Add(time.Hour+1))
	}
}

func TestLedgerStrongestWins(t *testing.T) {
	id := testHash(7)
	adopted := succeeded(3, ledgerStart)
	adopted.outcome = schemas.OutcomeAdopted
	later := func(s seenID, d time.Duration) seenID { s.at = s.at.Add(d); return s }
	for name, tc := range map[string]struct {
		first, second seenID
		want          int64
	}{
		"success over a later failure": {succeeded(1, ledgerStart), later(failed(2, ledgerStart), time.Minute), 1},
		"adopted over a later failure": {adopted, later(failed(2, ledgerStart), time.Minute), 3},
		"the later failure":            {failed(1, ledgerStart), later(failed(2, ledgerStart), 1), 2},
		"the later success":            {succeeded(1, ledgerStart), later(adopted, 1), 3},
		"the higher of one moment":     {failed(1, ledgerStart), failed(2, ledgerStart), 2},
	} {
		for _, pair := range [][]seenID{{tc.first, tc.second}, {tc.second, tc.first}} {
			l := newLedger(time.Hour, newLedgerRoom(10))
			l.add(id, pair[0])
			if wins := l.wins(id, pair[1]); wins != (pair[1].offset == tc.want) {
				t.Errorf("%s: written is %v", name, wins)
			}
			l.add(id, pair[1])
			wantOffset(t, l, id, ledgerStart.Add(time.Minute), tc.want)
			mustRestore(t, l, newTopic(pair[0].entry(id), pair[1].entry(id)), ledgerStart.Add(time.Minute))
			wantOffset(t, l, id, ledgerStart.Add(time.Minute), tc.want)
		}
	}
}

func TestLedgerRestoreGoesOn(t *testing.T) {
	l := newLedger(time.Hour, newLedgerRoom(100))
	topic := newTopic()
	for i := range 10 {
		topic.entries = append(topic.entries, failed(int64(i), ledgerStart).entry(testHash(i)))
	}
	topic.failAt = 4
	if err := l.restore(t.Context(), topic, ledgerStart); !errors.Is(err, errTopic) {
		t.Fatalf("error %v, want the topic's", err)
	}
	wantOffset(t, l, testHash(3), ledgerStart, 3)
	wantUnknown(t, l, testHash(4), ledgerStart)
	topic.failAt = -1
	mustRestore(t, l, topic, ledgerStart)
	wantOffset(t, l, testHash(9), ledgerStart, 9)
	// What the lane commits itself is read again, and what is there stays.
	own := succeeded(20, ledgerStart.Add(time.Minute))
	l.add(testHash(20), own)
	topic.entries = append(topic.entries, own.entry(testHash(20)))
	topic.failAt = 10
	if err := l.restore(t.Context(), topic, ledgerStart.Add(time.Minute)); !errors.Is(err, errTopic) {
		t.Fatalf("error %v, want the topic's", err)
	}
	topic.failAt = -1
	mustRestore(t, l, topic, ledgerStart.Add(time.Minute))
	mustRestore(t, l, topic, ledgerStart.Add(time.Minute))
	if want := []int64{-1, -1, 10, 10, 11}; !slices.Equal(topic.froms, want) {
		t.Errorf("it was read from %v, want %v", topic.froms, want)
	}
	if n := l.room.used.Load(); n != 11 {
		t.Errorf("%d entries are in memory, want 11", n)
	}
	l.drop()
	mustRestore(t, l, topic, ledgerStart.Add(time.Minute))
	if from := topic.froms[len(topic.froms)-1]; from != -1 {
		t.Errorf("after a drop it is read from %d", from)
	}
	wantOffset(t, l, testHash(20), ledgerStart.Add(time.Minute), 20)
}

func TestLedgerPassesOverWhatIsNoHash(t *testing.T) {
	l := newLedger(time.Hour, newLedgerRoom(100))
	good := succeeded(1, ledgerStart).entry(testHash(1))
	short, odd, noBody := good, good, good
	short.IDHash, odd.IDHash, noBody.Body = good.IDHash[2:], strings.Repeat("x", 32), ""
	mustRestore(t, l, newTopic(short, odd, noBody, good), ledgerStart)
	if l.passedOver != 3 || l.room.used.Load() != 1 {
		t.Errorf("%d were passed over and %d remembered, want 3 and 1", l.passedOver, l.room.used.Load())
	}
}

func TestLedgerRoom(t *testing.T) {
	room := newLedgerRoom(3)
	a, b := newLedger(time.Hour, room), newLedger(time.Hour, room)
	a.add(testHash(1), failed(1, ledgerStart))
	a.add(testHash(2), failed(2, ledgerStart.Add(time.Minute)))
	if a.full() {
		t.Error("it is full below its bound")
	}
	b.add(testHash(1), failed(1, ledgerStart))
	if !a.full() || !b.full() {
		t.Error("it is not full at its bound")
	}
	// What was under way, and what others left, is remembered all the same.
	a.add(testHash(3), failed(3, ledgerStart.Add(time.Minute)))
	mustRestore(t, b, newTopic(failed(2, ledgerStart).entry(testHash(2))), ledgerStart)
	for i := range 3 {
		wantOffset(t, a, testHash(i+1), ledgerStart.Add(time.Minute), int64(i+1))
	}
	wantOffset(t, b, testHash(2), ledgerStart, 2)
	if n := room.used.Load(); n != 5 {
		t.Errorf("%d entries are in memory, want 5", n)
	}
	a.expire(ledgerStart.Add(time.Hour + 1))
	if n := room.used.Load(); n != 4 || !b.full() {
		t.Errorf("after one expired %d are in memory, full is %v", n, b.full())
	}
	b.drop()
	if n := room.used.Load(); n != 2 || a.full() {
		t.Errorf("after a drop %d are in memory, full is %v", n, a.full())
	}
	b.drop()
	a.drop()
	if n := room.used.Load(); n != 0 {
		t.Errorf("in the end %d are in memory", n)
	}
}

// An entry whose place was taken doesn't wait for its time.
func TestLedgerFreesWhatWasOutweighed(t *testing.T) {
	l := newLedger(time.Hour, newLedgerRoom(10))
	l.add(testHash(1), failed(1, ledgerStart))
	l.add(testHash(1), succeeded(2, ledgerStart))
	l.add(testHash(2), succeeded(3, ledgerStart))
	if n := l.room.used.Load(); n != 3 {
		t.Errorf("%d entries are in memory, want 3", n)
	}
	l.expire(ledgerStart)
	if n := l.room.used.Load(); n != 2 {
		t.Errorf("%d entries are in memory, want 2", n)
	}
	wantOffset(t, l, testHash(1), ledgerStart, 2)
}

// Chunks are given back, one after the other, and used again.
func TestLedgerGivesMemoryBack(t *testing.T) {
	l := newLedger(time.Hour, newLedgerRoom(1))
	now := ledgerStart
	const perRound, rounds = chunkSlots + 100, 20
	for round := range rounds {
		for i := range perRound {
			s := succeeded(int64(i), now)
			s.sid = fmt.Sprintf("odd %d", i)
			l.add(testHash(round*perRound+i), s)
		}
		now = now.Add(40 * time.Minute)
		l.expire(now)
		held := 0
		for _, chunk := range l.store.chunks {
			if chunk != nil {
				held++
			}
		}
		if live := l.store.index.used; held > live/chunkSlots+2 || len(l.store.odd) != live || live > 2*perRound {
			t.Fatalf("round %d: %d chunks and %d odd SIDs for %d entries", round, held, len(l.store.odd), live)
		}
	}
	if n := len(l.store.chunks); n > 4 {
		t.Errorf("%d chunks were made for what fits into four", n)
	}
	l.expire(now.Add(2 * time.Hour))
	if l.store.index.cells != nil || len(l.store.queue) != 0 || l.room.used.Load() != 0 || len(l.store.odd) != 0 {
		t.Errorf("all is past the horizon, and in memory are %d entries in %d chunks", l.store.index.used, len(l.store.queue))
	}
}

// seenGen draws entries of few ids, so that they meet.
func seenGen(at func(t *rapid.T) time.Time) *rapid.Generator[schemas.LedgerEntry] {
	return rapid.Custom(func(t *rapid.T) schemas.LedgerEntry {
		s := seenID{
			outcome:   rapid.SampledFrom(storedOutcomes[1:]).Draw(t, "outcome"),
			body:      testHash(rapid.IntRange(0, 2).Draw(t, "body")),
			sid:       rapid.SampledFrom([]string{"", "YC0123456789abcdef0123456789abcdef", "YC0123456789ABCDEF0123456789abcdef", "odd"}).Draw(t, "sid"),
			topic:     rapid.SampledFrom([]string{"challenge.requests", "requests"}).Draw(t, "topic"),
			partition: rapid.IntRange(0, 2).Draw(t, "partition"),
			offset:    rapid.Int64Range(0, 1<<40).Draw(t, "offset"),
			at:        at(t),
		}
		return s.entry(testHash(rapid.IntRange(0, 5).Draw(t, "id")))
	})
}

// ledgerModel is a ledger as one would write it without a thought for memory.
type ledgerModel map[hash]seenID

func (m ledgerModel) merge(e schemas.LedgerEntry, now time.Time, horizon time.Duration) {
	id, s, _ := seenOf(e)
	m.purge(now, horizon)
	strong := func(s seenID) bool { return s.outcome == "succeeded" || s.outcome == "adopted" }
	known, ok := m[id]
	switch {
	case now.Sub(s.at) > horizon:
	case !ok, strong(s) && !strong(known):
		m[id] = s
	case strong(known) && !strong(s):
	case s.at.After(known.at), s.at.Equal(known.at) && s.offset >= known.offset:
		m[id] = s
	}
}

func (m ledgerModel) purge(now time.Time, horizon time.Duration) {
	maps.DeleteFunc(m, func(_ hash, s seenID) bool { return now.Sub(s.at) > horizon })
}

func TestLedgerAgainstTheModel(t *testing.T) {
	const horizon = 100 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		room := newLedgerRoom(20)
		ledgers := []*ledger{newLedger(horizon, room), newLedger(horizon, room)}
		models := []ledgerModel{{}, {}}
		topics := []*ledgerTopic{newTopic(), newTopic()}
		read := []int{0, 0} // how far each model has read
		now := ledgerStart
		pick := func(t *rapid.T) int { return rapid.IntRange(0, 1).Draw(t, "ledger") }
		skewed := seenGen(func(t *rapid.T) time.Time {
			return now.Add(time.Duration(rapid.IntRange(-150, 20).Draw(t, "age")) * time.Second)
		})
		exact := seenGen(func(*rapid.T) time.Time { return now })
		t.Repeat(map[string]func(*rapid.T){
			"advance": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "seconds")) * time.Second)
			},
			"add": func(t *rapid.T) {
				i, e := pick(t), exact.Draw(t, "entry")
				id, s, _ := seenOf(e)
				models[i].purge(now, horizon)
				before := models[i][id]
				models[i].merge(e, now, horizon)
				if wins := ledgers[i].wins(id, s); wins != (models[i][id] != before) {
					t.Fatalf("wins is %v", wins)
				}
				ledgers[i].add(id, s)
			},
			"write elsewhere": func(t *rapid.T) {
				i := pick(t)
				topics[i].entries = append(topics[i].entries, rapid.SliceOfN(skewed, 1, 8).Draw(t, "entries")...)
			},
			"restore": func(t *rapid.T) {
				i := pick(t)
				topics[i].failAt = read[i] + rapid.IntRange(-1, 4).Draw(t, "fails at")
				err := ledgers[i].restore(t.Context(), topics[i], now)
				unread := topics[i].entries[read[i]:]
				if err != nil {
					unread = unread[:topics[i].failAt-read[i]]
				} else {
					read[i] = len(topics[i].entries)
				}
				for _, e := range unread {
					if e.At.After(now) {
						e.At = now
					}
					models[i].merge(e, now, horizon)
				}
			},
			"expire": func(t *rapid.T) { ledgers[pick(t)].expire(now) },
			"drop": func(t *rapid.T) {
				i := pick(t)
				ledgers[i].drop()
				models[i], read[i] = ledgerModel{}, 0
				// A model that reads it all again must not get what is too old.
				topics[i].entries = slices.DeleteFunc(topics[i].entries, func(e schemas.LedgerEntry) bool { return now.Sub(e.At) > horizon })
			},
			"": func(t *rapid.T) {
				used := 0
				for i, l := range ledgers {
					models[i].purge(now, horizon)
					for id := range 6 {
						got, ok := l.lookup(testHash(id), now)
						want, known := models[i][testHash(id)]
						if ok != known || ok && !got.same(want) {
							t.Fatalf("ledger %d knows %d as %+v, %v; want %+v, %v", i, id, got, ok, want, known)
						}
					}
					used += l.store.slots()
				}
				if int64(used) != room.used.Load() || room.full() != (used >= 20) {
					t.Fatalf("%d slots are used, the room counts %d, full is %v", used, room.used.Load(), room.full())
				}
			},
		})
	})
}

// In whatever order entries come, how often and in how many restores: as long as
// they are within the horizon the same ones answer.
func TestLedgerOrderDoesNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(seenGen(func(t *rapid.T) time.Time {
			return ledgerStart.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "at")) * time.Minute)
		}), 1, 30).Draw(t, "entries")
		for i := range entries {
			entries[i].Offset = int64(i) // no two of one moment are equal
		}
		now := ledgerStart.Add(time.Hour)
		once := newLedger(time.Hour, newLedgerRoom(1))
		mustRestore(t, once, newTopic(entries...), now)
		other := newLedger(time.Hour, newLedgerRoom(1))
		topic := newTopic(rapid.Permutation(append(slices.Clone(entries), entries...)).Draw(t, "order")...)
		all := topic.entries
		for cut := range rapid.IntRange(1, 4).Draw(t, "restores") {
			topic.entries = all[:len(all)/(4-cut)]
			mustRestore(t, other, topic, now)
		}
		topic.entries = all
		mustRestore(t, other, topic, now)
		for id := range 6 {
			want, known := once.lookup(testHash(id), now)
			if got, ok := other.lookup(testHash(id), now); ok != known || ok && !got.same(want) {
				t.Fatalf("%d is known as %+v and as %+v", id, got, want)
			}
		}
	})
}
