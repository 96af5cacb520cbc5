package audit

import (
	"cmp"
	"slices"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// where is the coordinates of a request.
type where struct {
	Partition int
	Offset    int64
}

// further is one of several answers.
type further struct {
	At      uint64
	Essence uint32
}

func (f further) compare(other further) int { return cmp.Compare(f.At, other.At) }

// list is what is known of a list in several records.
type list struct {
	Pages map[int][]further // by index; more than one: it was published again
	Last  int               // -1: not seen yet
	// Refused: in place of a page there is one that says that the brokers refused it,
	// but not whether it was the last.
	Refused bool
}

// ledger is everything that an audit remembers between records. Its fields are
// exported for a saved state.
type ledger struct {
	Tables map[int]*table // by partition of the requests
	// Later are facts of answers behind the first whose request was not read yet, Owed
	// the places of those of which it was, but is not remembered.
	Later map[where][]fact
	Owed  []uint64
	// More are answers behind the first that came. Where they are too many, TooMany
	// is set, and they are only counted.
	More    map[where][]further
	MoreN   int64
	TooMany bool
	Lists   map[where]*list
	// Letters counts further dead letters beside one result.
	Letters map[where]int64
	Found   *collector
	// Strays are decided on when the window's times are known. Where they are too many,
	// ManyStrays is set, and they are read once more then.
	Strays     []stray
	ManyStrays bool
	IDs        twins // of the requests of creates that made a challenge
	SIDs       twins // of the challenges that creates made
	Counts     Counts
	Course     course
	Times      map[schemas.Operation]*histogram
	// First and Last are the requests' timestamps, LastAnswer the answers'.
	First, Last, LastAnswer int64
	// Data is the highest offset with a record, by partition.
	Data map[int]int64
	// Held is how late the logs of results and of dead letters begin whose start may
	// have been deleted: what answers an earlier request may be gone.
	Held [letters + 1]int64
	// Lost are the offsets that were to be read and are not there, by partition and
	// in order: what answers a request that stood there is no orphan.
	Lost map[int][]kafka.Range
}

// Bounds of what can only be many where nearly everything is wrong.
const (
	mostStrays = 200_000
	mostTwins  = 100_000
	mostMore   = 200_000
	// mostWeighed are looked at once more at a time.
	mostWeighed = 100_000
)

func newLedger(p *plan, most int) *ledger {
	l := &ledger{
		Tables: map[int]*table{}, Later: map[where][]fact{}, More: map[where][]further{}, Lists: map[where]*list{}, Letters: map[where]int64{},
		Found: newCollector(most), Counts: newCounts(), Times: map[schemas.Operation]*histogram{},
		First: maxStamp, Last: minStamp, LastAnswer: minStamp, Data: map[int]int64{}, Held: [...]int64{results: minStamp, letters: minStamp}, Lost: map[int][]kafka.Range{},
	}
	for _, s := range p.Requests {
		l.Tables[s.Partition] = newTable(s.From, s.To)
	}
	return l
}

// request joins one request.
func (j *join) request(partition int, a asked) {
	l := j.ledger
	l.Counts.Requests++
	if a.Is&isUnreadable != 0 {
		l.Counts.Unreadable++
	}
	l.First, l.Last = min(l.First, a.stamp), max(l.Last, a.stamp)
	l.Data[partition] = max(l.Data[partition], a.offset)
	t := l.Tables[partition]
	c, i := t.at(a.offset)
	at := where{partition, a.offset}
	if c.Bits[i]&sawAnswer != 0 {
		j.match(at, a.fact, c.Waits[i])
	}
	for _, f := range l.Later[at] {
		j.match(at, a.fact, f)
	}
	delete(l.Later, at)
	c.Waits[i] = a.fact
	t.see(a.offset, sawRequest)
}

// answer joins one result or dead letter.
func (j *join) answer(a answered) {
	l := j.ledger
	l.LastAnswer = max(l.LastAnswer, a.stamp)
	j.count(a)
	at := where{a.partition, a.offset}
	t := l.Tables[a.partition]
	c, i := t.at(a.offset)
	switch {
	case a.beside:
		if c.Bits[i]&sawLetter != 0 {
			l.Letters[at]++
		}
		j.weighed(at, a.fact, false)
		t.see(a.offset, sawLetter)
	case a.page != nil:
		j.weighed(at, a.fact, false)
		t.see(a.offset, l.page(at, a))
	case c.Bits[i]&sawAnswer != 0:
		j.weighed(at, a.fact, false)
		j.twin(a)
		l.more(at, further{a.At, a.essence})
		t.see(a.offset, sawMore)
	default:
		j.weighed(at, a.fact, true)
		j.twin(a)
		c.At[i], c.Essence[i] = a.At, a.essence
		saw := sawAnswer
		if a.Is&isFailed != 0 {
			saw |= sawFailed
		}
		t.see(a.offset, saw)
	}
}

// weighed compares an answer with its request, now or when that has come. The first
// answer in one piece waits in the table.
func (j *join) weighed(at where, f fact, first bool) {
	l := j.ledger
	t := l.Tables[at.Partition]
	c, i := t.at(at.Offset)
	req, there := t.request(at.Offset)
	switch {
	case there:
		j.match(at, req, f)
	case c.Bits[i]&sawRequest == 0 && at.Offset < t.Passed:
		// There is none: it is an orphan.
	case first && c.Bits[i]&sawRequest == 0:
		c.Waits[i] = f
	case c.Bits[i]&sawRequest == 0:
		l.Later[at] = append(l.Later[at], f)
	default:
		l.Owed = append(l.Owed, f.At)
	}
}

// more keeps a further answer, unless there are too many.
func (l *ledger) more(at where, f further) {
	if l.MoreN++; l.MoreN > mostMore {
		l.TooMany, l.More = true, map[where][]further{}
	}
	if !l.TooMany {
		l.More[at] = append(l.More[at], f)
	}
}

// page notes a record of a list, and returns what was seen with it.
func (l *ledger) page(at where, a answered) uint8 {
	known := l.Lists[at]
	if known == nil {
		known = &list{Pages: map[int][]further{}, Last: -1}
		l.Lists[at] = known
	}
	known.Refused = known.Refused || a.refused
	if a.page.Last {
		known.Last = max(known.Last, a.page.Index)
	}
	known.Pages[a.page.Index] = append(known.Pages[a.page.Index], further{a.At, a.essence})
	if known.missing() > 0 {
		return sawPages
	}
	return sawPages | sawAllPages
}

// twin notes the challenge that a create made, and the id of its request: with every
// answer, because any of several may come first, with another id even. That these are
// of one request is seen when they are read once more.
func (j *join) twin(a answered) {
	if a.sid != 0 {
		j.ledger.SIDs.add(a.sid)
		j.ledger.IDs.add(a.ID)
	}
}

// match compares a request with its answer.
func (j *join) match(at where, req, ans fact) {
	for _, d := range judge(req, ans, j.cfg.LateTolerance) {
		j.found(d, at, ans.At)
	}
}

func (j *join) found(d Detail, at where, answer uint64) {
	j.ledger.Found.add(kindOf(d), proto{Detail: d, Partition: at.Partition, Offset: at.Offset, At: []uint64{answer}})
}

// count measures an answer.
func (j *join) count(a answered) {
	l := j.ledger
	if a.Is&isLetter != 0 {
		if a.beside {
			l.Counts.FailedLetters++
			return
		}
		l.Counts.DeadLetters++
		l.Counts.Classes[string(a.class)]++
		l.Counts.Calls += int64(a.attempts)
		l.Course.bucket(sane(a.asked)).count(bareOutcome, 1)
		return
	}
	l.Counts.Results++
	if a.page != nil && a.page.Index > 0 && !a.refused {
		return
	}
	l.Counts.Operations[cmp.Or(string(a.operation), "unreadable")]++
	l.Counts.Outcomes[string(a.outcome)]++
	l.Counts.Calls += int64(a.attempts)
	if a.class != "" {
		l.Counts.Classes[string(a.class)]++
	}
	bucket := l.Course.bucket(sane(a.asked))
	bucket.count(string(a.outcome), 1)
	if a.attempts > 0 {
		bucket.Latency.add(a.completed - a.asked)
		times := l.Times[a.operation]
		if times == nil {
			times = &histogram{}
			l.Times[a.operation] = times
		}
		times.add(a.completed - a.asked)
	}
	if a.sid != 0 {
		l.Counts.Challenges++
	}
}

// sane keeps a producer's odd timestamp from stretching a Series over ages.
func sane(ms int64) int64 {
	const year2200 = 7258118400000
	return min(max(ms, 0), year2200)
}

// bareOutcome stands in a Series for a dead letter that takes the place of a result.
const bareOutcome = "dead_letter"

// stray keeps what is decided on at the end.
func (j *join) stray(s stray) {
	l := j.ledger
	if !j.cfg.From.IsZero() && s.Detail != DetailOtherGroup && s.Stamp < stampOf(j.cfg.From) {
		return // it is known already that it stands before the window
	}
	if len(l.Strays) == mostStrays {
		l.ManyStrays, l.Strays = true, nil
	}
	if !l.ManyStrays {
		l.Strays = append(l.Strays, s)
	}
}

// absent notes offsets without any record in a stream of requests.
func (j *join) absent(s *stream, gone []kafka.Range) {
	for _, r := range gone {
		if r.Start == s.Absent.End {
			s.Absent.End = r.End
			continue
		}
		j.flush(s)
		s.Absent = r
	}
}

// flush reports a run of absent offsets that is known to have ended.
func (j *join) flush(s *stream) {
	if s.Absent.End > s.Absent.Start {
		j.lose(DetailAbsent, s, s.Absent)
	}
	s.Absent = kafka.Range{}
}

// lose notes offsets that were to be read and are not there.
func (j *join) lose(d Detail, s *stream, gone kafka.Range) {
	p := s.Span.Partition
	j.ledger.Lost[p] = append(j.ledger.Lost[p], gone)
	j.gap(d, OffsetSpan{p, gone.Start, gone.End})
}

// lost reports whether a request's offset is among those.
func (l *ledger) lost(at where) bool {
	gone := l.Lost[at.Partition]
	i, found := slices.BinarySearchFunc(gone, at.Offset, func(r kafka.Range, offset int64) int { return cmp.Compare(r.Start, offset) })
	return found || i > 0 && at.Offset < gone[i-1].End
}

func (j *join) gap(d Detail, s OffsetSpan) {
	j.ledger.Found.add(KindGap, proto{Detail: d, Partition: s.Partition, Offset: -1, Span: &s, Count: s.To - s.From})
}

// answersOf are a request's answers in one piece, in order.
func (l *ledger) answersOf(at where, c *chunk, i int) []further {
	all := append([]further{{c.At[i], c.Essence[i]}}, l.More[at]...)
	slices.SortFunc(all, further.compare)
	return all
}
