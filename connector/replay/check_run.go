package replay

import (
	"container/heap"
	"context"
	"math"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// check is one Check. Requests and answers are read as two streams in the order of
// their timestamps, the requests ahead of the answers by Skew as long as there is room
// for them. So each topic is read once, and what comes too early for that is kept.
// Only where neither fits in memory are answers read again.
type check struct {
	cfg    CheckConfig
	reader CheckReader
	report CheckReport

	requests *merger
	answers  *merger
	ends     map[string][]kafka.Range // of the topics of answers, at the start

	held     map[at]*held
	settling settling // of these: answered
	early    early    // answers to requests that were not read yet
	clock    int64    // how far the answers are, ms
	swept    int64    // the clock when those whose time is over were last looked for
	listed   []listed // the differences, more than are listed at times
	steps    int64
	names    map[string]string
}

// at is where a request stands.
type at struct {
	partition int
	offset    int64
}

// held is a request whose answers are looked for.
type held struct {
	at
	key      int64 // where the requests were when it was read, ms
	today    today
	findings findings
	whole    bool  // all of its answer is there
	due      int64 // if so: the clock's time at which it is counted
}

// settle is how much later than the last result its dead letter may be read: both are
// of one transaction. It costs memory: nothing is counted before.
const settle = int64(2 * time.Second / time.Millisecond)

func newCheck(r CheckReader, cfg CheckConfig) *check {
	c := &check{
		cfg: cfg.withDefaults(), reader: r, held: map[at]*held{}, early: early{records: map[at][]kafka.Record{}, strangers: map[at]*[strangersOf / 64]uint64{}},
		names: map[string]string{}, ends: map[string][]kafka.Range{}, report: CheckReport{
			What: map[What]int64{}, Reasons: map[Reason]int64{}, Differences: []Difference{}, Partitions: []PartitionReport{},
		},
	}
	for _, w := range Whats() {
		c.report.What[w] = 0
	}
	return c
}

func (c *check) run(ctx context.Context) error {
	spans, _, err := c.cfg.Window.find(ctx, c.reader, c.cfg.Requests)
	if err != nil {
		return err
	}
	for _, topic := range []string{c.cfg.DeadLetters, c.cfg.Results} {
		if topic == "" {
			continue
		}
		if c.ends[topic], err = c.reader.Ranges(ctx, topic); err != nil {
			return err
		}
	}
	c.requests = &merger{check: c, page: c.pageBytes(len(spans))}
	for _, s := range spans {
		c.report.Partitions = append(c.report.Partitions, PartitionReport{Span: s, Next: s.From})
		c.requests.add(c.cfg.Requests, s)
	}
	c.tell(nil)
	err = c.join(ctx)
	c.finish()
	if err == nil {
		c.tell(nil)
	}
	return err
}

// pageBytes is how large a page may be, so that those of all partitions stay bounded.
func (c *check) pageBytes(requests int) int {
	const all, least = 48 << 20, 32 << 10
	n := requests
	for _, ranges := range c.ends {
		n += len(ranges)
	}
	return max(min(pageBytes, all/max(n, 1)), least)
}

// join reads all requests, and the answers as long as one is held.
func (c *check) join(ctx context.Context) error {
	first, err := c.requests.peek(ctx)
	if err != nil || first == nil {
		return err
	}
	if c.answers, err = c.answersFrom(ctx, first.keys[0]); err != nil {
		return err
	}
	c.clock = c.floor(first.keys[0])
	c.swept = c.clock
	for {
		request, err := c.requests.peek(ctx)
		if err != nil || request == nil && len(c.held) == 0 {
			return err
		}
		answer, err := c.answers.peek(ctx)
		if err != nil {
			return err
		}
		if err := c.step(ctx, request, answer); err != nil {
			return err
		}
		c.stepped()
	}
}

// step takes one record, or makes room for one.
func (c *check) step(ctx context.Context, request, answer *source) error {
	full := max(len(c.held)-len(c.settling), len(c.settling)) >= c.cfg.held
	tooEarly := c.early.full(c.cfg.held)
	switch {
	case request != nil && !full && (answer == nil || tooEarly || c.floor(request.keys[0]) <= answer.keys[0]):
		key := request.keys[0]
		c.request(key, c.requests.take())
	case answer == nil:
		c.count(func(*held) bool { return true })
	case full && tooEarly:
		if c.early.purge(c.unread); c.early.full(c.cfg.held) {
			return c.again(ctx)
		}
	default:
		c.passed(answer.keys[0])
		rec := c.answers.take()
		c.answer(&rec, c.clock)
	}
	return nil
}

// stepped tells how far all is, now and then.
func (c *check) stepped() {
	if c.steps++; c.steps%int64(c.cfg.every) == 0 {
		c.tell(nil)
	}
}

// floor is the earliest time of an answer to a request.
func (c *check) floor(key int64) int64 { return key - c.cfg.Skew.Milliseconds() }

// request takes in a request, and the answers that came before it.
func (c *check) request(key int64, rec kafka.Record) {
	h := &held{at: at{rec.Partition, rec.Offset}, key: key, today: c.today(&rec)}
	c.held[h.at] = h
	records, stranger := c.early.claim(h.at)
	h.findings.stranger = stranger
	for i := range records {
		c.answer(&records[i], math.MinInt64)
	}
}

// answer takes in an answer of the one reading, with the clock's time if that counts.
func (c *check) answer(rec *kafka.Record, now int64) {
	m := c.matched(rec)
	switch {
	case m.held == nil:
		if m.known && c.unread(m.at) {
			c.early.keep(m, rec)
		}
	case m.whole && !m.held.whole:
		m.held.whole, m.held.due = true, max(now, rec.Timestamp.UnixMilli())+settle
		heap.Push(&c.settling, m.held)
	}
}

// passed takes down how far the answers are, and counts what is over by that.
func (c *check) passed(key int64) {
	c.clock = max(c.clock, key)
	for len(c.settling) > 0 && c.settling[0].due < c.clock {
		h := heap.Pop(&c.settling).(*held)
		delete(c.held, h.at)
		c.one(h)
	}
	// That of all is looked at, so not with each answer.
	if ahead := c.cfg.Ahead.Milliseconds(); c.clock-c.swept > ahead/100 {
		c.swept = c.clock
		c.count(func(h *held) bool { return !h.whole && max(h.key, h.today.timestamp.UnixMilli())+ahead < c.clock })
	}
}

// count takes those into the report that are over.
func (c *check) count(over func(*held) bool) {
	for place, h := range c.held {
		if over(h) {
			delete(c.held, place)
			c.one(h)
		}
	}
	if len(c.held) == 0 {
		c.settling = nil
	}
}

// again looks for the answers of all that is held by themselves, as far as they may
// be, and counts all. There is no room for more, neither of requests nor of answers.
func (c *check) again(ctx context.Context) error {
	from, to, left := int64(math.MaxInt64), int64(math.MinInt64), len(c.held)
	// What was found is found again.
	c.settling = nil
	for _, h := range c.held {
		h.findings, h.whole = findings{}, false
		from, to = min(from, h.key), max(to, h.today.timestamp.UnixMilli())
	}
	answers, err := c.answersFrom(ctx, from)
	if err != nil {
		return err
	}
	far := to + c.cfg.Ahead.Milliseconds()
	last := from
	for {
		s, err := answers.peek(ctx)
		if err != nil {
			return err
		}
		// Once nothing is left, only dead letters are read.
		if s == nil || s.keys[0] > far || left == 0 && s.keys[0] > last+settle {
			break
		}
		rec := answers.take()
		if m := c.matched(&rec); m.held != nil && m.whole && !m.held.whole {
			m.held.whole, last = true, max(last, rec.Timestamp.UnixMilli())
			left--
		}
		c.stepped()
	}
	c.count(func(*held) bool { return true })
	return nil
}

// answersFrom reads the answers of requests from a point in time on.
func (c *check) answersFrom(ctx context.Context, key int64) (*merger, error) {
	m := &merger{check: c, page: c.requests.page}
	from := time.UnixMilli(c.floor(key))
	for topic, ranges := range c.ends {
		for p, all := range ranges {
			var start int64
			err := c.patiently(ctx, func() (err error) {
				start, err = c.reader.OffsetAt(ctx, topic, p, from)
				return err
			})
			if err != nil {
				return nil, err
			}
			m.add(topic, Span{Partition: p, From: max(start, all.Start), To: all.End})
		}
	}
	return m, nil
}

// patiently repeats do while brokers are away, until ctx ends.
func (c *check) patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if kafka.CodeOf(err) != kafka.CodeUnavailable || ctx.Err() != nil {
			return err
		}
		c.tell(err)
		if !waited(ctx, retryPause) {
			return err
		}
	}
}

// tell says how many are counted, which is what was read but for what is held.
func (c *check) tell(waiting error) {
	if c.cfg.Progress == nil {
		return
	}
	now := Progress{Waiting: waiting, Done: -int64(len(c.held))}
	for i, p := range c.report.Partitions {
		now.Total += p.To - p.From
		now.Done += c.requests.sources[i].at() - p.From
	}
	c.cfg.Progress(now)
}

// finish makes the report whole, however far it is.
func (c *check) finish() {
	c.report.Differences = c.firstListed()
	for i, s := range c.requests.sources {
		c.report.Partitions[i].Next = s.at()
	}
	for place := range c.held {
		for i := range c.report.Partitions {
			if p := &c.report.Partitions[i]; p.Partition == place.partition {
				p.Next = min(p.Next, place.offset)
			}
		}
	}
}
