package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// output is one record to publish and how to make what is published instead if
// the broker refuses it for good. The fallback is made only then: nearly every
// record goes without.
type output struct {
	msg      kafka.Message
	fallback func() (kafka.Message, error) // nil: none
	// list is the same for all records of one list's result; nil: it is one record.
	list *schemas.Result
}

// events turns outcomes into records.
type events struct {
	group  string
	topics TopicsConfig
	// limit is the largest value that is published in one record. It leaves
	// room for key, headers and framing below the broker's 1 MiB a batch.
	limit int
}

const defaultEventLimit = kafka.MaxMessageBytes - 128<<10

// records are the result and the dead letter of an outcome, as far as it has
// them, results first.
func (ev events) records(o outcome) ([]output, error) {
	var out []output
	if o.outcome != "" {
		results, err := ev.results(o)
		if err != nil {
			return nil, err
		}
		out = results
	}
	if o.deadLetter {
		out = append(out, ev.deadLetter(o))
	}
	return out, nil
}

func (ev events) results(o outcome) ([]output, error) {
	base := ev.result(o)
	if o.answer.challenges != nil {
		return ev.listPages(o, base)
	}
	var err error
	if len(base.Challenge) > ev.limit/2 {
		if base.Challenge, err = ev.shrunk(base.Challenge); err != nil {
			return nil, err
		}
	}
	value, err := base.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode the result of %s/%d@%d: %w", base.Request.Topic, base.Request.Partition, base.Request.Offset, err)
	}
	out, err := ev.resultOutput(o, base, value)
	return []output{out}, err
}

func (ev events) result(o outcome) schemas.Result {
	e := o.entry
	r := schemas.Result{
		Version:   schemas.Version,
		RequestID: o.requestID,
		Operation: o.operation,
		Outcome:   o.outcome,
		Challenge: o.answer.challenge,
		Headers:   o.answer.headers,
		Error:     o.err,
		Original:  o.original,
		Attempts:  e.attempts,
		Request:   coordinates(e),
		Times:     schemas.Times{Received: e.received.UTC(), Completed: o.ended.UTC()},
	}
	if e.req != nil {
		r.RequestID, r.Operation = e.req.ID, e.req.Operation
		r.Account, r.ServiceSID, r.Identity, r.ChallengeSID = e.req.Account, e.req.ServiceSID, e.req.Identity, e.req.ChallengeSID
	}
	if !o.called.IsZero() {
		called := o.called.UTC()
		r.Times.Called = &called
	}
	r.APIRequestID = o.answer.requestID
	r.ID = schemas.ResultID(ev.group, r.Request, 0)
	return r
}

// listPages splits a list over as many records as its size needs. The first
// has the deterministic id of the request's result, the others follow it.
func (ev events) listPages(o outcome, base schemas.Result) ([]output, error) {
	envelope, err := base.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode a list result: %w", err)
	}
	room := ev.limit - len(envelope) - 64
	var pages [][]json.RawMessage
	page, size := []json.RawMessage{}, 0
	for _, c := range o.answer.challenges {
		if len(c) > room {
			if c, err = ev.shrunk(c); err != nil {
				return nil, err
			}
		}
		if len(page) > 0 && size+len(c)+1 > room {
			pages, page, size = append(pages, page), nil, 0
		}
		page, size = append(page, c), size+len(c)+1
	}
	pages = append(pages, page)
	var out []output
	for i, challenges := range pages {
		r := base
		r.Challenges = challenges
		if len(pages) > 1 {
			r.Page = &schemas.Page{Index: i, Last: i == len(pages)-1}
			r.ID = schemas.ResultID(ev.group, r.Request, i)
		}
		value, err := r.Encode()
		if err != nil {
			return nil, fmt.Errorf("encode page %d of a list result: %w", i, err)
		}
		record, err := ev.resultOutput(o, r, value)
		if err != nil {
			return nil, err
		}
		if len(pages) > 1 {
			record.list = &base
		}
		out = append(out, record)
	}
	return out, nil
}

// shrunk is what is published of a challenge that is too large to publish: the
// call was made, and saying so with the challenge's sid and status matters more
// than the rest, which a fetch can bring again.
func (ev events) shrunk(challenge json.RawMessage) (json.RawMessage, error) {
	var core struct {
		SID     string `json:"sid"`
		Status  string `json:"status,omitempty"`
		LeftOut string `json:"countersign_left_out"`
	}
	if err := json.Unmarshal(challenge, &core); err != nil {
		return nil, fmt.Errorf("shrink a challenge: %w", err)
	}
	core.LeftOut = "the rest: with it the event would be too large to publish"
	small, err := json.Marshal(core)
	if err != nil {
		return nil, fmt.Errorf("shrink a challenge: %w", err)
	}
	return small, nil
}

