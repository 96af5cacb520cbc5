package audit

import (
	"context"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// plan is what an audit reads, fixed before it begins. Its fields are exported for
// a saved state.
type plan struct {
	Requests []OffsetSpan // by partition
	Gone     []OffsetSpan // of the window, below the log's start
	Results  []OffsetSpan
	Letters  []OffsetSpan
	Frontier map[int]int64 // committed by the group; -1: nothing
	// Behind: the results or dead letters of a partition are read from their log's
	// start, before which there may have been more.
	ResultsCut, LettersCut []bool
	AnswersFrom            time.Time // timestamp from which on answers are read; zero: from the start
	NotEnded               bool      // the window's end is ahead
	Partitions             int       // of the requests
}

func (p *plan) cut(r role, partition int) bool {
	return r == results && p.ResultsCut[partition] || r == letters && p.LettersCut[partition]
}

// newPlan fixes what is read. What the group has committed is asked for first, and
// transactions that are open then are waited for, so that the answers to all of it
// can be read.
func newPlan(ctx context.Context, j *join, now time.Time) (*plan, error) {
	kc, cfg := j.cluster, j.cfg
	held, err := kc.Ranges(ctx, cfg.Topics.Requests)
	if err != nil {
		return nil, kafkaFailed(ctx, err)
	}
	p := &plan{Frontier: map[int]int64{}, Partitions: len(held), NotEnded: cfg.To.After(now)}
	if cfg.pins == nil && !cfg.To.IsZero() && !p.NotEnded {
		// What an open transaction holds may be of the window, which is over by time.
		if held, err = stableRanges(ctx, kc, cfg.Topics.Requests, held); err != nil {
			return nil, err
		}
		p.Partitions = len(held)
	}
	committed, err := kc.Committed(ctx, cfg.Group, cfg.Topics.Requests)
	if err != nil {
		return nil, kafkaFailed(ctx, err)
	}
	for partition, at := range committed {
		p.Frontier[partition] = at.Offset
	}
	if cfg.pins != nil {
		err = p.byPins(cfg, held)
	} else if len(cfg.Offsets) > 0 {
		err = p.byOffsets(cfg, held)
	} else {
		err = p.byTime(ctx, kc, cfg, held)
	}
	if err != nil {
		return nil, err
	}
	from, err := p.answersFrom(ctx, j)
	if err != nil {
		return nil, err
	}
	if err := p.readAnswers(ctx, kc, cfg, from); err != nil {
		return nil, err
	}
	if cfg.pins != nil {
		p.Results = shorten(p.Results, cfg.pins.Results)
		p.Letters = shorten(p.Letters, cfg.pins.Letters)
	}
	return p, nil
}

func (p *plan) byOffsets(cfg Config, held []kafka.Range) error {
	for _, s := range cfg.sortedOffsets() {
		if s.Partition >= len(held) {
			return invalid("%s has %d partitions: there is no partition %d", cfg.Topics.Requests, len(held), s.Partition)
		}
		log := held[s.Partition]
		if s.From > log.End {
			return invalid("partition %d of %s ends at %d: there is no offset %d yet", s.Partition, cfg.Topics.Requests, log.End, s.From)
		}
		if s.To > log.End {
			p.NotEnded = true
		}
		span := OffsetSpan{Partition: s.Partition, From: max(s.From, min(log.Start, s.To)), To: max(min(s.To, log.End), min(log.Start, s.To))}
		if span.From > s.From {
			p.Gone = append(p.Gone, OffsetSpan{Partition: s.Partition, From: s.From, To: span.From})
		}
		p.Requests = append(p.Requests, span)
	}
	return nil
}

// byPins takes the window as an earlier report has it, and what the group had
// worked off then: since, its offsets may have been deleted or set back. What the
// log has lost since is one more gap. What the report says was gone is, where the
// log still begins behind it: a log gets nothing back.
func (p *plan) byPins(cfg Config, held []kafka.Range) error {
	p.NotEnded = cfg.pins.NotEnded
	clear(p.Frontier)
	for _, s := range cfg.pins.WorkedOff {
		p.Frontier[s.Partition] = s.To
	}
	for _, s := range cfg.pins.Gone {
		if s.Partition < len(held) && s.To <= held[s.Partition].Start {
			p.Gone = append(p.Gone, s)
		}
	}
	for _, s := range cfg.pins.Requests {
		if s.Partition >= len(held) {
			return invalid("%s has %d partitions: there is no partition %d", cfg.Topics.Requests, len(held), s.Partition)
		}
		log := held[s.Partition]
		span := OffsetSpan{Partition: s.Partition, From: max(s.From, min(log.Start, s.To)), To: max(min(s.To, log.End), min(log.Start, s.To))}
		if span.From > s.From {
			p.Gone = append(p.Gone, OffsetSpan{Partition: s.Partition, From: s.From, To: span.From})
		}
		p.Requests = append(p.Requests, span)
	}
	return nil
}

func (p *plan) byTime(ctx context.Context, kc Cluster, cfg Config, held []kafka.Range) error {
	for partition, log := range held {
		span, beyond, err := timeSpan(ctx, kc, cfg, partition, log)
		if err != nil {
			return kafkaFailed(ctx, err)
		}
		// Records of the window came meanwhile, and may not even be committed.
		p.NotEnded = p.NotEnded || beyond
		if span.From == log.Start && log.Start > 0 {
			p.Gone = append(p.Gone, OffsetSpan{Partition: partition, From: 0, To: log.Start})
		}
		p.Requests = append(p.Requests, span)
	}
	return nil
}

// timeSpan is what a window by time is of one partition, as far as its log goes;
// beyond: the window goes on behind it.
func timeSpan(ctx context.Context, kc Cluster, cfg Config, partition int, log kafka.Range) (span OffsetSpan, beyond bool, err error) {
	span = OffsetSpan{Partition: partition, From: log.Start, To: log.End}
	if !cfg.From.IsZero() {
		if span.From, err = kc.OffsetAt(ctx, cfg.Topics.Requests, partition, cfg.From); err != nil {
			return span, false, err
		}
	}
	if !cfg.To.IsZero() {
		if span.To, err = kc.OffsetAt(ctx, cfg.Topics.Requests, partition, cfg.To); err != nil {
			return span, false, err
		}
		beyond = span.To > log.End
	}
	// By timestamps out of order the end may be before the beginning, and what is
	// not committed yet is behind the log's end for who reads committed records.
	span.From = max(span.From, log.Start)
	span.To = max(span.From, min(span.To, log.End))
	return span, beyond, nil
}

// answersFrom is from which timestamp on answers are read; zero: from the start.
func (p *plan) answersFrom(ctx context.Context, j *join) (time.Time, error) {
	cfg := j.cfg
	if !cfg.From.IsZero() {
		return cfg.From.Add(-cfg.Skew), nil
	}
	var earliest time.Time
	if len(cfg.Offsets) == 0 {
		return earliest, nil
	}
	for _, s := range p.Requests {
		first, err := j.firstRecord(ctx, cfg.Topics.Requests, s)
		if err != nil {
			return earliest, err
		}
		if first != nil && (earliest.IsZero() || first.Timestamp.Before(earliest)) {
			earliest = first.Timestamp
		}
	}
	if earliest.IsZero() || earliest.UnixMilli() <= 0 {
		return time.Time{}, nil
	}
	return earliest.Add(-cfg.Skew), nil
}

// reachBack has answers read from an earlier timestamp on, to where they end.
func (p *plan) reachBack(ctx context.Context, kc Cluster, cfg Config, from time.Time) error {
	if from.UnixMilli() <= 0 {
		from = time.Time{}
	}
	cfg.AnswersUntil = time.Time{} // the ends stay as they are
	results, letters := p.Results, p.Letters
	if err := p.readAnswers(ctx, kc, cfg, from); err != nil {
		return err
	}
	p.Results, p.Letters = shorten(p.Results, results), shorten(p.Letters, letters)
	return nil
}

// readAnswers has answers read from a timestamp on; zero: from the start. After an
// error the plan is as it was.
func (p *plan) readAnswers(ctx context.Context, kc Cluster, cfg Config, from time.Time) error {
	results, resultsCut, err := answerSpans(ctx, kc, cfg, cfg.Topics.Results, from)
	if err != nil {
		return err
	}
	letters, lettersCut, err := answerSpans(ctx, kc, cfg, cfg.Topics.DeadLetters, from)
	if err != nil {
		return err
	}
	p.AnswersFrom, p.Results, p.ResultsCut, p.Letters, p.LettersCut = from, results, resultsCut, letters, lettersCut
	return nil
}

// stableRanges is what a topic's partitions hold when every transaction has ended that
// is open in them now.
func stableRanges(ctx context.Context, kc Cluster, topic string, held []kafka.Range) ([]kafka.Range, error) {
	for partition := range held {
		if err := kc.AwaitStable(ctx, topic, partition); err != nil {
			return nil, kafkaFailed(ctx, err)
		}
	}
	held, err := kc.Ranges(ctx, topic)
	return held, kafkaFailed(ctx, err)
}

// answerSpans is what is read of a topic with answers, and of which partitions
// retention may have taken something of the window.
func answerSpans(ctx context.Context, kc Cluster, cfg Config, topic string, from time.Time) ([]OffsetSpan, []bool, error) {
	held, err := kc.Ranges(ctx, topic)
	if err != nil {
		return nil, nil, kafkaFailed(ctx, err)
	}
	if held, err = stableRanges(ctx, kc, topic, held); err != nil {
		return nil, nil, err
	}
	var spans []OffsetSpan
	var cut []bool
	for partition, log := range held {
		span := OffsetSpan{Partition: partition, From: log.Start, To: log.End}
		if !from.IsZero() {
			if span.From, err = kc.OffsetAt(ctx, topic, partition, from); err != nil {
				return nil, nil, kafkaFailed(ctx, err)
			}
		}
		if !cfg.AnswersUntil.IsZero() {
			if span.To, err = kc.OffsetAt(ctx, topic, partition, cfg.AnswersUntil.Add(cfg.Skew)); err != nil {
				return nil, nil, kafkaFailed(ctx, err)
			}
		}
		span.From = max(span.From, log.Start)
		span.To = max(span.From, min(span.To, log.End))
		spans = append(spans, span)
		cut = append(cut, span.From == log.Start && log.Start > 0)
	}
	return spans, cut, nil
}

// shorten ends spans where others end; nil: not. A partition that the others lack
// is newer than they are.
func shorten(spans, ends []OffsetSpan) []OffsetSpan {
	if ends == nil {
		return spans
	}
	spans = spans[:min(len(spans), len(ends))]
	for i := range spans {
		// A time that nothing was behind is found at a later end as the log grows.
		spans[i].From = min(spans[i].From, ends[i].To)
		spans[i].To = max(spans[i].From, min(spans[i].To, ends[i].To))
	}
	return spans
}
