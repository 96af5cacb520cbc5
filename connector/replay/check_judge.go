package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// today is what today's code makes of a request by itself.
type today struct {
	id, account, serviceSID, identity, challengeSID string
	factorSID                                       string // of what a create or list is about
	operation                                       schemas.Operation
	ending                                          *verdict.Ending // nil: it may be called
	timestamp, notAfter                             time.Time
}

func (c *check) today(rec *kafka.Record) today {
	r := verdict.RequestOf(rec.Value, rec.Headers, rec.Timestamp)
	t := today{id: r.ID, operation: r.Operation, ending: r.Ending, timestamp: rec.Timestamp, notAfter: r.NotAfter(rec.Timestamp, c.cfg.NotAfter)}
	if e := r.Event; e != nil {
		t.account, t.serviceSID, t.identity, t.challengeSID = e.Account, e.ServiceSID, e.Identity, e.ChallengeSID
		switch {
		case e.Create != nil:
			t.factorSID = e.Create.FactorSID
			if end := e.Create.ExpirationDate; end != nil && end.Before(t.notAfter) {
				t.notAfter = *end
			}
		case e.List != nil:
			t.factorSID = e.List.FactorSID
		}
	}
	// The event's memory goes with it.
	for _, text := range []*string{&t.id, &t.account, &t.serviceSID, &t.identity, &t.challengeSID, &t.factorSID} {
		*text = strings.Clone(*text)
	}
	return t
}

// findings are what was found about a request so far.
type findings struct {
	answered bool   // at least in part
	whole    bool   // all of its answer is there
	result   string // where its first answer stands
	what     map[What]bool
	reason   Reason // empty: it was replayed
	recorded Told
	today    Told
	letter   *letter
}

// letter is what a dead letter tells.
type letter struct {
	at         string
	class      schemas.Class
	hasResult  bool
	redrivable bool
	// standIn: the record itself could not be kept, and only for that the letter says
	// that it can't be redriven.
	standIn bool
}

func (f *findings) differ(what What) {
	if f.what == nil {
		f.what = map[What]bool{}
	}
	f.what[what] = true
}

// letter takes a dead letter in.
func (c *check) letter(w *wave, rec *kafka.Record) {
	d, _, err := schemas.DecodeDeadLetter(rec.Headers)
	if err != nil {
		return // it is an audit's to find
	}
	if h := c.ours(w, rec, d.Coordinates); h != nil {
		if !d.HasResult {
			c.answered(w, h)
		}
		h.findings.letter = &letter{
			at: place(rec), class: d.Class, hasResult: d.HasResult, redrivable: d.Redrivable, standIn: !d.Redrivable && isHash(rec.Value),
		}
	}
}

// isHash reports whether a dead letter's value is what the connector writes for a
// record that is too large to keep.
func isHash(value []byte) bool {
	digits, is := bytes.CutPrefix(value, []byte("sha256:"))
	if !is || len(digits) != hex.EncodedLen(sha256.Size) {
		return false
	}
	_, err := hex.Decode(make([]byte, sha256.Size), digits)
	return err == nil
}

// agrees reports whether a letter says of its record what today's would.
func (l *letter) agrees(redrivable bool) bool { return l.standIn || l.redrivable == redrivable }

// answered takes down that nothing more is to be looked for.
func (c *check) answered(w *wave, h *held) {
	if !h.findings.whole {
		h.findings.whole = true
		w.left--
	}
}

// result takes a result in.
func (c *check) result(w *wave, rec *kafka.Record) {
	r, _, err := schemas.DecodeResult(rec.Value)
	if err != nil {
		c.unreadable(rec, w)
		return
	}
	h := c.ours(w, rec, r.Request)
	if h == nil || !madeBy(c.cfg.Group, r) {
		return
	}
	f := &h.findings
	if !f.answered {
		f.answered, f.result, f.recorded = true, place(rec), toldBy(r.Outcome, r.Error)
	}
	if again, err := r.Encode(); err != nil || !sameJSON(again, rec.Value) {
		f.differ(WhatForm)
	}
	c.judge(h, r)
	// A page that was refused does not say whether it was the last: nothing more of its
	// list is waited for.
	if r.Page == nil || r.Page.Last {
		c.answered(w, h)
	}
}

