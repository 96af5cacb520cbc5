package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// page is one page of a list's result.
func page(t *testing.T, id string, index int, last bool) []byte {
	t.Helper()
	r := schemas.Result{
		RequestID: id, Operation: schemas.OperationList, Outcome: schemas.OutcomeSucceeded, Attempts: 1,
		Challenges: []json.RawMessage{}, Page: &schemas.Page{Index: index, Last: last},
		Request: schemas.Coordinates{Topic: requestsTopic, Timestamp: someTime},
		Times:   schemas.Times{Received: someTime, Completed: someTime},
	}
	r.ID = schemas.ResultID("countersign", r.Request, index)
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (p *producer) result(value []byte) { p.produce(kafka.Message{Topic: resultsTopic, Value: value}) }

// What counts is the last page of a list, one result for each time that an id
// was sent, and nobody else's results, nor any of before.
func TestSendWaitsForAllResults(t *testing.T) {
	p := newProducer(t)
	p.result(resultEvent(t, "twice", schemas.OutcomeFailed)) // of an earlier call
	file := writeFile(t, "a.jsonl", fetchEvent("twice", testIdentity)+"\n"+fetchEvent("twice", testIdentity)+"\n"+fetchEvent("list", testIdentity))
	send := start(t, "send", "--wait", file)
	send.out.line(t, "sent list")
	p.result([]byte("not an event"))
	p.result(resultEvent(t, "foreign", schemas.OutcomeFailed))
	for i := range 3 {
		p.result(page(t, "list", i, i == 2))
	}
	p.result(resultEvent(t, "twice", schemas.OutcomeSucceeded))
	send.out.line(t, " create twice ")
	select {
	case code := <-send.code:
		t.Fatalf("it ended with %d before the last result", code)
	default:
	}
	p.result(resultEvent(t, "twice", schemas.OutcomeDuplicate))
	e := send.wait(t).want(t, exitOK)
	if strings.Count(e.out, " twice ") != 2 || strings.Count(e.out, " page ") != 3 || strings.Contains(e.out, "foreign") {
		t.Errorf("it printed\n%s", e.out)
	}
}

func TestSendWaitCountsFailures(t *testing.T) {
	for _, outcome := range []schemas.Outcome{schemas.OutcomeRejected, schemas.OutcomeExpired, schemas.OutcomeFailed} {
		p := newProducer(t)
		send := start(t, "send", "--wait", writeFile(t, "a.jsonl", fetchEvent("a", testIdentity)+"\n"+fetchEvent("b", testIdentity)))
		send.out.line(t, "sent b")
		p.result(resultEvent(t, "a", outcome))
		p.result(resultEvent(t, "b", schemas.OutcomeSucceeded))
		if e := send.wait(t).want(t, exitFailed); !strings.Contains(e.err, "1 of 2 requests did not succeed") {
			t.Errorf("%s: %q", outcome, e.err)
		}
	}
}

func TestSendStopsWaitingOnCtrlC(t *testing.T) {
	newBroker(t)
	send := start(t, "send", "--wait", "--wait-timeout", "0", writeFile(t, "a.jsonl", fetchEvent("a", testIdentity)))
	send.out.line(t, "sent a")
	send.end()
	if e := send.wait(t).want(t, exitFailed); !strings.Contains(e.err, "1 of 1 results did not come") {
		t.Errorf("%q", e.err)
	}
}
