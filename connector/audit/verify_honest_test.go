package audit

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerAll asks and answers three requests in each partition.
func answerAll(w *world) {
	w.t.Helper()
	for p := range 2 {
		for i := range 3 {
			w.answer(p, w.ask(p, fmt.Sprintf("r%d%d", p, i)))
		}
	}
	w.worked()
}

// A report that is right verifies whatever became of what lies outside its window.
func TestVerifyTakesHonestReports(t *testing.T) {
	open := func(w *world) {
		for p := range 2 {
			w.answer(p, w.ask(p, fmt.Sprintf("s%d", p)))
			w.ask(p, fmt.Sprintf("t%d", p))
		}
	}
	byOffsets := func(c *Config) { c.Offsets = []OffsetSpan{{0, 0, 2}, {1, 1, 5}} }
	for name, c := range map[string]struct {
		before func(w *world)
		change func(c *Config)
		after  func(w *world)
		closed bool
	}{
		"more is gone than is listed": {
			before: func(w *world) { w.forget(topics.Requests, 0, 1); w.forget(topics.Requests, 1, 1) },
			change: func(c *Config) { c.MaxFindings = 1 },
			closed: true,
		},
		"the group is set back":               {after: func(w *world) { w.work(0, 1) }, closed: true},
		"the group is gone":                   {after: (*world).disband, closed: true},
		"the group of an open report is gone": {before: open, after: (*world).disband},
		"the group goes on":                   {before: open, after: func(w *world) { w.worked() }},
		"nothing was worked off":              {before: (*world).disband, after: func(w *world) { w.worked() }},
		"answers go on":                       {before: open, after: func(w *world) { open(w); w.worked() }},
		"answers go on of offsets":            {before: open, change: byOffsets, after: func(w *world) { w.bury(w.ask(0, "x"), false); w.worked() }},
		"nothing was there yet": {
			change: func(c *Config) { c.From = epoch.Add(time.Hour) },
			after: func(w *world) { // Kafka finds the time at another offset now
				w.write(topics.Results, 0, w.tick(), "", []byte("garbage"))
				w.write(topics.Results, 0, epoch.Add(2*time.Hour), "", []byte("garbage"))
			},
			closed: true,
		},
		"offsets that were all gone":            {before: func(w *world) { w.forget(topics.Requests, 0, 3) }, change: func(c *Config) { c.Offsets = []OffsetSpan{{0, 0, 2}} }, closed: true},
		"offsets that were not there yet":       {change: func(c *Config) { c.Offsets = []OffsetSpan{{0, 3, 9}} }, after: open},
		"answers in a partition that came then": {before: open, after: (*world).widen},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			answerAll(w)
			if c.before != nil {
				c.before(w)
			}
			cfg := config()
			if c.change != nil {
				c.change(&cfg)
			}
			r := w.audit(cfg)
			if r.Window.Closed != c.closed {
				t.Errorf("%s: closed %t: %v", name, r.Window.Closed, shown(r))
			}
			if c.after != nil {
				c.after(w)
			}
			if d := w.verify(r); len(d) > 0 {
				t.Errorf("%s: %+v", name, d)
			}
		})
	}
}

// A log of answers that begins later than it did, and has lost none of the window's,
// makes no report wrong; one that says that less was read than was there is.
func TestVerifyBesideRetention(t *testing.T) {
	for _, topic := range []string{topics.Results, topics.DeadLetters} {
		inBubble(t, func(t *testing.T, w *world) {
			w.abort(topic, 0, []byte("nothing"))
			for i := range 3 {
				w.answer(0, w.ask(0, fmt.Sprintf("r%d", i)))
				w.bury(w.ask(1, fmt.Sprintf("b%d", i)), false)
			}
			w.worked()
			r := w.audit(config())
			less := keptReport(t, r)
			for _, spans := range [][]OffsetSpan{less.Window.Results, less.Window.DeadLetters} {
				spans[0].From = 2
			}
			if d := w.verify(less); len(d) != 1 {
				t.Errorf("%s: less was read, it says: %+v", topic, d)
			}
			w.forget(topic, 0, 2)
			if d := w.verify(r); len(d) > 0 {
				t.Errorf("%s: %+v", topic, d)
			}
			w.forget(topic, 0, 3)
			if d := w.verify(r); len(d) != 1 || d[0].Topic != topic {
				t.Errorf("%s: an answer is gone: %+v", topic, d)
			}
		})
	}
}

// What was gone is taken from the report only where the log still lacks it.
func TestVerifyLooksForWhatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		answerAll(w)
		cfg := config()
		cfg.Offsets = []OffsetSpan{{0, 1, 3}}
		r := w.audit(cfg)
		r.Window.Gone = []OffsetSpan{{0, 0, 1}}
		r.Counts.ByKind[KindGap]++
		r.Findings = append(r.Findings, Finding{Kind: KindGap, Detail: DetailRetention, Span: &r.Window.Gone[0], Count: 1, Text: "It is gone."})
		if d := w.verify(r); len(d) == 0 {
			t.Error("a record that is there passes for gone")
		}
	})
}

// disband deletes the group and with it what it has committed.
func (w *world) disband() {
	w.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	res, err := req.RequestWith(w.t.Context(), w.foreign)
	must(w.t, err)
	if code := res.Groups[0].ErrorCode; code != 0 {
		w.t.Fatalf("delete the group: error %d", code)
	}
}

// widen gives the results one more partition, with an answer in it.
func (w *world) widen() {
	w.t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	one := kmsg.NewCreatePartitionsRequestTopic()
	one.Topic, one.Count = topics.Results, 4
	req.Topics = append(req.Topics, one)
	res, err := req.RequestWith(w.t.Context(), w.foreign)
	must(w.t, err)
	if code := res.Topics[0].ErrorCode; code != 0 {
		w.t.Fatalf("create partitions: error %d", code)
	}
	w.write(topics.Results, 3, w.tick(), "", []byte("garbage"))
}
