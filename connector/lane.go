package connector

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// laneConfig is what all lanes of an instance have in common.
type laneConfig struct {
	window       WindowConfig
	retry        RetryConfig
	recovery     RecoveryConfig
	guard        GuardConfig
	marker       *marker
	partitions   int // of the topic
	notAfter     time.Duration
	drain        time.Duration
	accounts     map[string]*account
	events       events
	budget       *budget
	stats        *stats
	log          *slog.Logger
	trouble      *slog.Logger     // nil: log
	tracer       oteltrace.Tracer // nil: nothing is traced
	maxBatch     int              // records per commit
	fetchBytes   int
	fetchMaxWait time.Duration
}

// lane is everything of one assigned partition: its window, its key queues,
// its waiting records and its commits. One goroutine, the one in run, owns all
// of it; attempts, the fetcher and a commit run beside it and report over
// channels that run always reads, so no lock is ever held across a send.
type lane struct {
	cfg       laneConfig
	partition int
	src       source
	delivery  delivery
	memory    memory
	lease     lease
	ledger    *ledger
	guard     *guard
	answered  []hash // request ids whose challenge was seen answered; not yet in the ledger topic
	vitals    *vitals
	log       *slog.Logger
	trouble   *slog.Logger // for what other lanes find too, again and again

	fenced    time.Time // when the former owner's time had ended
	start     position  // what was committed when the lane began
	lastTrace trace
	calledTo  int64  // durable: calls may be made below it
	ranged    bool   // calledTo was committed by this lane, so it holds for all below it
	reach     int64  // up to where calls are wanted
	unleased  bool   // calls wait for the lease
	left      bool   // the last commit said exactly what may have been called
	seq       uint64 // of the last commit begun
	unwritten bool   // where the lane goes on is not what is committed
	window    *window
	keys      *keyQueues
	ids       *ids
	looks     looks
	doubts    int // uncertain records in the window
	timers    timers
	queues    map[*account]*accountQueue
	backlog   []kafka.Record // fetched, not yet taken in
	resume    int64          // where to fetch next once backlog is empty
	end       int64          // last stable offset seen
	unstable  int64          // offsets above end that an open transaction held back
	hungry    bool           // more of the backlog may be taken in at once
	crowded   bool           // the budget of all lanes has no room for the next record
	survey    survey

	inFlight      int
	fetching      bool
	finishedBytes int       // of the answers in finished
	finished      []outcome // not committed, in the order in which they ended
	committing    []outcome
	committed     int64
	commitBusy    bool
	pending       position // that the commit under way carries
	pendingBooks  []seenEntry
	commitSpan    oteltrace.Span // of the commit under way; nil: not traced
	lastCommit    time.Time      // when the last commit began
	lastEnd       time.Time      // when it ended
	pace          pace
	draining      bool
	abandoned     int   // records whose call or commit was given up
	fatal         error // why the lane ends by itself once it has drained
	lost          bool  // the group has given the partition away

	wake     chan struct{} // room in the budget, or an account changed; capacity 1
	ask      chan int64    // capacity 1, and at most one is under way
	fetched  chan fetchEnd
	tasks    chan task // to a worker that waits for one
	ends     chan attemptEnd
	commits  chan error
	statuses chan chan LaneStatus
	begun    chan struct{} // closed once statuses are answered
	gone     chan struct{} // closed when run returns
	workers  sync.WaitGroup
	spare    atomic.Int64 // workers that wait for a task

	// What workers do, bound to the contexts of run.
	attempt func(t task) attemptEnd
	persist func(g group) error
	tracing *tracing
	givenUp func() bool // no commit can succeed any more
}

// accountQueue is what a lane holds for one account.
type accountQueue struct {
	ready  []*entry // waiting for a slot, in order
	parked []*entry // waiting for the account, in order
	active int      // attempts under way
}

type fetchEnd struct {
	result kafka.Fetched
	err    error
}

func newLane(cfg laneConfig, partition int, d laneDeps) *lane {
	l := &lane{
		cfg: cfg, partition: partition, src: d.source, delivery: d.delivery, memory: d.memory, lease: d.lease, ledger: d.ledger, vitals: d.vitals,
		log:       cfg.log.With("partition", partition),
		trouble:   cmp.Or(cfg.trouble, cfg.log).With("partition", partition),
		guard:     newGuard(cfg.guard, d.ledger.rings),
		keys:      newKeyQueues(),
		ids:       newIDs(),
		queues:    map[*account]*accountQueue{},
		committed: -1,
		wake:      make(chan struct{}, 1),
		ask:       make(chan int64, 1),
		fetched:   make(chan fetchEnd),
		tasks:     make(chan task),
		ends:      make(chan attemptEnd),
		commits:   make(chan error),
		statuses:  make(chan chan LaneStatus),
		begun:     make(chan struct{}),
		gone:      make(chan struct{}),
	}
	for _, a := range cfg.accounts {
		l.queues[a] = &accountQueue{}
	}
	return l
}