// resultOutput is a result record: key, headers and trace context pass from
// the request to it. A request without a key gets its identity as key, so that
// results of one identity stay in order. What makes the record too large is
// left out, and what the broker refuses all the same has a last resort.
func (ev events) resultOutput(o outcome, r schemas.Result, value []byte) (output, error) {
	e := o.entry
	key := e.rec.Key
	if key == nil && e.req != nil {
		key = []byte(e.req.Identity)
	}
	out := output{fallback: func() (kafka.Message, error) { return ev.lastResort(r) }}
	msg := kafka.Message{Topic: ev.topics.Results, Key: key, Value: value, Headers: e.spans.headers(e.rec.Headers)}
	if msg.Size() > int64(ev.limit) {
		msg.Headers = nil
	}
	if msg.Size() > int64(ev.limit) {
		var err error
		if msg, err = out.fallback(); err != nil {
			return output{}, err
		}
	}
	out.msg = msg
	return out, nil
}

// lastResort is a result of a few hundred bytes, without key and headers: which
// request it answers and how it ended. A list's challenges cannot be kept, so
// such a list has failed.
func (ev events) lastResort(r schemas.Result) (kafka.Message, error) {
	var err error
	if r.Challenges != nil || r.Page != nil {
		r.Outcome, r.Challenges, r.Page = schemas.OutcomeFailed, nil, nil
		r.Error = &schemas.Error{Class: schemas.ClassTooLarge, Message: "the broker refuses the result for its size: ask with a smaller limit"}
	}
	if r.Challenge != nil {
		if r.Challenge, err = ev.shrunk(r.Challenge); err != nil {
			return kafka.Message{}, err
		}
	}
	if r.Error != nil {
		short := *r.Error
		short.Faults = short.Faults[:min(len(short.Faults), 3)]
		r.Error = &short
	}
	r.Headers = nil
	value, err := r.Encode()
	if err != nil {
		return kafka.Message{}, fmt.Errorf("encode a result's last resort: %w", err)
	}
	return kafka.Message{Topic: ev.topics.Results, Value: value}, nil
}

// deadLetter is the record as it came plus headers that say what was wrong.
func (ev events) deadLetter(o outcome) output {
	e := o.entry
	d := schemas.DeadLetter{
		Class: o.err.Class, Code: o.err.Code, Message: deadLetterMessage(o.err), Coordinates: coordinates(e),
		RequestID: o.requestID, HasResult: o.outcome != "", Redrivable: o.redrivable,
		Attempts: e.attempts, Redrives: e.redrives, At: o.ended.UTC(),
	}
	if e.req != nil {
		d.RequestID = e.req.ID
	}
	headers := append(append([]schemas.Header{}, e.rec.Headers...), d.Headers()...)
	whole := kafka.Message{Topic: ev.topics.DeadLetters, Key: e.rec.Key, Value: e.rec.Value, Headers: headers}
	if whole.Size() > int64(ev.limit) {
		return output{msg: ev.substitute(d, e)}
	}
	return output{msg: whole, fallback: func() (kafka.Message, error) { return ev.substitute(d, e), nil }}
}

// substitute stands for a record that cannot be written itself: its
// coordinates are in the headers and its hash is the value.
func (ev events) substitute(d schemas.DeadLetter, e *entry) kafka.Message {
	d.Redrivable = false
	sum := sha256.Sum256(e.rec.Value)
	return kafka.Message{
		Topic: ev.topics.DeadLetters, Value: []byte("sha256:" + hex.EncodeToString(sum[:])), Headers: d.Headers(),
	}
}

func deadLetterMessage(err *schemas.Error) string {
	if len(err.Faults) == 0 {
		return err.Message
	}
	return err.Message + ": " + err.Faults[0].Path + ": " + err.Faults[0].Message
}

func coordinates(e *entry) schemas.Coordinates {
	return schemas.Coordinates{
		Topic: e.rec.Topic, Partition: e.rec.Partition, Offset: e.rec.Offset, Timestamp: e.rec.Timestamp,
	}
}

// ledgerEntry is what the lane notes of an outcome, in its own partition of the
// ledger topic.
func (ev events) ledgerEntry(id hash, partition int, seen seenID) (kafka.Message, error) {
	note := seen.entry(id)
	value, err := note.Encode()
	if err != nil {
		return kafka.Message{}, fmt.Errorf("encode the ledger entry of offset %d: %w", seen.offset, err)
	}
	return kafka.Message{Topic: ev.topics.Ledger, Partition: &partition, Key: []byte(note.IDHash), Value: value}, nil
}

// positionRecord says the same as the committed offset and its metadata, in the
// lane's own partition of the positions topic, and how to know the log again.
func (ev events) positionRecord(partition, partitions int, p position, last trace, now time.Time) (kafka.Message, error) {
	record := schemas.Position{
		Group: ev.group, Topic: ev.topics.Requests, Partition: partition, Offset: p.frontier, Metadata: p.metadata(),
		Partitions: partitions, At: now.UTC(),
	}
	if last.known {
		record.Last = &schemas.LastRecord{Offset: last.offset, Hash: last.hash.String()}
	}
	value, err := record.Encode()
	if err != nil {
		return kafka.Message{}, fmt.Errorf("encode the position %d: %w", p.frontier, err)
	}
	return kafka.Message{Topic: ev.topics.Positions, Partition: &partition, Key: []byte(record.Key()), Value: value}, nil
}
