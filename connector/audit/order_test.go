package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// inEveryOrder audits with each order in which the streams can be read to their
// ends, one after the other, and compares the reports.
func inEveryOrder(t *testing.T, w *world) *Report {
	t.Helper()
	var first []byte
	var report *Report
	const streams = 6
	var order [streams]int
	var try func(n int, used [streams]bool)
	try = func(n int, used [streams]bool) {
		if n < streams {
			for i := range streams {
				if !used[i] {
					used[i], order[n] = true, i
					try(n+1, used)
					used[i] = false
				}
			}
			return
		}
		j := &join{cfg: config().withDefaults(), cluster: w.client}
		j.turn.L = &j.mu
		must(t, j.begin(t.Context()))
		if len(j.streams) != streams {
			t.Fatalf("%d streams", len(j.streams))
		}
		r := j.newReader()
		for _, number := range order {
			for !j.streams[number].done {
				must(t, j.step(t.Context(), r, number))
			}
		}
		var err error
		report, err = j.report(t.Context())
		must(t, err)
		data, err := json.Marshal(report)
		must(t, err)
		if first == nil {
			first = data
		}
		if !bytes.Equal(data, first) {
			t.Fatalf("in the order %v\n%s\nwant\n%s", order, data, first)
		}
	}
	try(0, [streams]bool{})
	return report
}

// The order in which streams are read is chance, and shows in no report.
func TestOrderOfStreams(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, w *world){
		"every kind": seeded,
		"a list and an answer in one piece": func(_ *testing.T, w *world) {
			l := w.ask(0, "listed", func(r *schemas.Request) { r.Operation, r.Create, r.List = schemas.OperationList, nil, &schemas.List{} })
			w.answer(2, l, rejected)
			w.pages(l, 1, 0, 3)
			w.pages(l, 0, 1, 2)
		},
		"a list refused in part and an answer in one piece": func(_ *testing.T, w *world) {
			l := w.listed("listed")
			w.pages(l, 1, 0, 1)
			w.refused(l, 2, 1)
			w.answer(0, l, rejected)
			w.bury(l, true)
		},
		"an id called twice, once beside a failure": func(_ *testing.T, w *world) {
			a := w.ask(0, "a")
			w.answer(1, a)
			w.answer(2, a, failed)
			w.bury(a, true)
			w.answer(0, w.ask(1, "a"))
		},
		"an id called twice, once beside another": func(_ *testing.T, w *world) {
			a := w.ask(0, "a")
			w.answer(1, a)
			w.sids--
			w.answer(2, a, func(r *schemas.Result) { r.RequestID = "b" })
			w.answer(0, w.ask(1, "a"))
		},
		"two outcomes and a dead letter": func(_ *testing.T, w *world) {
			a := w.ask(0, "a")
			w.answer(1, a)
			w.answer(2, a, failed)
			a.value = append(a.value, ' ')
			w.bury(a, true)
			w.bury(a, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				fill(t, w)
				if name != "every kind" {
					w.worked()
				}
				if r := inEveryOrder(t, w); r.Clean() {
					t.Error("nothing is found")
				}
			})
		})
	}
}

// pages writes records of a list, from one index on below another; the list has
// three.
func (w *world) pages(l ask, partition, from, below int) {
	w.t.Helper()
	for i := from; i < below; i++ {
		w.answer(partition, l, func(r *schemas.Result) {
			r.ID, r.Page = schemas.ResultID(group, l.at, i), &schemas.Page{Index: i, Last: i == 2}
			r.Challenge, r.Challenges = nil, []json.RawMessage{challengeOf(99, "pending")}
		})
	}
}

// refused is written in place of a list's record that the brokers refuse.
func (w *world) refused(l ask, partition, index int) {
	w.t.Helper()
	w.answer(partition, l, func(r *schemas.Result) {
		r.ID, r.Outcome, r.Challenge = schemas.ResultID(group, l.at, index), schemas.OutcomeFailed, nil
		r.Error = &schemas.Error{Class: schemas.ClassTooLarge, Message: "the broker refuses the result for its size"}
	})
}

// What the connector puts in place of a list's records that the brokers refuse is in
// order, whichever records they are; but each has one place.
func TestLastResortOfAList(t *testing.T) {
	for _, below := range []int{1, 2, 3} {
		for index := range below {
			inBubble(t, func(t *testing.T, w *world) {
				l := w.listed("listed")
				w.pages(l, 1, 0, index)
				for i := index; i < below; i++ {
					w.refused(l, 2, i)
				}
				w.pages(l, 1, below, 3)
				w.worked()
				r := w.audit(config())
				want(t, r)
				if r.Counts.AnsweredOnce != 1 {
					t.Errorf("%+v", r.Counts)
				}
				w.refused(l, 0, index)
				want(t, w.audit(config()), "duplicate answered_twice: 0@0 listed results/0@0 results/2@0")
			})
		}
	}
}

