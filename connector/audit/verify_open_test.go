package audit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// A report that hides what was found does not pass for one of an open window.
func TestVerifyForgedOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		answerAll(w)
		w.ask(0, "lost")
		w.worked()
		closed := w.audit(config())
		w.ask(0, "waits")
		open := w.audit(config())
		hide := func(r *Report) {
			r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return f.Kind == KindMissing })
			r.Counts.ByKind[KindMissing] = 0
			r.Counts.AnsweredOnce++
		}
		for name, forge := range map[string]func() *Report{
			"a closed one said to be open": func() *Report {
				r := keptReport(t, closed)
				hide(r)
				r.Window.Closed = false
				return r
			},
			"a closed one with a finding of an open one": func() *Report {
				r := keptReport(t, closed)
				hide(r)
				r.Window.Closed, r.Window.NotEnded = false, true
				r.Counts.ByKind[KindOpen] = 1
				r.Findings = append(r.Findings, Finding{Kind: KindOpen, Detail: DetailNotEnded, Text: "It goes on."})
				return r
			},
			"an open one": func() *Report {
				r := keptReport(t, open)
				hide(r)
				return r
			},
			"an open one that does not say where its answers ended": func() *Report {
				r := keptReport(t, open)
				hide(r)
				r.Window.Results, r.Window.DeadLetters = nil, nil
				return r
			},
			"an open one that does not say what was worked off": func() *Report {
				r := keptReport(t, open)
				hide(r)
				r.Window.WorkedOff = nil
				return r
			},
		} {
			r := forge()
			data, err := r.Encode()
			must(t, err)
			if _, err := Decode(data); CodeOf(err) == CodeInvalid {
				continue
			}
			if d := w.verify(r); len(d) == 0 {
				t.Errorf("%s is accepted", name)
			}
		}
	})
}

// An open report has no more room for tampering than a closed one.
func TestTamperingWithOpenWindows(t *testing.T) {
	unworked := func(w *world) { w.work(0, 3); w.work(1, 2) }
	byTime := config()
	byTime.From, byTime.To = epoch, epoch.Add(time.Hour)
	byOffsets := config()
	byOffsets.Offsets = []OffsetSpan{{0, 0, 9}, {1, 0, 9}}
	inBubble(t, func(t *testing.T, w *world) {
		fill(w, nil)
		unworked(w)
		reports := map[string]*Report{"endless": w.audit(config()), "times": w.audit(byTime), "offsets": w.audit(byOffsets)}
		for name, r := range reports {
			if d := w.verify(r); len(d) > 0 || r.Window.Closed {
				t.Fatal(name, d)
			}
		}
		for topic, records := range map[string]int{topics.Requests: 9, topics.Results: 7, topics.DeadLetters: 4} {
			for n := range records {
				w.renew()
				seen := 0
				fill(w, func(of string, value []byte) ([]byte, string, time.Duration, []schemas.Header, bool) {
					if of == topic {
						seen++
					}
					if of == topic && seen == n+1 {
						return append(value, ' '), "", 0, nil, true
					}
					return value, "", 0, nil, true
				})
				for name, r := range reports {
					found := w.verify(r)
					if !slices.ContainsFunc(found, func(d Difference) bool { return d.Topic == topic }) {
						t.Error(fmt.Sprintf("%s: record %d of %s:", name, n, topic), found)
					}
				}
			}
		}
	})
}
