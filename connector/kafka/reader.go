package kafka

import (
	"context"
	"iter"
	"time"
)

// readerWait is how long a broker may hold a fetch that finds nothing.
const readerWait = 250 * time.Millisecond

func (c *Client) fetchPatiently(ctx context.Context, req FetchRequest) (res Fetched, err error) {
	err = briefly.retry(ctx, func() (err error) {
		res, err = c.Fetch(ctx, req)
		return err
	})
	return res, err
}

// Scan yields the committed data records of one partition from offset from on,
// below end, in order. It ends at end, where the log ends for a read_committed
// reader, at the consumer's break, or with an error as its last pair. A broker
// that is away is waited for about eight seconds. No goroutine is left behind.
func (c *Client) Scan(ctx context.Context, topic string, partition int, from, end int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var hunger appetite
		for next := from; next < end; {
			asked := hunger.of(4 << 20)
			res, err := c.fetchPatiently(ctx, FetchRequest{
				Topic: topic, Partition: partition, Offset: next, MaxBytes: asked, MaxWait: readerWait,
			})
			if err != nil {
				yield(Record{}, err)
				return
			}
			hunger.note(asked, res)
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
// away is waited for about eight seconds; an error that lasts ends it, as its
// last pair.
func (c *Client) Follow(ctx context.Context, topic string, partition int, from int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var hunger appetite
		for next := from; ctx.Err() == nil; {
			asked := hunger.of(1 << 20)
			res, err := c.fetchPatiently(ctx, FetchRequest{
				Topic: topic, Partition: partition, Offset: next, MaxBytes: asked, MaxWait: readerWait,
			})
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			hunger.note(asked, res)
			for _, r := range res.Records {
				if !yield(r, nil) {
					return
				}
			}
			next = res.Next
		}
	}
}
