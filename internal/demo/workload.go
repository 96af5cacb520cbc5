package demo

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// step is one request of the stream, as far as it can be planned before there
// is a world to send it to.
type step struct {
	index   int // in the stream, from 0
	kind    kind
	variant int // counts the steps of the kind, for kinds with many forms
	person  int // whose factors and challenges it is about
	of      int // index of the step whose challenge it is about; -1: none
	burst   int // steps of the same burst go out in one batch; 0: alone
}

// alone reports that nothing has to be known of another step's result.
func (s step) alone() bool { return s.of < 0 }

// requestID is unique in the stream and the same for the same seed.
func requestID(seed uint64, index int) string { return fmt.Sprintf("demo-%d-%05d", seed, index) }

// draft is a step while the stream is put together. Its place is where it
// stands between the beginning, 0, and the end, 1.
type draft struct {
	kind    kind
	variant int
	base    *draft
	place   float64
	person  int
	burst   int
	index   int
}

// plan makes a stream of n steps for so many people. It is a pure function: the
// same arguments give the same stream. Every kind occurs once n allows.
func plan(seed uint64, n, people int) []step {
	rng := rand.New(rand.NewPCG(seed, 0x5eed)) //nolint:gosec // reproducible on purpose
	drafts := draw(n)
	place(rng, drafts)
	slices.SortStableFunc(drafts, func(a, b *draft) int { return cmp.Compare(a.place, b.place) })
	assign(rng, drafts, people)
	steps := make([]step, len(drafts))
	for i, d := range drafts {
		d.index = i
		steps[i] = step{index: i, kind: d.kind, variant: d.variant, person: d.person, of: -1, burst: d.burst}
		if d.base != nil {
			steps[i].of, steps[i].person = d.base.index, d.base.person
		}
	}
	return steps
}

// draw takes as many drafts of each kind as its weight is worth and gives those
// about a challenge the draft that makes it. Bases are taken in turn, so that no
// challenge gets more wrong codes than the API allows.
func draw(n int) []*draft {
	shares := allocate(n, weights())
	var drafts []*draft
	bases := map[base][]*draft{}
	for i, share := range shares {
		k := kinds()[i]
		for v := range share {
			d := &draft{kind: k.kind, variant: v}
			drafts = append(drafts, d)
			for _, b := range k.makes {
				bases[b] = append(bases[b], d)
			}
		}
	}
	for _, d := range drafts {
		spec := d.kind.spec()
		if spec.of == baseNone {
			continue
		}
		able := bases[spec.of]
		if len(able) == 0 || spec.closes && d.variant >= len(able) {
			// Nothing is left for it to be about: every open challenge is
			// answered once at most.
			d.kind, able = kindFetch, bases[baseAny]
		}
		if len(able) == 0 {
			d.kind = kindList
			continue
		}
		d.base = able[d.variant%len(able)]
	}
	return drafts
}

// place spreads the drafts. One about a challenge comes behind the one that
// makes it, and the one that answers it last of all.
func place(rng *rand.Rand, drafts []*draft) {
	about := map[*draft][]*draft{}
	var made []*draft
	for _, d := range drafts {
		if d.base == nil {
			d.place = rng.Float64()
			made = append(made, d)
			continue
		}
		about[d.base] = append(about[d.base], d)
	}
	for _, m := range made {
		followers := about[m]
		rng.Shuffle(len(followers), func(i, j int) { followers[i], followers[j] = followers[j], followers[i] })
		slices.SortStableFunc(followers, func(a, b *draft) int {
			return cmp.Compare(closing(a), closing(b))
		})
		at := m.place
		for _, f := range followers {
			at += (1 - at) * (0.05 + 0.5*rng.Float64())
			f.place = at
		}
	}
}

func closing(d *draft) int {
	if d.kind.spec().closes {
		return 1
	}
	return 0
}

const (
	burstEvery = 20 // one burst for so many steps
	burstMost  = 6  // steps of one burst
)

// assign gives every step that stands alone a person, and some runs of such
// steps the same one: several records of one key in a row.
func assign(rng *rand.Rand, drafts []*draft, people int) {
	for _, d := range drafts {
		d.person = rng.IntN(people)
	}
	for burst := 1; burst <= len(drafts)/burstEvery; burst++ {
		start, size := rng.IntN(len(drafts)), 2+rng.IntN(burstMost-1)
		person := drafts[start].person
		run := drafts[start:min(start+size, len(drafts))]
		if slices.ContainsFunc(run, func(d *draft) bool { return d.base != nil || d.burst != 0 }) {
			run = leading(run)
		}
		if len(run) < 2 {
			continue
		}
		for _, d := range run {
			d.person, d.burst = person, burst
		}
	}
}

// leading is the part of a run before the first draft that can't be in a burst.
func leading(run []*draft) []*draft {
	for i, d := range run {
		if d.base != nil || d.burst != 0 {
			return run[:i]
		}
	}
	return run
}
