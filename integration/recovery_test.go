package integration

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// stage is a chaos without chance: the test strikes by itself. Such tests wait
// more than they work, so they run beside each other.
func stage(t *testing.T, s scene) (*chaos, *load) {
	t.Helper()
	t.Parallel()
	c := newChaos(t, s)
	l := newLoad(c)
	return c, l
}

// done waits for every answer, ends the hosts in good order and counts.
func (c *chaos) done(l *load) verdict {
	c.t.Helper()
	c.await("every request to be answered", patience, func() bool { return l.answered() >= l.sent() })
	c.leave()
	v := c.judge(l)
	v.complain()
	if v.ambiguous > 0 {
		c.t.Errorf("%d creates ended in doubt: the API shows what it made", v.ambiguous)
	}
	if c.t.Failed() {
		c.t.Logf("\n%s", v.table())
	}
	return v
}

// wait is await for a condition without which the test makes no sense.
func (c *chaos) wait(what string, holds func() bool) {
	c.t.Helper()
	if c.await(what, patience, holds); c.t.Failed() {
		c.t.FailNow()
	}
}

func (c *chaos) creates() int { return int(c.api.Stats().Creates) }

func (c *chaos) lists() int { return int(c.api.Stats().Calls[emulator.OperationList]) }

// slowly answers so that many calls are under way whenever something happens.
func slowly() emulator.Faults {
	return emulator.Faults{Latency: emulator.Latency{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond, AfterShare: 0.7}}
}

// TestKilledAndRestartedAtOnce: a host and its plugin are killed with calls
// under way and started again at once, several times. What had been made is
// adopted, and nothing is called twice.
func TestKilledAndRestartedAtOnce(t *testing.T) {
	c, l := stage(t, scene{hosts: 1, faults: slowly(), timing: short()})
	for round := range 3 {
		before := c.creates()
		l.ask(120, 60)
		c.wait("calls under way", func() bool { return c.creates() > before+20 })
		c.note(round+1, c.hosts[0], "killed: %s", shown2(c.hosts[0].kill(false)))
		must(t, c.hosts[0].start(c.bin))
		c.wait("every request to be answered", func() bool { return l.answered() >= l.sent() })
	}
	if v := c.done(l); v.adopted == 0 {
		t.Error("nothing was adopted: the kills hit nothing")
	}
}

// TestCrashHandoverCrash: a crash, a graceful handover in the middle of the
// recovery from it, and another crash in the middle of that recovery: what is
// uncertain stays uncertain until it is settled, whoever owns it.
func TestCrashHandoverCrash(t *testing.T) {
	c, l := stage(t, scene{hosts: 1, faults: slowly(), timing: short()})
	l.ask(200, 100)
	c.wait("calls under way", func() bool { return c.creates() > 20 })
	c.note(1, c.hosts[0], "killed: %s", shown2(c.hosts[0].kill(false)))

	recovering := func(name string) *instance {
		before := c.lists()
		i := c.enter()
		c.wait(name+" to look things up", func() bool { return c.lists() > before+5 })
		return i
	}
	second := recovering("the second host")
	c.note(2, second, "SIGTERM")
	if err := second.drain(patience); err != nil {
		t.Errorf("the host that was asked to leave: %v", err)
	}
	third := recovering("the third host")
	c.note(3, third, "killed: %s", shown2(third.kill(false)))
	c.enter()
	if v := c.done(l); v.adopted == 0 {
		t.Error("nothing was adopted: the crashes hit nothing")
	}
}

// TestStopped: a host that is suspended for less than its session goes on;
// one that is suspended for longer finds its partitions taken over, and what it had
// under way is neither lost nor called twice.
func TestStopped(t *testing.T) {
	for name, times := range map[string]float64{"below the session": 0.5, "beyond the session": 1.6, "far beyond the session": 2.5} {
		t.Run(name, func(t *testing.T) {
			c, l := stage(t, scene{hosts: 2, faults: slowly(), timing: short()})
			for round := range 2 {
				before := c.creates()
				l.ask(150, 75)
				c.wait("calls under way", func() bool { return c.creates() > before+20 })
				c.pause(round+1, c.hosts[round], time.Duration(times*float64(c.timing.session)))
			}
			c.done(l)
		})
	}
}

// TestStoppedPluginAlone: the host lives on while its plugin is suspended, takes it
// for hung and replaces it.
func TestStoppedPluginAlone(t *testing.T) {
	c, l := stage(t, scene{hosts: 2, faults: slowly(), timing: short()})
	l.ask(200, 100)
	c.wait("calls under way", func() bool { return c.creates() > 20 })
	_, plugin := c.hosts[0].processes()
	plugin.signal(syscall.SIGSTOP)
	c.note(1, c.hosts[0], "plugin stopped: %s", shown(plugin))
	c.wait("the host to replace its plugin", func() bool {
		_, now := c.hosts[0].processes()
		return now.pid != 0 && now.pid != plugin.pid && c.hosts[0].hosting()
	})
	c.done(l)
}

// TestRecoveryCostsFewLists: 1,000 creates over 100 factors are made and none
// is answered when the host is killed. Its successor adopts every one, calls
// none again, and reads each factor's list at most twice.
func TestRecoveryCostsFewLists(t *testing.T) {
	const creates, factors = 1000, 100
	dead := make(chan struct{})
	var made atomic.Int64
	s := scene{hosts: 1, timing: timing{
		session: 12 * time.Second, drain: 5 * time.Second, margin: 3 * time.Second,
		call: 5 * time.Second, settle: 10 * time.Second, concurrency: 1200,
	}}
	s.afterWork = func(op emulator.Operation, _ *http.Request) {
		if op == emulator.OperationCreate && made.Add(1) <= creates {
			<-dead
		}
	}
	c, l := stage(t, s)
	l.ask(creates, factors)
	c.wait("every challenge to be made", func() bool { return c.creates() == creates })
	c.note(1, c.hosts[0], "killed: %s", shown2(c.hosts[0].kill(false)))
	close(dead)
	c.enter()
	v := c.done(l)
	stats := c.api.Stats()
	if v.adopted != creates || stats.Calls[emulator.OperationCreate] != creates {
		t.Errorf("%d adopted after %d calls for %d creates", v.adopted, stats.Calls[emulator.OperationCreate], creates)
	}
	if lists := stats.Calls[emulator.OperationList]; lists > 2*factors {
		t.Errorf("%d List pages for %d factors", lists, factors)
	}
	t.Logf("%d creates over %d factors cost %d List pages", creates, factors, stats.Calls[emulator.OperationList])
}

// TestResetsAreAdopted: every fifth create's connection is reset after its
// challenge was made. Each is found and adopted, and none is called again.
func TestResetsAreAdopted(t *testing.T) {
	c, l := stage(t, scene{hosts: 2, timing: short(), faults: emulator.Faults{
		Operations: []emulator.Operation{emulator.OperationCreate}, ResetAfterRate: 0.2,
		Latency: emulator.Latency{Max: 20 * time.Millisecond},
	}})
	const n = 1000
	l.ask(n, 100)
	v := c.done(l)
	reset := c.api.Stats().Faults[emulator.FaultResetAfter]
	if reset < n/10 || int64(v.adopted) != reset || v.outcomes["create"]["succeeded"]+v.adopted != n {
		t.Errorf("%d resets, %d adopted, outcomes %v", reset, v.adopted, v.outcomes)
	}
}
