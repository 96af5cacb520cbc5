package connector

import (
	"testing"
	"time"
)

func TestSettleFollowsTheTimeout(t *testing.T) {
	if got := (RecoveryConfig{}).settleFor(10 * time.Second); got != 20*time.Second {
		t.Errorf("by default the settle time is %s, want twice the timeout", got)
	}
	if got := (RecoveryConfig{Settle: time.Second}).settleFor(10 * time.Second); got != time.Second {
		t.Errorf("the settle time is %s, want the one that was set", got)
	}
}
