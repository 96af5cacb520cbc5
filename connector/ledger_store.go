package connector

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// entryStore keeps the entries of a ledger in less than a hundred bytes each
// and without a pointer in any, so that a million of them costs the garbage collector
// next to nothing. Entries lie in chunks in the order in which they came, which is almost
// the order of their times; a chunk is given back when all of it was dropped.
type entryStore struct {
	index   slotIndex // of the newest entry of each id
	chunks  []*[chunkSlots]storedEntry
	free    []uint32 // numbers of chunks that are nil
	queue   []uint32 // numbers of chunks in use, the oldest first
	head    int      // first slot in use in the first chunk
	tail    int      // first slot not in use in the last chunk
	origins []origin
	odd     map[uint32]string // SIDs that can't be packed, by slot
}

// chunkSlots is how many entries are made room for at once: 88 KiB, which is a
// whole number of the pages that the allocator counts in.
const chunkSlots = 1024

type storedEntry struct {
	id, body hash
	sid      [16]byte
	at       int64 // nanoseconds since 1970
	offset   int64
	since    int64 // nanoseconds since 1970; zero: no doubt
	record   recordHash
	origin   uint32 // index of origins
	outcome  uint8  // index of storedOutcomes
	sidForm  uint8
}

// origin is the partition that a record stands in: nearly always the lane's own.
type origin struct {
	topic     string
	partition int
}

const (
	sidNone uint8 = iota
	sidPacked
	sidOdd
)

const sidPrefix = "YC"

// storedOutcomes are the outcomes by the number that stands for each.
var storedOutcomes = [...]schemas.Outcome{
	"", schemas.OutcomeSucceeded, schemas.OutcomeAdopted, schemas.OutcomeDuplicate,
	schemas.OutcomeRejected, schemas.OutcomeExpired, schemas.OutcomeFailed,
}

func (t *entryStore) get(id hash) (seenID, bool) {
	place, ok := t.find(id)
	if !ok {
		return seenID{}, false
	}
	return t.unpack(slotOf(t.index.cells[place])), true
}

func (t *entryStore) find(id hash) (place int, ok bool) {
	return t.index.find(indexHash(id), func(slot uint32) bool { return t.at(slot).id == id })
}

func (t *entryStore) at(slot uint32) *storedEntry {
	return &t.chunks[slot/chunkSlots][slot%chunkSlots]
}

// put makes s the entry of id. An older one of it keeps its slot until its turn
// to be dropped.
func (t *entryStore) put(id hash, s seenID) {
	if len(t.queue) == 0 || t.tail == chunkSlots {
		t.grow()
	}
	slot := t.queue[len(t.queue)-1]*chunkSlots + uint32(t.tail)
	t.tail++
	if place, ok := t.find(id); ok {
		t.index.cells[place] = cellOf(indexHash(id), slot)
	} else {
		t.index.insert(indexHash(id), slot)
	}
	*t.at(slot) = t.pack(id, s, slot)
}

func (t *entryStore) grow() {
	if len(t.free) == 0 {
		t.free = append(t.free, uint32(len(t.chunks)))
		t.chunks = append(t.chunks, nil)
	}
	chunk := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.chunks[chunk] = new([chunkSlots]storedEntry)
	t.queue = append(t.queue, chunk)
	t.tail = 0
}

// slots counts the entries in memory, older ones of the same id included.
func (t *entryStore) slots() int {
	if len(t.queue) == 0 {
		return 0
	}
	return (len(t.queue)-1)*chunkSlots + t.tail - t.head
}

// dropWhile drops entries from the oldest on while old holds of their times, and
// those on the way that are not the newest of their id. It returns how many.
func (t *entryStore) dropWhile(old func(at time.Time) bool) (dropped int) {
	for t.slots() > 0 {
		chunk := t.queue[0]
		slot := chunk*chunkSlots + uint32(t.head)
		place, ok := t.find(t.at(slot).id)
		newest := ok && slotOf(t.index.cells[place]) == slot
		if newest && !old(time.Unix(0, t.at(slot).at)) {
			return dropped
		}
		if newest {
			t.index.remove(place)
		}
		delete(t.odd, slot)
		dropped++
		if t.head++; t.head == chunkSlots || t.slots() == 0 {
			t.chunks[chunk] = nil
			t.free = append(t.free, chunk)
			t.queue = t.queue[1:]
			t.head = 0
		}
	}
	return dropped
}

func (t *entryStore) pack(id hash, s seenID, slot uint32) storedEntry {
	e := storedEntry{id: id, body: s.body, record: s.record, at: s.at.UnixNano(), offset: s.offset, origin: t.origin(s.topic, s.partition)}
	if !s.calledSince.IsZero() {
		e.since = s.calledSince.UnixNano()
	}
	for i, outcome := range storedOutcomes {
		if outcome == s.outcome {
			e.outcome = uint8(i)
		}
	}
	switch {
	case s.sid == "":
	case packSID(&e.sid, s.sid):
		e.sidForm = sidPacked
	default:
		e.sidForm = sidOdd
		if t.odd == nil {
			t.odd = map[uint32]string{}
		}
		t.odd[slot] = s.sid
	}
	return e
}

func (t *entryStore) unpack(slot uint32) seenID {
	e := t.at(slot)
	from := t.origins[e.origin]
	s := seenID{
		outcome: storedOutcomes[e.outcome], body: e.body, record: e.record, at: time.Unix(0, e.at),
		topic: from.topic, partition: from.partition, offset: e.offset,
	}
	if e.since != 0 {
		s.calledSince = time.Unix(0, e.since)
	}
	switch e.sidForm {
	case sidPacked:
		s.sid = sidPrefix + hex.EncodeToString(e.sid[:])
	case sidOdd:
		s.sid = t.odd[slot]
	}
	return s
}

func (t *entryStore) origin(topic string, partition int) uint32 {
	for i, known := range t.origins {
		if known.topic == topic && known.partition == partition {
			return uint32(i)
		}
	}
	t.origins = append(t.origins, origin{topic: strings.Clone(topic), partition: partition})
	return uint32(len(t.origins) - 1)
}

// packSID keeps a SID as the API writes it: in small letters.
func packSID(into *[16]byte, sid string) bool {
	digits, ok := strings.CutPrefix(sid, sidPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(into)) || strings.ToLower(digits) != digits {
		return false
	}
	_, err := hex.Decode(into[:], []byte(digits))
	return err == nil
}