// A list's record cannot be there and be refused, and a list that was refused has no
// dead letter.
func TestLastResortBesideAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.listed("listed")
		w.pages(l, 1, 0, 3)
		w.refused(l, 2, 1)
		m := w.listed("buried")
		w.refused(m, 2, 0)
		w.bury(m, true)
		w.worked()
		want(t, inEveryOrder(t, w), "conflicting two_answers: 0@0 listed results/1@1 results/2@0", "conflicting letter_of_unfailed: 0@1 buried results/2@1 dead/0@0")
	})
}

// A request whose value looks like what stands for one that was too large is known
// by what it is.
func TestStandInForARecord(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.askRaw(0, ask{value: fmt.Appendf(nil, "sha256:%064x", 7)})
		w.bury(a, false)
		b := w.askRaw(0, ask{value: []byte("too large to keep")})
		kept := b
		kept.value = fmt.Appendf(nil, "sha256:%x", sumOf(b.value))
		w.bury(kept, false, func(d *schemas.DeadLetter) { d.Class = schemas.ClassTooLarge })
		c := w.askRaw(0, ask{value: []byte("another")})
		kept.at = c.at
		w.bury(kept, false, func(d *schemas.DeadLetter) { d.Class = schemas.ClassTooLarge })
		w.worked()
		want(t, w.audit(config()), "conflicting another_record: 0@2  dead/0@2")
	})
}

// An expiration date is a deadline, too.
func TestLateBehindExpiration(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i, seconds := range []int{61, 63} {
			a := w.ask(0, fmt.Sprint(i), func(r *schemas.Request) {
				at := epoch.Add(time.Duration(i+1)*time.Second + time.Minute)
				r.Create.ExpirationDate = &at
			})
			w.answer(0, a, func(r *schemas.Result) {
				at := a.at.Timestamp.Add(time.Duration(seconds) * time.Second)
				r.Times.Called, r.Times.Completed = &at, at
			})
		}
		w.worked()
		want(t, w.audit(config()), "late sent_after_deadline: 0@1 1 results/0@1")
	})
}

// A timestamp of another age spoils no report.
func TestFarTimestamps(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for _, year := range []int{1, 1600, 1969, 9000} {
			a := ask{req: schemas.Request{ID: fmt.Sprint(year), Operation: schemas.OperationCreate, ServiceSID: service, Identity: identity, Create: &schemas.Create{FactorSID: factor}}}
			var err error
			a.value, err = a.req.Encode()
			must(t, err)
			a.at = schemas.Coordinates{Topic: topics.Requests, Timestamp: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}
			a.at.Offset = w.write(topics.Requests, 0, a.at.Timestamp, "", a.value)
			w.answer(0, a, func(r *schemas.Result) {
				if at := w.tick(); year == 1600 { // which is answered today
					r.Times = schemas.Times{Received: at, Called: &at, Completed: at}
				}
			})
		}
		w.worked()
		r := w.audit(config())
		data, err := r.Encode()
		must(t, err)
		if _, err := Decode(data); err != nil || len(r.Series.Buckets) > MaxBuckets {
			t.Errorf("%d buckets, %v", len(r.Series.Buckets), err)
		}
		if most := time.Duration(r.Latency.All.Max); most < 292*365*24*time.Hour {
			t.Errorf("the longest took %v", most)
		}
	})
}

// A few requests that wait keep no more than themselves.
func TestFewThatWaitTakeLittle(t *testing.T) {
	const n = 40 * chunkSize
	few := newTable(0, n)
	for offset := range int64(n) {
		few.at(offset)
		few.see(offset, sawRequest)
		if offset%1000 != 7 {
			few.see(offset, sawAnswer)
		}
		few.pass(offset + 1)
	}
	for number, c := range few.Chunks {
		if c.Waits != nil {
			t.Fatalf("chunk %d has room for %d facts, and %d wait", number, len(c.Waits), c.Half)
		}
	}
	if waiting := (n + 992) / 1000; len(few.Rare) != waiting {
		t.Errorf("%d facts, want %d", len(few.Rare), waiting)
	}
	few.see(7, sawAnswer)
	if _, there := few.request(7); there {
		t.Error("a fact is kept that nothing waits for")
	}
}

func sumOf(value []byte) [sha256.Size]byte { return sha256.Sum256(value) }
