package integration

import (
	"fmt"
	"testing"
)

// TestFloodThroughKills: an attacker asks for challenge after challenge of a few
// people, while hosts are killed and started again with calls under way. No phone
// rings more often than the push-fatigue guard allows, as the API itself counts.
func TestFloodThroughKills(t *testing.T) {
	const most, victims = 3, 6
	c, l := stage(t, scene{
		hosts: 2, faults: slowly(), timing: short(),
		config: func(c *chaos) []byte {
			return fmt.Appendf(c.config(short()), "guard: {mode: on, period: 30m, identity: {creates: %d}}\n", most)
		},
	})
	for round := range 3 {
		before := l.answered()
		l.ask(120, victims)
		c.wait("the flood to be under way", func() bool { return l.answered() > before+20 })
		for _, host := range c.hosts[:1+round%2] {
			c.note(round+1, host, "killed: %s", shown2(host.kill(false)))
			must(t, host.start(c.bin))
		}
		c.wait("every request to be answered", func() bool { return l.answered() >= l.sent() })
	}
	rung := map[string]int{}
	for _, one := range c.api.Created() {
		rung[one.Identity]++
	}
	for identity, n := range rung {
		if n > most {
			t.Errorf("%s was rung %d times, where %d are allowed", identity, n, most)
		}
	}
	if len(rung) != victims {
		t.Errorf("%d people were rung at all, want %d", len(rung), victims)
	}
	made := len(c.api.Created())
	if v := c.done(l); v.outcomes["create"]["rejected"] != l.sent()-made {
		t.Errorf("of %d requests %d were made, and the outcomes are %v", l.sent(), made, v.outcomes["create"])
	}
}
