package audit

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// A report of a part of a window does not pass for one of the whole.
func TestVerifyForgedWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		before := w.ask(0, "before")
		w.answer(0, before)
		from := w.tick()
		for p := range 2 {
			for i := range 3 {
				w.answer(p, w.ask(p, fmt.Sprintf("r%d%d", p, i)))
			}
		}
		to := w.tick()
		after := w.ask(0, "after")
		w.answer(0, after)
		w.worked()
		honest := []OffsetSpan{{0, 1, 4}, {1, 0, 3}}
		for name, c := range map[string]struct {
			spans []OffsetSpan
			at    int64 // where the first difference is; -1: it is the window's form
		}{
			"as it is":              {honest, 0},
			"begins late":           {[]OffsetSpan{{0, 2, 4}, {1, 0, 3}}, 1},
			"ends early":            {[]OffsetSpan{{0, 1, 3}, {1, 0, 3}}, 3},
			"is nothing of one":     {[]OffsetSpan{{0, 1, 4}, {1, 0, 0}}, 0},
			"leaves out the last":   {[]OffsetSpan{{0, 1, 4}}, 0},
			"leaves out the first":  {[]OffsetSpan{{1, 0, 3}}, -1},
			"begins early":          {[]OffsetSpan{{0, 0, 4}, {1, 0, 3}}, 0},
			"ends late":             {[]OffsetSpan{{0, 1, 5}, {1, 0, 3}}, 4},
			"is nothing, far ahead": {[]OffsetSpan{{0, 5, 5}, {1, 0, 3}}, 1},
		} {
			part := config()
			for _, s := range c.spans {
				if s.To > s.From {
					part.Offsets = append(part.Offsets, s)
				}
			}
			r := keptReport(t, w.audit(part))
			r.Window.ByOffsets, r.Window.From, r.Window.To, r.Window.Requests = false, &from, &to, c.spans
			r.Counts.NoData = 0
			d, err := Verify(t.Context(), w.client, keptReport(t, r), Config{})
			switch {
			case c.at < 0:
				if CodeOf(err) != CodeInvalid {
					t.Errorf("%s: %v, %v", name, d, err)
				}
			case name == "as it is":
				if err != nil || len(d) > 0 {
					t.Errorf("%s: %v, %v", name, d, err)
				}
			case err != nil || len(d) == 0 || d[0].Topic != topics.Requests || d[0].From != c.at:
				t.Errorf("%s: %v, %v", name, d, err)
			}
		}
	})
}

// What came late belongs to the window, and a report that was closed before does not
// cover it.
func TestVerifyRecordThatCameLate(t *testing.T) {
	for _, c := range []struct {
		later time.Duration // than the window's last moment
		found int
	}{{time.Hour, 0}, {0, 1}} {
		inBubble(t, func(t *testing.T, w *world) {
			w.answer(0, w.ask(0, "a"))
			at := w.tick()
			w.worked()
			cfg := config()
			cfg.From, cfg.To = epoch, at.Add(time.Millisecond)
			w.tick()
			r := w.audit(cfg)
			if !r.Window.Closed {
				t.Fatal("not closed")
			}
			w.write(topics.Requests, 0, at.Add(c.later), "", []byte("late"))
			if d := w.verify(r); len(d) != c.found || c.found > 0 && d[0].From != 1 {
				t.Errorf("%v later: %v", c.later, d)
			}
		})
	}
}

// That answers were read from an earlier offset on than they were is no matter of
// retention where the log begins before it.
func TestVerifyForgedBeginningOfAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 3 {
			w.answer(0, w.ask(0, fmt.Sprint(i)))
		}
		<-time.After(time.Hour)
		w.ticks += 3600
		cfg := config()
		cfg.From = w.tick()
		w.answer(0, w.ask(0, "late"))
		w.worked()
		r := w.audit(cfg)
		r.Window.Results[0].From = 0
		if d := w.verify(r); len(d) != 1 {
			t.Errorf("%v", d)
		}
	})
}

