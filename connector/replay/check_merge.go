package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// merger reads partitions in the order of their records' timestamps, as far as each
// is in order itself: so what is held at once lies close together, and so do its
// answers.
type merger struct {
	check   *check
	page    int // bytes of one
	sources []*source
	first   *source // the one to take from; nil: not known
}

// source is one partition.
type source struct {
	topic     string
	partition int
	end       int64 // where it ended at the start, or below
	cursor    *kafka.Cursor
	records   []kafka.Record
	// keys are the earliest timestamps from each of the records on, in ms. One clock
	// that was ahead so holds up nothing of what stands behind it.
	keys []int64
	next int64 // behind the last record that was taken
	over bool
}

// foresight is how many records at least are known of a partition, so that a clock
// which was ahead shows.
const foresight = 64

func (m *merger) add(topic string, s Span) {
	m.sources = append(m.sources, &source{
		topic: topic, partition: s.Partition, end: s.To, next: s.From, over: s.From >= s.To,
		cursor: m.check.reader.Cursor(topic, s.Partition, s.From, s.To, m.page),
	})
}

// peek is the source of the next record, which is its first; nil: there is none left.
func (m *merger) peek(ctx context.Context) (*source, error) {
	if m.first != nil {
		return m.first, nil
	}
	for _, s := range m.sources {
		for len(s.records) < foresight && !s.over {
			if err := m.check.page(ctx, s, m.page); err != nil {
				return nil, err
			}
		}
		if len(s.records) > 0 && (m.first == nil || s.keys[0] < m.first.keys[0]) {
			m.first = s
		}
	}
	return m.first, nil
}

// take takes the record that peek has found.
func (m *merger) take() kafka.Record {
	s := m.first
	m.first = nil
	rec := s.records[0]
	s.records, s.keys, s.next = s.records[1:], s.keys[1:], rec.Offset+1
	return rec
}

// at is the offset up to which all was taken.
func (s *source) at() int64 {
	if s.over && len(s.records) == 0 {
		return max(s.end, s.next)
	}
	return s.next
}

// append takes a page in.
func (s *source) append(records []kafka.Record) {
	all := make([]kafka.Record, 0, len(s.records)+len(records))
	s.records = append(append(all, s.records...), records...)
	s.keys = make([]int64, len(s.records))
	for i := len(s.keys) - 1; i >= 0; i-- {
		s.keys[i] = s.records[i].Timestamp.UnixMilli()
		if i+1 < len(s.keys) {
			s.keys[i] = min(s.keys[i], s.keys[i+1])
		}
	}
}

// lagging is how long a log may end below where it has ended before.
const lagging = time.Minute

// staysShort: a log does not come back to where it ended.
func staysShort(topic string, partition int, was, is int64) error {
	return &kafka.Error{
		Code: kafka.CodeOutOfRange, Op: fmt.Sprintf("read %s/%d", topic, partition),
		Err: fmt.Errorf("at the start it ended at offset %d or later, and for %s now it ends at %d: has a new leader lost the rest?", was, lagging, is),
	}
}

// page reads on in a partition. A new leader may know for a moment only of an end
// below the one at the start. What lies between is there, and would count as not
// answered or not be looked at, so it is waited for.
func (c *check) page(ctx context.Context, s *source, most int) error {
	from := s.cursor.Offset()
	// Only pauses count, so that brokers which are away meanwhile take nothing of it.
	for paused := time.Duration(0); ; paused += retryPause {
		var page kafka.Fetched
		err := c.patiently(ctx, func() (err error) {
			page, _, err = s.cursor.Next(ctx)
			return err
		})
		if err != nil {
			return err
		}
		at := s.cursor.Offset()
		s.append(page.Records)
		s.over = at >= s.end
		if s.over || at > from {
			if paused > 0 {
				c.tell(nil)
			}
			return nil
		}
		if paused >= lagging {
			return staysShort(s.topic, s.partition, s.end, at)
		}
		c.tell(fmt.Errorf("%s/%d ends at offset %d for now", s.topic, s.partition, at))
		if !waited(ctx, retryPause) {
			return ctx.Err()
		}
		// The cursor may take the end that it has met for the last.
		s.cursor = c.reader.Cursor(s.topic, s.partition, at, s.end, most)
	}
}
