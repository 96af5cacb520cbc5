package audit

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

const (
	// pageBytes is about how much a page is; atOnce of them are in memory.
	pageBytes = 1 << 20
	atOnce    = 8
	// patience is between attempts to reach brokers that are away.
	patience = time.Second
	// lifeSign is how often a sign of life is given when no more is to be read.
	lifeSign = time.Second
)

// join is one audit under way.
type join struct {
	cfg     Config
	cluster Cluster
	plan    *plan
	streams []*stream

	mu      sync.Mutex // of what follows, and of the streams' bookkeeping
	ledger  *ledger
	waiting error
	told    time.Time // when the progress was reported last
	turn    sync.Cond
	ends    map[logName]int64 // of logs that end too early, for all that was waited
}

// Run audits a window. Where ctx ends first, the error is CodeInterrupted, and
// Config.State has what a later run needs to go on. A broker that is away is waited
// for until ctx ends.
func Run(ctx context.Context, kc Cluster, cfg Config) (*Report, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	j := &join{cfg: cfg, cluster: kc}
	j.turn.L = &j.mu
	if err := j.begin(ctx); err != nil {
		return nil, err
	}
	for again := true; again; {
		err := j.readAll(ctx)
		if err == nil {
			again, err = j.reachBack(ctx)
		}
		if err != nil {
			return nil, j.interrupted(err)
		}
	}
	// What the end decides is no part of a saved state: it is decided anew.
	found, counts := j.ledger.Found, j.ledger.Counts
	j.ledger.Found, j.ledger.Counts = found.clone(), counts.clone()
	r, err := j.report(ctx)
	if err != nil {
		j.ledger.Found, j.ledger.Counts = found, counts
		return nil, j.interrupted(err)
	}
	return r, j.discard()
}

// begin makes a plan, or takes up a saved state.
func (j *join) begin(ctx context.Context) error {
	if resumed, err := j.resume(); resumed || err != nil {
		return err
	}
	err := j.patiently(ctx, func() (err error) {
		j.plan, err = newPlan(ctx, j, time.Now())
		return err
	})
	if err != nil {
		return err
	}
	j.anew()
	return nil
}

// anew has everything that is planned to be read.
func (j *join) anew() {
	j.ledger, j.streams = newLedger(j.plan, j.cfg.MaxFindings), nil
	for _, role := range []role{requests, results, letters} {
		for _, s := range [][]OffsetSpan{requests: j.plan.Requests, results: j.plan.Results, letters: j.plan.Letters}[role] {
			j.streams = append(j.streams, &stream{Role: role, Span: s, Next: s.From, Stamp: minStamp, Cut: j.plan.cut(role, s.Partition)})
		}
	}
}

// reachBack has everything read once more where requests of the window are older than
// the answers that were read: timestamps can be out of order by more than the skew, and
// a clock that is ahead begins the window early.
func (j *join) reachBack(ctx context.Context) (again bool, err error) {
	from := j.plan.AnswersFrom
	if from.IsZero() || j.ledger.Counts.Requests == 0 {
		return false, nil
	}
	needed := timeOf(j.ledger.First).Add(-j.cfg.Skew)
	if !needed.Before(from) {
		return false, nil
	}
	err = j.patiently(ctx, func() error { return j.plan.reachBack(ctx, j.cluster, j.cfg, needed) })
	if err != nil {
		return false, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.plan.Requests { // what is gone of these is found once more
		j.plan.Gone = slices.DeleteFunc(j.plan.Gone, func(g OffsetSpan) bool { return g.Partition == s.Partition && g.From >= s.From })
	}
	j.anew()
	return true, nil
}

// patiently repeats what fails because no broker answers.
func (j *join) patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if kafka.CodeOf(err) != kafka.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		if err := j.pause(ctx, err); err != nil {
			return err
		}
	}
}

// pause says why nothing goes on, and lets some time pass.
func (j *join) pause(ctx context.Context, why error) error {
	j.mu.Lock()
	j.waiting = why
	j.tell()
	j.mu.Unlock()
	select {
	case <-ctx.Done():
		return kafkaFailed(ctx, ctx.Err())
	case <-time.After(patience):
		return nil
	}
}

// readAll reads every stream to its end, a few at a time, first the one that is
// furthest behind: then an answer is read soon after its request, and little has
// to be remembered.
func (j *join) readAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.turn.Broadcast()
	})
	defer stop()
	var workers sync.WaitGroup
	for range min(atOnce, len(j.streams), 2*runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			r := j.newReader()
			for number := j.next(ctx); number >= 0; number = j.next(ctx) {
				if err := j.step(ctx, r, number); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return asError(context.Cause(ctx))
	}
	return nil
}

