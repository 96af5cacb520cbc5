package demo

import (
	"bytes"
	"context"
	"testing"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// books are what a test reads in the topics and at the API for itself.
type books struct {
	requests map[spot]kafka.Record
	results  []*schemas.Result
	letters  []*schemas.DeadLetter
	calls    int
	faults   int64
}

func readBooks(t *testing.T, into *books) func(context.Context, *world) {
	t.Helper()
	return func(ctx context.Context, w *world) {
		into.requests, into.calls = map[spot]kafka.Record{}, w.apiCalls()
		for _, n := range w.api.Stats().Faults {
			into.faults += n
		}
		err := each(ctx, w.kafka, demoTopics.requests, func(r kafka.Record) { into.requests[spot{r.Partition, r.Offset}] = r })
		if err != nil {
			t.Error(err)
		}
		err = each(ctx, w.kafka, demoTopics.results, func(rec kafka.Record) {
			r, _, err := schemas.DecodeResult(rec.Value)
			if err != nil {
				t.Errorf("%v\n%s", err, rec.Value)
				return
			}
			into.results = append(into.results, r)
		})
		if err != nil {
			t.Error(err)
		}
		err = each(ctx, w.kafka, demoTopics.letters, func(rec kafka.Record) {
			d, _, err := schemas.DecodeDeadLetter(rec.Headers)
			if err != nil {
				t.Error(err)
				return
			}
			into.letters = append(into.letters, d)
			if was := into.requests[spot{d.Partition, d.Offset}]; !bytes.Equal(rec.Value, was.Value) || !bytes.Equal(rec.Key, was.Key) {
				t.Errorf("the dead letter of %d@%d is not the record that it was", d.Partition, d.Offset)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// fate is how a kind ends where the API has no faults.
type fate struct {
	outcome schemas.Outcome
	class   schemas.Class
	letter  bool
}

func fates() map[kind]fate {
	good := fate{outcome: schemas.OutcomeSucceeded}
	refused := fate{outcome: schemas.OutcomeRejected, class: schemas.ClassRejected}
	return map[kind]fate{
		kindPush: good, kindCodeRight: good, kindCodeWrong: good, kindOpen: good, kindFetch: good, kindList: good,
		kindAnswer: good, kindMetadata: good, kindUnknownField: good,
		kindAnswerWrong: refused, kindAnswered: refused, kindNoFactor: refused, kindNoChallenge: refused,
		kindNoMessage: refused, kindNobody: refused,
		kindInvalid: {outcome: schemas.OutcomeRejected, class: schemas.ClassInvalid},
		kindLate:    {outcome: schemas.OutcomeExpired, class: schemas.ClassExpired},
		kindVersion: {outcome: schemas.OutcomeFailed, class: schemas.ClassVersion, letter: true},
		kindNotJSON: {class: schemas.ClassNotJSON, letter: true},
		kindNoID:    {class: schemas.ClassNoID, letter: true},
	}
}

// callsOf is how many calls a result was worth, by what stands in it: none for
// what was refused or late before any call, one for each page of a list, else
// one.
func callsOf(t *testing.T, r *schemas.Result, request kafka.Record) int {
	t.Helper()
	if r.Error != nil && r.Error.Class != schemas.ClassRejected {
		return 0
	}
	req, _, err := schemas.DecodeRequest(request.Value)
	if err != nil {
		t.Errorf("a request that was called does not decode: %v", err)
		return 0
	}
	if req.List == nil || req.List.PageSize == 0 || req.List.Page != nil || len(r.Challenges) == 0 {
		return 1
	}
	return (len(r.Challenges) + req.List.PageSize - 1) / req.List.PageSize
}
