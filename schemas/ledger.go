package schemas

import (
	"math"
	"strings"
	"time"
)

// LedgerEntry says what became of one request id. It is the value of a record
// of the ledger topic, whose key is IDHash. Entries are Countersign's own memory:
// they hold no id, no identity and no payload, only keyed hashes.
type LedgerEntry struct {
	Version      string  // 1.x; empty: Encode writes Version
	IDHash       string  // of the request's id: 32 lower-case hexadecimal digits
	Body         string  // of what the request asks for, likewise
	Record       string  // of the request's record, its timestamp included: 16 such digits
	Outcome      Outcome // of its result
	ChallengeSID string  // empty: there is none, or it is not known
	Topic        string  // where the request stands
	Partition    int
	Offset       int64
	At           time.Time // when the outcome was known
	// CalledSince is there where a call may have been made whose end is not known:
	// none was made before this moment. Nil: there is no such doubt.
	CalledSince *time.Time
	// Identity and Factor are there where a challenge was made, or may have been,
	// that counts towards the guard's limits: keyed hashes like IDHash. Empty: none.
	Identity string
	Factor   string
	// RangAt is when that challenge was made, at the latest, where it was not At.
	RangAt *time.Time
	// PendingUntil is when that challenge expires. Nil: it is not pending.
	PendingUntil *time.Time
}

// Encode returns the entry's bytes. It refuses, with an *EncodeError, whatever
// DecodeLedgerEntry would refuse.
func (e LedgerEntry) Encode() ([]byte, error) {
	w := writer{buf: make([]byte, 0, 320)}
	w.open()
	w.text("version", versionOr(e.Version))
	w.text("id_hash", e.IDHash)
	w.text("body", e.Body)
	w.text("record", e.Record)
	w.text("outcome", string(e.Outcome))
	w.optional("challenge_sid", e.ChallengeSID)
	w.text("topic", e.Topic)
	w.integer("partition", int64(e.Partition))
	w.integer("offset", e.Offset)
	w.time("at", e.At)
	if e.CalledSince != nil {
		w.time("called_since", *e.CalledSince)
	}
	w.optional("identity", e.Identity)
	w.optional("factor", e.Factor)
	if e.RangAt != nil {
		w.time("rang_at", *e.RangAt)
	}
	if e.PendingUntil != nil {
		w.time("pending_until", *e.PendingUntil)
	}
	w.close()
	if e.plain() {
		return w.buf, nil
	}
	_, err := DecodeLedgerEntry(w.buf)
	return encoded(w.buf, err)
}

// plain reports that the entry's bytes surely decode: by their rules, and for a
// topic and times that need no thought. Reading back what was written costs five
// times as much as writing it, and every outcome has its entry.
func (e *LedgerEntry) plain() bool {
	ordinary := func(t time.Time) bool { return t.Year() > 1970 && t.Year() < 9999 }
	return (e.Version == "" || e.Version == Version) &&
		hashRule(e.IDHash) == "" && hashRule(e.Body) == "" && shortHashRule(e.Record) == "" &&
		outcomeRule(string(e.Outcome)) == "" && (e.ChallengeSID == "" || challengeRule(e.ChallengeSID) == "") &&
		0 < len(e.Topic) && len(e.Topic) < 250 && !strings.ContainsFunc(e.Topic, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) &&
		e.Partition >= 0 && e.Partition <= MaxCount && e.Offset >= 0 &&
		(e.Identity == "" || hashRule(e.Identity) == "") && (e.Factor == "" || hashRule(e.Factor) == "") &&
		ordinary(e.At) && (e.CalledSince == nil || ordinary(*e.CalledSince)) &&
		(e.RangAt == nil || ordinary(*e.RangAt)) && (e.PendingUntil == nil || ordinary(*e.PendingUntil))
}

// DecodeLedgerEntry reads the value of a ledger record. The error, if any, is a
// *DecodeError without an ID, never of CodeNoID. Unknown fields are passed over
// in silence: nobody but Countersign writes these records.
func DecodeLedgerEntry(data []byte) (e *LedgerEntry, err error) {
	err = decodeOwn(data, &ledgerShape, func(o *object) {
		e = &LedgerEntry{
			IDHash:       o.text("id_hash", required, hashRule),
			Body:         o.text("body", required, hashRule),
			Record:       o.text("record", required, shortHashRule),
			Outcome:      Outcome(o.text("outcome", required, outcomeRule)),
			ChallengeSID: o.text("challenge_sid", optional, challengeRule),
			Topic:        o.text("topic", required, notEmpty),
			Partition:    o.count("partition", required, 0, MaxCount),
		}
		e.Offset, _ = o.integer("offset", required, 0, math.MaxInt64)
		e.At = moment(o.time("at", required))
		e.CalledSince = o.time("called_since", optional)
		e.Identity = o.text("identity", optional, hashRule)
		e.Factor = o.text("factor", optional, hashRule)
		e.RangAt = o.time("rang_at", optional)
		e.PendingUntil = o.time("pending_until", optional)
	}, func(version string) { e.Version = version })
	if err != nil {
		return nil, err
	}
	return e, nil
}

var ledgerShape = shape{names: []string{
	"version", "id_hash", "body", "record", "outcome", "challenge_sid", "topic", "partition", "offset", "at", "called_since",
	"identity", "factor", "rang_at", "pending_until",
}}
