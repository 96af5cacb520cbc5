package replay

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Of a record that is too large to keep, the letter has the hash, and for that alone
// says that it can't be redriven. Of any other letter it is what was judged.
func TestCheckLetterThatStandsIn(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0f", 32)
	ambiguous := &schemas.Error{Class: schemas.ClassAmbiguous, Status: 503, Message: "x"}
	for name, c := range map[string]struct {
		value  string
		bare   bool // no result
		letter schemas.DeadLetter
		what   []What // nil: none
	}{
		"hash":                      {hash, false, schemas.DeadLetter{Class: schemas.ClassAmbiguous}, nil},
		"whole":                     {"{}", false, schemas.DeadLetter{Class: schemas.ClassAmbiguous}, []What{WhatRedrivable}},
		"short":                     {"sha256:0f", false, schemas.DeadLetter{Class: schemas.ClassAmbiguous}, []What{WhatRedrivable}},
		"no digits":                 {"sha256:" + strings.Repeat("no", 32), false, schemas.DeadLetter{Class: schemas.ClassAmbiguous}, []What{WhatRedrivable}},
		"hash alone":                {hash, true, schemas.DeadLetter{Class: schemas.ClassNotJSON}, nil},
		"hash of another class":     {hash, true, schemas.DeadLetter{Class: schemas.ClassNoID}, []What{WhatClass}},
		"redrivable, as no hash is": {hash, true, schemas.DeadLetter{Class: schemas.ClassNotJSON, Redrivable: true}, []What{WhatRedrivable}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := w.story()
				if c.bare {
					s.letterWith(c.value, s.request(0, []byte("no")), c.letter)
				} else {
					at := s.request(0, event(t, schemas.Request{Operation: schemas.OperationCreate}))
					s.answer(at, told(schemas.OperationCreate, schemas.OutcomeFailed, ambiguous), time.Second)
					c.letter.RequestID, c.letter.HasResult = "a", true
					s.letterWith(c.value, at, c.letter)
				}
				r := w.check(checkConfig())
				if c.what == nil && r.Same == 1 {
					return
				}
				if c.what == nil || r.Differs != 1 || !slices.Equal(r.Differences[0].What, c.what) {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// A page that the broker refused is published as a failure without its page, and with
// its id. It answers the request, whichever page it was, and so does each other one.
func TestCheckPageThatWasRefused(t *testing.T) {
	const pages = 3
	page := func(i int) schemas.Result {
		r := told(schemas.OperationList, schemas.OutcomeSucceeded, nil)
		r.Page = &schemas.Page{Index: i, Last: i == pages-1}
		return r
	}
	refused := func(class schemas.Class) schemas.Result {
		return told(schemas.OperationList, schemas.OutcomeFailed, &schemas.Error{Class: class, Message: "the broker refuses the result for its size"})
	}
	for name, c := range map[string]struct {
		refused []int
		class   schemas.Class
		group   string
		want    CheckReport // its numbers
	}{
		"first":            {[]int{0}, schemas.ClassTooLarge, group, CheckReport{NotReplayable: 1}},
		"middle":           {[]int{1}, schemas.ClassTooLarge, group, CheckReport{NotReplayable: 1}},
		"last":             {[]int{2}, schemas.ClassTooLarge, group, CheckReport{NotReplayable: 1}},
		"all":              {[]int{0, 1, 2}, schemas.ClassTooLarge, group, CheckReport{NotReplayable: 1}},
		"alone":            {[]int{1}, schemas.ClassTooLarge, group, CheckReport{NotReplayable: 1}},
		"of another class": {[]int{1, 2}, schemas.ClassUnavailable, group, CheckReport{Same: 1}},
		"of another group": {[]int{1}, schemas.ClassTooLarge, "another", CheckReport{Same: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := w.story()
				at := s.request(0, event(t, schemas.Request{Operation: schemas.OperationList}))
				for i := range pages {
					switch {
					case slices.Contains(c.refused, i):
						s.answerAs(schemas.ResultID(c.group, at, i), at, refused(c.class), time.Second)
					case name != "alone":
						s.answer(at, page(i), time.Second)
					}
				}
				r := w.check(checkConfig())
				if r.Differs != 0 || r.Same != c.want.Same || r.NotReplayable != c.want.NotReplayable || r.Reasons[ReasonTooLarge] != c.want.NotReplayable {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
