package connector

import (
	"encoding/json"
	"strconv"
	"time"

	apiverdict "github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/schemas"
)

// outcome is how a record ended: with a result, with a dead letter, or both.
type outcome struct {
	entry      *entry
	outcome    schemas.Outcome // "" where no result can be formed
	answer     answer
	err        *schemas.Error // nil for success
	deadLetter bool
	redrivable bool
	requestID  string // the request's id where req is nil but the id was readable
	operation  schemas.Operation
	called     time.Time
	ended      time.Time
	original   *schemas.Original // of a duplicate
	suppressed bool              // its result was published before: nothing is published
	unnoted    bool              // it says nothing of the request's id: the ledger leaves it out
}

// size is about how many bytes the outcome's events take.
func (o *outcome) size() int {
	n := len(o.answer.challenge)
	if o.deadLetter {
		n += int(o.entry.bytes) // it carries the record
	}
	for _, c := range o.answer.challenges {
		n += len(c)
	}
	return n
}

// ending puts how a record ends into its outcome.
func (o outcome) ending(by apiverdict.Ending) outcome {
	o.outcome, o.err, o.deadLetter, o.redrivable = by.Outcome, by.Error, by.DeadLetter, by.Redrivable
	return o
}

// fromVerdict says how a record ends by the verdict on its last call; the
// classes that are tried again never come here.
func fromVerdict(end attemptEnd) outcome {
	o := outcome{entry: end.entry, called: end.entry.called, ended: end.ended}.ending(apiverdict.EndingOf(end.verdict, end.err))
	if o.err == nil {
		o.answer = end.answer
	}
	return o
}

// adopted is the outcome of a record whose earlier call was found at the API.
func adopted(e *entry, a answer, now time.Time) outcome {
	return outcome{entry: e, outcome: schemas.OutcomeAdopted, answer: a, called: e.called, ended: now}
}

// ambiguous is the outcome of a record that may have been called, where the API
// can't tell.
func ambiguous(e *entry, why string, now time.Time) outcome {
	return outcome{
		entry: e, outcome: schemas.OutcomeFailed, deadLetter: true, redrivable: true, called: e.called, ended: now,
		err: &schemas.Error{Class: schemas.ClassAmbiguous, Message: "a call may have been made, so none was made again: " + why},
	}
}

// exhausted is the outcome of a record whose tries all ended in doubt and were
// all proven to have had no effect.
func exhausted(e *entry, now time.Time) outcome {
	return outcome{
		entry: e, outcome: schemas.OutcomeFailed, deadLetter: true, redrivable: true, called: e.called, ended: now,
		err: &schemas.Error{Class: schemas.ClassUnavailable, Message: "none of " + strconv.Itoa(e.attempts) + " attempt(s) had an effect"},
	}
}

// duplicateOf is the outcome of a record whose id had its success before.
func duplicateOf(e *entry, seen seenID, group string, now time.Time) outcome {
	at := schemas.Coordinates{Topic: seen.topic, Partition: seen.partition, Offset: seen.offset}
	return outcome{
		entry: e, outcome: schemas.OutcomeDuplicate, ended: now, unnoted: true,
		original: &schemas.Original{
			ResultID: schemas.ResultID(group, at, 0), ChallengeSID: seen.sid, Outcome: seen.outcome,
			Topic: seen.topic, Partition: seen.partition, Offset: seen.offset,
		},
	}
}

// conflicting is the outcome of a record whose id was used before with another
// body.
func conflicting(e *entry, seen seenID, now time.Time) outcome {
	o := rejectFaults(e, schemas.ClassIDConflict, []schemas.Fault{{
		Path: "$.id", Message: "was used before with another body, by the record at " + seen.topic + "/" +
			strconv.Itoa(seen.partition) + "@" + strconv.FormatInt(seen.offset, 10),
	}}, now)
	o.unnoted = true
	return o
}

// seen is what the ledger keeps of an outcome; false: nothing.
func (o *outcome) seen() (seenID, bool) {
	e := o.entry
	if e.id == (hash{}) || o.unnoted || o.suppressed || o.outcome == "" {
		return seenID{}, false
	}
	seen := seenID{
		outcome: o.outcome, body: e.body, record: e.record, sid: challengeSID(o), at: o.ended,
		topic: e.rec.Topic, partition: e.rec.Partition, offset: e.rec.Offset, ring: e.ring,
	}
	if o.err != nil && o.err.Class == schemas.ClassAmbiguous {
		seen.calledSince = e.since
	}
	return seen, true
}

func challengeSID(o *outcome) string {
	if o.answer.sid != "" {
		return o.answer.sid // to read the answer once more costs as much as all else that is done with it
	}
	var c struct {
		SID string `json:"sid"`
	}
	if o.answer.challenge == nil || json.Unmarshal(o.answer.challenge, &c) != nil {
		return ""
	}
	return c.SID
}

// expired is the outcome of a record that was too late to be called.
func expired(e *entry, why string, now time.Time) outcome {
	msg := why
	if e.attempts > 0 {
		msg += " after " + strconv.Itoa(e.attempts) + " attempt(s)"
	}
	return outcome{
		entry: e, outcome: schemas.OutcomeExpired, called: e.called, ended: now,
		err: &schemas.Error{Class: schemas.ClassExpired, Message: msg},
	}
}

// rejectFaults is the outcome of a request that decodes but breaks a rule that
// needs more than the event: the time, or the configured accounts.
func rejectFaults(e *entry, class schemas.Class, faults []schemas.Fault, now time.Time) outcome {
	return outcome{entry: e, ended: now}.ending(apiverdict.EndingOfFaults(class, faults))
}

// withError is o as a dead letter that says that its result could not be made.
func withError(o outcome, err error) outcome {
	o.redrivable = false
	o.err = &schemas.Error{Class: schemas.ClassTooLarge, Message: "the result could not be encoded: " + err.Error()}
	return o
}
