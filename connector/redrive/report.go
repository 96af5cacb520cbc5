package redrive

import (
	"cmp"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// Report is what a survey found or a run did.
type Report struct {
	Read     int     `json:"read"`     // dead letters looked at
	Matched  int     `json:"matched"`  // of these: the filter let them through
	Already  int     `json:"already"`  // matched, and redriven or parked before; or the same dead letter once more
	Redriven []Tally `json:"redriven"` // to be, in a survey; sorted by operation and class
	Parked   int     `json:"parked"`   // to be, in a survey
	// Refused are those that can't or shall not be redriven, by reason.
	Refused map[Reason]int `json:"refused"`
	// Refusals are the first of these, a hundred at most.
	Refusals []Refusal `json:"refusals"`
	// Capped are those beyond Config.Max; a later run takes them.
	Capped int `json:"capped"`
	// Calls is what the requests may cost at the API.
	Calls Calls `json:"calls"`
}

// Tally counts requests of one operation and class.
type Tally struct {
	// Operation is empty where the request can't be read by this release.
	Operation schemas.Operation `json:"operation"`
	Class     schemas.Class     `json:"class"`
	Requests  int               `json:"requests"`
	LookUps   int               `json:"look_ups"` // of these: looked up at the API before any call
}

// Calls is the most that the requests may cost, retries apart. What a look-up
// finds costs no call.
type Calls struct {
	Creates int `json:"creates"` // billed, and each may ring a phone
	Updates int `json:"updates"`
	Fetches int `json:"fetches"`
	Lists   int `json:"lists"`
	Unknown int `json:"unknown"` // requests that can't be read by this release
	// LookUps are requests that are looked up first: an update by a Fetch, a
	// create by one List if it is found and by two, paged back to the first
	// attempt, if it is not. Requests of one factor share their Lists.
	LookUps int `json:"look_ups"`
}

// Refusal is a dead letter that was not redriven, and why.
type Refusal struct {
	Place     string `json:"place"` // topic/partition@offset of the dead letter
	RequestID string `json:"request_id"`
	Reason    Reason `json:"reason"`
	Details   string `json:"details"`
}

const maxRefusals = 100

// Requests is how many were, or are to be, redriven.
func (r *Report) Requests() (n int) {
	for _, t := range r.Redriven {
		n += t.Requests
	}
	return n
}

// seen counts a letter that was looked at, whatever becomes of it.
func (r *Report) seen(l letter) {
	r.Read++
	if l.verdict == verdictFiltered {
		return
	}
	r.Matched++
	switch l.verdict {
	case verdictDone:
		r.Already++
	case verdictRefused:
		r.refuse(l)
	}
}

func (r *Report) refuse(l letter) {
	r.Refused[l.reason]++
	if len(r.Refusals) == maxRefusals {
		return
	}
	refusal := Refusal{Place: place(l.rec), Reason: l.reason, Details: l.why}
	if l.dead != nil {
		refusal.RequestID = l.dead.RequestID
	}
	r.Refusals = append(r.Refusals, refusal)
}

// add counts a letter that is, or is to be, redriven or parked.
func (r *Report) add(l letter) {
	if l.verdict == verdictPark {
		r.Parked++
		return
	}
	at, found := slices.BinarySearchFunc(r.Redriven, Tally{Operation: l.operation, Class: l.dead.Class}, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Class, b.Class))
	})
	if !found {
		r.Redriven = slices.Insert(r.Redriven, at, Tally{Operation: l.operation, Class: l.dead.Class})
	}
	t := &r.Redriven[at]
	t.Requests++
	if l.lookSince != nil {
		t.LookUps++
		r.Calls.LookUps++
	}
	switch l.operation {
	case schemas.OperationCreate:
		r.Calls.Creates++
	case schemas.OperationUpdate:
		r.Calls.Updates++
	case schemas.OperationFetch:
		r.Calls.Fetches++
	case schemas.OperationList:
		r.Calls.Lists++
	default:
		r.Calls.Unknown++
	}
}
