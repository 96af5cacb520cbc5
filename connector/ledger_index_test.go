package connector

import (
	"testing"

	"pgregory.net/rapid"
)

// Against a map, with hashes so few that nearly all of them collide.
func TestSlotIndexAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x slotIndex
		model := map[uint32]bool{} // slots that are there
		spread := rapid.SampledFrom([]uint32{1, 3, 61, 64, 1 << 20}).Draw(t, "spread")
		sumOf := func(slot uint32) uint32 { return slot % spread * 0x9e3779b1 }
		slots := rapid.Uint32Range(0, 400)
		place := func(slot uint32) (int, bool) {
			return x.find(sumOf(slot), func(other uint32) bool { return other == slot })
		}
		for range rapid.IntRange(1, 600).Draw(t, "steps") {
			slot := slots.Draw(t, "slot")
			at, ok := place(slot)
			switch {
			case ok != model[slot]:
				t.Fatalf("slot %d is found: %v", slot, ok)
			case ok:
				x.remove(at)
				delete(model, slot)
			default:
				x.insert(sumOf(slot), slot)
				model[slot] = true
			}
		}
		for slot := range uint32(401) {
			if at, ok := place(slot); ok != model[slot] || ok && slotOf(x.cells[at]) != slot {
				t.Fatalf("slot %d is found: %v, want %v", slot, ok, model[slot])
			}
		}
		if x.used != len(model) || 4*x.used > 3*len(x.cells) || len(x.cells) > max(minCells, 8*x.used) {
			t.Fatalf("%d of %d cells are counted for %d slots", x.used, len(x.cells), len(model))
		}
	})
}

func TestSlotIndexShrinks(t *testing.T) {
	var x slotIndex
	const slots = 10_000
	for slot := range uint32(slots) {
		x.insert(slot, slot)
	}
	for slot := range uint32(slots) {
		at, ok := x.find(slot, func(other uint32) bool { return other == slot })
		if !ok {
			t.Fatalf("slot %d is lost", slot)
		}
		x.remove(at)
		if len(x.cells) > max(minCells, 8*x.used) {
			t.Fatalf("%d cells for %d slots", len(x.cells), x.used)
		}
	}
	if x.cells != nil {
		t.Errorf("empty, it has %d cells", len(x.cells))
	}
}

func TestSlotIndexKeepsTheHighestSlot(t *testing.T) {
	var x slotIndex
	const slot = 1<<32 - 2
	x.insert(1<<32-1, slot)
	at, ok := x.find(1<<32-1, func(s uint32) bool { return s == slot })
	if !ok || slotOf(x.cells[at]) != slot {
		t.Errorf("it is found: %v", ok)
	}
}
