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
	late     time.Duration // ahead of the work, beside the latency; FaultLate and FaultResetLate only
	luck     luck
	before   time.Duration // latency ahead of the work
	after    time.Duration // latency behind it
}

// struck is what the log of made challenges says of the call; empty: no fault.
func (p plan) struck() FaultKind {
	switch {
	case p.luck.kind == FaultListLag || p.luck.kind == FaultPurge:
		return p.luck.kind
	case p.kind != FaultNone:
		return p.kind
	case p.slowBody:
		return FaultSlowBody
	}
	return ""
}

// luck decides how what a create makes is seen later, under the faults that are
// in force then. The shares are draws from 0 to 1; the zero value is hit by every rate.
type luck struct {
	lagShare, lag float64 // whether its lag is within ListLagRate, and where between ListLag and ListLagMax
	purgeShare    float64
	kind          FaultKind // FaultNone, FaultListLag or FaultPurge by a script; empty: the shares decide
}

// dice draws plans. Draws are serialised, so that a seed and an order of calls
// give the same fates; scripts come first.
type dice struct {
	mu      sync.Mutex
	rng     *rand.Rand
	lucks   *rand.Rand // a stream of its own, so that creates do not reshuffle the fates of calls
	scripts map[Operation][]FaultKind
}

func newDice(seed uint64) *dice {
	return &dice{
		rng:     rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), //nolint:gosec // reproducible on purpose
		lucks:   rand.New(rand.NewPCG(seed, 0xd1b54a32d192ed03)), //nolint:gosec // as above
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
	if op == OperationCreate {
		p.luck = luck{lagShare: d.lucks.Float64(), lag: d.lucks.Float64(), purgeShare: d.lucks.Float64()}
	}
	if f.covers(op) {
		p.kind = f.pick(kind)
		p.slowBody = slow < f.SlowBodyRate
		p.tail = tail < f.Latency.TailRate
		p.before, p.after = f.Latency.split(uniform, p.tail)
	}
	if queue := d.scripts[op]; len(queue) > 0 {
		d.scripts[op] = queue[1:]
		p.kind, p.slowBody = queue[0], queue[0] == FaultSlowBody
		switch p.kind {
		case FaultNone, FaultListLag, FaultPurge:
			p.luck.kind, p.kind = p.kind, FaultNone
		case FaultSlowBody:
			p.kind = FaultNone
		}
	}
	if p.kind == FaultLate || p.kind == FaultResetLate {
		p.late = f.LateMin + time.Duration(uniform*float64(f.LateMax-f.LateMin))
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
		{FaultLate, f.LateRate},
		{FaultResetLate, f.ResetLateRate},
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

// lagging is how long lists do not show the challenge.
func (l luck) lagging(f *Faults) time.Duration {
	switch {
	case l.kind == FaultListLag:
		return max(f.ListLag, f.ListLagMax)
	case l.kind == FaultNone, f.ListLagRate > 0 && l.lagShare >= f.ListLagRate:
		return 0
	}
	return f.ListLag + time.Duration(l.lag*float64(max(f.ListLagMax-f.ListLag, 0)))
}

// purged reports whether a challenge of this age has vanished.
func (l luck) purged(age time.Duration, f *Faults) bool {
	switch {
	case l.kind == FaultPurge:
		return true
	case l.kind == FaultNone, f.PurgeAge == 0, f.PurgeRate > 0 && l.purgeShare >= f.PurgeRate:
		return false
	}
	return age >= f.PurgeAge
}
