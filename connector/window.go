package connector

import "github.com/countersign/countersign/connector/kafka"

// window holds the records of one partition between the committed position
// and the highest fetched offset, in offset order. It knows nothing of time,
// keys or calls: it answers which position may be committed.
//
// Invariants:
//   - frontier is the offset of the first entry that is not settled, or next
//     where there is none; nothing at or above it is ever left out of a commit
//     as if it were done.
//   - Offsets without an entry inside the window were proven empty by the
//     source, so gaps of any width are stepped over.
type window struct {
	entries []*entry // a ring would save the copy; a lane copies at most once per compact
	head    int      // entries[:head] have left
	next    int64    // everything below it has been taken in
	span    int64
	held    int   // entries not settled
	last    trace // of the last record below the frontier
}

// trace is what remains of a record once the frontier has passed it: enough to
// know it again.
type trace struct {
	offset int64
	hash   recordHash
	known  bool
}

func newWindow(start int64, span int) *window {
	return &window{next: start, span: int64(span)}
}

// frontier is the offset that a commit may carry once every settled entry's
// outcome is durable.
func (w *window) frontier() int64 {
	if w.head < len(w.entries) {
		return w.entries[w.head].rec.Offset
	}
	return w.next
}

// fits reports whether a record at offset may be added now.
func (w *window) fits(offset int64) bool {
	return w.head == len(w.entries) || offset-w.frontier() < w.span
}

// add takes a record in. Its offset must be at or above next and must fit.
func (w *window) add(e *entry) {
	w.entries = append(w.entries, e)
	w.next = e.rec.Offset + 1
	w.held++
}

// skip records that nothing below next is left to take in.
func (w *window) skip(next int64) {
	if next > w.next {
		w.next = next
	}
}

// settle marks an entry's outcome as durable.
func (w *window) settle(e *entry) {
	if e.state != entrySettled {
		w.held--
		// Only its place is needed until the frontier has passed it.
		*e = entry{rec: kafka.Record{Offset: e.rec.Offset}, hash: e.hash, state: entrySettled, heapAt: -1}
	}
	for w.head < len(w.entries) && w.entries[w.head].state == entrySettled {
		w.last = w.entries[w.head].trace()
		w.entries[w.head] = nil
		w.head++
	}
	if w.head > 64 && w.head*2 > len(w.entries) {
		n := copy(w.entries, w.entries[w.head:])
		clear(w.entries[n:])
		w.entries, w.head = w.entries[:n], 0
	}
}

// position is what to commit if the outcomes of the entries marked committing
// became durable together with it: the frontier beyond them, the last record
// below that, and what is done above it.
func (w *window) position() (position, trace) {
	live := w.entries[w.head:]
	last, i := w.last, 0
	for i < len(live) && live[i].durable() {
		last = live[i].trace()
		i++
	}
	p := position{frontier: w.next}
	if i == len(live) {
		return p, last
	}
	p.frontier = live[i].rec.Offset
	for _, e := range live[i:] {
		if e.durable() {
			p.done.set(e.rec.Offset - p.frontier)
		}
	}
	return p, last
}

// unsettled are the entries without a durable outcome, in offset order.
func (w *window) unsettled(yield func(*entry) bool) {
	for _, e := range w.entries[w.head:] {
		if e.state != entrySettled && !yield(e) {
			return
		}
	}
}

// oldest is the first entry that is not settled, or nil.
func (w *window) oldest() *entry {
	if w.head < len(w.entries) {
		return w.entries[w.head]
	}
	return nil
}
