package redrive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

const (
	maxBatch      = 200     // letters that are sent at once
	maxBatchBytes = 4 << 20 // of these, about
)

// job is one survey or run.
type job struct {
	cfg        Config
	ranges     []kafka.Range // of the dead letters, pinned
	partitions int           // of the requests
	journal    *journal
	report     Report
}

// Survey says what Run would do with the dead letters that are there now. It
// writes nothing and takes no lock, so a run that is under way may change the
// answer. The error, if any, is an *Error.
func Survey(ctx context.Context, r Reader, cfg Config) (Report, error) {
	j, err := survey(ctx, r, cfg)
	return j.report, err
}

func survey(ctx context.Context, r Reader, cfg Config) (*job, error) {
	j := &job{cfg: cfg, journal: newJournal(), report: Report{Refused: map[Reason]int{}}}
	if err := cfg.Check(); err != nil {
		return j, err
	}
	var err error
	if j.ranges, err = r.Ranges(ctx, cfg.Topics.DeadLetters); err != nil {
		return j, kafkaFailed(ctx, err)
	}
	requests, err := r.Ranges(ctx, cfg.Topics.Requests)
	if err != nil {
		return j, kafkaFailed(ctx, err)
	}
	j.partitions = len(requests)
	if err := j.journal.read(ctx, r, cfg.Topics.Journal); err != nil {
		return j, err
	}
	planned := 0
	return j, j.walk(ctx, r, func(l letter) (bool, error) {
		j.report.seen(l)
		switch {
		case l.verdict != verdictRedrive && l.verdict != verdictPark:
		case j.cfg.Max > 0 && planned == j.cfg.Max:
			j.report.Capped++
		default:
			planned++
			j.report.add(l)
		}
		return true, nil
	})
}

