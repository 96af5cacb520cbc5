package emulator

import (
	"math/rand/v2"
	"sync"
	"time"
)

// plan is the fate of one call, drawn before anything is done for it.
type plan struct {
	kind     FaultKind // FaultNone, or one that excludes the others
	slowBody bool
	tail     bool
	before   time.Duration // latency ahead of the work
	after    time.Duration // latency behind it
}

// dice draws plans. Draws are serialised, so that a seed and an order of calls
// give the same fates; scripts come first.
type dice struct {
	mu      sync.Mutex
	rng     *rand.Rand
	scripts map[Operation][]FaultKind
}

func newDice(seed uint64) *dice {
	return &dice{
		rng:     rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), //nolint:gosec // reproducible on purpose
		scripts: map[Operation][]FaultKind{},
	}
}

func (d *dice) script(op Operation, kinds []FaultKind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scripts[op] = append(d.scripts[op], kinds...)
}

// roll draws the fate of a call. Every call costs the same number of draws, whatever
// the rates are, so that changing one rate does not reshuffle the others.
func (d *dice) roll(op Operation, f *Faults) plan {
	d.mu.Lock()
	defer d.mu.Unlock()
	kind, slow, tail, uniform := d.rng.Float64(), d.rng.Float64(), d.rng.Float64(), d.rng.Float64()
	p := plan{kind: FaultNone}
	if f.covers(op) {
		p.kind = f.pick(kind)
		p.slowBody = slow < f.SlowBodyRate
		p.tail = tail < f.Latency.TailRate
		p.before, p.after = f.Latency.split(uniform, p.tail)
	}
	if queue := d.scripts[op]; len(queue) > 0 {
		d.scripts[op] = queue[1:]
		p.kind, p.slowBody = queue[0], queue[0] == FaultSlowBody
		if p.slowBody {
			p.kind = FaultNone
		}
	}
	return p
}

// pick maps a draw in [0, 1) to the fault whose share it falls into.
func (f *Faults) pick(draw float64) FaultKind {
	for _, share := range []struct {
		kind FaultKind
		rate float64
	}{
		{FaultThrottle, f.ThrottleRate},
		{FaultServerError, f.ServerErrorRate},
		{FaultServerErrorAfter, f.ServerErrorAfterRate},
		{FaultResetBefore, f.ResetBeforeRate},
		{FaultResetAfter, f.ResetAfterRate},
		{FaultGarbled, f.GarbledRate},
	} {
		if draw < share.rate {
			return share.kind
		}
		draw -= share.rate
	}
	return FaultNone
}

func (l Latency) split(uniform float64, tail bool) (before, after time.Duration) {
	total := l.Fixed + l.Min + time.Duration(uniform*float64(l.Max-l.Min))
	if tail {
		total += l.Tail
	}
	after = time.Duration(float64(total) * l.AfterShare)
	return total - after, after
}
