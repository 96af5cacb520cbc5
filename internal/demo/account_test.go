package demo

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

const testTopic = "requests"

// seen is a result of the request at an offset of partition 0, at the same
// offset of the results.
func seen(offset int64, outcome schemas.Outcome, class schemas.Class) resultSeen {
	return resultSeen{
		Request: spot{0, offset}, Topic: testTopic, Offset: offset, Key: "k",
		Operation: schemas.OperationList, Outcome: outcome, Class: class,
	}
}

func letter(offset int64, class schemas.Class, hasResult bool) letterSeen {
	return letterSeen{Request: spot{0, offset}, Topic: testTopic, Class: class, HasResult: hasResult}
}

func spots(offsets ...int64) []spot {
	var out []spot
	for _, o := range offsets {
		out = append(out, spot{0, o})
	}
	return out
}

func TestSettleGolden(t *testing.T) {
	const ok = schemas.OutcomeSucceeded
	created := func(offset int64, sid string) resultSeen {
		r := seen(offset, ok, "")
		r.Operation, r.SID = schemas.OperationCreate, sid
		return r
	}
	ambiguous := func(offset int64) resultSeen {
		r := seen(offset, schemas.OutcomeFailed, schemas.ClassAmbiguous)
		r.Operation = schemas.OperationCreate
		return r
	}
	page := func(offset int64) resultSeen { r := seen(offset, ok, ""); r.Continued = true; return r }
	elsewhere := func(r resultSeen) resultSeen { r.Topic = "other"; return r }
	at := func(r resultSeen, offset int64) resultSeen { r.Offset = offset; return r }

	cases := []struct {
		name string
		in   evidence
		want account
	}{
		{name: "nothing", want: account{}},
		{
			name: "all answered",
			in: evidence{
				Requests: spots(0, 1, 2),
				Results:  []resultSeen{seen(0, ok, ""), seen(1, schemas.OutcomeRejected, schemas.ClassInvalid)},
				Letters:  []letterSeen{letter(2, schemas.ClassNotJSON, false)},
			},
			want: account{
				Requests: 3, Results: 2, DeadLetters: 1, Outcomes: map[string]int{"succeeded": 1, "rejected": 1},
				Classes: map[string]int{"invalid": 1, "not_json": 1},
			},
		},
		{
			name: "a dead letter beside a result answers nothing by itself",
			in: evidence{
				Requests: spots(0, 1), Results: []resultSeen{seen(0, schemas.OutcomeFailed, schemas.ClassVersion)},
				Letters: []letterSeen{letter(0, schemas.ClassVersion, true), letter(1, schemas.ClassVersion, true)},
			},
			want: account{
				Requests: 2, Results: 1, DeadLetters: 2, Outcomes: map[string]int{"failed": 1},
				Classes: map[string]int{"version": 1}, Missing: spots(1),
			},
		},
		{
			name: "a removed result is one lost",
			in:   evidence{Requests: spots(0, 1, 2), Results: []resultSeen{seen(0, ok, ""), seen(2, ok, "")}},
			want: account{Requests: 3, Results: 2, Outcomes: map[string]int{"succeeded": 2}, Missing: spots(1)},
		},
		{
			name: "a doubled result is one duplicate, and out of order where it comes late",
			in:   evidence{Requests: spots(0, 1), Results: []resultSeen{seen(0, ok, ""), seen(1, ok, ""), at(seen(0, ok, ""), 2)}},
			want: account{
				Requests: 2, Results: 3, Outcomes: map[string]int{"succeeded": 3}, Doubled: spots(0), OutOfOrder: 1,
			},
		},
		{
			name: "a result and a dead letter without one contradict each other",
			in: evidence{
				Requests: spots(0), Results: []resultSeen{seen(0, ok, "")}, Letters: []letterSeen{letter(0, schemas.ClassNoID, false)},
			},
			want: account{
				Requests: 1, Results: 1, DeadLetters: 1, Outcomes: map[string]int{"succeeded": 1},
				Classes: map[string]int{"no_id": 1}, Doubled: spots(0),
			},
		},
		{
			name: "further pages of a list are no results of their own",
			in:   evidence{Requests: spots(0), Results: []resultSeen{seen(0, ok, ""), at(page(0), 1), at(page(0), 2)}},
			want: account{Requests: 1, Results: 1, Outcomes: map[string]int{"succeeded": 1}},
		},
		{
			name: "a page without the first one is a loss",
			in:   evidence{Requests: spots(0), Results: []resultSeen{page(0)}},
			want: account{Requests: 1, Missing: spots(0)},
		},
		{
			name: "answers of no known request",
			in: evidence{
				Requests: spots(0), Results: []resultSeen{elsewhere(seen(0, ok, "")), at(seen(7, ok, ""), 1)},
				Letters: []letterSeen{letter(8, schemas.ClassNoID, false)}, Unreadable: 2,
			},
			want: account{
				Requests: 1, Results: 2, DeadLetters: 1, Outcomes: map[string]int{"succeeded": 2},
				Classes: map[string]int{"no_id": 1}, Missing: spots(0), Orphans: 3, Unreadable: 2,
			},
		},
		{
			name: "creates that are all told",
			in: evidence{
				Requests: spots(0, 1), Results: []resultSeen{created(0, "YC1"), created(1, "YC2")}, Created: []string{"YC2", "YC1"},
			},
			want: account{Requests: 2, Results: 2, Outcomes: map[string]int{"succeeded": 2}, Creates: 2, CreateResults: 2},
		},
		{
			name: "an ambiguous end explains one create, not two",
			in: evidence{
				Requests: spots(0), Results: []resultSeen{ambiguous(0)}, Created: []string{"YC1", "YC2"},
			},
			want: account{
				Requests: 1, Results: 1, Outcomes: map[string]int{"failed": 1}, Classes: map[string]int{"ambiguous": 1},
				Creates: 2, Ambiguous: 1, UntoldCreates: 2,
			},
		},
		{
			name: "a result that shows what was never made",
			in:   evidence{Requests: spots(0), Results: []resultSeen{created(0, "YC9")}},
			want: account{
				Requests: 1, Results: 1, Outcomes: map[string]int{"succeeded": 1}, CreateResults: 1, PhantomCreates: 1,
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.in.Topic = testTopic
			got := settle(c.in)
			if len(got.Outcomes) == 0 {
				got.Outcomes = nil
			}
			if len(got.Classes) == 0 {
				got.Classes = nil
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("settle:\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
	if extra := (&account{UntoldCreates: 2, Ambiguous: 1}).extraCreates(); extra != 1 {
		t.Errorf("extraCreates = %d, want 1", extra)
	}
	if extra := (&account{UntoldCreates: 0, Ambiguous: 3}).extraCreates(); extra != 0 {
		t.Errorf("extraCreates = %d, want 0", extra)
	}
}

// TestSettleFindsWhatWasDone removes and doubles answers of a complete account:
// exactly these are found, in whatever order the evidence comes.
func TestSettleFindsWhatWasDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := evidence{Topic: testTopic}
		var lost, doubled []spot
		for p := range rapid.IntRange(1, 4).Draw(t, "partitions") {
			for o := range rapid.IntRange(0, 30).Draw(t, "records") {
				at := spot{p, int64(o * 3)} // offsets may have gaps
				e.Requests = append(e.Requests, at)
				copies := rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2, 3}).Draw(t, "copies")
				switch {
				case copies == 0:
					lost = append(lost, at)
				case copies > 1:
					doubled = append(doubled, at)
				}
				asLetter := rapid.Bool().Draw(t, "letter")
				for range copies {
					if asLetter {
						e.Letters = append(e.Letters, letterSeen{Request: at, Topic: testTopic})
					} else {
						e.Results = append(e.Results, resultSeen{Request: at, Topic: testTopic})
					}
				}
			}
		}
		e.Requests = rapid.Permutation(e.Requests).Draw(t, "requests")
		e.Results = rapid.Permutation(e.Results).Draw(t, "results")
		got := settle(e)
		if !slices.Equal(got.Missing, lost) || !slices.Equal(got.Doubled, doubled) || got.Orphans != 0 {
			t.Fatalf("missing %v, want %v; doubled %v, want %v; orphans %d", got.Missing, lost, got.Doubled, doubled, got.Orphans)
		}
	})
}

