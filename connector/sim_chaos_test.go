package connector

import (
	"context"
	"sort"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
)

// mustReach is what a simulation of thousands of seeds has to come by.
var mustReach = []string{
	"outcome succeeded", "outcome adopted", "outcome duplicate", "outcome expired", "outcome rejected", "outcome failed",
	"class ambiguous", "class id_conflict", "class unavailable", "class guard",
	"crash", "fenced", "generation", "member dropped", "late commit refused", "late effect", "lease had run out",
	"handover with records left in doubt", "takeover after a crash", "transaction timed out",
	"transaction aborted by its successor or its time", "stale generation refused in a transaction", "stale generation refused in a commit",
	"commit without an answer had been made", "commit without an answer had not been made",
	"page cap reached", "poison", "redriven", "upstream transaction aborted",
	"paused", "paused beyond the session", "cut off", "stopped in good order", "long night", "API outage",
}

func sortEvents(events []simEvent) []simEvent {
	sort.SliceStable(events, func(i, j int) bool { return events[i].at < events[j].at })
	return events
}

// misfortunes are what happens to the processes and to the API.
func (w *sim) misfortunes(ctx context.Context) []simEvent {
	var events []simEvent
	add := func(at time.Duration, do func()) { events = append(events, simEvent{at, do}) }
	for range w.below(6, "misfortunes") {
		s := w.slots[w.below(len(w.slots), "misfortune of")]
		at := w.between(time.Second, w.plan.trouble, "misfortune at")
		lasts := w.between(100*time.Millisecond, 16*time.Second, "misfortune lasts")
		switch w.below(6, "misfortune") {
		case 0:
			add(at, func() { s.proc.kill("by chance") })
		case 1:
			add(at, func() {
				w.note("%s is asked to stop", s.proc.name)
				w.saw("stopped in good order")
				s.proc.stop()
			})
		case 2:
			add(at, func() { w.cutOff(s.proc, lasts) })
		case 3:
			add(at, func() { w.pause(s.proc, lasts) })
		case 4:
			add(at, func() {
				w.note("the API is down for %v", lasts)
				w.saw("API outage")
				w.api.down = append(w.api.down, simOutage{time.Now(), time.Now().Add(lasts)})
			})
		case 5:
			add(at, w.crowd)
		}
	}
	for _, s := range w.slots {
		for at := time.Second; at < w.plan.trouble; at += w.between(500*time.Millisecond, 6*time.Second, "restart") {
			add(at, func() { w.restart(ctx, s) })
		}
	}
	if w.plan.longNight {
		at := w.between(w.plan.arrivals/2, w.plan.trouble, "night")
		add(at, func() {
			w.saw("long night")
			for _, s := range w.slots {
				s.proc.kill("the night")
			}
		})
	}
	return events
}

// restart starts a new process where one has ended. The caller holds mu.
func (w *sim) restart(ctx context.Context, s *simSlot) {
	select {
	case <-s.proc.ended:
	default:
		return
	}
	if w.cover["long night"] > 0 {
		return
	}
	w.mu.Unlock()
	w.startProcess(ctx, s)
	w.mu.Lock()
}

// crowd gives a factor more challenges than a look may read pages, for a while.
func (w *sim) crowd() {
	w.note("somebody else makes many challenges")
	for range simPageSize * 5 {
		w.api.add(&simChallenge{Challenge: read.Challenge{
			Identity: "identity-0", FactorSID: simFactor(0), Details: &read.Details{Message: "Sign in?"},
		}})
		w.api.order[len(w.api.order)-1].gone = time.Now().Add(simCrowd)
	}
}

// simCrowd is how long a crowd is in the way.
const simCrowd = 90 * time.Second

func (w *sim) cutOff(p *simProc, lasts time.Duration) {
	w.note("%s is cut off from the brokers for %v", p.name, lasts)
	w.saw("cut off")
	p.cut = true
	w.after(lasts, func() { w.locked(func() { p.cut = false }) })
}

func (w *sim) pause(p *simProc, lasts time.Duration) {
	if p.paused != nil || p.dead {
		return
	}
	w.note("%s is stopped for %v", p.name, lasts)
	w.saw("paused")
	if lasts > simSessionTime {
		w.saw("paused beyond the session")
	}
	p.paused = make(chan struct{})
	w.after(lasts, func() { w.locked(p.goOn) })
}

// goOn lets a stopped process run. The caller holds mu.
func (p *simProc) goOn() {
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
		p.w.note("%s goes on", p.name)
	}
}
