package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// report decides on everything that only the end can tell.
func (j *join) report(ctx context.Context) (*Report, error) {
	j.told = time.Now()
	if err := j.weigh(ctx); err != nil {
		return nil, err
	}
	if err := j.twice(ctx); err != nil {
		return nil, err
	}
	l := j.ledger
	for _, t := range slices.Sorted(maps.Keys(l.Tables)) {
		j.settle(t)
	}
	if l.TooMany {
		// One finding stands for all further answers of a request; the rest counts.
		rest := l.MoreN
		for _, lists := range l.Tables {
			lists.each(func(_ int64, bits uint8, _ *chunk, _ int) {
				if bits&sawMore != 0 && bits&sawRequest != 0 {
					rest--
				}
			})
		}
		l.Found.N[KindDuplicate] += max(rest, 0)
	}
	j.gaps()
	closed := j.open()
	if err := j.placeStrays(ctx); err != nil {
		return nil, err
	}
	r := &Report{Version: ReportVersion, Tool: j.cfg.Tool, Covered: digest(j.trees()), Series: l.Course.series(), Findings: []Finding{}}
	r.Window = j.window(closed)
	r.Latency = latency(l.Times)
	l.Counts.NoData = -l.Counts.Requests
	for _, gone := range l.Lost {
		for _, r := range gone {
			l.Counts.NoData -= r.End - r.Start
		}
	}
	for _, s := range j.plan.Requests {
		l.Counts.NoData += s.To - s.From
	}
	l.Counts.FindingsLeftOut = 0
	lookup := lookup{join: j, mask: newMask(j.cfg.IdentityKey)}
	for _, kind := range Kinds() {
		listed, left := l.Found.end(kind)
		l.Counts.ByKind[kind] = l.Found.N[kind]
		l.Counts.FindingsLeftOut += left
		if err := j.placeLetters(ctx, listed); err != nil {
			return nil, err
		}
		for _, p := range listed {
			f, err := lookup.finding(ctx, kind, p)
			if err != nil {
				return nil, err
			}
			r.Findings = append(r.Findings, f)
		}
	}
	r.Counts = l.Counts
	if j.cfg.Compare != nil {
		return r, j.compare(ctx, r)
	}
	return r, nil
}

func (j *join) window(closed bool) Window {
	c := j.cfg
	w := Window{
		Group: c.Group, Topics: c.Topics, Requests: j.plan.Requests, Records: j.ledger.Counts.Requests, Closed: closed,
		NotAfter: Duration(c.NotAfter), Skew: Duration(c.Skew), LateTolerance: Duration(c.LateTolerance), MaxFindings: c.MaxFindings,
	}
	w.ByOffsets, w.NotEnded = len(c.Offsets) > 0, j.plan.NotEnded
	w.Gone = append([]OffsetSpan{}, j.plan.Gone...)
	slices.SortFunc(w.Gone, func(a, b OffsetSpan) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.From, b.From))
	})
	if !closed {
		for _, s := range j.plan.Requests {
			s.To = max(s.From, min(s.To, j.plan.Frontier[s.Partition]))
			w.WorkedOff = append(w.WorkedOff, s)
		}
	}
	if c.endless() || !closed {
		w.Results, w.DeadLetters = j.plan.Results, j.plan.Letters
	}
	if !c.Reveal {
		w.IdentityKey = newMask(c.IdentityKey).name
	}
	for into, at := range map[**time.Time]time.Time{&w.From: c.From, &w.To: c.To, &w.AnswersUntil: c.AnswersUntil} {
		if !at.IsZero() {
			*into = &at
		}
	}
	if w.Records > 0 {
		first, last := timeOf(j.ledger.First), timeOf(j.ledger.Last)
		w.First, w.Last = &first, &last
	}
	return w
}

func latency[K ~string](times map[K]*histogram) Latency {
	out := Latency{Operations: map[string]Percentiles{}}
	var all histogram
	for op, h := range times {
		out.Operations[cmp.Or(string(op), "unreadable")] = h.percentiles()
		all.merge(h)
	}
	out.All = all.percentiles()
	return out
}

// recordAt is the data record at an offset; nil: there is none, or none any more.
func (j *join) recordAt(ctx context.Context, topic string, partition int, offset int64) (*kafka.Record, error) {
	j.deciding()
	return j.firstRecord(ctx, topic, OffsetSpan{partition, offset, offset + 1})
}

