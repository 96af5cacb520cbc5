package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// lagging is for how long a log that ends too early is waited for.
const lagging = time.Minute

// pages reads a span of one log, whatever becomes of the log meanwhile. It belongs to
// one goroutine at a time.
type pages struct {
	join   *join
	topic  string
	span   OffsetSpan
	most   int   // bytes of a page
	at     int64 // what is still to be read begins here
	cursor *kafka.Cursor
}

// piece is what was read of a span, or why nothing was.
type piece struct {
	kafka.Fetched
	// gone was to be read and is not there any more. Nothing was read then.
	gone kafka.Range
	// short: it is gone because the log ends before it. Otherwise retention has
	// taken it.
	short bool
}

func (j *join) pages(topic string, s OffsetSpan, most int) *pages {
	return &pages{join: j, topic: topic, span: s, most: most, at: s.From}
}

// more reports whether the span's end is ahead.
func (p *pages) more() bool { return p.at < p.span.To }

// next is the next page. A span's end was stable when the plan was made: where the log
// ends below it, its leader has changed and does not know yet how far it is. That is
// waited for, because all that stands there may be as it was; but not for ever, because
// it may be lost.
func (p *pages) next(ctx context.Context) (piece, error) {
	for waited := time.Duration(0); ; waited += patience {
		got, more, err := p.fetch(ctx)
		end := got.LastStable
		switch {
		case kafka.CodeOf(err) == kafka.CodeOutOfRange:
			log, err := p.held(ctx)
			if err != nil {
				return piece{}, err
			}
			if log.Start > p.at {
				return p.skip(min(p.span.To, log.Start)), nil
			}
			end = min(log.End, p.at)
		case err != nil:
			return piece{}, kafkaFailed(ctx, err)
		case more:
			p.at = p.cursor.Offset()
			return piece{Fetched: got}, nil
		}
		if waited >= lagging || p.join.endsFor(p.topic, p.span.Partition, p.at) {
			p.join.endFor(p.topic, p.span.Partition, p.at)
			out := p.skip(p.span.To)
			out.short = true
			return out, nil
		}
		err = p.join.pause(ctx, &kafka.Error{
			Code: kafka.CodeUnavailable, Op: "read " + coordinates(p.topic, p.span.Partition, p.at),
			Err: fmt.Errorf("the log ends at %d, below %d that it had: its leader is waited for", end, p.span.To),
		})
		if err != nil {
			return piece{}, err
		}
	}
}

// skip goes on at an offset.
func (p *pages) skip(to int64) piece {
	gone := kafka.Range{Start: p.at, End: to}
	p.at, p.cursor = to, nil
	return piece{gone: gone}
}

// logName is one partition.
type logName struct {
	topic     string
	partition int
}

// endFor notes that a log ends for good, so that nobody waits for it again.
func (j *join) endFor(topic string, partition int, at int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ends == nil {
		j.ends = map[logName]int64{}
	}
	name := logName{topic, partition}
	if end, known := j.ends[name]; !known || at < end {
		j.ends[name] = at
	}
}

// endsFor reports whether a log was found to end at an offset or below.
func (j *join) endsFor(topic string, partition int, at int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	end, known := j.ends[logName{topic, partition}]
	return known && end <= at
}

func (p *pages) fetch(ctx context.Context) (got kafka.Fetched, more bool, err error) {
	if p.cursor == nil {
		p.cursor = p.join.cluster.Cursor(p.topic, p.span.Partition, p.at, p.span.To, p.most)
	}
	err = p.join.patiently(ctx, func() (err error) {
		got, more, err = p.cursor.Next(ctx)
		return err
	})
	return got, more, err
}

// held is what the log holds now.
func (p *pages) held(ctx context.Context) (kafka.Range, error) {
	held, err := p.join.ranges(ctx, p.topic)
	if err != nil {
		return kafka.Range{}, err
	}
	if p.span.Partition >= len(held) {
		return kafka.Range{}, nil
	}
	return held[p.span.Partition], nil
}

// ranges is what a topic's logs hold now. Brokers that are away are waited for.
func (j *join) ranges(ctx context.Context, topic string) (held []kafka.Range, err error) {
	err = j.patiently(ctx, func() (err error) {
		held, err = j.cluster.Ranges(ctx, topic)
		return err
	})
	return held, kafkaFailed(ctx, err)
}

// firstRecord is the first data record of a span; nil: there is none any more.
func (j *join) firstRecord(ctx context.Context, topic string, s OffsetSpan) (*kafka.Record, error) {
	for p := j.pages(topic, s, 64<<10); p.more(); {
		got, err := p.next(ctx)
		if err != nil {
			return nil, err
		}
		if len(got.Records) > 0 {
			return &got.Records[0], nil
		}
	}
	return nil, nil //nolint:nilnil // nothing is there
}
