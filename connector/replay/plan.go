package replay

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// Reader is what a plan needs of Kafka. *kafka.Client is one.
type Reader interface {
	finder
	Partitions(ctx context.Context, topic string) (int, error)
	Cursor(topic string, partition int, from, end int64, maxBytes int) *kafka.Cursor
	HighWatermark(ctx context.Context, topic string, partition int) (int64, error)
	Committed(ctx context.Context, group, topic string) (map[int]kafka.Position, error)
	TopicSettings(ctx context.Context, topic string, names ...string) (map[string]string, error)
}

// Cluster is what Into needs of Kafka. *kafka.Client is one.
type Cluster interface {
	Reader
	EnsureTopics(ctx context.Context, specs []kafka.TopicSpec) error
	RunGroup(ctx context.Context, cfg kafka.GroupConfig, h kafka.Handler) error
}

// Report is what Into did, or what Plan says is to be done.
type Report struct {
	// Run names the replay, in the header HeaderRun too. One that was resumed keeps
	// its name. Empty: it would get one.
	Run     string `json:"run"`
	Resumed bool   `json:"resumed"` // something was written before
	// Partitions are those of the window.
	Partitions []PartitionReport `json:"partitions"`
	// Written are the records that this run wrote, so far as it was told.
	Written int64 `json:"written"`
	// Refused are records that the target refuses for good, for their size as a
	// rule; they were left out. Where a replay goes on, those that were left out before
	// count, too. Refusals are the first hundred places that this run met.
	Refused  int64    `json:"refused"`
	Refusals []string `json:"refusals"`
	// Makes: the target does not exist and is made.
	Makes bool `json:"makes_target"`
}

// PartitionReport is how far a partition is.
type PartitionReport struct {
	Span
	Next int64 `json:"next"` // the offset to go on from; To: nothing is left
}

// Left is how many offsets are still to be read.
func (r *Report) Left() (n int64) {
	for _, p := range r.Partitions {
		n += max(p.To-p.Next, 0)
	}
	return n
}

func (r *Report) progress(waiting error) Progress {
	at := Progress{Waiting: waiting}
	for _, p := range r.Partitions {
		at.Total += p.To - p.From
		at.Done += p.Next - p.From
	}
	return at
}

// Plan says what Into would do. It writes nothing. The error, if any, is an
// *Error.
func Plan(ctx context.Context, r Reader, cfg Config) (Report, error) {
	p, err := makePlan(ctx, r, cfg)
	if err == nil && !p.report.Resumed {
		p.report.Run = ""
	}
	return p.report, err
}

// plan is what is known before anything is written.
type plan struct {
	cfg        Config
	report     Report
	state      state
	partitions int // of the source
	// Where the window ends for good, by partition: what comes later is not of it. Nil:
	// where the log does.
	ends    map[int]*int64
	refused map[int]int64 // records left out, by partition
	taken   map[int]int64 // offsets of the target, by partition, in all of the replay's runs
	// What the first records tell that are to be copied. Zero and empty: there are none,
	// or they don't tell it.
	oldest   time.Time
	requests []string // topics
	spread   int      // partitions of the target, where records can't keep their number; zero: they keep it
}

func makePlan(ctx context.Context, r Reader, cfg Config) (*plan, error) {
	p := &plan{cfg: cfg, ends: map[int]*int64{}, refused: map[int]int64{}, taken: map[int]int64{}, report: Report{Partitions: []PartitionReport{}, Refusals: []string{}}}
	if err := cfg.Check(); err != nil {
		return p, err
	}
	spans, log, err := cfg.Window.pin(ctx, r, cfg.Source)
	if err != nil {
		return p, err
	}
	p.partitions = len(log)
	committed, err := r.Committed(ctx, cfg.Group, cfg.Source)
	if err != nil {
		return p, kafkaFailed(ctx, err)
	}
	var at map[int]progress
	if p.state, at, err = cfg.resume(committed, rand.Text); err != nil {
		return p, err
	}
	p.report.Run = p.state.Run
	for _, s := range spans {
		was, began := at[s.Partition]
		if err := p.add(s, log[s.Partition], was, began); err != nil {
			return p, err
		}
	}
	if err := p.look(ctx, r); err != nil {
		return p, err
	}
	if err := p.holds(ctx, r); err != nil {
		return p, err
	}
	return p, p.others(ctx, r)
}

// add takes a partition into the plan: its span of the window, what the log holds,
// and how far it is where it began.
func (p *plan) add(s Span, there kafka.Range, was progress, began bool) error {
	next, needed := s.From, s.From < s.To
	if began {
		// A window by times begins where the log does by now, so what the log has lost
		// since the last run shows in the progress alone.
		next, needed = was.next, !was.complete()
		p.report.Resumed = true
		p.refuse(s.Partition, was.Refused)
		p.taken[s.Partition] = was.Taken
	}
	if needed && next < there.Start {
		return p.gone(s.Partition, next)
	}
	if len(p.cfg.Window.Offsets) > 0 || !p.cfg.Window.To.IsZero() && s.To < there.End {
		p.ends[s.Partition] = &s.To
	}
	p.report.Partitions = append(p.report.Partitions, PartitionReport{Span: s, Next: min(max(next, s.From), s.To)})
	return nil
}

// gone: the log has lost what is to be copied next.
func (p *plan) gone(partition int, next int64) error {
	return badState("%s/%d has no offset %d any more: what is to be replayed from there on is gone (to begin anew takes what is left)",
		p.cfg.Source, partition, next)
}

// refuse takes down how many records of a partition were left out.
func (p *plan) refuse(partition int, n int64) {
	p.report.Refused += n - p.refused[partition]
	p.refused[partition] = n
}