// settle says what became of each request of a partition.
func (j *join) settle(partition int) {
	l := j.ledger
	frontier := max(j.plan.Frontier[partition], 0)
	gone := OffsetSpan{Partition: partition, From: -1}
	unknown := int64(0)
	l.Tables[partition].each(func(offset int64, bits uint8, c *chunk, i int) {
		at := where{partition, offset}
		switch {
		case bits&sawRequest == 0 && l.lost(at):
			// Its request was there.
		case bits&sawRequest == 0:
			j.settleOrphan(at, bits, c, i)
		default:
			once, lacks := j.settleAnswered(at, bits, c, i)
			switch {
			case lacks.Detail == "" && once:
				l.Counts.AnsweredOnce++
			case lacks.Detail == "":
			case offset >= frontier:
				l.Counts.Waiting++
			case j.mayBeGone(at, lacks.Detail):
				unknown++
				gone.To = offset + 1
				if gone.From < 0 {
					gone.From = offset
				}
			default:
				lacks.Partition, lacks.Offset = partition, offset
				l.Found.add(KindMissing, lacks)
			}
		}
	})
	if unknown > 0 {
		l.Counts.AnswersGone += unknown
		l.Found.add(KindGap, proto{Detail: DetailAnswersGone, Partition: partition, Offset: -1, Span: &gone, Count: unknown})
	}
}

// mayBeGone reports whether what a request lacks may have stood before the start of
// its log. The clock that stamps answers may be behind that of the requests.
func (j *join) mayBeGone(at where, lacks Detail) bool {
	req, there := j.ledger.Tables[at.Partition].request(at.Offset)
	held := j.ledger.Held[results]
	switch {
	case lacks == DetailNoDeadLetter:
		held = j.ledger.Held[letters]
	case lacks == DetailNoAnswer && req.Is&isUnreadable != 0:
		// What can be read always gets a result; of the rest a dead letter is enough.
		held = max(held, j.ledger.Held[letters])
	}
	return there && held > minStamp && int64(req.At) < held+j.cfg.Skew.Milliseconds()
}

// settleOrphan reports what answers a request that is not there.
func (j *join) settleOrphan(at where, bits uint8, c *chunk, i int) {
	var answers []further
	if bits&sawAnswer != 0 {
		answers = j.ledger.answersOf(at, c, i)
	}
	if bits&sawPages != 0 {
		answers = append(answers, j.ledger.Lists[at].all()...)
	}
	slices.SortFunc(answers, further.compare)
	for _, a := range answers {
		j.ledger.Found.add(KindOrphan, proto{Detail: DetailNoRequest, Partition: at.Partition, Offset: at.Offset, At: []uint64{a.At}})
	}
	if len(answers) == 0 { // a dead letter beside a result, and not even that
		j.ledger.Found.add(KindOrphan, proto{Detail: DetailNoRequest, Partition: at.Partition, Offset: at.Offset})
	}
}

// settleAnswered reports what is wrong with a request's answers, and returns whether
// nothing is and what is missing, if anything.
func (j *join) settleAnswered(at where, bits uint8, c *chunk, i int) (once bool, lacks proto) {
	l := j.ledger
	if bits&(sawAnswer|sawPages) == 0 {
		return true, proto{Detail: DetailNoAnswer}
	}
	once = true
	found := func(kind Kind, p proto) {
		p.Partition, p.Offset = at.Partition, at.Offset
		l.Found.add(kind, p)
		once = false
	}
	several := bits&sawMore != 0
	switch {
	case several && l.TooMany:
		found(KindDuplicate, proto{Detail: DetailAnsweredTwice})
	case several:
		again(l.answersOf(at, c, i), found)
	}
	first := []uint64{c.At[i]}
	if bits&sawPages != 0 {
		lacks = j.settleList(at, bits, c, i, found)
		several = several || bits&sawAnswer != 0
		first = []uint64{l.Lists[at].all()[0].At}
	}
	switch {
	case several: // what the dead letter is of can't be told
	case bits&sawFailed != 0 && bits&sawLetter == 0:
		lacks = proto{Detail: DetailNoDeadLetter, At: first}
	case bits&sawFailed == 0 && bits&sawLetter != 0:
		found(KindConflicting, proto{Detail: DetailLetterUnfailed, At: first})
	}
	if n := l.Letters[at]; n > 0 {
		found(KindDuplicate, proto{Detail: DetailLetterTwice, Count: n})
	}
	return once, lacks
}

