package connector

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/connector/kafka"
)

func windowEntry(offset int64) *entry {
	return &entry{rec: kafka.Record{Offset: offset}, heapAt: -1}
}

// TestWindowNeverPassesUnfinished drives a window with random gaps and random
// order of completion and holds every position against a plain model: nothing
// below the frontier and nothing marked done may be unfinished.
func TestWindowNeverPassesUnfinished(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const span = 64
		start := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		w := newWindow(start, span)
		var open []*entry
		settled, present := map[int64]bool{}, []int64{}
		next := start
		check := func(p position) {
			for _, offset := range present {
				if !settled[offset] && p.has(offset) {
					t.Fatalf("offset %d is not finished but committed by frontier %d", offset, p.frontier)
				}
				if settled[offset] && !p.has(offset) {
					t.Fatalf("offset %d is finished but forgotten by frontier %d", offset, p.frontier)
				}
			}
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1: // a record, perhaps behind a gap
				offset := next + rapid.SampledFrom([]int64{0, 0, 0, 1, 5, 1000, 20000}).Draw(t, "gap")
				if !w.fits(offset) {
					if len(open) == 0 {
						t.Fatalf("an empty window must take offset %d", offset)
					}
					continue
				}
				e := windowEntry(offset)
				w.add(e)
				open, present, next = append(open, e), append(present, offset), offset+1
			case 2: // any open record finishes
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				e := open[i]
				open = append(open[:i], open[i+1:]...)
				e.committing = true
				preview, _ := w.position()
				settled[e.rec.Offset] = true
				check(preview)
				w.settle(e)
			case 3: // the source proves that nothing comes for a while
				next += rapid.Int64Range(0, 100).Draw(t, "empty")
				w.skip(next)
			}
			p, last := w.position()
			want := trace{}
			for _, offset := range present {
				if offset < p.frontier {
					want = trace{offset: offset, known: true}
				}
			}
			if last != want {
				t.Fatalf("the last record below %d is %+v, want %+v", p.frontier, last, want)
			}
			check(p)
			if p.frontier != w.frontier() {
				t.Fatalf("position says %d, frontier says %d", p.frontier, w.frontier())
			}
			if len(open) == 0 && p.frontier != next {
				t.Fatalf("all is done: the frontier must be %d, is %d", next, p.frontier)
			}
			if w.held != len(open) {
				t.Fatalf("held is %d, open are %d", w.held, len(open))
			}
			if back, err := parsePosition(p.frontier, p.metadata()); err != nil {
				t.Fatal(err)
			} else {
				check(back)
			}
		}
	})
}

func TestWindowSpanIsBounded(t *testing.T) {
	w := newWindow(100, 10)
	w.add(windowEntry(100))
	if !w.fits(109) || w.fits(110) {
		t.Error("a window of span 10 at frontier 100 must end at offset 109")
	}
	w.settle(w.entries[0])
	if !w.fits(5000) {
		t.Error("with nothing held a gap of any width must fit")
	}
}
