package connector

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// simAnswer is all that was published for one record.
type simAnswer struct {
	results []*schemas.Result // primary ones
	dead    []*schemas.DeadLetter
}

// check looks at what is left when all is done, as an independent reader of the
// topics and of the API would. The caller holds mu.
func (w *sim) check() {
	answers := map[simPlace]*simAnswer{}
	at := func(c schemas.Coordinates) *simAnswer {
		place := simPlace{c.Partition, c.Offset}
		if answers[place] == nil {
			answers[place] = &simAnswer{}
		}
		return answers[place]
	}
	order := map[string]int64{}
	for _, e := range w.broker.results {
		if e.state == simOpen {
			w.violate("a transaction is left open")
		}
		if e.state != simCommitted {
			continue
		}
		r, _, err := schemas.DecodeResult(e.msg.Value)
		if err != nil {
			w.violate("a result does not decode: %v", err)
			continue
		}
		if r.Page != nil && r.Page.Index > 0 {
			continue
		}
		a := at(r.Request)
		if len(a.results) == 0 && e.msg.Key != nil { // a substitute has no key, and no order
			w.inOrder(order, r)
		}
		a.results = append(a.results, r)
	}
	for _, e := range w.broker.dead {
		if d, _, err := schemas.DecodeDeadLetter(e.msg.Headers); err != nil {
			w.violate("a dead letter does not decode: %v", err)
		} else if e.state == simCommitted {
			a := at(d.Coordinates)
			a.dead = append(a.dead, d)
		}
	}
	ids := map[string]*simID{}
	for _, r := range w.work {
		a := answers[simPlace{r.part, r.offset}]
		delete(answers, simPlace{r.part, r.offset})
		if r.aborted {
			if a != nil {
				w.violate("the aborted record %d/%d has an answer", r.part, r.offset)
			}
			continue
		}
		if a == nil {
			w.violate("the record %d/%d (%s) is lost", r.part, r.offset, r.id)
			continue
		}
		w.checkAnswer(r, a)
		w.collect(ids, r, a)
	}
	for place := range answers {
		w.violate("an answer for %v, where there is no record", place)
	}
	for id, got := range ids {
		w.checkID(id, got)
	}
}

// inOrder checks that the results of a key come in the order of its records.
func (w *sim) inOrder(order map[string]int64, r *schemas.Result) {
	rec := w.byPlace[simPlace{r.Request.Partition, r.Request.Offset}]
	if rec == nil || rec.req == nil || !w.plan.exactlyOnce && strings.Contains(string(rec.value), "poison") {
		return // a refused result is written behind those that were not
	}
	key := rec.key
	if key == "" {
		key = "of " + rec.req.Identity
	}
	key = fmt.Sprint(rec.part, key)
	if last, ok := order[key]; ok && last > r.Request.Offset {
		w.violate("the result of %d/%d comes behind that of %d, of the same key", rec.part, r.Request.Offset, last)
	}
	order[key] = max(order[key], r.Request.Offset)
}

func (w *sim) checkAnswer(r *simRecord, a *simAnswer) {
	alone := 0 // dead letters that stand for a result
	for _, d := range a.dead {
		if !d.HasResult {
			alone++
		}
	}
	n := len(a.results) + alone
	switch {
	case n == 0:
		w.violate("the record %d/%d has a dead letter that speaks of a result, and none", r.part, r.offset)
	case n > 1 && w.plan.exactlyOnce:
		w.violate("the record %d/%d has %d results and %d dead letters of its own", r.part, r.offset, len(a.results), alone)
	}
	for i, res := range a.results {
		w.saw("outcome " + string(res.Outcome))
		if res.Error != nil {
			w.saw("class " + string(res.Error.Class))
		}
		if res.RequestID != r.id && r.req != nil || res.ID != a.results[0].ID {
			w.violate("the result %s of %d/%d is for %s", res.ID, r.part, r.offset, res.RequestID)
		}
		if i > 0 && !mayFollow(res, a.results[i-1]) {
			w.violate("the record %d/%d was answered %s and then %s", r.part, r.offset, a.results[i-1].Outcome, res.Outcome)
		}
		if res.Outcome == schemas.OutcomeDuplicate {
			w.checkDuplicate(r, res)
		}
	}
}

