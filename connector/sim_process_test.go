package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/ratelimit"
)

// simSlot is a place where one process at a time runs.
type simSlot struct {
	name string
	n    int // processes so far
	proc *simProc
}

// simProc is one process: what it keeps in memory is gone with it.
type simProc struct {
	w       *sim
	name    string
	died    chan struct{}
	abort   chan struct{} // closed with died: how a lane of a dead process gets out of the way
	leaving chan struct{} // closed to stop it in good order
	stop    func()        // closes leaving
	acct    *account
	cfg     laneConfig
	room    *ledgerRoom
	ledgers map[int]*ledger
	lanes   map[*lane]struct{} // guarded by w.mu
	ended   chan struct{}

	// Guarded by w.mu.
	dead                   bool
	cut                    bool          // from the brokers
	paused                 chan struct{} // closed when it goes on; nil: it runs
	member                 string
	lease                  *simLease
	joins                  int
	joinsAsked, joinsTaken int
}

// startProcess puts a new process into a slot. The caller does not hold mu.
func (w *sim) startProcess(ctx context.Context, s *simSlot) {
	s.n++
	p := &simProc{
		w: w, name: fmt.Sprintf("%s%d", s.name, s.n), died: make(chan struct{}), leaving: make(chan struct{}), ended: make(chan struct{}),
		ledgers: map[int]*ledger{}, lanes: map[*lane]struct{}{},
	}
	p.abort = p.died
	p.stop = sync.OnceFunc(func() { close(p.leaving) })
	p.configure()
	w.locked(func() {
		s.proc = p
		w.note("%s starts", p.name)
	})
	w.goroutines.Go(func() { p.run(ctx) })
}

func (p *simProc) configure() {
	plan := p.w.plan
	st, log := newStats(), slog.New(simLogger{p.w, p.name})
	acct := simAccountConfig(plan)
	limiter, err := ratelimit.New(ratelimit.Config{PerSecond: acct.Rate.PerSecond, Burst: acct.Rate.Burst, Concurrency: acct.Rate.Concurrency})
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.acct = newAccount("main", acct, &simCaller{p.w, p}, limiter, st, log, p.changed)
	p.room = newLedgerRoom(100000)
	p.cfg = laneConfig{
		window: WindowConfig{Span: plan.span, Records: 1000}, retry: RetryConfig{Attempts: 4, Elapsed: 30 * time.Second, Base: 100 * time.Millisecond, Cap: 2 * time.Second},
		recovery: simRecovery(), guard: plan.guard, marker: newMarker(simConfig()), partitions: plan.partitions, notAfter: plan.notAfter, drain: simDrain,
		accounts: map[string]*account{"main": p.acct}, events: simEvents(), budget: newBudget(1000, 1<<26), stats: st, log: log,
		maxBatch: 4, fetchBytes: 2000, fetchMaxWait: 250 * time.Millisecond,
	}
}

func simAccountConfig(plan simPlan) AccountConfig {
	return AccountConfig{
		AccountSID: "AC00000000000000000000000000000000", Timeout: simTimeout,
		Rate:    RateConfig{PerSecond: plan.perSecond, Burst: 3, Concurrency: plan.slots},
		Breaker: BreakerConfig{Failures: 5, Ratio: 0.6, Window: 10 * time.Second, Open: 3 * time.Second},
	}
}

func simRecovery() RecoveryConfig {
	return RecoveryConfig{Deployment: "sim", Apart: 500 * time.Millisecond, MaxPages: 4}
}

func simConfig() Config {
	return Config{Accounts: map[string]AccountConfig{"main": simAccountConfig(simPlan{slots: 1})}, Recovery: simRecovery()}
}

func simEvents() events {
	return events{
		group: "sim", limit: defaultEventLimit,
		topics: TopicsConfig{Requests: simTopicRequest, Results: "results", DeadLetters: "deadletters", Ledger: "ledger", Positions: "positions"},
	}
}

// changed wakes the lanes, as the Connector does.
func (p *simProc) changed() {
	p.w.mu.Lock()
	lanes := make([]*lane, 0, len(p.lanes))
	for l := range p.lanes {
		lanes = append(lanes, l)
	}
	p.w.mu.Unlock()
	for _, l := range lanes {
		l.poke()
	}
}

// kill ends a process at once: what it has sent may still arrive. The caller
// holds mu.
func (p *simProc) kill(why string) {
	if p.dead {
		return
	}
	p.dead = true
	close(p.died)
	p.w.note("%s dies: %s", p.name, why)
	p.w.saw("crash")
}

// gate is where a process that is stopped stands still. It reports false once
// the process is dead: nothing that it does has an effect any more.
func (p *simProc) gate() bool {
	for {
		p.w.mu.Lock()
		paused, dead := p.paused, p.dead
		p.w.mu.Unlock()
		if dead {
			return false
		}
		if paused == nil {
			return true
		}
		select {
		case <-paused:
		case <-p.died:
		}
	}
}

// run is a process's life: it joins, works, and joins again.
func (p *simProc) run(root context.Context) {
	defer close(p.ended)
	ctx, cancel := context.WithCancel(root)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel()
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	helpers.Go(func() { p.acct.probe(probing) })
	helpers.Go(func() {
		select {
		case <-p.leaving:
		case <-p.died:
		case <-ctx.Done():
		}
		cancel()
	})
	for ctx.Err() == nil {
		if a, ok := p.join(ctx); ok {
			p.serve(ctx, a)
		}
	}
	if !p.gate() {
		return
	}
	_ = p.w.rpc(root, p, "leave", func() error {
		p.w.group.leave(p.member)
		return nil
	})
}

