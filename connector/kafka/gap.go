package kafka

import (
	"context"
	"errors"
)

// batchEnd finds the first offset after the batch that starts at base, for a
// batch that holds nothing at or after req.Offset any more. Asking for an
// offset within a batch returns that batch, so the answer is the smallest
// offset for which the broker returns another batch, or none: the predicate
// changes once, which makes a gallop followed by a bisection exact, and a gap
// of a million offsets costs about forty small fetches.
func (c *Client) batchEnd(ctx context.Context, req FetchRequest, base, lastStable int64) (int64, error) {
	if base < 0 {
		return 0, errors.New("the broker answered with a batch that ends before the offset")
	}
	return gallop(req.Offset, func(offset int64) (bool, error) {
		if offset >= lastStable {
			return false, nil
		}
		raw, err := c.fetchRaw(ctx, FetchRequest{Topic: req.Topic, Partition: req.Partition, Offset: offset, MaxBytes: 1})
		if err != nil {
			return false, err
		}
		batches, err := splitBatches(raw.RecordSet)
		if err != nil || len(batches) == 0 {
			// An empty answer from a broker that holds back makes the result
			// too small, never too large: the offset below it was seen to
			// belong to the batch.
			return false, err
		}
		return batches[0].base == base, nil
	})
}

// gallop returns the smallest offset above low for which in is false, given
// that in is true at low and changes once.
func gallop(low int64, in func(int64) (bool, error)) (int64, error) {
	var high int64
	for step := int64(1); ; step *= 2 {
		high = low + step
		inside, err := in(high)
		if err != nil {
			return 0, err
		}
		if !inside {
			break
		}
		low = high
	}
	for low+1 < high {
		mid := low + (high-low)/2
		inside, err := in(mid)
		if err != nil {
			return 0, err
		}
		if inside {
			low = mid
		} else {
			high = mid
		}
	}
	return high, nil
}
