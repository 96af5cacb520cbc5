package connector

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// simRecord is a record of the requests.
type simRecord struct {
	part      int
	offset    int64 // once it was written
	aborted   bool  // by those who wrote it
	key       string
	id        string
	req       *schemas.Request // nil: it is none
	value     []byte
	headers   []schemas.Header
	timestamp time.Time
	redrives  int
}

func (r *simRecord) record() kafka.Record {
	k := kafka.Record{Topic: simTopicRequest, Partition: r.part, Offset: r.offset, Value: r.value, Headers: r.headers, Timestamp: r.timestamp}
	if r.key != "" {
		k.Key = []byte(r.key)
	}
	return k
}

const simService = "VA00000000000000000000000000000000"

func simFactor(n int) string { return fmt.Sprintf("YF%032d", n) }

// simEvent is something that the workload does at a moment.
type simEvent struct {
	at time.Duration
	do func()
}

// prepare makes the records and says when which of them is written.
func (w *sim) prepare() []simEvent {
	var events []simEvent
	for i := range w.plan.records {
		at := w.between(0, w.plan.arrivals, "arrival")
		r := w.makeRecord(i)
		switch {
		case w.happens(0.06, "upstream transaction"):
			events = append(events, w.upstream(at, r, w.happens(0.6, "upstream aborts"))...)
			continue
		case w.happens(0.05, "hole"):
			events = append(events, simEvent{at, func() { w.append(&simRecord{part: r.part}, nil, true) }})
		}
		events = append(events, simEvent{at, func() { w.append(r, nil, false) }})
	}
	sort.SliceStable(events, func(i, j int) bool { return events[i].at < events[j].at })
	return events
}

// upstream writes a record in a transaction that ends a moment later.
func (w *sim) upstream(at time.Duration, r *simRecord, abort bool) []simEvent {
	u := &simUpstream{}
	r.aborted = abort
	return []simEvent{
		{at, func() { w.append(r, u, false) }},
		{at + w.between(10*time.Millisecond, 3*time.Second, "upstream end"), func() {
			u.state = simCommitted
			if abort {
				u.state = simAborted
				w.saw("upstream transaction aborted")
			}
			w.append(&simRecord{part: r.part}, nil, true)
		}},
	}
}

// append writes a record; a hole only takes an offset. The caller holds mu.
func (w *sim) append(r *simRecord, u *simUpstream, hole bool) {
	p := w.broker.parts[r.part]
	r.offset, r.timestamp = int64(len(p.log)), time.Now().UTC().Truncate(time.Millisecond)
	l := simLogged{rec: r, upstream: u}
	if hole {
		l.rec = nil
	} else {
		w.work = append(w.work, r)
		w.byID[r.id] = append(w.byID[r.id], r)
		w.byPlace[simPlace{r.part, r.offset}] = r
		w.note("record %d/%d key %q id %s %s", r.part, r.offset, r.key, r.id, r.what())
	}
	p.log = append(p.log, l)
	p.wake()
}

func (r *simRecord) what() string {
	if r.req == nil {
		return "bad"
	}
	return string(r.req.Operation)
}

