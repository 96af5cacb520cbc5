package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// The headers that a replayed record has beside its own. Where it was replayed
// before, they stand behind those of that time.
const (
	// HeaderRun is the name of the run: who reads it knows that nothing has happened
	// just now.
	HeaderRun = "countersign-replay"
	// HeaderSource says where the record stood: topic/partition@offset.
	HeaderSource = "countersign-replay-source"
)

const (
	maxBatch      = 500     // records of a transaction
	maxBatchBytes = 4 << 20 // of these, about
	pageBytes     = 1 << 20
	fetchWait     = 250 * time.Millisecond
	maxRefusals   = 100
)

// write writes what is left of a partition.
func (r *run) write(ctx context.Context, s *kafka.Session, index int) error {
	r.mu.Lock()
	at := r.report.Partitions[index]
	r.mu.Unlock()
	short := time.Duration(0) // only pauses count: brokers that are away take nothing of it
	for next := at.Next; next < at.To && ctx.Err() == nil; {
		var page kafka.Fetched
		err := r.patiently(ctx, func() (err error) {
			page, err = s.Fetch(ctx, next, pageBytes, fetchWait)
			return err
		})
		if kafka.CodeOf(err) == kafka.CodeOutOfRange {
			return r.gone(at.Partition, next)
		}
		if err != nil {
			return err
		}
		if page.Next == next {
			// The window ends below the last stable offset, so this passes, unless a new
			// leader has lost what was there.
			if short >= lagging {
				// The progress stays as it is.
				return &Error{Code: CodeKafka, Err: staysShort(r.cfg.Source, at.Partition, at.To, page.LastStable)}
			}
			short += retryPause
			r.tell(fmt.Errorf("%s/%d ends at offset %d for now", r.cfg.Source, at.Partition, page.LastStable))
			waited(ctx, retryPause)
			continue
		}
		short = 0
		if next, err = r.page(ctx, s, index, page, at.To); err != nil {
			return err
		}
	}
	return nil
}

// page writes a page's records below an offset, batch by batch, and returns where
// to go on.
func (r *run) page(ctx context.Context, s *kafka.Session, index int, page kafka.Fetched, to int64) (next int64, err error) {
	records := page.Records
	if end := slices.IndexFunc(records, func(rec kafka.Record) bool { return rec.Offset >= to }); end >= 0 {
		records = records[:end]
	}
	empty := len(records) == 0
	for len(records) > 0 {
		n := r.batch(records)
		if err := r.pace(ctx, n); err != nil {
			return 0, err
		}
		next = records[n-1].Offset + 1
		if n == len(records) {
			next = min(page.Next, to)
		}
		if err := r.send(ctx, s, index, records[:n], next); err != nil {
			return 0, err
		}
		records = records[n:]
	}
	if next = min(page.Next, to); next == to && empty {
		// Behind the last record are a transaction's markers. What is done must not look
		// as if something were missing, once the log has lost these.
		return next, r.send(ctx, s, index, nil, next)
	}
	r.advance(index, next, 0)
	return next, nil
}

// batch is how many records go out at once: a tenth of a second's, within limits.
func (r *run) batch(records []kafka.Record) int {
	most := maxBatch
	if r.cfg.Rate > 0 {
		most = min(max(int(r.cfg.Rate/10), 1), maxBatch)
	}
	bytes := int64(0)
	for i := range records {
		bytes += records[i].Size()
		if i > 0 && (i == most || bytes > maxBatchBytes) {
			return i
		}
	}
	return len(records)
}

// send writes a batch and the progress behind it, in one transaction. A record
// that the target refuses for good is left out.
func (r *run) send(ctx context.Context, s *kafka.Session, index int, records []kafka.Record, next int64) error {
	for {
		pos := kafka.Position{Offset: next, Metadata: r.metadata(index, int64(len(records)))}
		msgs := make([]kafka.Message, len(records))
		for i := range records {
			msgs[i] = r.message(&records[i])
		}
		err := r.patiently(ctx, func() error { return s.Transact(ctx, msgs, pos) })
		poison, refused := errors.AsType[*kafka.PoisonError](err)
		if !refused {
			if err == nil {
				r.advance(index, next, int64(len(records)))
			}
			return err
		}
		records = r.without(records, poison.Indexes)
	}
}

// without counts records as refused and returns the rest.
func (r *run) without(records []kafka.Record, indexes []int) (rest []kafka.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range records {
		if !slices.Contains(indexes, i) {
			rest = append(rest, records[i])
			continue
		}
		r.refuse(records[i].Partition, r.refused[records[i].Partition]+1)
		if at := spotOf(&records[i]).String(); len(r.report.Refusals) < maxRefusals && !slices.Contains(r.report.Refusals, at) {
			r.report.Refusals = append(r.report.Refusals, at)
		}
	}
	return rest
}

// message is a record as it goes to the target. A copy of the headers is made: a
// record that is sent again gets them once.
func (r *run) message(rec *kafka.Record) kafka.Message {
	headers := make([]schemas.Header, 0, len(rec.Headers)+2)
	headers = append(headers, rec.Headers...)
	headers = append(headers,
		schemas.Header{Key: HeaderRun, Value: []byte(r.state.Run)},
		schemas.Header{Key: HeaderSource, Value: []byte(spotOf(rec).String())},
	)
	m := kafka.Message{Topic: r.cfg.Target, Key: rec.Key, Value: rec.Value, Headers: headers, Timestamp: rec.Timestamp}
	switch {
	case r.spread == 0:
		m.Partition = &rec.Partition
	case rec.Key == nil:
		p := rec.Partition % r.spread
		m.Partition = &p
	}
	return m
}

// pace waits until n more may be sent. Time that was lost is not made up for.
func (r *run) pace(ctx context.Context, n int) error {
	if r.cfg.Rate == 0 {
		return ctx.Err()
	}
	r.pacing.Lock()
	now := time.Now()
	if r.due.Before(now) {
		r.due = now
	}
	mine := r.due
	r.due = r.due.Add(time.Duration(float64(n) / r.cfg.Rate * float64(time.Second)))
	r.pacing.Unlock()
	waited(ctx, time.Until(mine))
	return ctx.Err()
}