// walk judges the dead letters of the pinned ranges one after the other, until
// each returns false or an error.
func (j *job) walk(ctx context.Context, r Reader, each func(l letter) (more bool, err error)) error {
	taken := marks{}
	for p, at := range j.ranges {
		for rec, err := range r.Scan(ctx, j.cfg.Topics.DeadLetters, p, at.Start, at.End) {
			if err != nil {
				return kafkaFailed(ctx, err)
			}
			l := j.judge(rec, taken, time.Now())
			if l.verdict == verdictRedrive || l.verdict == verdictPark {
				taken[l.mark] = true
			}
			if more, err := each(l); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// Run redrives. The report says what was done, also beside an error, which is an
// *Error. Requests and their marks in the journal are one transaction, so a
// reader under read_committed sees each dead letter redriven once, whatever ends
// a run and whenever. Where ctx ends, the batch in hand is finished first.
func Run(ctx context.Context, c Cluster, cfg Config) (Report, error) {
	if cfg.Group == "" {
		return Report{}, invalid("the group has no name")
	}
	j, err := survey(ctx, c, cfg)
	if err != nil {
		return Report{}, err
	}
	r := &run{job: j, cluster: c, planned: j.report.Requests() + j.report.Parked, refused: marks{}}
	plan := j.report
	j.report.Redriven, j.report.Parked, j.report.Calls = nil, 0, Calls{}
	if r.planned == 0 {
		return j.report, nil
	}
	r.progress()
	if err := r.topics(ctx, plan.Parked > 0); err != nil {
		return j.report, err
	}
	err = locked(ctx, c, kafka.GroupConfig{
		Group: cfg.Group, Topic: cfg.Topics.Journal, SessionTimeout: sessionTimeout,
	}, r.pass)
	return j.report, err
}

// run is one Run behind its survey.
type run struct {
	*job
	cluster Cluster
	planned int
	done    int
	due     time.Time // when the next batch may be sent
	commits int
	pending []letter // sent last, and whether they arrived is not known
	refused marks    // by Kafka
}

func (r *run) progress() {
	if r.cfg.Progress != nil {
		r.cfg.Progress(Progress{Planned: r.planned, Done: r.done})
	}
}

// topics makes what has to be there before anything is sent. It asks for no
// more than is missing, since the right to make topics is not everybody's.
func (r *run) topics(ctx context.Context, parking bool) error {
	var missing []kafka.TopicSpec
	if !r.journal.exists {
		// Kept for ever: a mark that is gone before its dead letter would have it
		// redriven again.
		missing = append(missing, kafka.TopicSpec{
			Name: r.cfg.Topics.Journal, Partitions: 1, Configs: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"},
		})
	}
	if parking {
		switch _, err := r.cluster.Ranges(ctx, r.cfg.Topics.Parking); {
		case kafka.CodeOf(err) == kafka.CodeUnknownTopic:
			missing = append(missing, kafka.TopicSpec{Name: r.cfg.Topics.Parking, Partitions: len(r.ranges)})
		case err != nil:
			return kafkaFailed(ctx, err)
		}
	}
	return kafkaFailed(ctx, r.cluster.EnsureTopics(ctx, missing))
}

// pass goes through the dead letters once, under the lock. It begins anew with
// each lock: somebody else may have held it in between. Behind the fence the
// journal says for good how this run's last transaction ended.
func (r *run) pass(ctx context.Context, out transactor) error {
	if err := out.Fence(ctx); err != nil {
		return kafkaFailed(ctx, err)
	}
	if err := r.journal.read(ctx, r.cluster, r.cfg.Topics.Journal); err != nil {
		return err
	}
	r.settle()
	var batch []letter
	var bytes int64
	size := r.batchSize()
	flush := func() error {
		err := r.flush(ctx, out, batch)
		batch, bytes = batch[:0], 0
		return err
	}
	err := r.walk(ctx, r.cluster, func(l letter) (bool, error) {
		if r.cfg.Max > 0 && r.done >= r.cfg.Max {
			return false, nil
		}
		if l.verdict != verdictRedrive && l.verdict != verdictPark || r.refused[l.mark] {
			return true, nil
		}
		batch, bytes = append(batch, l), bytes+l.rec.Size()
		full := r.cfg.Max > 0 && r.done+len(batch) >= r.cfg.Max
		if !full && len(batch) < size && bytes < maxBatchBytes {
			return true, nil
		}
		return true, flush()
	})
	if err == nil {
		err = flush()
	}
	return err
}

// batchSize is how many letters go out at once: a tenth of a second's.
func (r *run) batchSize() int {
	if r.cfg.Rate == 0 {
		return maxBatch
	}
	return min(max(int(r.cfg.Rate/10), 1), maxBatch)
}

// flush sends a batch and notes it in the journal, in one transaction. A letter
// that Kafka refuses for good is left out.
func (r *run) flush(ctx context.Context, out transactor, batch []letter) error {
	if len(batch) == 0 {
		return nil
	}
	if err := r.pace(ctx, len(batch)); err != nil {
		return err
	}
	ctx, release := grace(ctx)
	defer release()
	for len(batch) > 0 {
		now := time.Now()
		msgs := make([]kafka.Message, 0, 2*len(batch))
		for _, l := range batch {
			m := r.message(l, now)
			msgs = append(msgs, m, r.note(l, m.Topic, now))
		}
		err := out.Transact(ctx, msgs, r.position())
		poison, refused := errors.AsType[*kafka.PoisonError](err)
		if err != nil && !refused {
			r.pending = batch
			return kafkaFailed(ctx, err)
		}
		if !refused {
			r.count(batch)
			break
		}
		batch = r.without(batch, poison.Indexes)
	}
	r.progress()
	return nil
}

// count takes letters for done.
func (r *run) count(batch []letter) {
	for _, l := range batch {
		r.journal.marks[l.mark] = true
		r.report.add(l)
		r.done++
	}
}

// settle counts what of the pending letters did arrive. A mark of another run
// does not count: it may have sent the same letters since.
func (r *run) settle() {
	arrived := slices.DeleteFunc(r.pending, func(l letter) bool { return !r.journal.own[l.mark] })
	r.pending = nil
	if len(arrived) > 0 {
		r.count(arrived)
		r.progress()
	}
}

// without refuses the letters that have a message among the indexes, two a
// letter, and returns the rest.
func (r *run) without(batch []letter, indexes []int) []letter {
	rest := make([]letter, 0, len(batch))
	for i, l := range batch {
		if slices.Contains(indexes, 2*i) || slices.Contains(indexes, 2*i+1) {
			r.report.refuse(l.refused(ReasonTooLarge, "Kafka refuses the record for good"))
			r.refused[l.mark] = true
			continue
		}
		rest = append(rest, l)
	}
	return rest
}

// position is what a transaction commits for the journal: nobody reads it, but
// how one ended whose answer was lost is seen by it, so no two are the same.
func (r *run) position() kafka.Position {
	r.commits++
	return kafka.Position{Offset: r.journal.next, Metadata: fmt.Sprintf("countersign-redrive.1/%s/%d", r.journal.run, r.commits)}
}

// finishTime is how long a transaction that is under way at an interruption may
// take to end. Where it takes longer, the journal says how it ended.
const finishTime = 5 * time.Second

// grace is a context that outlives the end of ctx by finishTime.
func grace(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(finishTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// pace waits until n more may be sent. Time that was lost is not made up for.
func (r *run) pace(ctx context.Context, n int) error {
	if now := time.Now(); r.due.Before(now) {
		r.due = now
	}
	timer := time.NewTimer(time.Until(r.due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	if r.cfg.Rate > 0 {
		r.due = r.due.Add(time.Duration(float64(n) / r.cfg.Rate * float64(time.Second)))
	}
	return kafkaFailed(ctx, ctx.Err())
}
