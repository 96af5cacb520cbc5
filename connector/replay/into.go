package replay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

const (
	// How long a run that was killed is still taken for a member of the group.
	sessionTimeout = 10 * time.Second
	// How long the group is waited for where nothing is known to be wrong.
	patience = time.Minute
	// How long to wait before brokers are asked again that have not answered for
	// longer than package kafka is patient.
	retryPause = time.Second
)

var (
	errTaken   = errors.New("another replay of this group is under way: one at a time")
	errNotMade = errors.New("it was made, and the brokers don't know of it")
	errSilence = errors.New("the consumer group does not answer, or another member keeps partitions")
)

// Into writes the records of the window to the target, each partition in order, and
// returns when all are there. The report says what was done, also beside an error,
// which is an *Error. Where ctx ends, and where the process is killed, a later run
// of the same configuration goes on without a gap or a repetition, as a reader of
// committed records sees it. Brokers that go away are waited for, and for a minute a
// log that ends earlier than at the start, as it may behind a new leader.
func Into(ctx context.Context, c Cluster, cfg Config) (Report, error) {
	p, err := makePlan(ctx, c, cfg)
	if err != nil {
		return p.report, err
	}
	r := &run{plan: p, cluster: c}
	r.tell(nil)
	if p.report.Left() == 0 {
		return p.report, nil
	}
	if p.report.Makes {
		if err := p.make(ctx, c); err != nil {
			return p.report, err
		}
	}
	err = r.join(ctx)
	return r.reported(), err
}

// run is one Into behind its plan.
type run struct {
	*plan
	cluster Cluster

	pacing sync.Mutex
	due    time.Time // when the next batch may be sent

	mu      sync.Mutex // of all below, and of plan.report
	round   *round     // the group's generation; nil: there is none
	verdict error      // why the run ended before its end
	end     context.CancelCauseFunc
	silent  *time.Timer
}

// round is one generation of the group, in which this member has every partition.
type round struct {
	total   int
	done    int  // partitions with nothing left
	partial bool // not every partition is ours
}

func (r *run) reported() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

// join works as the group's only member until all is written.
func (r *run) join(ctx context.Context) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.end = cancel
	r.silent = time.AfterFunc(patience, func() { r.fail(&Error{Code: CodeBusy, Err: errSilence}) })
	defer r.silent.Stop()
	err := r.cluster.RunGroup(inner, kafka.GroupConfig{Group: r.cfg.Group, Topic: r.cfg.Source, SessionTimeout: sessionTimeout}, r)
	if err != nil {
		return kafkaFailed(ctx, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.verdict != nil:
		return r.verdict
	case r.report.Left() == 0:
		return nil
	default:
		return &Error{Code: CodeInterrupted, Err: context.Cause(inner)}
	}
}

// errFinished ends the membership once everything is written.
var errFinished = errors.New("all is written")

// fail ends the run. The first reason counts.
func (r *run) fail(err error) {
	r.mu.Lock()
	if r.verdict == nil {
		r.verdict = err
	}
	r.mu.Unlock()
	r.end(err)
}

// Assigned implements kafka.Handler. A generation in which others have partitions
// is not worked in: either they leave, as all do that lack partition 0, or we do.
func (r *run) Assigned(a kafka.Assignment) {
	partial := len(a.Partitions) < a.Total
	if partial {
		r.silent.Reset(patience)
	} else {
		r.silent.Stop()
	}
	r.mu.Lock()
	r.round = &round{total: a.Total, partial: partial}
	grown := a.Total != r.partitions
	r.mu.Unlock()
	switch {
	case len(a.Partitions) == 0 || a.Partitions[0] != 0:
		r.fail(&Error{Code: CodeBusy, Err: errTaken})
	case grown:
		r.fail(badState("%s has %d partitions now, and had %d at the start: run it again", r.cfg.Source, a.Total, r.partitions))
	}
}

// Revoked implements kafka.Handler.
func (r *run) Revoked() { r.silent.Reset(patience) }

