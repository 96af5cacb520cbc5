package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// entry is a record of any of the topics, read as what it is.
type entry struct {
	rec       kafka.Record
	requestID string
	outcome   schemas.Outcome // of a result
	line      func() string   // for a person
	json      func() string   // for a program
}

// read tells the events apart by what they hold, so that a topic of any name
// can be shown: a dead letter has headers, a result an outcome.
func read(rec kafka.Record) entry {
	e := entry{rec: rec, json: func() string { return eventJSON(rec) }}
	for _, h := range rec.Headers {
		if h.Key == schemas.HeaderClass {
			return readDeadLetter(e)
		}
	}
	var shape struct {
		Outcome json.RawMessage `json:"outcome"`
	}
	if json.Unmarshal(rec.Value, &shape) == nil && shape.Outcome != nil {
		return readResult(e)
	}
	return readRequest(e)
}

func readResult(e entry) entry {
	res, _, err := schemas.DecodeResult(e.rec.Value)
	if err != nil {
		e.line = func() string { return strangeLine(e.rec, "result", err) }
		return e
	}
	e.requestID, e.outcome = res.RequestID, res.Outcome
	e.line = func() string { return resultLine(e.rec, res) }
	return e
}

func readRequest(e entry) entry {
	req, _, err := schemas.DecodeRequest(e.rec.Value)
	if refused, ok := errors.AsType[*schemas.DecodeError](err); ok {
		e.requestID = refused.ID
		what := "event"
		if refused.ID != "" {
			what = "request " + refused.ID
		}
		e.line = func() string { return strangeLine(e.rec, what, err) }
		return e
	}
	e.requestID = req.ID
	e.line = func() string {
		parts := []string{stamp(e.rec.Timestamp), fmt.Sprintf("%-9s", "request"), fmt.Sprintf("%-6s", req.Operation), req.ID}
		if req.ChallengeSID != "" {
			parts = append(parts, req.ChallengeSID)
		}
		if req.NotAfter != nil {
			parts = append(parts, "not after "+stamp(*req.NotAfter))
		}
		return strings.Join(append(parts, place(e.rec)), " ")
	}
	return e
}

func readDeadLetter(e entry) entry {
	e.json = func() string { return deadLetterJSON(e.rec) }
	d, _, err := schemas.DecodeDeadLetter(e.rec.Headers)
	if err != nil {
		e.line = func() string { return strangeLine(e.rec, "dead letter", err) }
		return e
	}
	e.requestID = d.RequestID
	e.line = func() string {
		what := string(d.Class)
		if d.Code != 0 {
			what += fmt.Sprintf("/%d", d.Code)
		}
		id := d.RequestID
		if id == "" {
			id = "(no id)"
		}
		flags := "not redrivable"
		if d.Redrivable {
			flags = "redrivable"
		}
		if d.HasResult {
			flags += ", has a result"
		}
		return printable(fmt.Sprintf("%s %-9s %s %s from %s/%d@%d (%s)", stamp(d.At), what, id, d.Message,
			d.Topic, d.Partition, d.Offset, flags))
	}
	return e
}

// resultLine is a result for a person.
func resultLine(rec kafka.Record, res *schemas.Result) string {
	parts := []string{stamp(rec.Timestamp), fmt.Sprintf("%-9s", res.Outcome), fmt.Sprintf("%-6s", res.Operation), res.RequestID}
	if res.Challenge != nil {
		var c struct {
			SID    string `json:"sid"`
			Status string `json:"status"`
		}
		if json.Unmarshal(res.Challenge, &c) == nil {
			parts = append(parts, c.SID, c.Status)
		}
	}
	if res.Challenges != nil {
		parts = append(parts, fmt.Sprintf("%d challenges", len(res.Challenges)))
	}
	if res.Page != nil {
		parts = append(parts, fmt.Sprintf("page %d", res.Page.Index))
	}
	if res.Error != nil {
		parts = append(parts, errorText(res.Error))
	}
	return printable(strings.Join(parts, " "))
}

// errorText is a result's error with all its faults.
func errorText(e *schemas.Error) string {
	var text strings.Builder
	text.WriteString(string(e.Class))
	if e.Code != 0 {
		fmt.Fprintf(&text, "/%d", e.Code)
	}
	text.WriteString(": " + e.Message)
	if e.Limit != "" {
		text.WriteString(" (" + e.Limit + ")")
	}
	for i, f := range e.Faults {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		text.WriteString(sep + f.String())
	}
	return text.String()
}

// strangeLine is a record that is not what it should be.
func strangeLine(rec kafka.Record, what string, err error) string {
	return printable(fmt.Sprintf("%s not a valid %s: %v (%s)", stamp(rec.Timestamp), what, err, place(rec)))
}

func place(rec kafka.Record) string {
	return fmt.Sprintf("%s/%d@%d", rec.Topic, rec.Partition, rec.Offset)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
