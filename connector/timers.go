package connector

import (
	"container/heap"
	"time"
)

// timers is the lane's heap of entries by wake time: retries and the deadlines
// of what waits for its account. An entry is in it at most once.
type timers struct{ heap timerHeap }

// set puts e in, or moves it, to wake at the given time.
func (t *timers) set(e *entry, at time.Time) {
	e.wake = at
	if e.heapAt >= 0 {
		heap.Fix(&t.heap, e.heapAt)
		return
	}
	heap.Push(&t.heap, e)
}

// remove takes e out if it is in.
func (t *timers) remove(e *entry) {
	if e.heapAt >= 0 {
		heap.Remove(&t.heap, e.heapAt)
	}
}

// due removes and returns the next entry whose time has come, or nil.
func (t *timers) due(now time.Time) *entry {
	if len(t.heap) == 0 || t.heap[0].wake.After(now) {
		return nil
	}
	return heap.Pop(&t.heap).(*entry)
}

// next is the earliest wake time; false where nothing waits.
func (t *timers) next() (time.Time, bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].wake, true
}

func (t *timers) len() int { return len(t.heap) }

type timerHeap []*entry

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

func (h *timerHeap) Push(x any) {
	e := x.(*entry)
	e.heapAt = len(*h)
	*h = append(*h, e)
}

func (h *timerHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.heapAt = -1
	return e
}