// Unjoined implements kafka.Handler. Brokers that are away are waited for.
func (r *run) Unjoined(err error) {
	if kafka.Refused(err) || kafka.CodeOf(err) == kafka.CodeInvalid {
		r.fail(&Error{Code: CodeKafka, Err: err}) // waiting changes nothing
		return
	}
	r.silent.Reset(patience)
	r.tell(err)
}

// Run implements kafka.Handler: it writes one partition.
func (r *run) Run(ctx context.Context, s *kafka.Session) error {
	err := r.partition(ctx, s)
	switch kafka.CodeOf(err) {
	case kafka.CodeFenced, kafka.CodeOwnershipLost:
		return nil // the group is rearranged: join again
	}
	if err != nil && ctx.Err() == nil {
		if CodeOf(err) == "" {
			err = &Error{Code: CodeKafka, Err: err}
		}
		r.fail(err)
	}
	// A session that returns early would end the others'.
	<-ctx.Done()
	return nil
}

// partition brings a partition's progress to this run's epoch and writes what is
// left of it. The last one that is done ends the run.
func (r *run) partition(ctx context.Context, s *kafka.Session) error {
	r.mu.Lock()
	now, index := r.round, r.indexOf(s.Partition())
	r.mu.Unlock()
	if now.partial {
		return nil
	}
	if index >= 0 {
		if err := r.begin(ctx, s, index); err != nil {
			return err
		}
		if err := r.write(ctx, s, index); err != nil || ctx.Err() != nil {
			return err
		}
	}
	r.mu.Lock()
	now.done++
	all := now.done == now.total
	r.mu.Unlock()
	if all {
		r.end(errFinished)
	}
	return nil
}

// indexOf is where a partition stands in the report; -1: it is not of the window.
func (r *run) indexOf(partition int) int {
	for i, p := range r.report.Partitions {
		if p.Partition == partition {
			return i
		}
	}
	return -1
}

// begin reads behind the fence how far a partition is, and where that is not of
// this run's epoch, sets it to the window's start.
func (r *run) begin(ctx context.Context, s *kafka.Session, index int) error {
	if err := s.Fence(ctx); err != nil {
		return err
	}
	pos, err := s.Position(ctx)
	if err != nil {
		return err
	}
	was, ours := readState(pos.Metadata)
	switch {
	case pos.Offset >= 0 && !ours, was.Epoch > r.state.Epoch, was.Epoch == r.state.Epoch && was.Run != r.state.Run:
		return &Error{Code: CodeBusy, Err: errTaken}
	case pos.Offset >= 0 && was.Epoch == r.state.Epoch:
		r.mu.Lock()
		r.refuse(s.Partition(), was.Refused) // what was counted and not committed comes again
		r.taken[s.Partition()] = was.Taken
		r.mu.Unlock()
		r.advance(index, pos.Offset, 0)
		return nil
	}
	r.mu.Lock()
	from := r.report.Partitions[index].From
	r.mu.Unlock()
	return r.patiently(ctx, func() error {
		return s.Transact(ctx, nil, kafka.Position{Offset: from, Metadata: r.metadata(index, 0)})
	})
}

// metadata is what is committed beside a partition's offset and as many records.
func (r *run) metadata(index int, records int64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, partition := r.state, r.report.Partitions[index].Partition
	s.End, s.Refused, s.Taken = r.ends[partition], r.refused[partition], r.taken[partition]+taken(records)
	return s.metadata()
}

// advance takes down how far a partition is.
func (r *run) advance(index int, next, written int64) {
	r.mu.Lock()
	p := &r.report.Partitions[index]
	p.Next = min(max(next, p.From), p.To)
	r.report.Written += written
	r.taken[p.Partition] += taken(written)
	r.mu.Unlock()
	r.tell(nil)
}

// tell reports the progress.
func (r *run) tell(waiting error) {
	if r.cfg.Progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg.Progress(r.report.progress(waiting))
}

// patiently repeats do while brokers are away, until ctx ends.
func (r *run) patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if kafka.CodeOf(err) != kafka.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		r.tell(err)
		if !waited(ctx, retryPause) {
			return err
		}
	}
}

// waited reports false when ctx ended first.
func waited(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