// newReader is for one worker.
func (j *join) newReader() *reader {
	return &reader{cfg: &j.cfg, windows: j.windows(), partitions: j.plan.Partitions}
}

// windows are the window's offsets by partition.
func (j *join) windows() map[int]OffsetSpan {
	out := map[int]OffsetSpan{}
	for _, s := range j.plan.Requests {
		out[s.Partition] = s
	}
	return out
}

// asError keeps what this package says and takes the rest for the end of a context.
func asError(err error) error {
	if CodeOf(err) != "" {
		return err
	}
	return &Error{Code: CodeInterrupted, Err: err}
}

// next takes the stream that is furthest behind, or waits for one; -1: none is
// left.
func (j *join) next(ctx context.Context) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		best, left := -1, false
		for i, s := range j.streams {
			left = left || !s.done
			if !s.busy && !s.done && (best < 0 || s.Stamp < j.streams[best].Stamp) {
				best = i
			}
		}
		if !left || ctx.Err() != nil {
			return -1
		}
		if best >= 0 {
			j.streams[best].busy = true
			return best
		}
		j.turn.Wait()
	}
}

// step reads one page of a stream and joins what it holds.
func (j *join) step(ctx context.Context, r *reader, number int) error {
	s := j.streams[number]
	if s.pages == nil {
		s.pages = j.pages(j.topic(s.Role), OffsetSpan{s.Span.Partition, s.Next, s.Span.To}, pageBytes)
	}
	var got piece
	var err error
	if s.pages.more() {
		got, err = s.pages.next(ctx)
	}
	var p haul
	if err == nil {
		p = r.read(number, s, got.Fetched)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.turn.Broadcast()
	s.busy = false
	if err != nil {
		return err
	}
	switch {
	case got.short:
		j.shortened(s, got.gone)
	case got.gone.End > got.gone.Start:
		j.overtaken(s, got.gone)
	}
	j.take(s, p)
	was := s.Next
	s.Next, s.done = s.pages.at, !s.pages.more()
	if s.Role == requests {
		if s.done {
			j.flush(s)
		}
		j.ledger.Tables[s.Span.Partition].pass(s.Next)
	} else if s.done && s.Cut && !s.Began {
		j.ledger.Held[s.Role] = maxStamp // nothing is left of it
	}
	if s.Next > was { // a stream that was at its end is no news
		j.waiting = nil
		j.tell()
	}
	return nil
}

// overtaken notes what retention took before it was read.
func (j *join) overtaken(s *stream, gone kafka.Range) {
	if s.Role == requests {
		j.flush(s)
		p := s.Span.Partition
		j.ledger.Lost[p] = append(j.ledger.Lost[p], gone)
		j.plan.Gone = append(j.plan.Gone, OffsetSpan{p, gone.Start, gone.End})
		return
	}
	s.Cut, s.Began = true, false
}

// shortened notes what a log had and has not any more at its end.
func (j *join) shortened(s *stream, gone kafka.Range) {
	if s.Role == requests {
		j.absent(s, []kafka.Range{gone})
		return
	}
	j.ledger.Held[s.Role] = maxStamp // whatever answers a request may have stood there
}

// take joins a page.
func (j *join) take(s *stream, p haul) {
	if s.Role == requests {
		j.absent(s, p.absent)
		for _, a := range p.asked {
			j.request(s.Span.Partition, a)
		}
		return
	}
	if p.any && s.Cut && !s.Began {
		j.ledger.Held[s.Role] = max(j.ledger.Held[s.Role], p.began)
	}
	s.Began = s.Began || p.any
	for _, a := range p.answers {
		j.answer(a)
	}
	for _, one := range p.strays {
		j.stray(one)
	}
}

func (j *join) topic(r role) string {
	return [...]string{requests: j.cfg.Topics.Requests, results: j.cfg.Topics.Results, letters: j.cfg.Topics.DeadLetters}[r]
}

// tell reports the progress. j.mu is held.
func (j *join) tell() {
	j.told = time.Now()
	if j.cfg.Progress == nil {
		return
	}
	p := Progress{Waiting: j.waiting}
	for _, s := range j.streams {
		p.Done += s.Next - s.Span.From
		p.Total += s.Span.To - s.Span.From
	}
	j.cfg.Progress(p)
}

// deciding reports now and then that a run is at work whose streams are all read: what
// is left is to decide on what was found and to look it up.
func (j *join) deciding() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if time.Since(j.told) >= lifeSign {
		j.waiting = nil
		j.tell()
	}
}

// trees are those of the streams with records, in the report's order.
func (j *join) trees() []Tree {
	var out []Tree
	for _, s := range j.streams {
		if s.Tree.N > 0 {
			out = append(out, s.Tree.end(j.topic(s.Role), s.Span.Partition))
		}
	}
	return out
}
