package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	for _, text := range []*string{&t.id, &t.identity, &t.challengeSID} {
		*text = strings.Clone(*text)
	}
	for _, text := range []*string{&t.account, &t.serviceSID, &t.factorSID} {
		*text = c.name(*text)
	}
	return t
}

// name is a text that comes often, as one that is held once.
func (c *check) name(text string) string {
	const most = 10_000
	known, ok := c.names[text]
	if !ok {
		known = strings.Clone(text)
		if len(c.names) < most {
			c.names[known] = known
		}
	}
	return known
}

// findings are what was found about a request so far. They are many at once.
type findings struct {
	answered   bool  // at least in part
	stranger   bool  // by another group, too
	what       whats // in what it differs
	unreadable int32
	result     spot   // where its first answer stands
	reason     Reason // empty: it was replayed
	recorded   Told
	today      Told
	failure    failure
	letters    []letter
}

// spot is where a record stands.
type spot struct {
	topic     string
	partition int
	offset    int64
}

func spotOf(rec *kafka.Record) spot { return spot{rec.Topic, rec.Partition, rec.Offset} }

func (s spot) String() string {
	return fmt.Sprintf("%s/%d@%d", s.topic, s.partition, s.offset)
}

// failure is what today's code would do with a request that was recorded as failed.
type failure struct {
	class                  schemas.Class // the recorded one; empty: there is none
	deadLetter, redrivable bool
}

// letter is what a dead letter tells.
type letter struct {
	at         spot
	class      schemas.Class
	hasResult  bool
	redrivable bool
	// standIn: the record itself could not be kept, and only for that the letter says
	// that it can't be redriven.
	standIn bool
}

// whats is a set, by the order of Whats.
type whats uint8

func bit(w What) whats { return 1 << slices.Index(Whats(), w) }

func (f *findings) differ(what What) { f.what |= bit(what) }

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
		if bytes.Contains(raw, []byte("countersign_left_out")) && json.Unmarshal(raw, &c) == nil && c.LeftOut != "" {
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
	if recorded.Class != "" {
		f.failure = failure{recorded.Class, ending.DeadLetter, ending.Redrivable}
	}
}

// beside compares the dead letters beside a result with today's. They don't say of
// which group they are, so one of another class than the result's may be another's.
func (f *findings) beside() {
	if f.failure.class == "" {
		return
	}
	for _, l := range f.letters {
		if l.hasResult && l.class == f.failure.class && (!f.failure.deadLetter || !l.agrees(f.failure.redrivable)) {
			f.differ(WhatRedrivable)
		}
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
	if bytes.Equal(a, b) {
		return true // as nearly always, and at a small part of the cost
	}
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
