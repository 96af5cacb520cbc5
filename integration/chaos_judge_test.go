package integration

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign/countersign/internal/emulator"
)

// judged is what a judge reads of a result: by its own decoding, not by the
// product's.
type judged struct {
	ID        string          `json:"id"`
	RequestID string          `json:"request_id"`
	Operation string          `json:"operation"`
	Outcome   string          `json:"outcome"`
	Challenge json.RawMessage `json:"challenge"`
	Error     *struct {
		Class   string `json:"class"`
		Message string `json:"message"`
	} `json:"error"`
	Attempts int `json:"attempts"`
	Request  struct {
		Topic     string `json:"topic"`
		Partition int    `json:"partition"`
		Offset    int64  `json:"offset"`
	} `json:"request"`
	Times struct {
		Received  time.Time  `json:"received"`
		Called    *time.Time `json:"called"`
		Completed time.Time  `json:"completed"`
	} `json:"times"`
	Page *struct {
		Index int  `json:"index"`
		Last  bool `json:"last"`
	} `json:"page"`

	stands string // where the result itself stands
}

func (j *judged) at() string {
	return coordinates(j.Request.Topic, j.Request.Partition, j.Request.Offset)
}

func (j *judged) class() string {
	if j.Error == nil {
		return ""
	}
	return j.Error.Class
}

// sid is that of the challenge that the result shows; empty: it shows none.
func (j *judged) sid() string {
	var m made
	if json.Unmarshal(j.Challenge, &m) != nil {
		return ""
	}
	return m.SID
}

func (j *judged) String() string {
	called := "never called"
	if j.Times.Called != nil {
		called = "called " + clockTime(*j.Times.Called)
	}
	return fmt.Sprintf("%s %s %s, %d attempts, received %s, %s, completed %s, at %s",
		j.Outcome, j.class(), j.sid(), j.Attempts, clockTime(j.Times.Received), called, clockTime(j.Times.Completed), j.stands)
}

func clockTime(at time.Time) string { return at.UTC().Format("15:04:05.000") }

// dead is what a judge reads of a dead letter's headers.
type dead struct {
	at        string // of the request
	class     string
	hasResult bool
	stands    string
}

func deadOf(r *kgo.Record) dead {
	d := dead{stands: standing(r)}
	h := map[string]string{}
	for _, one := range r.Headers {
		h[one.Key] = string(one.Value)
	}
	partition, _ := strconv.Atoi(h["countersign-partition"])
	offset, _ := strconv.ParseInt(h["countersign-offset"], 10, 64)
	d.at = coordinates(h["countersign-topic"], partition, offset)
	d.class, d.hasResult = h["countersign-class"], h["countersign-has-result"] == "true"
	return d
}

func standing(r *kgo.Record) string { return coordinates(r.Topic, int(r.Partition), r.Offset) }

// asked is one committed request record.
type asked struct {
	at        string
	id        string // empty: it has none that can be read
	operation string
	produced  time.Time
	results   []*judged
	dead      []dead
}

// answers counts the primary result, be it in pages, and a dead letter without a
// result as one each, and says whether one of them is there more than once.
func (a *asked) answers() (n int, repeated bool) {
	pages := map[int]int{}
	for _, r := range a.results {
		page := 0
		if r.Page != nil {
			page = r.Page.Index
		}
		if pages[page]++; pages[page] > 1 {
			repeated = true
		}
	}
	bare := 0
	for _, d := range a.dead {
		if !d.hasResult {
			bare++
		}
	}
	repeated = repeated || bare > 1
	n = min(bare, 1)
	if len(pages) > 0 {
		n++
	}
	return n, repeated
}

// judge reads all topics to their ends with an independent client, and joins
// them with the API's own log.
type judge struct {
	t        testing.TB
	requests []*asked
	byID     map[string][]*asked // creates alone
	made     map[string][]emulator.Created
	foreign  []string // results and dead letters of no committed request
	found    []violation

	outcomes              map[string]map[string]int // by operation
	creates, ambiguous    int
	adopted, deadLettered int
	adoptedUnstruck       int               // adopted though no fault struck the call: its caller was
	markers               map[string]string // request id by marker
}

// violation is a broken promise with what is known around it.
type violation struct {
	kind  string
	id    string
	text  string
	times []time.Time // of whatever touched it
}

// reading is how a judge reads: a client for these options, and a bound.
type reading struct {
	place
	client func(...kgo.Opt) *kgo.Client
	ctx    func() context.Context
}

