package kafka

import (
	"context"
	"iter"
	"time"
)

// Scan yields the committed data records of one partition from offset from on,
// below end, in order. It ends at end, at the consumer's break, or with an
// error as its last pair; no goroutine is left behind.
func (c *Client) Scan(ctx context.Context, topic string, partition int, from, end int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for next := from; next < end; {
			res, err := c.Fetch(ctx, FetchRequest{
				Topic: topic, Partition: partition, Offset: next,
				MaxBytes: 4 << 20, MaxWait: 250 * time.Millisecond,
			})
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range res.Records {
				if r.Offset >= end {
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			if res.Next == next && res.LastStable <= next {
				// The log ends here for a read_committed reader.
				return
			}
			next = res.Next
		}
	}
}

// Follow yields committed data records of one partition from offset from on
// and waits for more, until ctx ends or the consumer breaks. A broker that is
// away for a while is waited for; an error that waiting cannot mend ends it.
func (c *Client) Follow(ctx context.Context, topic string, partition int, from int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for next := from; ctx.Err() == nil; {
			var res Fetched
			err := retryTransient(ctx, func() (err error) {
				res, err = c.Fetch(ctx, FetchRequest{
					Topic: topic, Partition: partition, Offset: next, MaxWait: 250 * time.Millisecond,
				})
				return err
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range res.Records {
				if !yield(r, nil) {
					return
				}
			}
			next = res.Next
		}
	}
}
