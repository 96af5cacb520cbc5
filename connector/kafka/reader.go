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

// Cursor reads one partition page by page, below an end. It belongs to one
// goroutine at a time.
type Cursor struct {
	client    *Client
	topic     string
	partition int
	at        Range // what is still to be read
	most      int   // bytes of a page
	hunger    appetite
}

// Cursor reads the committed data records of one partition from offset from on,
// below end, in pages of about maxBytes at most. Nothing is asked for yet.
func (c *Client) Cursor(topic string, partition int, from, end int64, maxBytes int) *Cursor {
	return &Cursor{client: c, topic: topic, partition: partition, at: Range{Start: from, End: end}, most: maxBytes}
}

// Next is the next page, and false where there is none: at end, or where the log ends
// for a read_committed reader. The latter is what one broker says now. Where more was
// there before, its leader may have changed and not know yet how far it is: then Next
// can be called again. A page may be without records. An error leaves the cursor where it is, so that the same page can be asked for
// again. A broker that is away is waited for about eight seconds.
func (c *Cursor) Next(ctx context.Context) (Fetched, bool, error) {
	if c.at.Start >= c.at.End {
		return Fetched{}, false, nil
	}
	asked := c.hunger.of(c.most)
	page, err := c.client.fetchPatiently(ctx, FetchRequest{
		Topic: c.topic, Partition: c.partition, Offset: c.at.Start, MaxBytes: asked, MaxWait: readerWait,
	})
	if err != nil {
		return Fetched{}, false, err
	}
	c.hunger.note(asked, page)
	if page.Next == c.at.Start && page.LastStable <= c.at.Start {
		return page, false, nil
	}
	page.cut(c.at.End)
	c.at.Start = page.Next
	return page, true, nil
}

// Offset is where the next page begins.
func (c *Cursor) Offset() int64 { return c.at.Start }

// cut drops what is at or above an offset.
func (f *Fetched) cut(end int64) {
	if f.Next <= end {
		return
	}
	f.Next = end
	n := len(f.Records)
	for n > 0 && f.Records[n-1].Offset >= end {
		n--
	}
	f.Records = f.Records[:n]
	for n = len(f.Absent); n > 0 && f.Absent[n-1].Start >= end; n-- {
	}
	f.Absent = f.Absent[:n]
	if n > 0 {
		f.Absent[n-1].End = min(f.Absent[n-1].End, end)
	}
}

// Scan yields the committed data records of one partition from offset from on,
// below end, in order. It ends at end, where the log ends for a read_committed
// reader, at the consumer's break, or with an error as its last pair. A broker
// that is away is waited for about eight seconds. No goroutine is left behind.
func (c *Client) Scan(ctx context.Context, topic string, partition int, from, end int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		cursor := c.Cursor(topic, partition, from, end, 4<<20)
		for {
			page, more, err := cursor.Next(ctx)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range page.Records {
				if !yield(r, nil) {
					return
				}
			}
			if !more {
				return
			}
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
