package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// countingReader counts the offsets of a topic that it was asked to read.
type countingReader struct {
	CheckReader
	topic string
	asked int64
}

func (r *countingReader) Cursor(topic string, partition int, from, end int64, maxBytes int) *kafka.Cursor {
	if topic == r.topic {
		r.asked += end - from
	}
	return r.CheckReader.Cursor(topic, partition, from, end, maxBytes)
}

func fetch(t *testing.T) []byte {
	t.Helper()
	return event(t, schemas.Request{Operation: schemas.OperationFetch})
}

func fetched() schemas.Result { return told("fetch", "succeeded", nil) }

// However dense the requests are beside what is held, and be one of them never
// answered: the results are read once.
func TestCheckReadsResultsOnce(t *testing.T) {
	const n, room = 820, 20
	inBubble(t, func(t *testing.T, w *world) {
		s := w.story()
		for i := range n {
			if at := s.request(i%parts, fetch(t)); i > 0 {
				s.answer(at, fetched(), time.Duration(1+i%3)*time.Second)
			}
		}
		cfg := checkConfig()
		cfg.held = room
		reader := &countingReader{CheckReader: w.client, topic: results}
		r, err := Check(t.Context(), reader, cfg)
		if err != nil || r.Same != n-1 || r.Unanswered != 1 || reader.asked > 2*n {
			t.Errorf("%d results were asked for: %+v, %v", reader.asked, r, err)
		}
	})
}

// A clock that was ahead for some records hides none of those behind them.
func TestCheckClockAhead(t *testing.T) {
	for _, jumps := range []int{1, 5, 40} {
		for name, late := range map[string]time.Duration{"beyond Ahead": 50 * time.Hour, "below": 23 * time.Hour} {
			t.Run(fmt.Sprintf("%d, %s", jumps, name), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					s := w.story()
					var ats []schemas.Coordinates
					for range jumps + 6 {
						ats = append(ats, s.request(0, fetch(t)))
					}
					for i, at := range ats {
						after := time.Second
						if i < jumps {
							after = late
						}
						s.answer(at, fetched(), after)
					}
					r := w.check(checkConfig())
					want := int64(jumps)
					if late < 24*time.Hour {
						want = 0
					}
					if r.Unanswered != want {
						t.Errorf("%+v", r)
					}
				})
			})
		}
	}
}

// A request of a clock that was ahead holds up none behind it either.
func TestCheckRequestOfAClockAhead(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.story()
		seen := s.seen
		s.seen = seen.Add(50 * time.Hour)
		s.answer(s.request(0, fetch(t)), fetched(), -50*time.Hour)
		s.seen = seen
		for i := range 30 {
			s.answer(s.request(i%parts, fetch(t)), fetched(), time.Second)
		}
		for _, held := range []int{3, 1000} {
			cfg := checkConfig()
			cfg.held = held
			if r := w.check(cfg); r.Same != 31 {
				t.Errorf("%d held: %+v", held, r)
			}
		}
	})
}

func (s *story) unreadable(at schemas.Coordinates, after time.Duration) {
	s.w.t.Helper()
	p := (at.Partition + 1) % parts
	s.produce(kafka.Message{
		Topic: results, Partition: &p, Timestamp: at.Timestamp.Add(after),
		Value: fmt.Appendf(nil, `{"version":"9.0","request":{"topic":%q,"partition":%d,"offset":%d}}`, requests, at.Partition, at.Offset),
	})
}