// Answers are found of requests that are older than the window's beginning by more
// than the skew, where one with a clock that was ahead begins it.
func TestAnswersOfOlderRequests(t *testing.T) {
	for _, byOffsets := range []bool{false, true} {
		inBubble(t, func(t *testing.T, w *world) {
			w.answer(0, w.ask(0, "outside"))
			ahead := ask{req: w.ask(1, "elsewhere").req}
			ahead.req.ID = "ahead"
			var err error
			ahead.value, err = ahead.req.Encode()
			must(t, err)
			now := w.tick()
			ahead.at.Topic, ahead.at.Timestamp = topics.Requests, now.Add(5*time.Hour)
			ahead.at.Offset = w.write(topics.Requests, 0, ahead.at.Timestamp, "", ahead.value)
			w.answer(0, ahead)
			for i := range 3 {
				w.answer(1, w.ask(0, fmt.Sprint(i)))
			}
			w.bury(w.ask(0, "buried"), false)
			w.ask(0, "lost")
			w.work(0, 7)
			w.work(1, 1)
			<-time.After(10 * time.Hour)
			cfg := config()
			if byOffsets {
				cfg.Offsets = []OffsetSpan{{0, 1, 7}}
			} else {
				cfg.From, cfg.To = now.Add(4*time.Hour), now.Add(9*time.Hour)
			}
			r := w.audit(cfg)
			want(t, r, "missing no_answer: 0@6 lost")
			interrupted := 0
			for n := range 30 {
				cfg.State = filepath.Join(t.TempDir(), "state")
				ctx, cancel := context.WithCancelCause(t.Context())
				_, err := Run(ctx, &interrupting{Cluster: w.client, left: n, end: cancel}, cfg)
				cancel(nil)
				if err == nil {
					break
				}
				interrupted++
				if again := w.audit(cfg); !reflect.DeepEqual(again, r) {
					t.Errorf("interrupted at the reading %d: %v", n, shown(again))
				}
			}
			if interrupted < 6 { // the first reading takes fewer
				t.Errorf("interrupted %d times", interrupted)
			}
			if d := w.verify(r); len(d) > 0 {
				t.Errorf("%v", d)
			}
		})
	}
}

// What cannot be tied to a request of the window is in no tree, and altering it is found
// by what the report says of it.
func TestTamperingWithStrays(t *testing.T) {
	write := func(w *world, with tamper) {
		w.sids, w.ticks = 0, 0
		a := w.ask(0, "a")
		w.answer(0, a)
		foreign := a
		foreign.at.Topic = "elsewhere"
		w.tamper = with
		w.write(topics.Results, 0, a.at.Timestamp, "", []byte("garbage"))
		w.answer(0, foreign)
		w.answer(0, a, func(r *schemas.Result) { r.ID = schemas.ResultID("rehearsal", a.at, 0) })
		w.write(topics.DeadLetters, 0, a.at.Timestamp, "", []byte("garbage"))
		w.bury(foreign, false)
		w.tamper = nil
		w.work(0, 1)
	}
	const strays = 5
	inBubble(t, func(t *testing.T, w *world) {
		write(w, nil)
		r := w.audit(config())
		want(t, r, "orphan another_group: - results/0@3", "orphan another_topic: - results/0@2", "orphan another_topic: - dead/0@1",
			"schema_violation not_a_dead_letter: - dead/0@0", "schema_violation not_a_result: - results/0@1")
		for n := range strays {
			for _, what := range []string{"nothing", "value", "key", "timestamp", "header", "removed"} {
				w.renew()
				seen := -1
				write(w, func(_ string, value []byte) ([]byte, string, time.Duration, []schemas.Header, bool) {
					if seen++; seen != n || what == "nothing" {
						return value, "", 0, nil, true
					}
					return altered(what, value)
				})
				if d := w.verify(r); (len(d) > 0) != (what != "nothing") {
					t.Errorf("record %d, %s: %v", n, what, d)
				}
			}
		}
	})
}
