package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// resultEvent is a result of a create, failed unless the outcome is succeeded.
func resultEvent(t *testing.T, id string, outcome schemas.Outcome) []byte {
	t.Helper()
	r := schemas.Result{
		RequestID: id, Operation: schemas.OperationCreate, Outcome: outcome, ServiceSID: someService, Identity: testIdentity,
		Attempts: 1, Request: schemas.Coordinates{Topic: requestsTopic, Timestamp: someTime},
		Times: schemas.Times{Received: someTime, Completed: someTime},
	}
	r.ID = schemas.ResultID("countersign", r.Request, 0)
	if succeeded(outcome) {
		r.Challenge = json.RawMessage(`{"sid":"` + someChallenge + `","status":"pending"}`)
	} else {
		r.Error = &schemas.Error{Class: schemas.ClassRejected, Code: 60306, Message: "no\x1b[2J", Faults: []schemas.Fault{{Path: "$.a", Message: "is bad"}}}
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// produce writes records, one after the other.
func (p *producer) produce(msgs ...kafka.Message) {
	p.t.Helper()
	if err := p.client.Produce(p.t.Context(), msgs); err != nil {
		p.t.Fatal(err)
	}
}

type producer struct {
	t      *testing.T
	client *kafka.Client
}

func newProducer(t *testing.T) *producer {
	t.Helper()
	client, err := kafka.NewClient(kafka.Config{Brokers: newBroker(t).Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &producer{t: t, client: client}
}

// results produces results a second apart, the oldest first, in turn to
// different partitions.
func (p *producer) results(ids ...string) {
	p.t.Helper()
	for i, id := range ids {
		p.produce(kafka.Message{
			Topic: resultsTopic, Key: []byte(id), Value: resultEvent(p.t, id, schemas.OutcomeSucceeded),
			Timestamp: someTime.Add(time.Duration(i) * time.Second),
		})
	}
}

// ids lists the request ids of printed results.
func ids(t *testing.T, out string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(out) {
		var r struct {
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r.RequestID)
	}
	return all
}

func TestTailShowsTheLastInOrder(t *testing.T) {
	p := newProducer(t)
	var sent []string
	for i := range 25 {
		sent = append(sent, fmt.Sprintf("r%02d", i))
	}
	p.results(sent...)
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"by default":    {nil, sent[15:]},
		"so many":       {[]string{"-n", "3"}, sent[22:]},
		"none":          {[]string{"-n", "0"}, nil},
		"more than all": {[]string{"-n", "100"}, sent},
		"beginning":     {[]string{"--since", "beginning"}, sent},
		"both":          {[]string{"--since", "beginning", "-n", "2"}, sent[23:]},
		"since":         {[]string{"--since", "2026-01-02T03:04:26Z"}, sent[21:]},
		"just now":      {[]string{"--since", "10m"}, nil},
		"one request":   {[]string{"--request-id", "r03"}, []string{"r03"}},
		"an outcome":    {[]string{"--outcome", "failed"}, nil},
		"by name":       {[]string{"--topic", resultsTopic, "-n", "1"}, sent[24:]},
	} {
		t.Run(name, func(t *testing.T) {
			e := cli(t, "", append([]string{"tail", "--json"}, c.args...)...).want(t, exitOK)
			if got := ids(t, e.out); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A rare match far back is found although the last records are read first.
func TestTailLooksBackAsFarAsItTakes(t *testing.T) {
	p := newProducer(t)
	rare := func(id string) kafka.Message {
		return kafka.Message{Topic: deadLettersTopic, Value: resultEvent(t, id, schemas.OutcomeFailed)}
	}
	msgs := []kafka.Message{rare("first"), rare("second")}
	common := resultEvent(t, "common", schemas.OutcomeSucceeded)
	for range 6000 {
		msgs = append(msgs, kafka.Message{Topic: deadLettersTopic, Value: common})
	}
	p.produce(append(msgs, rare("third"))...)
	e := cli(t, "", "tail", "--json", "--topic", deadLettersTopic, "--outcome", "failed", "-n", "2").want(t, exitOK)
	if got := ids(t, e.out); !slices.Equal(got, []string{"second", "third"}) {
		t.Errorf("got %q", got)
	}
	e = cli(t, "", "tail", "--json", "--topic", deadLettersTopic, "--since", "beginning").want(t, exitOK)
	if got := ids(t, e.out); len(got) != 6003 || got[0] != "first" {
		t.Errorf("%d records, the first %q", len(got), got[0])
	}
}

func TestTailLinesForAPerson(t *testing.T) {
	p := newProducer(t)
	when := func(i int) time.Time { return someTime.Add(time.Duration(i) * time.Minute) }
	list, err := (&schemas.Result{
		ID: strings.Repeat("0", 32), RequestID: "list", Operation: schemas.OperationList, Outcome: schemas.OutcomeSucceeded, Attempts: 1,
		Request: schemas.Coordinates{Topic: requestsTopic, Timestamp: someTime}, Times: schemas.Times{Received: someTime, Completed: someTime},
		Challenges: []json.RawMessage{[]byte(`{}`), []byte(`{}`)}, Page: &schemas.Page{Index: 1, Last: true},
	}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range [][]byte{
		resultEvent(t, "good", schemas.OutcomeSucceeded), resultEvent(t, "bad", schemas.OutcomeRejected), list,
		[]byte(`{"outcome":"odd"}`), []byte("not\x07json"),
	} {
		p.produce(kafka.Message{Topic: resultsTopic, Key: []byte("k"), Value: value, Timestamp: when(i)})
	}
	e := cli(t, "", "tail").want(t, exitOK)
	lines := strings.Split(strings.TrimSpace(e.out), "\n")
	for i, want := range []string{
		"2026-01-02T03:04:05.000Z succeeded create good " + someChallenge + " pending",
		"2026-01-02T03:05:05.000Z rejected  create bad rejected/60306: no\uFFFD[2J: $.a is bad",
		"2026-01-02T03:06:05.000Z succeeded list   list 2 challenges page 1",
		"2026-01-02T03:07:05.000Z not a valid result: ",
		"2026-01-02T03:08:05.000Z not a valid event: ",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d of\n%swant %s", i, e.out, want)
		}
	}
}

func TestTailRequestsAndDeadLetters(t *testing.T) {
	p := newProducer(t)
	update := `{"version":"1.0","id":"u","operation":"update","service_sid":"` + someService + `","identity":"` + testIdentity +
		`","challenge_sid":"` + someChallenge + `","not_after":"2026-01-02T03:09:05Z","update":{"auth_payload":"918273"}}`
	p.produce(kafka.Message{Topic: requestsTopic, Key: []byte("k"), Value: []byte(update), Timestamp: someTime})
	letter := schemas.DeadLetter{
		Class: schemas.ClassRejected, Code: 20404, Message: "not found", RequestID: "u", Redrivable: true, HasResult: true, Attempts: 1, At: someTime,
		Coordinates: schemas.Coordinates{Topic: requestsTopic, Partition: 1, Offset: 7, Timestamp: someTime},
	}
	broken := letter
	broken.Class, broken.Code, broken.RequestID, broken.Redrivable, broken.HasResult = schemas.ClassNotJSON, 0, "", false, false
	p.produce(
		kafka.Message{Topic: deadLettersTopic, Value: []byte(update), Headers: letter.Headers(), Timestamp: someTime},
		kafka.Message{Topic: deadLettersTopic, Value: []byte(`{"auth_payload":"918273"`), Headers: broken.Headers(), Timestamp: someTime},
	)
	check := func(says []string, args ...string) {
		t.Helper()
		e := cli(t, "", append([]string{"tail"}, args...)...).want(t, exitOK)
		for _, text := range says {
			if !strings.Contains(e.out, text) {
				t.Errorf("%q: no %q in\n%s", args, text, e.out)
			}
		}
		if strings.Contains(e.out+e.err, "918273") {
			t.Errorf("%q shows the payload:\n%s", args, e.out)
		}
	}
	check([]string{"request   update u " + someChallenge + " not after 2026-01-02T03:09:05.000Z challenge.requests/"}, "-t", "requests")
	check([]string{`"id":"u"`, `"auth_payload":"[redacted]"`}, "-t", "requests", "--json")
	check([]string{
		"rejected/20404 u not found from challenge.requests/1@7 (redrivable, has a result)", "not_json  (no id)", "(not redrivable)",
	}, "-t", "deadletters")
	check([]string{
		`{"headers":{"countersign-at":"`, `"countersign-class":"rejected"`, `"value":{"version":"1.0","id":"u"`, `"[redacted]"`,
		`"value":null,"value_bytes":24}`,
	}, "-t", "deadletters", "--json")
	check([]string{"rejected/20404"}, "-t", "deadletters", "--request-id", "u")

	p.produce(kafka.Message{Topic: requestsTopic, Value: []byte(`{"auth_payload":"918273"`)})
	check([]string{`{"not_json":true,"topic":"challenge.requests","partition":`, `"bytes":24}`}, "-t", "requests", "--json")
	check([]string{"not a valid event"}, "-t", "requests")
}

func TestTailFollows(t *testing.T) {
	p := newProducer(t)
	p.results("old", "wanted")
	tail := start(t, "tail", "--follow", "-n", "1", "--request-id", "wanted")
	tail.out.line(t, " succeeded create wanted ")
	p.results("other")
	p.produce(kafka.Message{Topic: resultsTopic, Key: []byte("wanted"), Value: resultEvent(t, "wanted", schemas.OutcomeDuplicate)})
	tail.out.line(t, " duplicate create wanted ")
	tail.end()
	if e := tail.wait(t).want(t, exitOK); strings.Count(e.out, "\n") != 2 {
		t.Errorf("it printed\n%s", e.out)
	}
}

// A reader that has a record to hand over is not left behind.
func TestFollowEndsWithRecordsPending(t *testing.T) {
	p := newProducer(t)
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		p.results(id, id)
	}
	seen := 0
	for _, err := range follow(t.Context(), p.client, resultsTopic, []int64{0, 0}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	for _, err := range follow(t.Context(), p.client, resultsTopic, []int64{0, 1 << 40}) {
		if kafka.CodeOf(err) == kafka.CodeOutOfRange {
			return
		}
	}
	t.Error("an offset beyond the end is no error")
}

func TestTailEndsWellOnCtrlC(t *testing.T) {
	p := newProducer(t)
	p.results("one")
	tail, process := spawn(t, "tail", "-f")
	tail.out.line(t, " one ")
	if err := process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	tail.wait(t).want(t, exitOK)
}

func TestTailRefuses(t *testing.T) {
	newBroker(t)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"outcome":             {[]string{"--outcome", "fine"}, exitUsage, "succeeded adopted duplicate rejected expired failed"},
		"outcome of requests": {[]string{"-t", "requests", "--outcome", "failed"}, exitUsage, "--outcome is for results"},
		"number":              {[]string{"-n", "-1"}, exitUsage, "can't be negative"},
		"since":               {[]string{"--since", "yesterday"}, exitUsage, "--since must be"},
		"the future":          {[]string{"--since", "-5m"}, exitUsage, "--since must be"},
		"topic":               {[]string{"-t", "not.there"}, exitFailed, "there is no topic not.there"},
		"arguments":           {[]string{"results"}, exitUsage, "takes no arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			if e := cli(t, "", append([]string{"tail"}, c.args...)...).want(t, c.code); !strings.Contains(e.err, c.says) {
				t.Errorf("no %q in %q", c.says, e.err)
			}
		})
	}
}
