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
	sources []*source
}

// source is one partition.
type source struct {
	topic     string
	partition int
	end       int64 // where it ended at the start, or below
	cursor    *kafka.Cursor
	records   []kafka.Record
	next      int64 // behind the last record that was taken
	over      bool
}

func (m *merger) add(topic string, s Span) {
	m.sources = append(m.sources, &source{
		topic: topic, partition: s.Partition, end: s.To, next: s.From,
		cursor: m.check.reader.Cursor(topic, s.Partition, s.From, s.To, pageBytes),
	})
}

// next takes the record with the earliest timestamp; false: there is none left.
func (m *merger) next(ctx context.Context) (kafka.Record, bool, error) {
	var first *source
	for _, s := range m.sources {
		for len(s.records) == 0 && !s.over {
			if err := m.check.page(ctx, s); err != nil {
				return kafka.Record{}, false, err
			}
		}
		if len(s.records) > 0 && (first == nil || s.records[0].Timestamp.Before(first.records[0].Timestamp)) {
			first = s
		}
	}
	if first == nil {
		return kafka.Record{}, false, nil
	}
	rec := first.records[0]
	first.records, first.next = first.records[1:], rec.Offset+1
	return rec, true, nil
}

// lagging is how long a log may end below where it has ended before.
const lagging = time.Minute

// page reads on in a partition. A new leader may know for a moment only of an end
// below the one at the start. What lies between is there, and would count as not
// answered or not be looked at, so it is waited for.
func (c *check) page(ctx context.Context, s *source) error {
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
		s.records = page.Records
		at := s.cursor.Offset()
		s.over = at >= s.end
		if s.over || at > from {
			if paused > 0 {
				c.tell(nil)
			}
			return nil
		}
		if paused >= lagging {
			return &kafka.Error{
				Code: kafka.CodeOutOfRange, Op: fmt.Sprintf("read %s/%d", s.topic, s.partition),
				Err: fmt.Errorf("at the start it ended at offset %d or later, and for %s now it ends at %d: has a new leader lost the rest?", s.end, lagging, at),
			}
		}
		c.tell(fmt.Errorf("%s/%d ends at offset %d for now", s.topic, s.partition, at))
		if !waited(ctx, retryPause) {
			return ctx.Err()
		}
		// The cursor may take the end that it has met for the last.
		s.cursor = c.reader.Cursor(s.topic, s.partition, at, s.end, pageBytes)
	}
}
