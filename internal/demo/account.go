package demo

import (
	"maps"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// spot is where a request stands in its topic.
type spot struct {
	Partition int
	Offset    int64
}

// resultSeen is what counts of one result record.
type resultSeen struct {
	Request   spot
	Topic     string // of the request, as the result says
	Partition int    // where the result itself stands
	Offset    int64
	Key       string
	Continued bool // a further page of a split list, no result of its own
	Operation schemas.Operation
	Outcome   schemas.Outcome
	Class     schemas.Class // empty: none
	SID       string        // of the challenge in it; empty: none
}

// letterSeen is what counts of one dead letter.
type letterSeen struct {
	Request   spot
	Topic     string
	HasResult bool
	Class     schemas.Class
}

// evidence is everything that stands in the topics and in the API's own books.
type evidence struct {
	Topic      string // of the requests
	Requests   []spot
	Results    []resultSeen
	Letters    []letterSeen
	Unreadable int      // results and dead letters that do not decode
	Created    []string // SIDs of the challenges that the API has made
}

// account is what the evidence amounts to.
type account struct {
	Requests    int
	Results     int // results that stand for a request; further pages not counted
	Outcomes    map[string]int
	Classes     map[string]int // of results and of dead letters without a result
	DeadLetters int
	Missing     []spot // requests without a result or dead letter
	Doubled     []spot // requests with more than one
	Orphans     int    // results and dead letters of no known request
	Unreadable  int
	OutOfOrder  int // results that overtook an earlier request of their key

	Creates        int // at the API
	CreateResults  int // that show their challenge
	Ambiguous      int // creates whose call had no clear end
	UntoldCreates  int // made at the API, shown by no result
	PhantomCreates int // shown by a result, unknown to the API
}

// settle joins the evidence by coordinates. It is a pure function and does not
// depend on the order of what it is given.
//
// A request is answered by its result, or by a dead letter where none could be
// formed. A dead letter that says that there is a result too answers nothing.
func settle(e evidence) account {
	a := account{
		Requests: len(e.Requests), Outcomes: map[string]int{}, Classes: map[string]int{},
		Unreadable: e.Unreadable, Creates: len(e.Created),
	}
	answers := make(map[spot]int, len(e.Requests))
	for _, r := range e.Requests {
		answers[r] = 0
	}
	answer := func(topic string, s spot) {
		if _, known := answers[s]; topic != e.Topic || !known {
			a.Orphans++
			return
		}
		answers[s]++
	}
	for _, r := range e.Results {
		if r.Continued {
			continue
		}
		a.Results++
		a.Outcomes[string(r.Outcome)]++
		a.class(r.Class)
		answer(r.Topic, r.Request)
	}
	for _, l := range e.Letters {
		a.DeadLetters++
		if !l.HasResult {
			a.class(l.Class)
			answer(l.Topic, l.Request)
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(answers), compareSpots) {
		switch n := answers[s]; {
		case n == 0:
			a.Missing = append(a.Missing, s)
		case n > 1:
			a.Doubled = append(a.Doubled, s)
		}
	}
	a.OutOfOrder = overtakers(e.Results)
	a.countCreates(e)
	return a
}

func (a *account) class(c schemas.Class) {
	if c != "" {
		a.Classes[string(c)]++
	}
}

// overtakers counts the results that stand before a result of an earlier
// request of the same key. Records of one key are all in one partition, of the
// requests and of the results.
func overtakers(results []resultSeen) int {
	type stream struct {
		partition, from int
		key             string
	}
	sorted := slices.SortedFunc(slices.Values(results), func(a, b resultSeen) int {
		return compareSpots(spot{a.Partition, a.Offset}, spot{b.Partition, b.Offset})
	})
	furthest := map[stream]int64{}
	n := 0
	for _, r := range sorted {
		if r.Continued {
			continue
		}
		s := stream{r.Partition, r.Request.Partition, r.Key}
		if last, found := furthest[s]; found && r.Request.Offset < last {
			n++
			continue
		}
		furthest[s] = r.Request.Offset
	}
	return n
}

// countCreates compares what the API has made with what the results say of it.
func (a *account) countCreates(e evidence) {
	shown := map[string]bool{}
	for _, r := range e.Results {
		if r.Operation != schemas.OperationCreate || r.Continued {
			continue
		}
		if r.SID != "" {
			a.CreateResults++
			shown[r.SID] = true
		}
		if r.Class == schemas.ClassAmbiguous {
			a.Ambiguous++
		}
	}
	made := map[string]bool{}
	for _, sid := range e.Created {
		made[sid] = true
		if !shown[sid] {
			a.UntoldCreates++
		}
	}
	for sid := range shown {
		if !made[sid] {
			a.PhantomCreates++
		}
	}
}

// extraCreates is how many challenges more than can be explained the API has
// made: each ambiguous end of a create may hide one.
func (a *account) extraCreates() int { return max(0, a.UntoldCreates-a.Ambiguous) }

func compareSpots(a, b spot) int {
	switch {
	case a.Partition != b.Partition:
		return a.Partition - b.Partition
	case a.Offset < b.Offset:
		return -1
	case a.Offset > b.Offset:
		return 1
	}
	return 0
}