// run works on the partition until ctx ends, then finishes what is in flight,
// commits and returns nil. Abandoned work is counted in l.abandoned. abort
// ends everything at once.
func (l *lane) run(ctx context.Context, abort <-chan struct{}) error {
	defer close(l.gone)
	base := context.WithoutCancel(ctx)
	callCtx, giveUpCalls := context.WithCancel(base)
	defer giveUpCalls()
	commitCtx, giveUpCommit := context.WithCancel(base)
	defer giveUpCommit()
	mayCall, stopCalling := context.WithCancel(ctx)
	defer stopCalling()
	l.attempt = func(t task) attemptEnd { return t.entry.acct.attempt(mayCall, callCtx, t) }
	l.persist = func(g group) error { return l.delivery.commit(commitCtx, g) }
	l.tracing = newTracing(base, l.cfg.tracer, l.cfg.events)
	l.givenUp = func() bool { return commitCtx.Err() != nil }

	if err := l.begin(l.vitals.telling(ctx, stepTakeOver)); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	fetchCtx, stopFetching := context.WithCancel(ctx)
	l.workers.Go(func() { l.fetcher(fetchCtx) })
	defer func() {
		giveUpCalls()
		giveUpCommit()
		stopFetching()
		close(l.tasks)
		l.cfg.budget.forget(l.wake)
		l.collect()
	}()

	close(l.begun)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var callDeadline, commitDeadline <-chan time.Time
	done := ctx.Done()
	drain := func() {
		done = nil
		l.draining = true
		stopCalling()
		stopFetching()
		l.log.Debug("lane drains", "in_flight", l.inFlight, "held", l.window.held)
		callDeadline, commitDeadline = time.After(l.cfg.drain*3/4), time.After(l.cfg.drain)
	}
	for {
		l.progress(time.Now())
		if l.draining && l.idle() {
			return l.fatal
		}
		l.arm(timer)
		select {
		case <-done:
			drain()
		case <-callDeadline:
			if l.inFlight > 0 {
				l.log.Warn("calls took longer than the drain timeout allows and are given up", "in_flight", l.inFlight)
			}
			giveUpCalls()
		case <-commitDeadline:
			giveUpCommit()
		case <-abort:
			abort = nil
			giveUpCalls()
			giveUpCommit()
		case f := <-l.fetched:
			if err := l.takeFetch(f); err != nil && !l.draining {
				// What is in flight is finished and committed all the same: a
				// call whose outcome is thrown away is made again.
				l.fatal = err
				drain()
			}
		case end := <-l.ends:
			l.attemptEnded(end)
			l.takeEnds()
		case err := <-l.commits:
			if stop, err := l.commitEnded(err); stop {
				return err
			}
		case reply := <-l.statuses:
			reply <- l.status()
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// progress does everything that can be done now without waiting.
func (l *lane) progress(now time.Time) {
	if !l.draining {
		l.ledger.expire(now)
		l.admit(now)
		l.fireTimers(now)
		l.dispatch(now)
		l.askFetch()
	}
	l.startCommit(now)
}

// idle reports that nothing is under way and nothing is left that could still
// be committed.
func (l *lane) idle() bool {
	return l.inFlight == 0 && !l.commitBusy && (l.givenUp() || len(l.finished) == 0 && !l.hasLeaving())
}

// leaseWatch is how often a lane looks whether what it waits for has come that
// sends no signal: its lease, or room in the ledger.
const leaseWatch = 100 * time.Millisecond

func (l *lane) arm(timer *time.Timer) {
	d := time.Hour
	if l.hungry && !l.draining {
		d = 0
	}
	if at, ok := l.timers.next(); ok && !l.draining {
		d = min(d, max(0, time.Until(at)))
	}
	if wait := l.gathers(time.Now()); wait > 0 && !l.commitBusy {
		d = min(d, wait)
	}
	if (l.unleased || l.ledger.full()) && !l.draining {
		d = min(d, leaseWatch)
	}
	timer.Reset(d)
}

// collect waits for the goroutines that the lane started and gives its room
// in the budget back.
func (l *lane) collect() {
	all := make(chan struct{})
	go func() { l.workers.Wait(); close(all) }()
	for waiting := true; waiting; {
		select {
		case <-all:
			waiting = false
		case <-l.fetched:
		case end := <-l.ends:
			if end.kind == endCalled && !end.look {
				l.abandoned++
			}
			l.inFlight--
		case err := <-l.commits:
			l.commitTraced(err)
			if err == nil {
				l.committing = l.committing[:0]
			}
		case reply := <-l.statuses:
			reply <- l.status()
		}
	}
	if l.abandoned += len(l.finished) + len(l.committing); l.lost {
		l.abandoned = 0 // said in the log; the drain timeout had no part in it
	}
	records, bytes := 0, int64(0)
	for _, e := range l.window.entries[l.window.head:] {
		if e.state == entrySettled {
			continue
		}
		e.spans.abandoned()
		records, bytes = records+1, bytes+e.bytes
		if e.acct != nil && e.state != entryDone {
			e.acct.held.Add(-1)
		}
	}
	l.cfg.budget.give(records, bytes)
}

// poke makes the lane look again at what it can do.
func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// snapshot asks the running lane for its status; false once it has ended.
func (l *lane) snapshot() (LaneStatus, bool) {
	select {
	case <-l.begun:
	case <-l.gone:
		return LaneStatus{}, false
	default:
		// It is still asking where to begin, which takes as long as the
		// coordinator does. Nobody who asks for a status shall wait for that.
		return LaneStatus{Partition: l.partition, Committed: -1, Lease: max(0, l.lease.Left()).Seconds()}, true
	}
	reply := make(chan LaneStatus, 1)
	select {
	case l.statuses <- reply:
		return <-reply, true
	case <-l.gone:
		return LaneStatus{}, false
	}
}

func (l *lane) accountOf(req *schemas.Request) *account {
	if req.Account == "" && len(l.cfg.accounts) == 1 {
		for _, a := range l.cfg.accounts {
			return a
		}
	}
	return l.cfg.accounts[req.Account]
}