func TestCheckCountsUnreadableOnce(t *testing.T) {
	for _, held := range []int{1, 2, 8, 1000} {
		t.Run(fmt.Sprintf("%d at once", held), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := w.story()
				s.unreadable(s.request(0, fetch(t)), time.Second)
				for range 39 {
					s.answer(s.request(0, fetch(t)), fetched(), time.Second)
				}
				cfg := checkConfig()
				cfg.held = held
				if r := w.check(cfg); r.Unreadable != 1 || r.Unanswered != 1 || r.Same != 39 {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// A dead letter does not say of which group it is. Only one of the result's class is
// compared with it, in whatever order they stand.
func TestCheckLetterOfAnotherGroup(t *testing.T) {
	failed := told("fetch", "failed", &schemas.Error{Class: schemas.ClassUnavailable, Status: 503, Message: "x"})
	beside := func(class schemas.Class, redrivable bool) schemas.DeadLetter {
		return schemas.DeadLetter{Class: class, RequestID: "a", HasResult: true, Redrivable: redrivable}
	}
	for name, c := range map[string]struct {
		ours    schemas.Result
		letters []schemas.DeadLetter
		differs bool
	}{
		"beside a success":        {fetched(), []schemas.DeadLetter{beside(schemas.ClassUnavailable, true)}, false},
		"beside ours":             {failed, []schemas.DeadLetter{beside(schemas.ClassUnavailable, true), beside(schemas.ClassExpired, false)}, false},
		"before ours":             {failed, []schemas.DeadLetter{beside(schemas.ClassExpired, false), beside(schemas.ClassUnavailable, true)}, false},
		"before ours, which does": {failed, []schemas.DeadLetter{beside(schemas.ClassExpired, true), beside(schemas.ClassUnavailable, false)}, true},
		"beside ours, which does": {failed, []schemas.DeadLetter{beside(schemas.ClassUnavailable, false), beside(schemas.ClassExpired, true)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := w.story()
				at := s.request(0, fetch(t))
				s.answer(at, c.ours, time.Second)
				s.answerAs(schemas.ResultID("another", at, 0), at, failed, time.Second)
				for _, d := range c.letters {
					s.letter(at, d)
				}
				for range 3 {
					s.answer(s.request(0, fetch(t)), fetched(), time.Minute)
				}
				for _, held := range []int{1, 1000} {
					cfg := checkConfig()
					cfg.held = held
					r := w.check(cfg)
					if c.differs && (r.Differs != 1 || r.What[WhatRedrivable] != 1) || !c.differs && r.Same != 4 {
						t.Errorf("%d held: %+v", held, r)
					}
				}
			})
		})
	}
}

// With the wrong group nothing is answered, and it is said why.
func TestCheckOfAnotherGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.story()
		for i := range 9 {
			after := time.Second
			if i%2 > 0 {
				after = -time.Minute
			}
			s.answer(s.request(i%parts, fetch(t)), fetched(), after)
		}
		s.request(0, fetch(t))
		for _, held := range []int{1, 4, 1000} {
			cfg := checkConfig()
			cfg.Group, cfg.held = "another", held
			if r := w.check(cfg); r.Unanswered != 10 || r.AnotherGroup != 9 {
				t.Errorf("%d held: %+v", held, r)
			}
		}
		if r := w.check(checkConfig()); r.Same != 9 || r.Unanswered != 1 || r.AnotherGroup != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// After an interruption the rest begins at the first request that was not counted.
func TestCheckGoesOnWhereItWasInterrupted(t *testing.T) {
	const n = 9
	for from := range int64(n) {
		for _, held := range []int{2, 4, 100} {
			t.Run(fmt.Sprintf("%d counted, %d at once", from, held), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					s := w.story()
					first := s.request(0, fetch(t))
					for i := range n - 1 {
						s.answer(s.request(0, fetch(t)), fetched(), time.Duration(1+i/7*3600)*time.Second)
					}
					s.answer(first, fetched(), 2*time.Hour)
					cfg := checkConfig()
					cfg.held, cfg.every = held, 1
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var told []int64
					cfg.Progress = func(p Progress) {
						if told = append(told, p.Done); p.Done >= from {
							cancel()
						}
					}
					r, err := Check(ctx, w.client, cfg)
					next := r.Partitions[0].Next
					if !slices.IsSorted(told) || err == nil && next != n {
						t.Errorf("told %v, %v", told, err)
					}
					if err != nil {
						wantCode(t, err, CodeInterrupted)
					}
					if next == n {
						return
					}
					cfg.Progress, cfg.Window = nil, Window{Offsets: []Span{{0, next, n}}}
					rest := w.check(cfg)
					if rest.Same != n-next || r.Requests < next || r.Requests != r.Same {
						t.Errorf("%d were compared, then, from %d on, %d", r.Requests, next, rest.Same)
					}
				})
			})
		}
	}
}

// Progress follows what is counted: all of it is the end, and none is far from the
// next.
func TestCheckProgress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.story().asked(60)
		cfg := checkConfig()
		cfg.every = 5
		var told []int64
		cfg.Progress = func(p Progress) { told = append(told, p.Done) }
		w.check(cfg)
		n := len(told)
		if n < 120/5 || told[0] != 0 || told[n-1] != 60 || told[n-2] == 60 || !slices.IsSorted(told) {
			t.Errorf("%v", told)
		}
	})
}