// again reports every answer behind the first.
func again(all []further, found func(Kind, proto)) {
	for _, a := range all[1:] {
		kind, d := KindDuplicate, DetailAnsweredTwice
		if a.Essence != all[0].Essence {
			kind, d = KindConflicting, DetailTwoAnswers
		}
		found(kind, proto{Detail: d, At: []uint64{all[0].At, a.At}})
	}
}

// settleList decides on a list in several records, and returns what it lacks.
func (j *join) settleList(at where, bits uint8, c *chunk, i int, found func(Kind, proto)) (lacks proto) {
	l := j.ledger
	known := l.Lists[at]
	for _, index := range slices.Sorted(maps.Keys(known.Pages)) {
		slices.SortFunc(known.Pages[index], further.compare)
		again(known.Pages[index], found)
	}
	all := known.all()
	switch missing := known.missing(); {
	case bits&sawAnswer != 0:
		other := []uint64{all[0].At}
		if bits&sawMore == 0 || !l.TooMany { // else it is chance which one is known
			other = append(other, l.answersOf(at, c, i)[0].At)
		}
		found(KindConflicting, proto{Detail: DetailTwoAnswers, At: other})
	case missing > 0:
		places := make([]uint64, len(all))
		for n, one := range all {
			places[n] = one.At
		}
		lacks = proto{Detail: DetailNoPage, Count: missing, At: places}
	}
	return lacks
}

// missing is how many records a list lacks.
func (l *list) missing() int64 {
	if l.Refused {
		return 0
	}
	if l.Last < 0 {
		return 1
	}
	return int64(l.Last + 1 - len(l.Pages))
}

// all are the list's records, in order.
func (l *list) all() (out []further) {
	for _, again := range l.Pages {
		out = append(out, again...)
	}
	slices.SortFunc(out, further.compare)
	return out
}

// gaps are what the logs do not have any more.
func (j *join) gaps() {
	for _, s := range j.plan.Gone {
		j.gap(DetailRetention, s)
	}
}

// open says what of the window is not over, and whether nothing is.
func (j *join) open() bool {
	closed := true
	for _, s := range j.plan.Requests {
		frontier := max(j.plan.Frontier[s.Partition], s.From)
		data, there := j.ledger.Data[s.Partition]
		if !there || data < frontier {
			continue
		}
		closed = false
		j.ledger.Found.add(KindOpen, proto{
			Detail: DetailNotWorkedOff, Partition: s.Partition, Offset: -1, Span: &OffsetSpan{s.Partition, frontier, s.To},
		})
	}
	if j.plan.NotEnded {
		closed = false
		j.ledger.Found.add(KindOpen, proto{Detail: DetailNotEnded, Partition: -1, Offset: -1})
	}
	return closed
}

// placeStrays reports what can be tied to the window by its time only: it was
// written between the window's beginning and the last of its answers.
func (j *join) placeStrays(ctx context.Context) error {
	l := j.ledger
	from, until := l.First, max(l.Last, l.LastAnswer)
	if !j.cfg.From.IsZero() {
		from = stampOf(j.cfg.From)
	}
	if !j.cfg.To.IsZero() {
		until = max(until, stampOf(j.cfg.To)-1)
	}
	if j.cfg.From.IsZero() && len(j.cfg.Offsets) == 0 {
		from = minStamp
	}
	if j.cfg.endless() {
		until = maxStamp
	}
	add := func(s *stray) {
		if s.Detail == DetailOtherGroup || s.Stamp >= from && s.Stamp <= until {
			l.Found.add(s.Kind, proto{Detail: s.Detail, Partition: -1, Offset: -1, At: []uint64{s.At}, Text: s.Text})
		}
	}
	for i := range l.Strays {
		add(&l.Strays[i])
	}
	if !l.ManyStrays {
		return nil
	}
	reader := j.newReader()
	for _, of := range []role{results, letters} {
		// What is gone by now can't be shown to anybody.
		_, err := j.again(ctx, of, func(number int, rec *kafka.Record) bool {
			if reader.leftOut(rec) {
				return true
			}
			if _, problem := reader.answer(of, rec, place(number, rec.Offset)); problem != nil {
				problem.Stamp = stampOf(rec.Timestamp)
				add(problem)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}
