package main

import (
	"cmp"
	"context"
	"slices"

	"github.com/countersign/countersign/connector/kafka"
)

// history returns what the ranges hold and the filter lets through: the last
// so many, or all where last is negative, in the order of their timestamps.
func history(ctx context.Context, client *kafka.Client, topic string, ranges []kafka.Range, last int, keep filter) ([]entry, error) {
	var all []entry
	for p, r := range ranges {
		some, err := lastOf(ctx, client, topic, p, r, last, keep)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortStableFunc(all, func(a, b entry) int {
		return cmp.Or(a.rec.Timestamp.Compare(b.rec.Timestamp), cmp.Compare(a.rec.Partition, b.rec.Partition),
			cmp.Compare(a.rec.Offset, b.rec.Offset))
	})
	if last >= 0 && len(all) > last {
		all = all[len(all)-last:]
	}
	return all, nil
}

// lastOf reads one partition backwards, in growing strides, because nobody
// knows how many of its offsets hold a record that the filter lets through.
func lastOf(ctx context.Context, client *kafka.Client, topic string, partition int, r kafka.Range, last int, keep filter) ([]entry, error) {
	if last == 0 {
		return nil, nil
	}
	var found []entry
	stride := int64(max(2*last, 1000))
	for end := r.End; end > r.Start; stride *= 4 {
		start := max(r.Start, end-stride)
		if last < 0 {
			start = r.Start
		}
		var some []entry
		for rec, err := range client.Scan(ctx, topic, partition, start, end) {
			if err != nil {
				return nil, err
			}
			if e := read(rec); keep.keeps(e) {
				some = append(some, e)
			}
		}
		found = append(some, found...)
		if last >= 0 && len(found) >= last {
			return found[len(found)-last:], nil
		}
		end = start
	}
	return found, nil
}
