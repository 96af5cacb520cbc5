package connector

import (
	"time"

	"github.com/countersign/countersign/schemas"
)

// simGuard are the limits of a run that has some.
func simGuard(w *sim) GuardConfig {
	cfg := GuardConfig{Mode: GuardOn, Period: w.between(5*time.Second, 40*time.Second, "guard period")}
	if w.happens(0.7, "guard creates") {
		cfg.Identity.Creates = 1 + w.below(4, "guard identity")
		cfg.Factor.Creates = 1 + w.below(4, "guard factor")
	} else {
		cfg.Identity.Pending = 1 + w.below(5, "guard pending")
	}
	return cfg
}

// checkGuard looks at the moment of a create whether the phone of its identity
// rings more often than the limits of its partition allow. The caller holds mu.
//
// A create that was given up in doubt counts from then, and may still take effect
// a moment later; the API's time is cut to seconds.
func (a *simAPI) checkGuard(last *schemas.Request) {
	w, cfg := a.w, a.w.plan.guard
	if !cfg.watches() {
		return
	}
	const slack = simLastEffect + time.Second
	now := time.Now()
	lately, pending := 0, 0
	for _, c := range a.order {
		if c.request == "" || c.Identity != last.Identity || w.byID[c.request][0].part != w.byID[last.ID][0].part {
			continue
		}
		age := now.Sub(c.effect)
		if age < cfg.Period-slack {
			lately++
		}
		if age < defaultLifetime-slack {
			pending++
		}
	}
	most := min(limitOrAll(cfg.Identity.Creates), limitOrAll(cfg.Factor.Creates)) // one factor for each identity
	if lately > most {
		w.violate("%s is rung %d times within %v, where %d are allowed", last.Identity, lately, cfg.Period, most)
	}
	if pending > limitOrAll(cfg.Identity.Pending) {
		w.violate("%s has %d challenges pending, where %d are allowed", last.Identity, pending, cfg.Identity.Pending)
	}
}

func limitOrAll(n int) int {
	if n == 0 {
		return maxGuardLimit
	}
	return n
}