func TestOvertakers(t *testing.T) {
	result := func(offset int64, key string, request int64) resultSeen {
		return resultSeen{Offset: offset, Key: key, Request: spot{0, request}}
	}
	cases := []struct {
		name string
		in   []resultSeen
		want int
	}{
		{"in order", []resultSeen{result(0, "a", 1), result(1, "a", 4)}, 0},
		{"given backwards", []resultSeen{result(1, "a", 4), result(0, "a", 1)}, 0},
		{"keys are independent", []resultSeen{result(0, "a", 9), result(1, "b", 1)}, 0},
		{"overtaken", []resultSeen{result(0, "a", 4), result(1, "a", 1), result(2, "a", 3), result(3, "a", 5)}, 2},
		{"other partitions", []resultSeen{result(0, "a", 9), {Offset: 1, Key: "a", Request: spot{1, 2}}}, 0},
	}
	for _, c := range cases {
		if got := overtakers(c.in); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestBeyond(t *testing.T) {
	missing := []spot{{0, 3}, {0, 4}, {1, 0}, {2, 5}}
	lost, unfinished := beyond(missing, map[int]int64{0: 4, 1: -1, 2: 9})
	if !slices.Equal(lost, []spot{{0, 3}, {2, 5}}) || unfinished != 2 {
		t.Errorf("lost %v, unfinished %d", lost, unfinished)
	}
}
