package kafka

import (
	"bytes"
	"context"

	kafkago "github.com/segmentio/kafka-go"
)

// firstLook is how many offsets at the end LastOf looks at first; each further
// look goes back four times as far.
const firstLook = 64

// LastOf is the newest committed record of a partition with a key, and false
// where there is none. It reads the partition backwards in growing steps, each
// offset once, so a key that is not there costs the whole partition. A broker
// that is away is waited for about eight seconds.
func (c *Client) LastOf(ctx context.Context, topic string, partition int, key []byte) (Record, bool, error) {
	var start, end int64
	err := brieflyIfNew.retry(ctx, func() error {
		at, err := c.listOffsets(ctx, kafkago.ReadUncommitted, place{topic, partition}, kafkago.FirstOffset, kafkago.LastOffset)
		start, end = at[kafkago.FirstOffset], at[kafkago.LastOffset]
		return err
	})
	if err != nil {
		return Record{}, false, err
	}
	for step := int64(firstLook); end > start; step *= 4 {
		from := max(start, end-step)
		var last Record
		found := false
		for r, err := range c.Scan(ctx, topic, partition, from, end) {
			if err != nil {
				return Record{}, false, err
			}
			if bytes.Equal(r.Key, key) {
				last, found = r, true
			}
		}
		if found {
			return last, true, nil
		}
		end = from
	}
	return Record{}, false, nil
}