// unreadable counts a record that says which request it answers, with that.
func (c *check) unreadable(rec *kafka.Record, w *wave) {
	var told struct {
		Request struct {
			Topic     string `json:"topic"`
			Partition int    `json:"partition"`
			Offset    int64  `json:"offset"`
		} `json:"request"`
	}
	if json.Unmarshal(rec.Value, &told) != nil {
		return
	}
	coordinates := schemas.Coordinates{Topic: told.Request.Topic, Partition: told.Request.Partition, Offset: told.Request.Offset}
	if h := c.ours(w, rec, coordinates); h != nil {
		c.report.Unreadable++
	}
}

// judge compares what today's code makes of a request and its recorded answer with
// what was recorded.
func (c *check) judge(h *held, r *schemas.Result) {
	f, t := &h.findings, &h.today
	class := schemas.Class("")
	if r.Error != nil {
		class = r.Error.Class
	}
	recordedUncalled := class == schemas.ClassInvalid || class == schemas.ClassVersion
	if (t.ending != nil) != recordedUncalled || r.RequestID != t.id || !recordedUncalled && !sameRequest(r, t) {
		f.differ(WhatDecode)
	}
	if t.ending != nil {
		c.compare(f, r, *t.ending)
		if recordedUncalled && f.today.Class == class && !sameFaults(r.Error.Faults, t.ending.Error.Faults) {
			f.differ(WhatFaults)
		}
		return
	}
	if recordedUncalled {
		// It would be called today, and nobody knows how that would end.
		f.differ(WhatOutcome)
		f.today = Told{}
		return
	}
	ending, reason := c.replayed(t, r)
	if reason != "" {
		f.reason, f.today = reason, f.recorded
		return
	}
	c.compare(f, r, ending)
}

// replayed judges a recorded answer anew; a reason: there is none to be judged.
func (c *check) replayed(t *today, r *schemas.Result) (verdict.Ending, Reason) {
	write := r.Operation == schemas.OperationCreate || r.Operation == schemas.OperationUpdate
	switch r.Outcome {
	case schemas.OutcomeAdopted:
		return verdict.Ending{}, ReasonLookedUp
	case schemas.OutcomeDuplicate:
		return verdict.Ending{}, ReasonLedger
	case schemas.OutcomeExpired:
		if r.Times.Completed.Before(t.notAfter) {
			return verdict.Ending{}, ReasonClock
		}
		return verdict.Ending{Outcome: schemas.OutcomeExpired, Error: &schemas.Error{Class: schemas.ClassExpired}}, ""
	case schemas.OutcomeSucceeded:
		cut, err := parsed(t, r)
		if cut {
			return verdict.Ending{}, ReasonTooLarge
		}
		return verdict.EndingOf(c.cfg.Classify(write, err), err), ""
	}
	switch r.Error.Class {
	case schemas.ClassIDConflict:
		return verdict.Ending{}, ReasonLedger
	case schemas.ClassAccount, schemas.ClassGuard:
		return verdict.Ending{}, ReasonConfiguration
	case schemas.ClassTooLarge:
		return verdict.Ending{}, ReasonTooLarge
	}
	if r.Error.Status == 0 {
		return verdict.Ending{}, ReasonNoAnswer
	}
	err := answerError(r.Error)
	v := c.cfg.Classify(write, err)
	ending := verdict.EndingOf(v, err)
	if v.Class == verdict.ClassCredentials {
		// Today it would wait for better ones.
		ending = verdict.Ending{Error: &schemas.Error{Class: schemas.ClassCredentials}}
		if r.Error.Class == schemas.ClassCredentials {
			ending.Outcome = r.Outcome
		}
	}
	return ending, ""
}

// parsed reads the recorded resources as answers of the API; cut: they are not
// recorded as they came.
func parsed(t *today, r *schemas.Result) (cut bool, err error) {
	status, want := 200, read.Want{ServiceSID: t.serviceSID, Identity: t.identity, FactorSID: t.factorSID, SID: t.challengeSID}
	all := r.Challenges
	if r.Operation != schemas.OperationList {
		all = []json.RawMessage{r.Challenge}
	}
	if r.Operation == schemas.OperationCreate {
		status = 201
	}
	for _, raw := range all {
		var c struct {
			LeftOut string `json:"countersign_left_out"`
		}
		if json.Unmarshal(raw, &c) == nil && c.LeftOut != "" {
			return true, nil
		}
		if _, err := read.ParseResponse(status, nil, raw, want); err != nil {
			return false, err
		}
	}
	return false, nil
}