// makeRecord makes the n-th record: mostly creates, many of them for a few
// factors, some with an id that was there before.
func (w *sim) makeRecord(n int) *simRecord {
	factor := w.below(1+w.below(4, "factors"), "factor")
	r := &simRecord{part: w.below(w.plan.partitions, "part"), id: fmt.Sprintf("id-%d", n), key: fmt.Sprintf("key-%d", w.below(6, "key"))}
	if w.happens(0.2, "no key") {
		r.key = ""
	}
	req := schemas.Request{ID: r.id, ServiceSID: simService, Identity: fmt.Sprintf("identity-%d", factor)}
	r.req = &req
	switch kind := w.below(100, "kind"); {
	case kind < 68:
		w.makeCreate(&req, factor)
	case kind < 78:
		req.Operation, req.ChallengeSID = schemas.OperationUpdate, simSID(w.below(3, "update of"))
		req.Update = &schemas.Update{AuthPayload: "123456"}
	case kind < 84:
		req.Operation, req.ChallengeSID = schemas.OperationFetch, simSID(w.below(4, "fetch of"))
	case kind < 88:
		req.Operation, req.List = schemas.OperationList, &schemas.List{FactorSID: simFactor(factor)}
	case kind < 92:
		r.req, r.value = nil, []byte("no JSON")
		return r
	case kind < 95:
		w.makeCreate(&req, factor)
		r.encode(w)
		r.req, r.value = nil, []byte(strings.Replace(string(r.value), "identity-", "-", 1))
		return r
	default:
		if old := w.earlier(r, n); old != nil {
			return old
		}
		w.makeCreate(&req, factor)
	}
	if w.happens(0.2, "short not_after") {
		at := w.began.Add(w.plan.arrivals + w.between(time.Second, 12*time.Second, "not_after")).UTC().Truncate(time.Second)
		req.NotAfter = &at
	}
	r.encode(w)
	w.made = append(w.made, r)
	return r
}

func (w *sim) makeCreate(req *schemas.Request, factor int) {
	req.Operation = schemas.OperationCreate
	req.Create = &schemas.Create{FactorSID: simFactor(factor), Details: &schemas.Details{Message: "Sign in?"}}
	if w.happens(0.2, "fields") {
		req.Create.Details.Fields = []schemas.Field{{Label: "City", Value: "Bern"}}
	}
	if w.happens(0.06, "poison") {
		req.Create.HiddenDetails = map[string]string{"poison": "poison"}
		req.Create.Details.Message = "poison"
	}
	if w.happens(0.1, "code") {
		req.Create.AuthPayload = "123456"
	}
}

// earlier is a record with the id of one before it, in the same partition.
func (w *sim) earlier(r *simRecord, n int) *simRecord {
	if len(w.made) == 0 {
		return nil
	}
	old := w.made[w.below(len(w.made), "id of")]
	again := *old
	req := *old.req
	again.req, again.aborted = &req, false
	if w.happens(0.3, "other body") && req.Operation == schemas.OperationCreate {
		create := *req.Create
		create.Details = &schemas.Details{Message: fmt.Sprintf("Sign in, %d?", n)}
		req.Create = &create
	}
	if w.happens(0.4, "other key") {
		again.key = r.key
	}
	again.encode(w)
	return &again
}

func (r *simRecord) encode(w *sim) {
	value, err := r.req.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	r.value = value
}

// arrive writes what the workload has, each at its time.
func (w *sim) arrive(ctx context.Context, events []simEvent) {
	for _, e := range events {
		if d := e.at - time.Since(w.began); d > 0 && !w.rest(ctx, d) {
			return
		}
		w.locked(e.do)
	}
}

// redrive makes requests of dead letters again, as the command does.
func (w *sim) redrive() int {
	n := 0
	for _, e := range w.broker.dead {
		if e.state != simCommitted {
			continue
		}
		d, _, err := schemas.DecodeDeadLetter(e.msg.Headers)
		if err != nil {
			w.violate("a dead letter does not decode: %v", err)
			continue
		}
		old := w.byPlace[simPlace{d.Partition, d.Offset}]
		if !d.Redrivable || old == nil || old.redrives > 0 || !w.happens(0.7, "redrive") {
			continue
		}
		if d.Class == schemas.ClassAmbiguous && time.Since(old.timestamp) > maxAge/2 {
			continue // what the API has forgotten, no look can show: that is for its operator to decide
		}
		again := *old
		again.redrives = old.redrives + 1
		old.redrives = 1 // once each
		deadline := time.Now().Add(time.Minute).UTC()
		head := schemas.Redrive{Redrives: 1, NotAfter: &deadline}
		if d.Class == schemas.ClassAmbiguous {
			since := old.timestamp
			head.LookSince = &since
		}
		again.headers = head.Headers()
		w.append(&again, nil, false)
		w.saw("redriven")
		n++
	}
	return n
}
