package audit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// auditAs audits with a ledger that is not empty at the beginning, as if much more had
// been read before.
func (w *world) auditAs(cfg Config, before func(l *ledger)) *Report {
	w.t.Helper()
	j := &join{cfg: cfg.withDefaults(), cluster: w.client}
	j.turn.L = &j.mu
	must(w.t, j.begin(w.t.Context()))
	before(j.ledger)
	must(w.t, j.readAll(w.t.Context()))
	r, err := j.report(w.t.Context())
	must(w.t, err)
	return r
}

// What decides on too many answers decides the same when it does so again.
func TestManyAnswersDecidedTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.ask(0, "a")
		for partition := range 3 {
			w.answer(partition, a)
		}
		w.worked()
		var kept *ledger
		r := w.auditAs(config(), func(l *ledger) {
			l.MoreN, kept = mostMore, l
		})
		if n := r.Counts.ByKind[KindDuplicate]; n != mostMore+2 || kept.MoreN != n {
			t.Errorf("%d duplicates of %d further answers", n, kept.MoreN)
		}
	})
}

// Too many records that belong to no request to remember them are reported as few are.
func TestManyStrays(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		spoil := func(text string) {
			w.write(topics.Results, 1, w.tick(), "", []byte(text))
			w.write(topics.DeadLetters, 0, w.tick(), "", []byte(text))
		}
		spoil("before")
		from := w.tick()
		a := w.ask(0, "a")
		w.answer(0, a)
		spoil("within")
		to := w.tick()
		spoil("behind")
		w.answer(0, a, func(r *schemas.Result) { r.ID = schemas.ResultID("rehearsal", a.at, 0) })
		w.worked()
		cfg := config()
		cfg.From, cfg.To = from, to
		w.tick()
		few := w.audit(cfg)
		want(t, few, "orphan another_group: - results/0@1", "schema_violation not_a_dead_letter: - dead/0@1", "schema_violation not_a_result: - results/1@1")
		many := w.auditAs(cfg, func(l *ledger) {
			// Such as these count only where nobody looks again.
			l.Strays = slices.Repeat([]stray{{Kind: KindSchema, Detail: DetailNotAResult, Stamp: stampOf(from)}}, mostStrays)
		})
		one, err := few.Encode()
		must(t, err)
		other, err := many.Encode()
		must(t, err)
		if !bytes.Equal(one, other) {
			t.Errorf("found %q", shown(many))
		}
	})
}

// However many answers come when their requests are forgotten, little is remembered of
// each, and each is compared.
func TestAnswersBehindForgottenRequests(t *testing.T) {
	j := &join{cfg: config().withDefaults()}
	const n = mostMore + 1
	j.ledger = newLedger(&plan{Requests: []OffsetSpan{{0, 0, n}}}, 1)
	for i := range int64(2 * n) {
		if i < n {
			j.request(0, asked{fact: fact{ID: 1}, offset: i})
		} else if i == n {
			j.ledger.Tables[0].pass(n)
		}
		j.answer(answered{fact: fact{ID: 1, At: place(1, i)}, offset: i % n})
	}
	if l := j.ledger; len(l.Later) != 0 || len(l.Owed) != n {
		t.Errorf("%d facts and %d places", len(l.Later), len(l.Owed))
	}
	inBubble(t, func(t *testing.T, w *world) {
		var all []ask
		for i := range 6 {
			a := w.ask(i%2, fmt.Sprint(i))
			all = append(all, a)
			w.answer(i%3, a)
		}
		for i := range 6 {
			w.answer(2-i%3, all[i], func(r *schemas.Result) {
				if i == 3 {
					r.Identity = "customer-0002"
				}
			})
			w.sids--
		}
		w.worked()
		fetched := &counting{Cluster: w.client, by: map[string]int{}}
		j := &join{cfg: config().withDefaults(), cluster: fetched}
		j.turn.L = &j.mu
		must(t, j.begin(t.Context()))
		for number, s := range j.streams {
			for !s.done {
				must(t, j.step(t.Context(), j.newReader(), number))
			}
		}
		clear(fetched.by)
		must(t, j.weigh(t.Context()))
		if n := j.ledger.Found.N[KindConflicting]; n != 1 || len(j.ledger.Owed) != 6 {
			t.Errorf("%d findings of %d answers", n, len(j.ledger.Owed))
		}
		if fetched.by[topics.Requests] != 2 || fetched.by[topics.Results] != 2 {
			t.Errorf("read %v", fetched.by)
		}
		// What is deleted before that is said.
		w.forget(topics.Results, 1, w.next[topics.Results][1])
		w.forget(topics.Requests, 0, 3)
		r, err := j.report(t.Context())
		must(t, err)
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Count == 4 && strings.Contains(f.Text, "that 4 answers had") }) {
			t.Errorf("%+v", r.Findings)
		}
	})
}

// counting is a cluster that counts how often a topic begins to be read.
type counting struct {
	Cluster
	mu sync.Mutex
	by map[string]int
}

func (c *counting) Cursor(topic string, partition int, from, end int64, most int) *kafka.Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[topic]++
	return c.Cluster.Cursor(topic, partition, from, end, most)
}

// What a dead letter says that its topic is may be anything, and takes no more than a
// topic's name.
func TestLongTopicOfALetter(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.ask(0, "a")
		w.answer(0, a)
		w.bury(a, false, func(d *schemas.DeadLetter) { d.Topic = strings.Repeat("long ", 10_000) })
		w.worked()
		r := w.audit(config())
		want(t, r, "orphan another_topic: - dead/0@0")
		if n := len(r.Findings[0].Text); n < topicSize || n > 2*topicSize {
			t.Errorf("%d bytes of text", n)
		}
	})
}