// mayFollow reports whether, without transactions, a result may be the second
// of a record whose first one was a. A create that was refused or not called at
// all may be called by the next owner, who does not know of it; one that was made
// is found again. A duplicate is one of a record whose own result may be lost.
func mayFollow(b, a *schemas.Result) bool {
	made := func(r *schemas.Result) bool {
		return r.Outcome == schemas.OutcomeSucceeded || r.Outcome == schemas.OutcomeAdopted
	}
	never := func(r *schemas.Result) bool {
		return r.Outcome == schemas.OutcomeRejected || r.Outcome == schemas.OutcomeExpired
	}
	if a.Operation != schemas.OperationCreate {
		return true // a read, or an update that the API refuses the second time
	}
	return !made(a) || !never(b)
}

func (w *sim) checkDuplicate(r *simRecord, res *schemas.Result) {
	o := res.Original
	if o == nil || o.Partition == r.part && o.Offset >= r.offset {
		w.violate("the duplicate %d/%d points to %+v", r.part, r.offset, o)
		return
	}
	first := w.byPlace[simPlace{o.Partition, o.Offset}]
	if first == nil || first.id != r.id {
		w.violate("the duplicate %d/%d points to another's record %+v", r.part, r.offset, o)
		return
	}
	var last schemas.Outcome
	for _, e := range w.broker.results {
		if e.state != simCommitted {
			continue
		}
		if got, _, err := schemas.DecodeResult(e.msg.Value); err == nil && got.ID == o.ResultID {
			if last = got.Outcome; (last == schemas.OutcomeSucceeded || last == schemas.OutcomeAdopted) && sidOf(got) == o.ChallengeSID {
				return
			}
		}
	}
	w.violate("the duplicate %d/%d points to a %q with another challenge", r.part, r.offset, last)
}

func sidOf(r *schemas.Result) string {
	var c struct {
		SID string `json:"sid"`
	}
	if json.Unmarshal(r.Challenge, &c) != nil {
		return ""
	}
	return c.SID
}

// simID is what was said about the creates of one request id.
type simID struct {
	made, never, vague int
	sids               map[string]bool
	said               []string
}

func (w *sim) collect(ids map[string]*simID, r *simRecord, a *simAnswer) {
	if r.req == nil || r.req.Operation != schemas.OperationCreate {
		return
	}
	if ids[r.id] == nil {
		ids[r.id] = &simID{sids: map[string]bool{}}
	}
	id := ids[r.id]
	for _, res := range a.results {
		said := string(res.Outcome)
		if res.Error != nil {
			said += ": " + res.Error.Message
		}
		id.said = append(id.said, said)
		switch res.Outcome {
		case schemas.OutcomeSucceeded, schemas.OutcomeAdopted:
			id.made++
			id.sids[sidOf(res)] = true
		case schemas.OutcomeRejected, schemas.OutcomeExpired:
			id.never++
		case schemas.OutcomeFailed:
			id.vague++
		case schemas.OutcomeDuplicate:
		}
	}
	w.cover["creates"]++
}

func (w *sim) checkID(id string, got *simID) {
	made := w.api.made[id]
	switch {
	case len(made) > 1:
		w.violate("the API has %d challenges for %s", len(made), id)
	case got.made > 0 && len(made) != 1:
		w.violate("%s was made, and the API has %d challenges for it", id, len(made))
	case got.made == 0 && got.vague == 0 && len(made) != 0:
		w.violate("%s was never made, and the API has a challenge for it; what was said: %q", id, got.said)
	}
	for sid := range got.sids {
		c := w.api.bySID[sid]
		if c == nil || c.request != id {
			w.violate("the challenge %s is said to be that of %s", sid, id)
		}
	}
}

// drained reports whether everything that was written has its outcome.
func (w *sim) drained() bool {
	for _, p := range w.broker.parts {
		at := p.committed.Offset
		if r, err := p.lastPosition(); err == nil && r != nil && !w.plan.exactlyOnce {
			at = max(at, r.Offset) // a late commit has set the offset back; the record is as good
		}
		if at < int64(len(p.log)) || p.stable() < int64(len(p.log)) {
			return false
		}
	}
	return true
}
