package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/countersign/countersign/connector/kafka"
)

// weigh compares those answers with their requests that came when not much was left
// of these: both are read once more, so many at a time.
func (j *join) weigh(ctx context.Context) error {
	slices.Sort(j.ledger.Owed)
	left := int64(len(j.ledger.Owed))
	for owed := range slices.Chunk(j.ledger.Owed, mostWeighed) {
		answers, err := j.owed(ctx, owed)
		if err != nil {
			return err
		}
		wanted := map[int][]int64{}
		for _, at := range slices.SortedFunc(maps.Keys(answers), where.compare) {
			wanted[at.Partition] = append(wanted[at.Partition], at.Offset)
		}
		for partition, offsets := range wanted {
			err := j.visit(ctx, j.cfg.Topics.Requests, partition, offsets, func(rec *kafka.Record) {
				req := requestFact(rec, j.cfg.NotAfter)
				for _, f := range answers[where{partition, rec.Offset}] {
					j.match(where{partition, rec.Offset}, req, f)
					left--
				}
			})
			if err != nil {
				return err
			}
		}
	}
	if left > 0 {
		j.ledger.Found.add(KindGap, proto{Detail: DetailAnswersGone, Partition: -1, Offset: -1, Count: left})
	}
	return nil
}

// owed reads answers once more by their places, which are in order.
func (j *join) owed(ctx context.Context, places []uint64) (map[where][]fact, error) {
	out := map[where][]fact{}
	reader := j.newReader()
	for len(places) > 0 {
		number, _ := unplace(places[0])
		var offsets []int64
		for _, at := range places {
			of, offset := unplace(at)
			if of != number {
				break
			}
			offsets = append(offsets, offset)
		}
		places = places[len(offsets):]
		s := j.streams[number]
		err := j.visit(ctx, j.topic(s.Role), s.Span.Partition, offsets, func(rec *kafka.Record) {
			at := place(number, rec.Offset)
			if a, problem := reader.answer(s.Role, rec, at); problem == nil {
				a.At = at
				by := where{a.partition, a.offset}
				out[by] = append(out[by], a.fact)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// near is how many offsets apart it takes less to read what is between two records
// than to ask for each.
const near = 1000

// visit reads the records at some offsets of a partition, which are in order. What is
// not there any more is left out.
func (j *join) visit(ctx context.Context, topic string, partition int, offsets []int64, do func(*kafka.Record)) error {
	for len(offsets) > 0 {
		n := 1
		for n < len(offsets) && offsets[n]-offsets[n-1] < near {
			n++
		}
		most := pageBytes
		if n == 1 {
			most = 64 << 10
		}
		for p := j.pages(topic, OffsetSpan{partition, offsets[0], offsets[n-1] + 1}, most); p.more(); {
			j.deciding()
			got, err := p.next(ctx)
			if err != nil {
				return err
			}
			for i := range got.Records {
				if _, wanted := slices.BinarySearch(offsets[:n], got.Records[i].Offset); wanted {
					do(&got.Records[i])
				}
			}
		}
		offsets = offsets[n:]
	}
	return nil
}

func (w where) compare(other where) int {
	return cmp.Or(cmp.Compare(w.Partition, other.Partition), cmp.Compare(w.Offset, other.Offset))
}
