package redrive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// verdict is what is to be done with a dead letter.
type verdict uint8

const (
	verdictFiltered verdict = iota // the filter doesn't let it through
	verdictDone                    // an earlier run redrove or parked it
	verdictRefused                 // it can't or shall not be redriven
	verdictRedrive
	verdictPark
)

// Reason says why a dead letter is not redriven. The set is closed.
type Reason string

const (
	ReasonUnreadable    Reason = "unreadable"     // its headers are no valid dead letter's
	ReasonHashOnly      Reason = "hash_only"      // the record was too large to keep: only its hash is left
	ReasonNotRedrivable Reason = "not_redrivable" // the connector says that it makes no sense
	ReasonOutdated      Reason = "outdated"       // the request is not valid any more: its expiration date has passed
	ReasonTooLarge      Reason = "too_large"      // Kafka refuses the request for good
	ReasonForeign       Reason = "foreign"        // it comes from another topic than the one that requests go to
)

// letter is a dead letter and what is to be done with it.
type letter struct {
	rec       kafka.Record
	dead      *schemas.DeadLetter // nil: unreadable
	operation schemas.Operation   // empty: it can't be read
	verdict   verdict
	reason    Reason // of a refusal
	why       string // of a refusal: the details
	mark      mark
	redrives  int // how often it was redriven already
	lookSince *time.Time
}

// judge decides on one dead letter. Taken are those that this run has in hand
// already: a dead letter may stand in the topic twice.
func (j *job) judge(rec kafka.Record, taken marks, now time.Time) letter {
	l := letter{rec: rec}
	dead, _, err := schemas.DecodeDeadLetter(rec.Headers)
	if err != nil {
		return l.refused(ReasonUnreadable, err.Error())
	}
	l.dead = dead
	if !j.cfg.Filter.keeps(rec, dead) {
		return l
	}
	l.mark = markOf(rec, dead)
	if j.journal.marks[l.mark] || taken[l.mark] {
		l.verdict = verdictDone
		return l
	}
	if hashOnly(rec, dead) {
		return l.refused(ReasonHashOnly, "the record was too large to keep, only its hash is left")
	}
	if !dead.Redrivable && !j.cfg.NotRedrivable {
		return l.refused(ReasonNotRedrivable, "marked as not redrivable, class "+string(dead.Class))
	}
	if dead.Topic != j.cfg.Topics.Requests {
		return l.refused(ReasonForeign, "it comes from "+dead.Topic)
	}
	var faults []schemas.Fault
	if req, _, err := schemas.DecodeRequest(rec.Value); err == nil {
		l.operation, faults = req.Operation, req.Check(now)
	} else if refused, ok := errors.AsType[*schemas.DecodeError](err); ok {
		l.operation = refused.Operation // a later release may read the rest
	}
	l.redrives = redrives(rec, dead)
	if j.cfg.ParkAfter > 0 && l.redrives >= j.cfg.ParkAfter {
		l.verdict = verdictPark
		return l
	}
	if len(faults) > 0 {
		return l.refused(ReasonOutdated, faults[0].String())
	}
	l.lookSince = lookSince(rec, dead, l.operation)
	l.verdict = verdictRedrive
	return l
}

func (l letter) refused(why Reason, details string) letter {
	l.verdict, l.reason, l.why = verdictRefused, why, details
	return l
}

func (f *Filter) keeps(rec kafka.Record, d *schemas.DeadLetter) bool {
	return (len(f.Classes) == 0 || slices.Contains(f.Classes, d.Class)) &&
		(len(f.Codes) == 0 || slices.Contains(f.Codes, d.Code)) &&
		!d.At.Before(f.Since) && (f.Until.IsZero() || d.At.Before(f.Until)) &&
		(len(f.Keys) == 0 || slices.Contains(f.Keys, string(rec.Key))) &&
		(len(f.IDs) == 0 || slices.Contains(f.IDs, d.RequestID))
}

// hashOnly reports whether the record stands for one that was too large.
func hashOnly(rec kafka.Record, d *schemas.DeadLetter) bool {
	digits, ok := strings.CutPrefix(string(rec.Value), "sha256:")
	if !ok || d.Redrivable || len(digits) != hex.EncodedLen(sha256.Size) {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

// redrives is how often the request was redriven. The count stands in the dead
// letter's headers and, before these, in the record's own; the larger counts,
// because a connector that passed on only one of them must not undo parking.
func redrives(rec kafka.Record, d *schemas.DeadLetter) int {
	most := d.Redrives
	for _, h := range rec.Headers {
		if n, err := strconv.Atoi(string(h.Value)); h.Key == schemas.HeaderRedrives && err == nil {
			most = max(most, n)
		}
	}
	return most
}

// lookSince is back to when the request has to be looked up. Nil: no attempt
// can have been called. An earlier redrive's moment is kept, because what was
// not found since then need not be the whole story before.
func lookSince(rec kafka.Record, d *schemas.DeadLetter, op schemas.Operation) *time.Time {
	if op == schemas.OperationFetch || op == schemas.OperationList {
		return nil // reads change nothing that could be found
	}
	if before, faults := schemas.DecodeRedrive(rec.Headers); len(faults) == 0 && before.LookSince != nil {
		earliest := *before.LookSince
		if d.Timestamp.Before(earliest) {
			earliest = d.Timestamp
		}
		return &earliest
	}
	if d.Class == schemas.ClassAmbiguous || d.Attempts > 0 {
		since := d.Timestamp
		return &since
	}
	return nil
}

// message is what is sent for the letter at a moment.
func (j *job) message(l letter, now time.Time) kafka.Message {
	if l.verdict == verdictPark {
		return kafka.Message{Topic: j.cfg.Topics.Parking, Key: l.rec.Key, Value: l.rec.Value, Headers: l.rec.Headers}
	}
	again := schemas.Redrive{Redrives: l.redrives + 1, LookSince: l.lookSince}
	if j.cfg.NotAfter > 0 {
		until := now.Add(j.cfg.NotAfter).UTC()
		again.NotAfter = &until
	}
	m := kafka.Message{Topic: j.cfg.Topics.Requests, Key: l.rec.Key, Value: l.rec.Value}
	if l.dead.Partition < j.partitions {
		m.Partition = &l.dead.Partition
	}
	for _, h := range l.rec.Headers {
		if !strings.HasPrefix(h.Key, schemas.HeaderPrefix) {
			m.Headers = append(m.Headers, h)
		}
	}
	m.Headers = append(m.Headers, again.Headers()...)
	return m
}

func place(rec kafka.Record) string {
	return fmt.Sprintf("%s/%d@%d", rec.Topic, rec.Partition, rec.Offset)
}