// topic returns the committed records of a topic, up to its end, by partition
// and offset. An open transaction would hide records, so there must be none.
func (r reading) topic(t testing.TB, topic string, partitions int) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx(), patience)
	defer cancel()
	ends := r.ends(ctx, t, topic, partitions, 0)
	if stable := r.ends(ctx, t, topic, partitions, 1); !slices.Equal(ends, stable) {
		t.Errorf("%s has an open transaction: it ends at %v, readers get to %v", topic, ends, stable)
	}
	from := map[int32]kgo.Offset{}
	for p := range partitions {
		from[int32(p)] = kgo.NewOffset().AtStart()
	}
	client := r.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer client.Close()
	var out []*kgo.Record
	next := make([]int64, partitions)
	done := func() bool {
		for p, end := range ends {
			if next[p] < end {
				return false
			}
		}
		return true
	}
	for !done() {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Errorf("reading %s up to %v, got to %v: %v", topic, ends, next, err)
			break
		}
		for rec := range fetches.RecordsAll() {
			next[rec.Partition] = rec.Offset + 1
			if !rec.Attrs.IsControl() {
				out = append(out, rec)
			}
		}
	}
	slices.SortFunc(out, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return out
}

// ends asks for the high watermarks (isolation 0) or the last stable offsets (1).
func (r reading) ends(ctx context.Context, t testing.TB, topic string, partitions int, isolation int8) []int64 {
	t.Helper()
	client := r.client()
	defer client.Close()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, isolation
	one := kmsg.NewListOffsetsRequestTopic()
	one.Topic = topic
	for p := range partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = int32(p), -1
		one.Partitions = append(one.Partitions, part)
	}
	req.Topics = append(req.Topics, one)
	res, err := req.RequestWith(ctx, client)
	must(t, err)
	out := make([]int64, partitions)
	for _, p := range res.Topics[0].Partitions {
		out[p.Partition] = p.Offset
	}
	return out
}

// newJudge reads everything and joins it. It finds no violation yet.
func newJudge(t testing.TB, r reading, log []emulator.Created) *judge {
	t.Helper()
	j := &judge{
		t: t, byID: map[string][]*asked{}, made: map[string][]emulator.Created{},
		outcomes: map[string]map[string]int{}, markers: map[string]string{},
	}
	at := map[string]*asked{}
	for _, rec := range r.topic(t, r.topics.Requests, partitions) {
		a := &asked{at: standing(rec), produced: rec.Timestamp}
		var event struct {
			ID        string `json:"id"`
			Operation string `json:"operation"`
			Create    any    `json:"create"`
		}
		if json.Unmarshal(rec.Value, &event) == nil {
			a.id, a.operation = event.ID, event.Operation
		}
		at[a.at] = a
		j.requests = append(j.requests, a)
		if a.id != "" && a.operation == "create" && event.Create != nil {
			j.byID[a.id] = append(j.byID[a.id], a)
		}
	}
	for _, rec := range r.topic(t, r.topics.Results, partitions) {
		res := &judged{stands: standing(rec)}
		if err := json.Unmarshal(rec.Value, res); err != nil {
			t.Errorf("the result at %s: %v", res.stands, err)
			continue
		}
		a := at[res.at()]
		if a == nil || a.id != res.RequestID {
			j.foreign = append(j.foreign, fmt.Sprintf("the result of %s, request %q, at %s", res.at(), res.RequestID, res.stands))
			continue
		}
		a.results = append(a.results, res)
	}
	for _, rec := range r.topic(t, r.topics.DeadLetters, 1) {
		d := deadOf(rec)
		a := at[d.at]
		if a == nil {
			j.foreign = append(j.foreign, fmt.Sprintf("the dead letter of %s at %s", d.at, d.stands))
			continue
		}
		a.dead = append(a.dead, d)
		j.deadLettered++
	}
	for _, c := range log {
		id := c.HiddenDetails[requestField]
		j.made[id] = append(j.made[id], c)
	}
	return j
}

// examine holds what was read against the promises.
func (j *judge) examine() {
	for _, what := range j.foreign {
		j.found = append(j.found, violation{kind: "an answer to nothing", text: what})
	}
	for _, a := range j.requests {
		j.examineRecord(a)
	}
	for id, records := range j.byID {
		j.examineID(id, records)
	}
	for id, challenges := range j.made {
		if len(j.byID[id]) == 0 {
			j.violate("called without a committed request", id, nil, "%d challenges", len(challenges))
		}
		j.examineMarkers(id, challenges)
	}
	slices.SortFunc(j.found, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
	})
}

