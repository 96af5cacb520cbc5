package audit

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

func want(t *testing.T, r *Report, lines ...string) {
	t.Helper()
	if got := shown(r); !slices.Equal(got, lines) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
	if n := r.Counts.Found(); n != int64(len(lines)) {
		t.Errorf("%d findings are counted, %d wanted", n, len(lines))
	}
}

func TestClean(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 20 {
			a := w.ask(i%2, "r"+string(rune('a'+i)))
			switch i % 5 {
			case 0:
				w.answer(i%3, a)
			case 1:
				w.answer(i%3, a, rejected)
			case 2:
				w.answer(i%3, a, failed)
				w.bury(a, true)
			case 3:
				b := w.askRaw(1, ask{value: []byte("no json")})
				w.bury(b, false)
				w.answer(i%3, a)
			case 4:
				w.answer(i%3, a, func(r *schemas.Result) { r.Outcome = schemas.OutcomeAdopted })
			}
		}
		l := w.ask(0, "listed", func(r *schemas.Request) { r.Operation, r.Create, r.List = schemas.OperationList, nil, &schemas.List{} })
		for i := range 3 {
			w.answer(2-i, l, func(r *schemas.Result) {
				r.ID, r.Page = schemas.ResultID(group, l.at, i), &schemas.Page{Index: i, Last: i == 2}
				r.Challenge, r.Challenges = nil, []json.RawMessage{challengeOf(99, "pending")}
			})
		}
		w.worked()
		r := w.audit(config())
		want(t, r)
		c := r.Counts
		if !r.Clean() || !r.Window.Closed || c.Requests != 25 || c.AnsweredOnce != 25 || c.Results != 23 || c.DeadLetters != 4 || c.FailedLetters != 4 || c.Challenges != 12 || c.NoData != 0 || c.Unreadable != 4 {
			t.Errorf("%+v", c)
		}
		if got := r.Latency.All; got.Count != 17 || got.P50 != Duration(250*time.Millisecond) {
			t.Errorf("%+v", got)
		}
	})
}

// Every kind of fault is found where it is, and nothing else.
func TestFaultsOfEveryKind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		seeded(t, w)
		r := w.audit(config())
		want(t, r, seededFindings...)
	})
}

// seeded is a window with a fault of nearly every kind.
func seeded(_ *testing.T, w *world) {
	first := w.ask(0, "deleted")
	w.answer(0, first) // results/0@0
	w.answer(0, w.ask(0, "good"))

	twice := w.ask(0, "twice")
	w.answer(0, twice) // results/0@2
	w.sids--
	w.answer(1, twice) // results/1@0

	unburied := w.ask(0, "unburied")
	w.answer(0, unburied, failed) // results/0@3

	buried := w.ask(0, "buried")
	w.answer(0, buried, failed) // results/0@4
	w.bury(buried, true)
	w.bury(buried, true)

	w.answer(0, w.ask(0, "again")) // results/0@5

	w.answer(0, w.ask(0, "shared")) // results/0@6
	w.sids--
	w.answer(0, w.ask(0, "shares")) // results/0@7

	contradicted := w.ask(0, "contradicted")
	w.answer(0, contradicted)           // results/0@8
	w.answer(2, contradicted, rejected) // results/2@0

	w.answer(0, w.ask(0, "mine"), func(r *schemas.Result) { r.Identity = "customer-0002" }) // results/0@9

	r9 := w.ask(0, "r9")
	r9.value = append(r9.value, ' ')
	w.bury(r9, false) // dead/0@2

	broken := w.askRaw(0, ask{value: []byte(`{"version":"1.0","id":"broken","operation":"create","identity":"x"}`)})
	broken.req.ID, broken.req.Operation = "broken", schemas.OperationCreate
	w.answer(0, broken) // results/0@10

	w.ask(1, "lost")

	paged := w.ask(1, "paged", func(r *schemas.Request) { r.Operation, r.Create, r.List = schemas.OperationList, nil, &schemas.List{} })
	for i := range 2 {
		w.answer(1+i, paged, func(r *schemas.Result) { // results/1@1, results/2@1
			r.ID, r.Page = schemas.ResultID(group, paged.at, 2*i), &schemas.Page{Index: 2 * i, Last: i == 1}
			r.Challenge, r.Challenges = nil, []json.RawMessage{}
		})
	}

	w.answer(0, w.ask(1, "again")) // results/0@11

	fine := w.ask(1, "fine")
	w.answer(1, fine) // results/1@2
	w.bury(fine, true)

	w.answer(1, w.ask(1, "late"), func(r *schemas.Result) { // results/1@3
		at := r.Request.Timestamp.Add(5*time.Minute + 3*time.Second)
		r.Times.Called, r.Times.Completed = &at, at
	})

	ghost := ask{at: schemas.Coordinates{Topic: topics.Requests, Partition: 1, Offset: 5, Timestamp: w.tick()}}
	ghost.req = schemas.Request{ID: "ghost", Operation: schemas.OperationCreate, ServiceSID: service, Identity: identity}
	w.abort(topics.Requests, 1, []byte("{}"))
	w.answer(2, ghost) // results/2@2

	elsewhere := ghost
	elsewhere.at.Topic = "elsewhere"
	w.answer(1, elsewhere)                                                                          // results/1@4
	w.answer(1, fine, func(r *schemas.Result) { r.ID = schemas.ResultID("rehearsal", fine.at, 0) }) // results/1@5
	w.write(topics.Results, 2, w.tick(), "", []byte(`{"version":"1.0"}`))                           // results/2@3
	w.write(topics.DeadLetters, 0, w.tick(), "", []byte("x"), schemas.Header{Key: schemas.HeaderVersion, Value: []byte("1.0")})

	w.ask(1, "open")
	w.work(0, w.next[topics.Requests][0])
	w.work(1, 7)
	w.forget(topics.Requests, 0, 1)
}

