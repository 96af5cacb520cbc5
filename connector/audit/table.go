package audit

import (
	"maps"
	"slices"
)

// table is the join of one partition's requests with their answers, by offset. Of
// a request whose answer has come, a few bytes are kept; of one that waits for the
// other side, a fact. The fields are exported for a saved state.
type table struct {
	From, To int64
	// Passed: all requests below have been seen.
	Passed int64
	Chunks map[int64]*chunk // by their number; those of which something was seen
	// Rare are the facts of requests that still wait in chunks without room for
	// facts, by offset.
	Rare map[int64]fact

	recent int64  // number of the chunk that was asked for last
	held   *chunk // that one; nil: none was
}

// chunkSize is how many offsets share their memory.
const chunkSize = 4096

// chunk is the memory of so many offsets.
type chunk struct {
	Bits    []uint8  // what was seen of an offset
	At      []uint64 // where its first answer stands
	Essence []uint32 // what that one says
	// Waits are facts: of a request once it was seen, before that of its first answer.
	// Nil once all requests have been seen and few of them still wait.
	Waits []fact
	Half  int // how many that are
}

// What was seen of an offset.
const (
	sawRequest  uint8 = 1 << iota
	sawAnswer         // one in one piece
	sawMore           // further ones
	sawPages          // records of a list
	sawAllPages       // all of them
	sawLetter         // a dead letter beside a result
	sawFailed         // the first answer comes with a dead letter
)

func newTable(from, to int64) *table {
	return &table{From: from, To: to, Passed: from, Chunks: map[int64]*chunk{}, Rare: map[int64]fact{}}
}

// at is the chunk of an offset and the index in it.
func (t *table) at(offset int64) (*chunk, int) {
	n, i := (offset-t.From)/chunkSize, int((offset-t.From)%chunkSize)
	if t.held != nil && t.recent == n {
		return t.held, i
	}
	c := t.Chunks[n]
	if c == nil {
		c = &chunk{Bits: make([]uint8, chunkSize), At: make([]uint64, chunkSize), Essence: make([]uint32, chunkSize), Waits: make([]fact, chunkSize)}
		t.Chunks[n] = c
	}
	t.recent, t.held = n, c
	return c, i
}

// whole reports whether nothing more is waited for that a fact is kept for.
func whole(bits uint8) bool {
	return bits&sawRequest != 0 && bits&(sawAnswer|sawAllPages) != 0 && (bits&sawFailed == 0 || bits&sawLetter != 0)
}

// half reports whether a fact is kept for what is to come.
func half(bits uint8) bool { return bits != 0 && !whole(bits) }

// request is what is kept of a request, if it still is.
func (t *table) request(offset int64) (fact, bool) {
	c, i := t.at(offset)
	if c.Bits[i]&sawRequest == 0 {
		return fact{}, false
	}
	if c.Waits != nil {
		return c.Waits[i], true
	}
	f, rare := t.Rare[offset]
	return f, rare
}

// see notes what was seen of an offset, and with it whether a fact has to be kept.
func (t *table) see(offset int64, saw uint8) {
	c, i := t.at(offset)
	before := half(c.Bits[i])
	c.Bits[i] |= saw
	switch now := half(c.Bits[i]); {
	case now && !before:
		c.Half++
	case before && !now:
		c.Half--
		delete(t.Rare, offset)
	}
	t.trim(offset)
}

// pass says that all requests below an offset have been seen.
func (t *table) pass(offset int64) {
	before := t.Passed
	t.Passed = max(t.Passed, min(offset, t.To))
	for n := before - (before-t.From)%chunkSize; n < t.Passed; n += chunkSize {
		t.trim(n)
	}
}

// fewWait is how many facts of a chunk take less memory by themselves.
const fewWait = chunkSize / 8

// trim drops the room for facts of an offset's chunk where few are needed any more.
func (t *table) trim(offset int64) {
	n := (offset - t.From) / chunkSize
	c := t.Chunks[n]
	if c == nil || c.Waits == nil || c.Half > fewWait || t.Passed < min(t.To, t.From+(n+1)*chunkSize) {
		return
	}
	for i, bits := range c.Bits {
		if bits&sawRequest != 0 && half(bits) {
			t.Rare[t.From+n*chunkSize+int64(i)] = c.Waits[i]
		}
	}
	c.Waits = nil
}

// each goes through all offsets of which something was seen.
func (t *table) each(do func(offset int64, bits uint8, c *chunk, i int)) {
	for _, n := range slices.Sorted(maps.Keys(t.Chunks)) {
		c := t.Chunks[n]
		for i, bits := range c.Bits {
			if bits != 0 {
				do(t.From+n*chunkSize+int64(i), bits, c, i)
			}
		}
	}
}