// compare takes down in what today's ending differs from the recorded one.
func (c *check) compare(f *findings, r *schemas.Result, ending verdict.Ending) {
	recorded := toldBy(r.Outcome, r.Error)
	f.today = toldBy(ending.Outcome, ending.Error)
	f.today.Status, f.today.Code = recorded.Status, recorded.Code
	if f.today.Outcome != recorded.Outcome {
		f.differ(WhatOutcome)
	}
	if f.today.Class != recorded.Class {
		f.differ(WhatClass)
	}
	if f.today.Limit != recorded.Limit {
		f.differ(WhatLimit)
	}
	if f.letter != nil && f.letter.hasResult && (!ending.DeadLetter || !f.letter.agrees(ending.Redrivable)) {
		f.differ(WhatRedrivable)
	}
}

// one takes a request into the report, once all its answers are in.
func (c *check) one(h *held) {
	f := &h.findings
	c.report.Requests++
	if !f.answered && f.letter != nil && !f.letter.hasResult {
		c.bareLetter(h)
	}
	switch {
	case len(f.what) > 0:
		c.report.Differs++
		c.list(h)
	case !f.answered:
		c.report.Unanswered++
	case f.reason != "":
		c.report.NotReplayable++
		c.report.Reasons[f.reason]++
	default:
		c.report.Same++
	}
}

// bareLetter judges a request that only a dead letter tells of.
func (c *check) bareLetter(h *held) {
	f, l := &h.findings, h.findings.letter
	f.answered, f.result, f.recorded = true, l.at, Told{Class: l.class}
	if h.today.ending == nil {
		if l.class == schemas.ClassTooLarge {
			f.reason = ReasonTooLarge // its result was
			return
		}
		f.differ(WhatDecode)
		return
	}
	f.today = toldBy(h.today.ending.Outcome, h.today.ending.Error)
	if f.today.Outcome != "" {
		f.differ(WhatOutcome)
	}
	if f.today.Class != l.class {
		f.differ(WhatClass)
	}
	if !l.agrees(h.today.ending.Redrivable) {
		f.differ(WhatRedrivable)
	}
}

func (c *check) list(h *held) {
	f := &h.findings
	d := Difference{
		Request: place(&kafka.Record{Topic: c.cfg.Requests, Partition: h.partition, Offset: h.offset}), Result: f.result,
		RequestID: h.today.id, Operation: h.today.operation, Recorded: f.recorded, Today: f.today,
	}
	for _, w := range Whats() {
		if f.what[w] {
			c.report.What[w]++
			d.What = append(d.What, w)
		}
	}
	if len(c.report.Differences) < c.cfg.MaxListed {
		c.report.Differences = append(c.report.Differences, d)
	}
}

func toldBy(outcome schemas.Outcome, e *schemas.Error) Told {
	t := Told{Outcome: outcome}
	if e != nil {
		t.Class, t.Status, t.Code, t.Limit = e.Class, e.Status, e.Code, e.Limit
	}
	return t
}

func sameRequest(r *schemas.Result, t *today) bool {
	return r.Operation == t.operation && r.Account == t.account && r.ServiceSID == t.serviceSID &&
		strings.EqualFold(r.Identity, t.identity) && r.ChallengeSID == t.challengeSID
}

// sameFaults reports whether they are today's. A result that was too large has the
// first ones only.
func sameFaults(recorded, today []schemas.Fault) bool {
	const kept = 3
	if len(recorded) == kept && len(today) > kept {
		today = today[:kept]
	}
	return slices.Equal(recorded, today)
}

// sameJSON compares what two texts mean: the order of members does not count,
// numbers count as they are written.
func sameJSON(a, b []byte) bool {
	x, okX := meaning(a)
	y, okY := meaning(b)
	return okX && okY && bytes.Equal(x, y)
}

func meaning(data []byte) ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	out, err := json.Marshal(v)
	return out, err == nil
}