var seededFindings = []string{
	"missing no_dead_letter: 0@3 unburied results/0@3",
	"missing no_answer: 1@0 lost",
	"missing no_page: 1@1 paged results/1@1 results/2@1",
	"duplicate answered_twice: 0@2 twice results/0@2 results/1@0",
	"duplicate dead_letter_twice: 0@4 buried dead/0@0 dead/0@1",
	"duplicate id_called_twice: 1@2 again results/0@5 results/0@11",
	"conflicting challenge_twice: 0@7 shares results/0@6 results/0@7",
	"conflicting two_answers: 0@8 contradicted results/0@8 results/2@0",
	"conflicting another_request: 0@9 mine results/0@9",
	"conflicting another_record: 0@10 r9 dead/0@2",
	"conflicting not_answerable: 0@11 broken results/0@10",
	"conflicting letter_of_unfailed: 1@3 fine results/1@2 dead/0@3",
	"late sent_after_deadline: 1@4 late results/1@3",
	"orphan another_group: - results/1@5",
	"orphan another_topic: - results/1@4",
	"orphan no_such_request: 1@5 ghost results/2@2",
	"schema_violation not_a_dead_letter: - dead/0@4",
	"schema_violation not_a_result: - results/2@3",
	"gap retention: 0@0-1",
	"open_window not_worked_off: 1@7-8",
}

// The same window is reported in the same bytes, in whatever pieces it is read.
func TestSameBytes(t *testing.T) {
	var first []byte
	for range 3 {
		inBubble(t, func(t *testing.T, w *world) {
			seeded(t, w)
			for range 3 {
				data, err := json.Marshal(w.audit(config()))
				must(t, err)
				if first == nil {
					first = data
				}
				if !bytes.Equal(data, first) {
					t.Errorf("got\n%s\nwant\n%s", data, first)
				}
			}
		})
	}
}

// What was compacted away is a gap, in one piece however it is read; markers and
// what was aborted is none.
func TestGapOfCompaction(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		// The broker leaves the last record alone, and with it the first of its key.
		must(t, w.cluster.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact"}))
		cfg := config()
		cfg.Topics.Requests = "compacted"
		for _, key := range []string{"a", "b", "b", "b", "c", "d", "d", "a"} {
			w.write("compacted", 0, w.tick(), key, []byte(`{}`))
		}
		w.answer(0, ask{at: schemas.Coordinates{Topic: "compacted", Offset: 2}, req: schemas.Request{ID: "r", Operation: schemas.OperationCreate}})
		w.cluster.Compact()
		r := w.audit(cfg)
		want(t, r, "gap absent: 0@1-3", "gap absent: 0@5-6", "open_window not_worked_off: 0@0-8")
		if c := r.Counts; c.Requests != 5 || c.Waiting != 5 || c.NoData != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// Answers that retention may have taken are not called missing.
func TestAnswersDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var all []ask
		for i := range 10 {
			a := w.ask(0, "r"+string(rune('0'+i)))
			if i != 7 {
				w.answer(0, a)
			}
			all = append(all, a)
		}
		w.worked()
		w.forget(topics.Results, 0, 4)
		cfg := config()
		cfg.Skew = time.Millisecond
		r := w.audit(cfg)
		want(t, r, "missing no_answer: 0@7 r7", "gap answers_retention: 0@0-4")
		if c := r.Counts; c.AnswersGone != 4 || c.AnsweredOnce != 5 {
			t.Errorf("%+v", c)
		}
		// A window behind what was deleted has nothing to do with it.
		cfg.From = all[8].at.Timestamp
		cfg.Skew = 2 * time.Second
		want(t, w.audit(cfg))
	})
}

