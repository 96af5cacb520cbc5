package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/countersign/countersign/connector/kafka"
)

// claim is a create's result that says that it made a challenge.
type claim struct {
	by  where // the request
	at  uint64
	id  string
	sid string
}

// twice looks whether two requests of one id each had a challenge made, or two
// requests claim one challenge. It reads the results once more where hashes say
// that there may be such.
func (j *join) twice(ctx context.Context) error {
	ids, sids := j.ledger.IDs.twice(mostTwins), j.ledger.SIDs.twice(mostTwins)
	if len(ids)+len(sids) == 0 {
		return nil
	}
	byID, bySID := map[string][]claim{}, map[string][]claim{}
	reader := j.newReader()
	left := map[uint64]int{} // claims that are still there, by a hash that came twice
	gone, err := j.again(ctx, results, func(number int, rec *kafka.Record) bool {
		r, a, ok := reader.covered(rec)
		if !ok || a.sid == 0 {
			return true
		}
		c := claim{by: where{a.partition, a.offset}, at: place(number, rec.Offset), id: r.RequestID, sid: a.rawSID}
		if ids[a.ID] {
			byID[c.id] = append(byID[c.id], c)
			left[a.ID]++
		}
		if sids[a.sid] {
			bySID[c.sid] = append(bySID[c.sid], c)
			left[a.sid]++
		}
		return true
	})
	if err != nil {
		return err
	}
	j.unpaired(ids, sids, left, gone)
	for _, sid := range slices.Sorted(maps.Keys(bySID)) {
		j.claimed(KindConflicting, DetailSIDTwice, bySID[sid], func(_, _ claim) bool { return true })
	}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		j.claimed(KindDuplicate, DetailIDTwice, byID[id], func(a, b claim) bool { return a.sid != b.sid })
	}
	return nil
}

// unpaired reports of how many answers nothing can be said: what they were to be
// compared with was there at the first reading, and at the second it is gone.
func (j *join) unpaired(ids, sids map[uint64]bool, left map[uint64]int, gone []lost) {
	alone := func(hashes map[uint64]bool) (n int64) {
		for h := range hashes {
			if left[h] < 2 {
				n++
			}
		}
		return n
	}
	// An answer that stands alone may do so by both.
	if n := max(alone(ids), alone(sids)); n > 0 {
		p := proto{Detail: DetailAnswersGone, Partition: -1, Offset: -1, Count: n}
		for _, l := range gone {
			p.At = append(p.At, place(l.stream, l.Start), place(l.stream, l.End-1))
		}
		j.ledger.Found.add(KindGap, p)
	}
}

// claimed reports each claim behind the first that is another request's.
func (j *join) claimed(kind Kind, d Detail, claims []claim, counts func(first, c claim) bool) {
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.by.Partition, b.by.Partition), cmp.Compare(a.by.Offset, b.by.Offset), cmp.Compare(a.at, b.at))
	})
	last := claims[0].by
	for _, c := range claims[1:] {
		if c.by == last {
			continue // one request's results are compared with each other elsewhere
		}
		last = c.by
		if counts(claims[0], c) {
			j.ledger.Found.add(kind, proto{
				Detail: d, Partition: c.by.Partition, Offset: c.by.Offset, At: []uint64{claims[0].at, c.at}, SID: c.sid,
			})
		}
	}
}

// lost are offsets of a stream that were there when it was read first.
type lost struct {
	stream int
	kafka.Range
}

// again goes through the records of a role's streams once more, until do says that
// it has enough. It goes on where some are gone meanwhile, and says which.
func (j *join) again(ctx context.Context, of role, do func(number int, rec *kafka.Record) (more bool)) (gone []lost, err error) {
	for number, s := range j.streams {
		if s.Role != of {
			continue
		}
		for p := j.pages(j.topic(of), s.Span, pageBytes); p.more(); {
			j.deciding()
			got, err := p.next(ctx)
			if err != nil {
				return gone, err
			}
			if got.gone.End > got.gone.Start {
				gone = append(gone, lost{number, got.gone})
			}
			for i := range got.Records {
				if !do(number, &got.Records[i]) {
					return gone, nil
				}
			}
		}
	}
	return gone, nil
}
