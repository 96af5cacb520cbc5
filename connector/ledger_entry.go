package connector

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// seenID is what became of a request id.
type seenID struct {
	outcome   schemas.Outcome
	body      hash // marker.body of the request
	record    recordHash
	sid       string    // of the challenge; empty: there is none, or it is not known
	topic     string    // where the request stands
	partition int       // likewise
	offset    int64     // likewise
	at        time.Time // when the outcome was known
	// calledSince is not zero where a call may have been made whose end is not
	// known: none was made before it.
	calledSince time.Time
	// ring is what the guard counts. It is in the entries of the topic, and in the
	// ledger's rings, but not in its store.
	ring ring
}

// verdict is what a remembered id means for a record.
type verdict uint8

const (
	// verdictAnswered: it is the very record that was answered. It is done, with
	// no other result.
	verdictAnswered verdict = iota + 1
	// verdictConflict: the id stands for something else. The result is rejected,
	// of the class id_conflict, whatever the outcome of the first was.
	verdictConflict
	// verdictDuplicate: the request was made and answered. The result is a
	// duplicate that points there.
	verdictDuplicate
	// verdictAgain: the same request had an outcome that allows another attempt,
	// as a redrive makes one.
	verdictAgain
)

// judge says what s means for a record whose request has that body. In a topic
// that was made anew another record may stand at the coordinates.
func (s seenID) judge(body hash, record recordHash, topic string, partition int, offset int64) verdict {
	switch {
	case s.topic == topic && s.partition == partition && s.offset == offset && s.record == record:
		return verdictAnswered
	case s.body != body:
		return verdictConflict
	case s.settled():
		return verdictDuplicate
	default:
		return verdictAgain
	}
}

// settled reports whether a repetition must never be called.
func (s seenID) settled() bool {
	return s.outcome == schemas.OutcomeSucceeded || s.outcome == schemas.OutcomeAdopted
}

// same reports whether two entries say the same.
func (s seenID) same(other seenID) bool {
	equal := s.at.Equal(other.at) && s.calledSince.Equal(other.calledSince)
	s.at, s.calledSince, s.ring = other.at, other.calledSince, other.ring
	return equal && s == other
}

// entry is what the ledger topic holds of s, under the key of its IDHash. A SID
// that is none, which only an API gone astray would answer with, is left out:
// the contract of the topic refuses it, and no answer may hold up a commit.
func (s seenID) entry(id hash) schemas.LedgerEntry {
	sid := s.sid
	if !isChallengeSID(sid) {
		sid = ""
	}
	e := schemas.LedgerEntry{
		IDHash: hex.EncodeToString(id[:]), Body: hex.EncodeToString(s.body[:]), Record: s.record.String(), Outcome: s.outcome, ChallengeSID: sid,
		Topic: s.topic, Partition: s.partition, Offset: s.offset, At: s.at,
	}
	if !s.calledSince.IsZero() {
		since := s.calledSince.UTC()
		e.CalledSince = &since
	}
	if s.ring.counts() {
		e.Identity, e.Factor = hex.EncodeToString(s.ring.identity[:]), hex.EncodeToString(s.ring.factor[:])
		if !s.ring.at.Equal(s.at) {
			rang := s.ring.at.UTC()
			e.RangAt = &rang
		}
		if !s.ring.pending.IsZero() {
			pending := s.ring.pending.UTC()
			e.PendingUntil = &pending
		}
	}
	return e
}

func isChallengeSID(sid string) bool {
	digits, ok := strings.CutPrefix(sid, sidPrefix)
	_, err := hex.DecodeString(digits)
	return ok && len(digits) == 32 && err == nil
}

// seenOf reads an entry; false where its hashes are none.
func seenOf(e schemas.LedgerEntry) (id hash, s seenID, ok bool) {
	s = seenID{
		outcome: e.Outcome, sid: e.ChallengeSID,
		topic: e.Topic, partition: e.Partition, offset: e.Offset, at: e.At,
	}
	if e.CalledSince != nil {
		s.calledSince = *e.CalledSince
	}
	ok = readHash(id[:], e.IDHash) && readHash(s.body[:], e.Body) && readHash(s.record[:], e.Record)
	if readHash(s.ring.identity[:], e.Identity) && readHash(s.ring.factor[:], e.Factor) {
		s.ring.at = e.At
		if e.RangAt != nil {
			s.ring.at = *e.RangAt
		}
		if e.PendingUntil != nil {
			s.ring.pending = *e.PendingUntil
		}
	} else {
		s.ring = ring{}
	}
	return id, s, ok
}

func readHash(h []byte, text string) bool {
	if len(text) != hex.EncodedLen(len(h)) {
		return false
	}
	_, err := hex.Decode(h, []byte(text))
	return err == nil
}

// errOddEntry is a record of the ledger topic that no version of Countersign wrote.
var errOddEntry = errors.New("no ledger entry")

// readLedgerRecord reads a record of the ledger topic. Nil without an error is a
// tombstone. An error that is errOddEntry is to be counted, warned of and passed
// over: the record was never one of ours, so nothing is forgotten by it, and to
// stop for it would let anybody who can write to the topic stop the partition.
// Any other error ends the restore: the entry is of another major version, so it
// was written by a newer release, and to pass over it would be to forget.
func readLedgerRecord(key, value []byte) (*schemas.LedgerEntry, error) {
	if value == nil {
		return nil, nil //nolint:nilnil // a tombstone is neither an entry nor a fault
	}
	e, err := schemas.DecodeLedgerEntry(value)
	refused, _ := errors.AsType[*schemas.DecodeError](err)
	switch {
	case refused != nil && refused.Code == schemas.CodeVersion:
		return nil, fmt.Errorf("a ledger entry of another major version, written by another release: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errOddEntry, err)
	case string(key) != e.IDHash:
		return nil, fmt.Errorf("%w: its key is not its id_hash", errOddEntry)
	default:
		return e, nil
	}
}
