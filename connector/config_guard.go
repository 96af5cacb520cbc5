package connector

import (
	"cmp"
	"slices"
	"time"
)

// GuardConfig says how often a phone may be rung before further creates are
// refused without a call. It protects people from whoever has their password and
// sends challenge after challenge until one is approved.
//
// It counts within a partition, so all requests of an identity must be in one:
// their key should be the identity in lower case.
type GuardConfig struct {
	// Mode switches it. Empty: GuardOff.
	Mode GuardMode `yaml:"mode"`
	// Period is the time over which creates are counted, at any moment the one
	// that has just passed. Zero: 10m.
	Period time.Duration `yaml:"period"`
	// Identity limits the creates of one identity of a service, over all its
	// factors. Upper and lower case are the same.
	Identity GuardLimits `yaml:"identity"`
	// Factor limits the creates of one factor.
	Factor GuardLimits `yaml:"factor"`
}

// GuardLimits bound creates that ring a phone, for one identity or one factor.
type GuardLimits struct {
	// Creates is how many may be made within the period. Zero: any number.
	Creates int `yaml:"creates"`
	// Pending is how many may be pending at once: made, not past their
	// expiration, and not known to be answered. Zero: any number.
	Pending int `yaml:"pending"`
}

// GuardMode is what becomes of a create beyond a limit.
type GuardMode string

// The modes.
const (
	// GuardOff counts nothing and remembers nothing.
	GuardOff GuardMode = "off"
	// GuardOn rejects it: outcome rejected, class guard, no call.
	GuardOn GuardMode = "on"
	// GuardDryRun calls it all the same, and counts what would have been rejected.
	GuardDryRun GuardMode = "dry_run"
)

const (
	defaultGuardPeriod = 10 * time.Minute
	maxGuardPeriod     = 24 * time.Hour
	maxGuardLimit      = 1_000_000
)

var guardModes = []GuardMode{GuardOff, GuardOn, GuardDryRun}

func (g GuardConfig) withDefaults() GuardConfig {
	g.Mode = cmp.Or(g.Mode, GuardOff)
	g.Period = cmp.Or(g.Period, defaultGuardPeriod)
	return g
}

// watches reports that creates are counted at all.
func (g GuardConfig) watches() bool { return g.Mode == GuardOn || g.Mode == GuardDryRun }

// retention is for how long a create can matter to a limit.
func (g GuardConfig) retention() time.Duration {
	if g.Identity.Pending > 0 || g.Factor.Pending > 0 {
		return max(g.Period, maxAge) // no challenge is pending for longer
	}
	return g.Period
}

// validate checks the guard. What it counts comes back from the ledger after a
// restart, so the ledger has to reach as far.
func (g GuardConfig) validate(v *configCheck, horizon time.Duration) {
	if !slices.Contains(guardModes, g.Mode) {
		v.add("guard.mode", "must be %s", alternatives(guardModes))
	}
	v.duration("guard.period", g.Period, time.Second, maxGuardPeriod)
	limited := false
	for _, limit := range []struct {
		path string
		n    int
	}{
		{"guard.identity.creates", g.Identity.Creates},
		{"guard.identity.pending", g.Identity.Pending},
		{"guard.factor.creates", g.Factor.Creates},
		{"guard.factor.pending", g.Factor.Pending},
	} {
		checkNumber(v, limit.path, limit.n, 0, maxGuardLimit)
		limited = limited || limit.n > 0
	}
	if !g.watches() {
		return
	}
	if !limited {
		v.add("guard", "must set at least one limit: creates or pending, of identity or factor")
	}
	if keep := g.retention(); keep > horizon {
		v.add("guard.period", "needs ledger.horizon to be at least %s, is %s: what was counted comes back from the ledger",
			shortDuration(keep), shortDuration(horizon))
	}
}
