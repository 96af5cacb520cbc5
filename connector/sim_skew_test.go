package connector

import (
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// TestGuardSettleSkewed: the API's clock is ahead by less than anybody can tell
// from its answers, and somebody else's doubt makes the lane look early.
func TestGuardSettleSkewed(t *testing.T) {
	onStage(t, func(p *simPlan) { p.skew = 1900 * time.Millisecond }, func(s *simStage) {
		s.script["create a"] = []simFate{{mute: true, reset: true, there: 20 * time.Millisecond, held: simLastEffect, lag: simMostLag}}
		s.script["create b"] = []simFate{{lost: true, mute: true, reset: true}}
		s.starts(0)
		s.pass(time.Second + 50*time.Millisecond)
		a := s.create("a", "k", nil)
		s.pass(3150 * time.Millisecond)
		s.create("b", "l", nil)
		s.want(a, schemas.OutcomeAdopted)
		s.wantMade("a", 1)
	})
}
