package replay

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// check is one Check.
type check struct {
	cfg    CheckConfig
	reader CheckReader
	report CheckReport
	ends   map[string][]kafka.Range // of the topics of answers, at the start

	requests *merger
	before   *wave // nil: there was none
}

// at is where a request stands.
type at struct {
	partition int
	offset    int64
}

// held is a request whose answers are looked for.
type held struct {
	at
	today    today
	findings findings
}

func (c *check) run(ctx context.Context) error {
	spans, _, err := c.cfg.Window.find(ctx, c.reader, c.cfg.Requests)
	if err != nil {
		return err
	}
	c.ends = map[string][]kafka.Range{}
	for _, topic := range []string{c.cfg.DeadLetters, c.cfg.Results} {
		if topic == "" {
			continue
		}
		if c.ends[topic], err = c.reader.Ranges(ctx, topic); err != nil {
			return err
		}
	}
	m := &merger{check: c}
	for _, s := range spans {
		c.report.Partitions = append(c.report.Partitions, PartitionReport{Span: s, Next: s.From})
		m.add(c.cfg.Requests, s)
	}
	c.requests = m
	c.tell(nil)
	for more := true; more; {
		var w *wave
		if w, more, err = c.next(ctx); err != nil {
			return err
		}
		if err := c.join(ctx, w, !more); err != nil {
			return err
		}
		for i, s := range m.sources {
			p := &c.report.Partitions[i]
			if p.Next = s.next; s.over && len(s.records) == 0 {
				p.Next = p.To
			}
		}
		c.tell(nil)
	}
	return nil
}

// wave are the requests that are held at once: the earliest that were not looked at
// yet, and those of the waves before whose answers were not found near them.
type wave struct {
	held     map[at]*held
	left     int       // of these: without a whole answer
	from, to time.Time // timestamps of the new ones
	scanned  time.Time // for the old ones: answers below were looked at; zero: there are no old ones
}

// next is the next wave; not more: it is the last.
func (c *check) next(ctx context.Context) (w *wave, more bool, err error) {
	w = &wave{held: map[at]*held{}}
	if c.before != nil && len(c.before.held) > 0 {
		w.held, w.left, w.scanned = c.before.held, c.before.left, c.before.scanned
	}
	for taken := 0; taken < c.cfg.held; taken++ {
		rec, more, err := c.requests.next(ctx)
		if err != nil || !more {
			return w, false, err
		}
		if taken == 0 || rec.Timestamp.Before(w.from) {
			w.from = rec.Timestamp
		}
		if taken == 0 || rec.Timestamp.After(w.to) {
			w.to = rec.Timestamp
		}
		place := at{rec.Partition, rec.Offset}
		w.held[place] = &held{at: place, today: c.today(&rec)}
		w.left++
		if taken%5000 == 4999 {
			c.tell(nil)
		}
	}
	return w, true, nil
}

// near is how much later than its request an answer usually is.
const near = 30 * time.Minute

// join looks for the answers of a wave and counts what it finds. What is not answered
// yet goes to the next wave, unless its time is over or too much would be held.
func (c *check) join(ctx context.Context, w *wave, last bool) error {
	if len(w.held) == 0 {
		return nil
	}
	start := w.from.Add(-c.cfg.Skew)
	if !w.scanned.IsZero() && (w.scanned.Before(start) || w.from.IsZero()) {
		start = w.scanned
	}
	far := w.to.Add(c.cfg.Ahead)
	if w.to.IsZero() { // no new ones
		far = w.scanned.Add(c.cfg.Ahead)
	}
	if err := c.letters(ctx, w, start, far); err != nil {
		return err
	}
	answers, err := c.answers(ctx, c.cfg.Results, start)
	if err != nil {
		return err
	}
	until := w.to.Add(near)
	if last || far.Before(until) {
		until = far
	}
	if err := c.results(ctx, w, answers, until); err != nil {
		return err
	}
	if w.left > c.cfg.held/4 && until.Before(far) {
		until = far
		if err := c.results(ctx, w, answers, until); err != nil {
			return err
		}
	}
	w.scanned = until
	c.count(w, func(h *held) bool {
		return last || h.findings.whole || h.today.timestamp.Add(c.cfg.Ahead).Before(until) || !until.Before(far)
	})
	c.before = w
	return nil
}

// count takes those into the report that are over, in the order of their timestamps,
// and holds the others.
func (c *check) count(w *wave, over func(*held) bool) {
	var order []*held
	for place, h := range w.held {
		if over(h) {
			order = append(order, h)
			delete(w.held, place)
		}
	}
	w.left = len(w.held)
	slices.SortFunc(order, func(a, b *held) int {
		return cmp.Or(a.today.timestamp.Compare(b.today.timestamp), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	for _, h := range order {
		c.one(h)
	}
}

// letters takes in the dead letters of a span of time. There are few, so all of
// them are read, and before the results, which are judged by them.
func (c *check) letters(ctx context.Context, w *wave, start, until time.Time) error {
	if c.cfg.DeadLetters == "" {
		return nil
	}
	m, err := c.answers(ctx, c.cfg.DeadLetters, start)
	if err != nil {
		return err
	}
	for {
		rec, more, err := m.next(ctx)
		if err != nil || !more || rec.Timestamp.After(until) {
			return err
		}
		c.letter(w, &rec)
	}
}

// results takes in the results up to a point in time, or until all are answered.
func (c *check) results(ctx context.Context, w *wave, m *merger, until time.Time) error {
	for w.left > 0 {
		rec, more, err := m.next(ctx)
		if err != nil || !more {
			return err
		}
		c.result(w, &rec)
		if rec.Timestamp.After(until) {
			return nil
		}
	}
	return nil
}

// answers reads a topic of answers from a point in time on.
func (c *check) answers(ctx context.Context, topic string, from time.Time) (*merger, error) {
	m := &merger{check: c}
	for p, all := range c.ends[topic] {
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

func (c *check) tell(waiting error) {
	if c.cfg.Progress == nil {
		return
	}
	now := Progress{Waiting: waiting}
	for i, p := range c.report.Partitions {
		now.Total += p.To - p.From
		now.Done += max(p.Next, c.requests.sources[i].next) - p.From
	}
	c.cfg.Progress(now)
}

// ours finds the request that an answer is about, if it is held. What comes later
// than Ahead is not looked at, whatever else is held.
func (c *check) ours(w *wave, answer *kafka.Record, to schemas.Coordinates) *held {
	if to.Topic != c.cfg.Requests {
		return nil
	}
	h := w.held[at{to.Partition, to.Offset}]
	if h == nil || answer.Timestamp.After(h.today.timestamp.Add(c.cfg.Ahead)) {
		return nil
	}
	return h
}
