package connector

import "hash/maphash"

// slotIndex finds slots by a 32-bit hash: open addressing with linear probing,
// never above three quarters full. It takes a third of what a map from ids to
// slots does, because the ids stay where they are, in the slots: whoever asks
// compares them. The zero value is empty.
type slotIndex struct {
	cells []uint64 // hash and slot+1; zero: free. As many as a power of two
	used  int
}

const minCells = 64

// indexSeed keeps whoever chooses ids from choosing where they fall.
var indexSeed = maphash.MakeSeed()

func indexHash(id hash) uint32 { return uint32(maphash.Bytes(indexSeed, id[:])) }

func cellOf(sum, slot uint32) uint64 { return uint64(sum)<<32 | uint64(slot+1) }

func slotOf(cell uint64) uint32 { return uint32(cell) - 1 }

func (x *slotIndex) home(cell uint64) int { return int(cell>>32) & (len(x.cells) - 1) }

func (x *slotIndex) next(i int) int { return (i + 1) & (len(x.cells) - 1) }

// find returns the place of the slot of that hash for which is holds, and where
// there is none the free place that it would have.
func (x *slotIndex) find(sum uint32, is func(slot uint32) bool) (place int, ok bool) {
	if len(x.cells) == 0 {
		return 0, false
	}
	for place = x.home(cellOf(sum, 0)); x.cells[place] != 0; place = x.next(place) {
		if uint32(x.cells[place]>>32) == sum && is(slotOf(x.cells[place])) {
			return place, true
		}
	}
	return place, false
}

// insert adds a slot that is not there.
func (x *slotIndex) insert(sum, slot uint32) {
	if x.used++; 4*x.used > 3*len(x.cells) {
		x.resize(max(minCells, 2*len(x.cells)))
	}
	x.place(cellOf(sum, slot))
}

func (x *slotIndex) place(cell uint64) {
	i := x.home(cell)
	for x.cells[i] != 0 {
		i = x.next(i)
	}
	x.cells[i] = cell
}

// remove frees a place and moves up what could not be found behind the gap.
func (x *slotIndex) remove(gap int) {
	for i := x.next(gap); x.cells[i] != 0; i = x.next(i) {
		// The way from its home to i leads over the gap, or it may stay.
		mask := len(x.cells) - 1
		if (i-x.home(x.cells[i]))&mask >= (i-gap)&mask {
			x.cells[gap] = x.cells[i]
			gap = i
		}
	}
	x.cells[gap] = 0
	if x.used--; x.used == 0 {
		x.cells = nil
	} else if len(x.cells) > minCells && 8*x.used < len(x.cells) {
		x.resize(len(x.cells) / 2)
	}
}

func (x *slotIndex) resize(cells int) {
	old := x.cells
	x.cells = make([]uint64, cells)
	for _, cell := range old {
		if cell != 0 {
			x.place(cell)
		}
	}
}
