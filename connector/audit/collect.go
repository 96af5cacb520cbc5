package audit

import (
	"cmp"
	"maps"
	"slices"
)

// proto is a finding before its records are looked up for their texts. Its fields
// are exported for a saved state.
type proto struct {
	Detail    Detail
	Partition int
	Offset    int64 // of the request; -1: there is none
	At        []uint64
	Span      *OffsetSpan
	Count     int64
	SID       string
	Text      string
}

func (p *proto) compare(other *proto) int {
	order := cmp.Or(cmp.Compare(p.Partition, other.Partition), cmp.Compare(p.Offset, other.Offset), cmp.Compare(p.Detail, other.Detail))
	if order == 0 && p.Span != nil && other.Span != nil {
		order = cmp.Or(cmp.Compare(p.Span.Partition, other.Span.Partition), cmp.Compare(p.Span.From, other.Span.From))
	}
	return cmp.Or(order, slices.Compare(p.At, other.At), cmp.Compare(p.SID, other.SID))
}

// collector counts findings and keeps the first ones by where they stand, in
// whatever order they come.
type collector struct {
	Most  int
	N     map[Kind]int64
	First map[Kind][]proto
}

func newCollector(most int) *collector {
	return &collector{Most: most, N: map[Kind]int64{}, First: map[Kind][]proto{}}
}

func (c *collector) clone() *collector {
	out := &collector{Most: c.Most, N: maps.Clone(c.N), First: map[Kind][]proto{}}
	for kind, list := range c.First {
		out.First[kind] = slices.Clone(list)
	}
	return out
}

func (c *collector) add(kind Kind, p proto) {
	c.N[kind]++
	list := append(c.First[kind], p)
	if len(list) > 4*c.Most+64 {
		list = c.cut(list)
	}
	c.First[kind] = list
}

func (c *collector) cut(list []proto) []proto {
	slices.SortFunc(list, func(a, b proto) int { return a.compare(&b) })
	return slices.Clone(list[:min(len(list), c.Most)])
}

// end is what is listed of a kind, in order, and how many are not.
func (c *collector) end(kind Kind) (listed []proto, left int64) {
	listed = c.cut(c.First[kind])
	return listed, c.N[kind] - int64(len(listed))
}

// twins finds hashes that come more than once among many, in eight bytes each.
type twins struct{ Shards [256][]uint64 }

func (t *twins) add(h uint64) {
	shard := &t.Shards[h>>56]
	*shard = append(*shard, h)
}

// twice are the hashes that came more than once, so many at most.
func (t *twins) twice(most int) map[uint64]bool {
	out := map[uint64]bool{}
	for i := range t.Shards {
		slices.Sort(t.Shards[i])
		for j := 1; j < len(t.Shards[i]); j++ {
			if h := t.Shards[i][j]; h == t.Shards[i][j-1] && len(out) < most {
				out[h] = true
			}
		}
	}
	return out
}