// Differences are listed by their requests' timestamps, in whatever order the answers
// come, and no more than asked for are kept.
func TestCheckListsTheFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.story()
		other := fetched()
		other.Identity = "somebody-else"
		var ats []schemas.Coordinates
		for range 30 {
			ats = append(ats, s.request(0, fetch(t)))
		}
		for i, at := range slices.Backward(ats) {
			s.answer(at, other, time.Duration(len(ats)-i)*time.Minute)
		}
		cfg := checkConfig()
		cfg.MaxListed = 3
		r := w.check(cfg)
		var listed []string
		for _, d := range r.Differences {
			listed = append(listed, d.Request)
		}
		if r.Differs != 30 || r.What[WhatDecode] != 30 || fmt.Sprint(listed) != "[requests/0@0 requests/0@1 requests/0@2]" {
			t.Errorf("%v of %+v", listed, r)
		}
	})
}

// Whatever is held at once, and in whatever order the answers stand, the report is the
// same, and right.
func TestCheckDoesNotDependOnRoom(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s, random := w.story(), rand.New(rand.NewPCG(seed, 1))
				want := s.random(random, 80)
				var first string
				for _, held := range []int{1000, 40, 12, 3, 1} {
					cfg := checkConfig()
					cfg.held, cfg.MaxListed = held, 5
					r := w.check(cfg)
					if held < 1000 {
						r.AnotherGroup = want.AnotherGroup // without room some come too late for Ahead, and count
					}
					got := CheckReport{
						Requests: r.Requests, Same: r.Same, Differs: r.Differs, Unanswered: r.Unanswered, Unreadable: r.Unreadable, AnotherGroup: r.AnotherGroup,
					}
					if fmt.Sprint(got) != fmt.Sprint(want) || r.Differs == 0 {
						t.Errorf("%d held: %+v, want %+v", held, got, want)
					}
					text := fmt.Sprintf("%+v", r)
					if first == "" {
						first = text
					}
					if text != first {
						t.Errorf("%d held:\n%s\nwant\n%s", held, text, first)
					}
				}
			})
		})
	}
}

// random writes n requests and answers of all kinds, nearly in the order of their
// times, and says what is to be found.
func (s *story) random(random *rand.Rand, n int) (want CheckReport) {
	var writes []func()
	var stamps []time.Time
	failed := told("fetch", "failed", &schemas.Error{Class: schemas.ClassUnavailable, Status: 503, Message: "x"})
	other := fetched()
	other.Identity = "somebody-else"
	redrivable := verdict.EndingOf(verdict.Classify(false, answerError(failed.Error)), answerError(failed.Error)).Redrivable
	for range n {
		s.seen = s.seen.Add(time.Duration(random.Int64N(int64(10 * time.Minute))))
		at := s.request(random.IntN(parts), fetch(s.w.t))
		after := time.Duration(random.Int64N(int64(5*time.Minute))) - 2*time.Minute
		if random.IntN(9) == 0 {
			after = time.Duration(random.Int64N(int64(30 * time.Hour)))
		}
		kind, write := &want.Same, func() { s.answer(at, fetched(), after) }
		switch random.IntN(7) {
		case 0:
			kind, write = &want.Unanswered, func() { s.unreadable(at, after) }
			if after <= 24*time.Hour {
				want.Unreadable++
			}
		case 1:
			kind, write = &want.Unanswered, func() {}
		case 2:
			kind, write = &want.Unanswered, func() { s.answerAs(schemas.ResultID("another", at, 0), at, fetched(), after) }
			if after <= 24*time.Hour {
				want.AnotherGroup++
			}
		case 3:
			says := random.IntN(2) == 0
			if says != redrivable {
				kind = &want.Differs
			}
			write = func() {
				s.answer(at, failed, after)
				beside := at
				beside.Timestamp = at.Timestamp.Add(after - time.Second)
				s.letter(beside, schemas.DeadLetter{Class: schemas.ClassUnavailable, RequestID: "a", HasResult: true, Redrivable: says})
			}
		case 4:
			kind, write = &want.Differs, func() { s.answer(at, other, after) }
		}
		if after > 24*time.Hour {
			kind = &want.Unanswered
		}
		*kind++
		want.Requests++
		writes = append(writes, write)
		stamps = append(stamps, at.Timestamp.Add(after))
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return stamps[a].Compare(stamps[b]) })
	for i := range order {
		if j := i + random.IntN(4); j < n {
			order[i], order[j] = order[j], order[i]
		}
	}
	for _, i := range order {
		writes[i]()
	}
	return want
}