func TestWindows(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var all []ask
		for i := range 12 {
			a := w.ask(i%2, "r"+string(rune('a'+i)))
			if i%4 != 3 {
				w.answer(i%3, a)
			}
			all = append(all, a)
		}
		w.worked()
		byTime := config()
		byTime.From, byTime.To = all[2].at.Timestamp, all[8].at.Timestamp
		r := w.audit(byTime)
		want(t, r, "missing no_answer: 1@1 rd", "missing no_answer: 1@3 rh")
		if r.Counts.Requests != 6 || len(r.Covered.Trees) != 5 {
			t.Errorf("%+v", r)
		}
		byOffsets := config()
		byOffsets.Offsets = []OffsetSpan{{1, 1, 4}}
		r = w.audit(byOffsets)
		want(t, r, "missing no_answer: 1@1 rd", "missing no_answer: 1@3 rh")
		if r.Counts.Requests != 3 {
			t.Errorf("%+v", r.Counts)
		}
		ahead := config()
		ahead.From, ahead.To = all[4].at.Timestamp, time.Now().Add(time.Hour)
		want(t, w.audit(ahead), "missing no_answer: 1@3 rh", "missing no_answer: 1@5 rl", "open_window not_ended: -")
		beyond := config()
		beyond.Offsets = []OffsetSpan{{0, 4, 9}}
		want(t, w.audit(beyond), "open_window not_ended: -")
		for name, cfg := range map[string]Config{
			"no partition": {Offsets: []OffsetSpan{{2, 0, 1}}}, "not there yet": {Offsets: []OffsetSpan{{0, 7, 9}}},
		} {
			cfg.Topics, cfg.Group = topics, group
			if _, err := Run(t.Context(), w.client, cfg); CodeOf(err) != CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// What is written about other windows changes nothing in a report.
func TestOtherWindowsDoNotShow(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var all []ask
		for i := range 6 {
			a := w.ask(0, "r"+string(rune('a'+i)))
			w.answer(i%3, a)
			all = append(all, a)
		}
		w.worked()
		cfg := config()
		cfg.From, cfg.To = all[0].at.Timestamp, all[4].at.Timestamp
		before, err := json.Marshal(w.audit(cfg))
		must(t, err)
		for i := range 6 {
			a := w.ask(i%2, "s"+string(rune('a'+i)))
			w.answer(i%3, a, failed)
			w.write(topics.Results, 0, w.tick(), "", []byte("garbage"))
		}
		after, err := json.Marshal(w.audit(cfg))
		must(t, err)
		if !bytes.Equal(before, after) {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
	})
}

// Every record of the window is in the digest, with all that a reader sees of it.
func TestDigestCoversEveryRecord(t *testing.T) {
	roots := map[Hash]string{}
	for _, altered := range []string{"", "same", "requests", "results", "dead", "key", "header", "timestamp", "left out"} {
		inBubble(t, func(t *testing.T, w *world) {
			for i := range 4 {
				a := ask{req: schemas.Request{ID: "r"}, value: []byte("no json " + string(rune('0'+i)))}
				key, at := "k", epoch.Add(time.Duration(i)*time.Minute)
				var headers []schemas.Header
				if i == 2 {
					switch altered {
					case "requests":
						a.value = append(a.value, 'x')
					case "key":
						key = "l"
					case "header":
						headers = append(headers, schemas.Header{Key: "h"})
					case "timestamp":
						at = at.Add(time.Millisecond)
					case "left out":
						continue
					}
				}
				a.at = schemas.Coordinates{Topic: topics.Requests, Timestamp: at}
				a.at.Offset = w.write(topics.Requests, 0, at, key, a.value, headers...)
				a.req.ID = ""
				w.bury(a, false, func(d *schemas.DeadLetter) {
					if altered == "dead" && i == 2 {
						d.Message = "altered"
					}
				})
			}
			b := w.ask(1, "b")
			w.answer(0, b, func(r *schemas.Result) {
				if altered == "results" {
					r.APIRequestID = "RQ1"
				}
			})
			w.worked()
			root := w.audit(config()).Covered.Root
			if other, taken := roots[root]; taken && !(altered == "same" && other == "") {
				t.Errorf("%q has the digest of %q", altered, other)
			}
			roots[root] = altered
		})
	}
	if len(roots) != 8 {
		t.Errorf("%d digests", len(roots))
	}
}
