package connector

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// simulate runs one seed and returns what it reached and, where something was
// wrong, its story.
func simulate(t *testing.T, seed uint64) (cover map[string]int, wrong string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newSim(t, seed)
		w.draw()
		w.build()
		w.play(t.Context())
		cover = w.cover
		if len(w.wrong) > 0 {
			wrong = w.report()
		}
	})
	return cover, wrong
}

func (w *sim) build() {
	w.broker, w.group, w.api = newSimBroker(w), newSimGroup(w), newSimAPI(w)
	for i := range w.plan.processes {
		w.slots = append(w.slots, &simSlot{name: string(rune('A' + i))})
	}
}

// play is the run: trouble first, then calm until all is answered.
func (w *sim) play(ctx context.Context) {
	events := append(w.prepare(), w.misfortunes(ctx)...)
	for _, s := range w.slots {
		w.startProcess(ctx, s)
	}
	w.keepTime(ctx)
	w.arrive(ctx, sortEvents(events))
	w.rest(ctx, w.plan.trouble-time.Since(w.began))
	if w.plan.longNight {
		w.rest(ctx, maxAge+5*time.Minute)
	}
	w.heal(ctx)
	w.settle(ctx)
	if w.happens(0.5, "wait for the crowd to go") {
		w.rest(ctx, simCrowd)
	}
	redriven := 0
	w.locked(func() { redriven = w.redrive() })
	if redriven > 0 {
		w.settle(ctx)
	}
	w.end(ctx)
}

// keepTime does what time does to the group and to transactions.
func (w *sim) keepTime(ctx context.Context) {
	w.goroutines.Go(func() {
		for w.rest(ctx, 190*time.Millisecond) {
			w.locked(func() { w.group.tick(time.Now()); w.broker.expire(time.Now()) })
		}
	})
}

// end stops all processes in good order and checks what is left.
func (w *sim) end(ctx context.Context) {
	for _, s := range w.slots {
		if s.proc != nil {
			s.proc.stop()
			<-s.proc.ended
		}
	}
	close(w.over)
	w.goroutines.Wait()
	w.rest(ctx, 0)
	w.locked(w.check)
}

// heal ends all trouble.
func (w *sim) heal(ctx context.Context) {
	w.rollMu.Lock()
	w.calm = true
	w.rollMu.Unlock()
	for _, s := range w.slots {
		if s.proc == nil {
			continue
		}
		w.locked(func() {
			w.note("all is well again for %s", s.proc.name)
			s.proc.cut = false
			s.proc.goOn()
		})
	}
	w.rest(ctx, 8*time.Second) // what is late has arrived by then, and who was to die has died
	for _, s := range w.slots {
		if s.proc == nil {
			continue
		}
		w.mu.Lock()
		gone := s.proc.dead
		w.mu.Unlock()
		select {
		case <-s.proc.leaving:
			gone = true
		default:
		}
		if gone {
			<-s.proc.ended
			w.startProcess(ctx, s)
		}
	}
}

// settle waits until every record has its outcome.
func (w *sim) settle(ctx context.Context) {
	const patience = 8 * time.Minute
	for began := time.Now(); time.Since(began) < patience; {
		done := false
		w.locked(func() { done = w.drained() })
		if done {
			return
		}
		if !w.rest(ctx, 500*time.Millisecond) {
			return
		}
	}
	w.locked(func() {
		for i, p := range w.broker.parts {
			w.violate("partition %d stands at %d of %d after %v without trouble", i, p.committed.Offset, len(p.log), patience)
		}
	})
}

// simSeeds is how many seeds a run of the tests tries; SIM_SEEDS tries more,
// SIM_FROM begins elsewhere, and SIM_SEED tells the story of one.
const simSeeds = 3000

func envNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q, no number", name, text)
	}
	return n
}

func TestSimulation(t *testing.T) {
	if os.Getenv("SIM_SEED") != "" {
		cover, wrong := simulate(t, envNumber(t, "SIM_SEED", 0))
		t.Logf("reached:\n%s", sortedCover(cover))
		if wrong != "" {
			t.Fatal(wrong)
		}
		return
	}
	seeds, from := envNumber(t, "SIM_SEEDS", simSeeds), envNumber(t, "SIM_FROM", 1)
	var mu sync.Mutex
	total, failed := map[string]int{}, 0
	const shards = 4
	t.Run("seeds", func(t *testing.T) {
		for shard := range uint64(shards) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for seed := from + shard; seed < from+seeds; seed += shards {
					cover, wrong := simulate(t, seed)
					mu.Lock()
					for name := range maps.Keys(cover) {
						total[name]++
					}
					if wrong != "" {
						failed++
					}
					tell := failed
					mu.Unlock()
					if wrong != "" && tell > 1 { // one story is enough to begin with
						wrong = wrong[strings.Index(wrong, simWrong):]
					}
					if wrong != "" && tell <= 40 {
						t.Errorf("make simulate SEED=%d\n%s", seed, wrong)
					}
				}
			})
		}
	})
	if failed > 0 {
		t.Errorf("%d of %d seeds went wrong", failed, seeds)
	}
	t.Logf("of %d seeds, so many reached:\n%s", seeds, sortedCover(total))
	if seeds < simSeeds {
		return
	}
	for _, name := range mustReach {
		if total[name] == 0 {
			t.Errorf("no seed has reached %q: the simulation proves nothing about it", name)
		}
	}
}
