package audit

import (
	"bytes"
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// rank is where a challenge stands among all: the beginning of its SID's SHA-256.
type rank [16]byte

func rankOf(sid string) rank {
	sum := sha256.Sum256([]byte(sid))
	return rank(sum[:16])
}

// fraction is how much of all ranks lies below.
func (r rank) fraction() float64 {
	return float64(binary.BigEndian.Uint64(r[:8])) / math.MaxUint64
}

// smallest keeps what has the smallest ranks, so many at most. Whether one is kept
// in the end depends on no order: what was left out once has a higher rank than
// all that is kept from then on.
type smallest[T any] struct {
	most int
	heap ranks // the largest first
	kept map[rank]T
	cut  bool // something was left out
}

func newSmallest[T any](most int) *smallest[T] {
	return &smallest[T]{most: most, kept: map[rank]T{}}
}

// put asks merge what to keep under r, given what is kept there already.
func (s *smallest[T]) put(r rank, merge func(was T, there bool) T) {
	if was, there := s.kept[r]; there {
		s.kept[r] = merge(was, true)
		return
	}
	if len(s.heap) == s.most {
		s.cut = true
		if bytes.Compare(r[:], s.heap[0][:]) > 0 {
			return
		}
		delete(s.kept, s.heap[0])
		heap.Pop(&s.heap)
	}
	var none T
	heap.Push(&s.heap, r)
	s.kept[r] = merge(none, false)
}

// sorted is what is kept, by rank.
func (s *smallest[T]) sorted() []T {
	order := slices.Clone(s.heap)
	slices.SortFunc(order, func(a, b rank) int { return bytes.Compare(a[:], b[:]) })
	out := make([]T, len(order))
	for i, r := range order {
		out[i] = s.kept[r]
	}
	return out
}

// ranks is a heap with the largest on top.
type ranks []rank

func (h ranks) Len() int           { return len(h) }
func (h ranks) Less(i, j int) bool { return bytes.Compare(h[i][:], h[j][:]) > 0 }
func (h ranks) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ranks) Push(x any)        { *h = append(*h, x.(rank)) }
func (h *ranks) Pop() any {
	n := len(*h) - 1
	last := (*h)[n]
	*h = (*h)[:n]
	return last
}

// byPlace orders findings about a challenge by their request's place, and by the
// challenge where a list told of several.
func byPlace(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.Request.Topic, b.Request.Topic), cmp.Compare(a.Request.Partition, b.Request.Partition),
		cmp.Compare(a.Request.Offset, b.Request.Offset), cmp.Compare(a.ChallengeSID, b.ChallengeSID),
	)
}

func joined(names []string) string { return strings.Join(names, ", ") }