func (p *simProc) join(ctx context.Context) (a simAssignment, ok bool) {
	p.w.mu.Lock()
	p.joins++
	if p.member == "" || p.w.group.members[p.member] == nil {
		p.member = fmt.Sprintf("%s-m%d", p.name, p.joins)
	}
	member := p.member
	p.w.mu.Unlock()
	var assigned chan simAssignment
	for {
		p.joinsAsked++
		no := p.joinsAsked
		got, err := simCall(ctx, p.w, p, "join", func() (chan simAssignment, error) {
			if no < p.joinsTaken {
				// It has joined again since. Brokers take what one instance sends in its order.
				return nil, errSimLost
			}
			p.joinsTaken = no
			return p.w.group.join(member).assigned, nil
		})
		if err == nil {
			assigned = got
			break
		}
		if ctx.Err() != nil || !p.w.rest(ctx, p.w.between(50*time.Millisecond, 300*time.Millisecond, "rejoin "+p.name)) {
			return a, false
		}
	}
	select {
	case a = <-assigned:
		return a, p.gate()
	case <-ctx.Done():
		return a, false
	}
}

// serve works on a generation until it ends.
func (p *simProc) serve(ctx context.Context, a simAssignment) {
	w := p.w
	gen, end := context.WithCancel(ctx)
	defer end()
	keep, release := context.WithCancel(context.WithoutCancel(ctx))
	lease := &simLease{p: p}
	w.locked(func() { p.lease = lease })
	var keepers, lanes sync.WaitGroup
	keepers.Go(func() { lease.keep(keep, a) })
	keepers.Go(func() { p.heartbeats(gen, keep, a, end) })
	p.acct.limiter.SetShare(len(a.parts), w.plan.partitions)
	for part, l := range p.ledgers {
		if !slices.Contains(a.parts, part) {
			l.drop()
			delete(p.ledgers, part)
		}
	}
	for _, part := range a.parts {
		if p.ledgers[part] == nil {
			p.ledgers[part] = newLedger(2*time.Hour, p.room)
			p.ledgers[part].rings = newRings(p.cfg.guard)
		}
		l := newLane(p.cfg, part, p.deps(part, a, lease))
		w.locked(func() { p.lanes[l] = struct{}{} })
		lanes.Go(func() {
			err := l.run(gen, p.abort)
			w.locked(func() {
				delete(p.lanes, l)
				w.note("%s lane %d ends: abandoned %d lost %t %v", p.name, part, l.abandoned, l.lost, err)
				if err != nil && !p.dead && kafka.CodeOf(err) != kafka.CodeFenced && kafka.CodeOf(err) != kafka.CodeOwnershipLost {
					w.violate("%s: lane %d ends with %v", p.name, part, err)
				}
			})
			end() // the generation ends for all
		})
	}
	if len(a.parts) == 0 {
		<-gen.Done()
	}
	lanes.Wait()
	release()
	keepers.Wait()
	lease.end()
	p.acct.limiter.SetShare(0, 1)
}

// heartbeats ends the generation when the group rebalances.
func (p *simProc) heartbeats(gen, keep context.Context, a simAssignment, end func()) {
	for p.w.rest(gen, 430*time.Millisecond) {
		err := p.w.rpc(keep, p, "heartbeat", func() error { return p.w.group.heartbeat(a.member, a.generation) })
		if err != nil && (!errors.Is(err, errSimLost) || !p.w.plan.deaf) {
			end()
			return
		}
	}
}

// simLease is a lease by the same rule as kafka.Lease has it. w.mu guards it.
type simLease struct {
	p     *simProc
	until time.Time
	over  bool
}

// Left stands still with its process: one that was stopped looks at the clock
// when it goes on.
func (l *simLease) Left() time.Duration {
	if !l.p.gate() {
		return 0
	}
	l.p.w.mu.Lock()
	defer l.p.w.mu.Unlock()
	left := l.left()
	if left <= 0 && !l.until.IsZero() {
		l.p.w.saw("lease had run out")
	}
	return left
}

func (l *simLease) left() time.Duration {
	if l.over || l.until.IsZero() {
		return 0
	}
	return time.Until(l.until)
}

func (l *simLease) end() { l.p.w.locked(func() { l.over = true }) }

func (l *simLease) keep(ctx context.Context, a simAssignment) {
	const term = min(simSessionTime, simRebalance) - simMargin
	for {
		sent := time.Now()
		err := l.p.w.rpc(ctx, l.p, "lease", func() error { return l.p.w.group.validate(a.member, a.generation) })
		if err == nil {
			l.p.w.locked(func() {
				if until := sent.Add(term); until.After(l.until) {
					l.until = until
				}
			})
		}
		if errors.Is(err, errSimStale) {
			l.end()
			return
		}
		if !l.p.w.rest(ctx, term/8) {
			return
		}
	}
}

// simLogger puts what a lane logs into the story.
type simLogger struct {
	w    *sim
	name string
}

func (l simLogger) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}
func (l simLogger) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l simLogger) WithGroup(string) slog.Handler      { return l }

// Handle is called with and without mu held by nobody of ours.
func (l simLogger) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.w.locked(func() { l.w.note("%s says: %s", l.name, text) })
	return nil
}
