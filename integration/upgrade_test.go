package integration

import (
	"cmp"
	"flag"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

var upgradeFrom = flag.String("upgrade.from", "", "the countersign to upgrade from and roll back to; empty: this one")

// TestRollingUpgrade: two hosts are replaced one after the other, first by the
// new version and then, rolled back, by the old one, with calls under way all
// the time. Each of the mixed groups in between answers everything once, and
// nothing is called a second time. make upgrade FROM=REF takes another version
// as the old one; without it this is a rolling restart.
func TestRollingUpgrade(t *testing.T) {
	c, l := stage(t, scene{hosts: 0, faults: emulator.Faults{
		Latency: emulator.Latency{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond, AfterShare: 0.7},
	}, timing: short()})
	current := c.bin
	old := cmp.Or(*upgradeFrom, current)
	c.bin = old
	hosts := []*instance{c.enter(), c.enter()}
	replace := func(round int, by string) {
		for _, i := range hosts {
			before := l.answered()
			l.ask(100, 60)
			c.wait("calls under way", func() bool { return l.answered() > before+10 })
			c.note(round, i, "SIGTERM, then %s", by)
			if err := i.drain(patience); err != nil {
				t.Errorf("%s, asked to leave: %v", i.name, err)
			}
			must(t, i.start(by))
			before = l.answered()
			l.ask(50, 60)
			c.wait("the replaced host to be up and answers to go on", func() bool { return i.hosting() && l.answered() > before+20 })
		}
	}
	c.bin = current
	replace(1, current)
	replace(2, old)
	c.done(l)
	if st := c.api.Stats(); st.Calls[emulator.OperationCreate] != st.Creates {
		t.Errorf("%d calls for %d challenges: a graceful replacement repeated a call", st.Calls[emulator.OperationCreate], st.Creates)
	}
}