func (j *judge) examineRecord(a *asked) {
	n, repeated := a.answers()
	switch {
	case n == 0:
		j.violate("lost", a.id, []*asked{a}, "neither a result nor a dead letter")
	case *chaosOnce == "at_least_once" && n == 1: // the same result may be there again
	case n > 1 || repeated:
		j.violate("answered twice", a.id, []*asked{a}, "%d results, %d dead letters", len(a.results), len(a.dead))
	}
	if len(a.dead) > 1 && *chaosOnce != "at_least_once" || len(a.dead) > 0 && a.dead[0].hasResult && len(a.results) == 0 {
		j.violate("dead letters", a.id, []*asked{a}, "%d dead letters, %d results", len(a.dead), len(a.results))
	}
	if len(a.results) == 0 {
		return
	}
	by := j.outcomes[a.operation]
	if by == nil {
		by = map[string]int{}
		j.outcomes[a.operation] = by
	}
	outcome := a.results[0].Outcome
	if class := a.results[0].class(); outcome == "failed" {
		outcome += "/" + class
	}
	by[outcome]++
}

// examineID holds the challenges of one request id against the outcomes of
// its records: usually one, more where the id was repeated.
func (j *judge) examineID(id string, records []*asked) {
	made, yes, doubt := j.made[id], 0, false
	for _, a := range records {
		j.creates++
		if slices.ContainsFunc(a.results, func(r *judged) bool { return r.Outcome == "succeeded" || r.Outcome == "adopted" }) {
			yes++
		}
		for _, r := range a.results {
			switch {
			case r.Outcome == "succeeded" || r.Outcome == "adopted":
				if r.Outcome == "adopted" {
					j.adopted++
					if len(made) == 1 && made[0].Fault == "" {
						j.adoptedUnstruck++
					}
				}
				if len(made) == 1 && r.sid() != made[0].SID {
					j.violate("another's challenge", id, records, "the result shows %s", r.sid())
				}
			case r.Outcome == "failed" && r.class() == "ambiguous":
				j.ambiguous++
				doubt = true
			}
		}
	}
	switch {
	case len(made) > 1 && len(records) == 1:
		j.violate("called twice", id, records, "%d challenges for one record", len(made))
	case len(made) > 1:
		j.violate("called again for a repeated id", id, records, "%d challenges for %d records", len(made), len(records))
	case yes > 0 && len(made) == 0:
		j.violate("no challenge", id, records, "a result says that there is one")
	case yes == 0 && !doubt && len(made) > 0:
		j.violate("called although the result says no", id, records, "%d challenges", len(made))
	}
	if yes > 1 {
		j.violate("a repeated id was not noticed", id, records, "the results of %d records say that it was called", yes)
	}
}

// examineMarkers reads what the connector left at the API: one marker per
// request id and body, another for every other. Where there is none at all
// (the product has no recovery), nothing is said.
func (j *judge) examineMarkers(id string, challenges []emulator.Created) {
	for _, c := range challenges {
		marker := c.HiddenDetails["countersign"]
		if marker == "" {
			continue
		}
		if other, taken := j.markers[marker]; taken && other != id {
			j.violate("a marker of two requests", id, nil, "%s is %s's too", marker, other)
		}
		j.markers[marker] = id
	}
}

// violate keeps a violation with everything that is known of the id.
func (j *judge) violate(kind, id string, records []*asked, format string, args ...any) {
	var b strings.Builder
	fmt.Fprintf(&b, format, args...)
	v := violation{kind: kind, id: id}
	for _, a := range records {
		fmt.Fprintf(&b, "\n      record %s produced %s", a.at, clockTime(a.produced))
		v.times = append(v.times, a.produced)
		for _, r := range a.results {
			fmt.Fprintf(&b, "\n        result %s", r)
			v.times = append(v.times, r.Times.Completed)
		}
		for _, d := range a.dead {
			fmt.Fprintf(&b, "\n        dead letter %s, has result %v, at %s", d.class, d.hasResult, d.stands)
		}
	}
	for _, c := range j.made[id] {
		fmt.Fprintf(&b, "\n      challenge %s made %s, answered %v, fault %q", c.SID, clockTime(c.At), c.Answered, c.Fault)
		v.times = append(v.times, c.At)
	}
	v.text = b.String()
	j.found = append(j.found, v)
}
