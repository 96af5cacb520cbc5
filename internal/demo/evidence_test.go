package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker"
	"github.com/countersign/countersign/schemas"
)

// testBroker is an embedded broker with the demo's topics, and a client.
func testBroker(t *testing.T) *kafka.Client {
	t.Helper()
	b, err := broker.Start(broker.Config{Topics: map[string]int32{
		demoTopics.requests: partitions, demoTopics.results: partitions, demoTopics.letters: partitions,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	client, err := kafka.NewClient(kafka.Config{Brokers: b.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// produce writes one record.
func produce(t *testing.T, client *kafka.Client, m kafka.Message) {
	t.Helper()
	if err := client.Produce(t.Context(), []kafka.Message{m}); err != nil {
		t.Fatal(err)
	}
}

// resultOf is a result for a request, as the connector would publish it.
func resultOf(t *testing.T, r kafka.Record, sid string) kafka.Message {
	t.Helper()
	at := schemas.Coordinates{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp}
	res := schemas.Result{
		ID: schemas.ResultID("g", at, 0), RequestID: "r-" + string(r.Key), Operation: schemas.OperationCreate,
		Outcome: schemas.OutcomeSucceeded, Challenge: []byte(`{"sid":"` + sid + `"}`), Attempts: 1, Request: at,
		Times: schemas.Times{Received: r.Timestamp, Completed: r.Timestamp},
	}
	value, err := res.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return kafka.Message{Topic: demoTopics.results, Key: r.Key, Value: value}
}

// pagesOf is a list's result that takes two records.
func pagesOf(t *testing.T, r kafka.Record) []kafka.Message {
	t.Helper()
	at := schemas.Coordinates{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp}
	var out []kafka.Message
	for i := range 2 {
		res := schemas.Result{
			ID: schemas.ResultID("g", at, i), RequestID: "r-" + string(r.Key), Operation: schemas.OperationList,
			Outcome: schemas.OutcomeSucceeded, Challenges: []json.RawMessage{}, Attempts: 1, Request: at,
			Times: schemas.Times{Received: r.Timestamp, Completed: r.Timestamp}, Page: &schemas.Page{Index: i, Last: i == 1},
		}
		value, err := res.Encode()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, kafka.Message{Topic: demoTopics.results, Key: r.Key, Value: value})
	}
	return out
}

func letterOf(r kafka.Record, hasResult bool) kafka.Message {
	d := schemas.DeadLetter{
		Class: schemas.ClassNotJSON, HasResult: hasResult, At: r.Timestamp,
		Coordinates: schemas.Coordinates{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp},
	}
	return kafka.Message{Topic: demoTopics.letters, Key: r.Key, Value: r.Value, Headers: d.Headers()}
}

// TestCounterOnRealTopics: the counter reads the topics and notices a removed
// and a doubled result.
func TestCounterOnRealTopics(t *testing.T) {
	cases := []struct {
		name                       string
		removed, doubled, shredded bool
		lost, duplicates, broken   int
	}{
		{name: "complete"},
		{name: "a result is removed", removed: true, lost: 1},
		{name: "a result is doubled", doubled: true, duplicates: 1},
		{name: "a result cannot be read", shredded: true, lost: 1, broken: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			client := testBroker(t)
			requests := produceRequests(t, client, 20)
			var created []string
			for i, r := range requests {
				sid := fmt.Sprintf("YC%032d", i)
				m := resultOf(t, r, sid)
				switch {
				case i == 3:
					produce(t, client, letterOf(r, false))
					continue
				case i == 9:
					for _, page := range pagesOf(t, r) {
						produce(t, client, page)
					}
					continue
				case i == 5 && c.removed:
					continue
				case i == 5 && c.shredded:
					m.Value = m.Value[:len(m.Value)/2]
				case i == 5 && c.doubled:
					produce(t, client, m)
				}
				created = append(created, sid)
				produce(t, client, m)
				if i == 7 {
					produce(t, client, letterOf(r, true))
				}
			}
			found, err := gather(t.Context(), client, demoTopics, created)
			if err != nil {
				t.Fatal(err)
			}
			var sum Summary
			sum.fill(settle(found))
			if sum.Requests != 20 || sum.Lost != c.lost || sum.Duplicates != c.duplicates || sum.Unreadable != c.broken {
				t.Errorf("%+v", sum)
			}
			if sum.Results != 19-c.lost+c.duplicates || sum.DeadLetters != 2 || sum.Classes["not_json"] != 1 || sum.Orphans != 0 || sum.PhantomCreates != 0 {
				t.Errorf("%+v", sum)
			}
			if clean := len(sum.Problems()) == 0; clean != (c.lost+c.duplicates+c.broken == 0) {
				t.Errorf("problems %q", sum.Problems())
			}
		})
	}
}

// produceRequests writes n records under n keys and returns them as they stand.
func produceRequests(t *testing.T, client *kafka.Client, n int) []kafka.Record {
	t.Helper()
	for i := range n {
		produce(t, client, kafka.Message{Topic: demoTopics.requests, Key: fmt.Appendf(nil, "key-%d", i), Value: []byte("{}")})
	}
	var out []kafka.Record
	if err := each(t.Context(), client, demoTopics.requests, func(r kafka.Record) { out = append(out, r) }); err != nil {
		t.Fatal(err)
	}
	if len(out) != n {
		t.Fatalf("%d requests stand in the topic, want %d", len(out), n)
	}
	return out
}

func TestGatherReportsWhatItCannotRead(t *testing.T) {
	client := testBroker(t)
	for _, names := range []topics{
		{requests: "gone", results: demoTopics.results, letters: demoTopics.letters},
		{requests: demoTopics.requests, results: "gone", letters: demoTopics.letters},
		{requests: demoTopics.requests, results: demoTopics.results, letters: "gone"},
	} {
		if _, err := gather(t.Context(), client, names, nil); kafka.CodeOf(err) != kafka.CodeUnknownTopic {
			t.Errorf("%v: %v", names, err)
		}
	}
}

// TestTrackerFollows: results and dead letters count once, further pages and
// repeated results not again, and what cannot be read is an error.
func TestTrackerFollows(t *testing.T) {
	client := testBroker(t)
	requests := produceRequests(t, client, 3)
	known := newTracker()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); known.follow(ctx, client, demoTopics) }()
	defer func() { <-ended }()
	defer stop()

	// The last result of a key tells that those before it have been read.
	key := func(i int) string { return "r-" + string(requests[i].Key) }
	produce(t, client, resultOf(t, requests[0], "first"))
	produce(t, client, resultOf(t, requests[0], "again"))
	for _, page := range pagesOf(t, requests[2]) {
		produce(t, client, page)
	}
	produce(t, client, resultOf(t, requests[2], "later"))
	produce(t, client, letterOf(requests[1], false))
	await(t, known, func() bool {
		zero, _ := known.end(key(0))
		two, _ := known.end(key(2))
		_, _, letters := known.tally()
		return zero == "again" && two == "later" && letters == 1
	})
	byPartition, outcomes, _ := known.tally()
	if outcomes["succeeded"] != 4 || known.count() != 3 || byPartition[requests[0].Partition] == 0 {
		t.Errorf("%v, %d answered, %v", outcomes, known.count(), byPartition)
	}
	if _, ok := known.end(key(1)); ok {
		t.Error("a request without a result has an end")
	}
	produce(t, client, kafka.Message{Topic: demoTopics.results, Value: []byte("no result")})
	await(t, known, func() bool { return known.err() != nil })
}

// await takes the tracker's signals until something holds.
func await(t *testing.T, known *tracker, holds func() bool) {
	t.Helper()
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for !holds() {
		select {
		case <-known.changed:
		case <-patience.C:
			t.Fatal("it does not come")
		}
	}
}

// committer is a group member that commits and leaves.
type committer struct {
	positionReader
	offsets map[int]int64
}

func (c *committer) Run(ctx context.Context, s *kafka.Session) error {
	if offset, ok := c.offsets[s.Partition()]; ok {
		if err := s.Commit(ctx, kafka.Position{Offset: offset}); err != nil {
			return err
		}
	}
	return c.positionReader.Run(ctx, s)
}

func TestPositions(t *testing.T) {
	client := testBroker(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	c := &committer{
		positionReader: positionReader{total: partitions, done: leave, found: map[int]int64{}},
		offsets:        map[int]int64{1: 7, 4: 0},
	}
	cfg := kafka.GroupConfig{
		Group: group, Topic: demoTopics.requests, SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second,
	}
	if err := client.RunGroup(ctx, cfg, c); err != nil {
		t.Fatal(err)
	}
	got, err := positions(t.Context(), client, demoTopics.requests)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[int]int64{0: -1, 1: 7, 2: -1, 3: -1, 4: 0, 5: -1} {
		if offset, ok := got[p]; !ok || offset != want {
			t.Errorf("partition %d: %d (%v), want %d", p, offset, ok, want)
		}
	}
	if _, err := positions(t.Context(), client, "gone"); kafka.CodeOf(err) != kafka.CodeUnknownTopic {
		t.Errorf("a topic that is not there: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := positions(ended, client, demoTopics.requests); err == nil {
		t.Error("positions without an answer")
	}
}
