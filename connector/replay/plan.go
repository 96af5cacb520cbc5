package replay

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/countersign/countersign/connector/kafka"
)

// Reader is what a plan needs of Kafka. *kafka.Client is one.
type Reader interface {
	finder
	Partitions(ctx context.Context, topic string) (int, error)
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
	// rule; they were left out. Refusals are the first hundred of their places.
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
	spread     int // partitions of the target, where records can't keep their number; zero: they keep it
}

func makePlan(ctx context.Context, r Reader, cfg Config) (*plan, error) {
	p := &plan{cfg: cfg, report: Report{Partitions: []PartitionReport{}, Refusals: []string{}}}
	if err := cfg.Check(); err != nil {
		return p, err
	}
	spans, partitions, err := cfg.Window.find(ctx, r, cfg.Source)
	if err != nil {
		return p, err
	}
	p.partitions = partitions
	if err := p.target(ctx, r); err != nil {
		return p, err
	}
	committed, err := r.Committed(ctx, cfg.Group, cfg.Source)
	if err != nil {
		return p, kafkaFailed(ctx, err)
	}
	var at map[int]int64
	if p.state, at, err = cfg.resume(committed, rand.Text); err != nil {
		return p, err
	}
	there, err := r.Ranges(ctx, cfg.Source)
	if err != nil {
		return p, kafkaFailed(ctx, err)
	}
	p.report.Run = p.state.Run
	for _, s := range spans {
		next := s.From
		if was, began := at[s.Partition]; began {
			next = min(max(was, s.From), max(s.To, s.From))
			p.report.Resumed = true
		}
		if next < there[s.Partition].Start && next < s.To {
			return p, badState("%s/%d begins at offset %d: what is to be replayed from %d on is gone", cfg.Source, s.Partition, there[s.Partition].Start, next)
		}
		p.report.Partitions = append(p.report.Partitions, PartitionReport{Span: s, Next: next})
	}
	return p, nil
}

// target judges the topic that is written to.
func (p *plan) target(ctx context.Context, r Reader) error {
	n, err := r.Partitions(ctx, p.cfg.Target)
	if kafka.CodeOf(err) == kafka.CodeUnknownTopic {
		p.report.Makes = true
		return nil
	}
	if err != nil {
		return kafkaFailed(ctx, err)
	}
	if n < p.partitions {
		p.spread = n
	}
	const policy, clock = "cleanup.policy", "message.timestamp.type"
	settings, err := r.TopicSettings(ctx, p.cfg.Target, policy, clock)
	if err != nil {
		return kafkaFailed(ctx, err)
	}
	if strings.Contains(settings[policy], "compact") {
		return invalid("%s is compacted: results of one key would replace each other", p.cfg.Target)
	}
	if settings[clock] == "LogAppendTime" {
		return invalid("%s has %s=LogAppendTime: the records would lose their timestamps", p.cfg.Target, clock)
	}
	return nil
}
