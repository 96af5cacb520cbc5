package connector

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// entryState is where a record stands inside its lane. A record moves forward
// through these states and leaves the window only when its outcome has been
// committed.
type entryState uint8

const (
	entryQueued   entryState = iota // behind an earlier record of its key or its id
	entryReady                      // first of its key and its id, waiting for a free slot
	entryInFlight                   // an attempt is under way
	entryWaiting                    // for the time of its next attempt, or for a look-up under way
	entryParked                     // for its account: open breaker or refused credentials
	entryDone                       // it has an outcome, which is not committed yet
	entrySettled                    // its outcome is committed
)

// entry is one record of the window. Only its lane's goroutine touches it,
// except for the fields marked fixed, which an attempt may read.
type entry struct {
	rec      kafka.Record     // fixed
	req      *schemas.Request // fixed; nil where the record is no valid request
	acct     *account         // fixed; nil with req
	key      string           // fixed; what orders it
	id       hash             // fixed; zero where it has none to be known by
	body     hash             // fixed; with id
	record   recordHash       // fixed; with id
	marker   string           // fixed; what a create carries
	hash     recordHash       // fixed
	notAfter time.Time        // fixed
	received time.Time        // fixed
	verdict  *outcome         // fixed; the outcome of a record that needs no call
	redrives int              // fixed; how often it was made a request again
	spans    *spans           // fixed; nil where it is not traced

	guard  guarded   // what the guard counts it by
	ring   ring      // what its outcome stands for in the guard's count
	since  time.Time // nothing was called for it, or for its id, before this moment
	anyAge bool      // it is looked for however old it is
	former bool      // a former owner may have called it

	state     entryState
	entered   time.Time // into the state
	why       string    // what a waiting or parked entry waits for
	bytes     int64
	firstKey  bool // of its key's undone records
	uncertain bool // a create or update may have been sent for it whose end is not known
	lastSend  time.Time
	attempts  int // answered, or sent without an answer
	retries   int // all tries, for the backoff
	called    time.Time
	first     time.Time     // of the first attempt
	stopped   time.Duration // the account's blocked time at first
	looked    int           // looks made for it, answered or not
	fetches   []listing     // of an uncertain update
	wake      time.Time     // in the timer heap
	heapAt    int           // index in the timer heap, -1 outside
	// committing: the commit under way carries its outcome.
	committing bool
}

func (e *entry) enter(s entryState, now time.Time, why string) {
	e.state, e.entered, e.why = s, now, why
}

// durable reports that the entry's outcome is committed, or will be with the
// commit that is being made.
func (e *entry) durable() bool { return e.state == entrySettled || e.committing }

func (e *entry) trace() trace { return trace{offset: e.rec.Offset, hash: e.hash, known: true} }

// recordHash tells a record from another one at the same offset, as a topic
// that was deleted and made again has it.
type recordHash [8]byte

func (h recordHash) String() string { return hex.EncodeToString(h[:]) }

func hashRecord(r *kafka.Record) recordHash {
	b := make([]byte, 0, 24+len(r.Key)+len(r.Value))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Timestamp.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Key)))
	b = append(b, r.Key...)
	b = append(b, r.Value...)
	sum := sha256.Sum256(b)
	return recordHash(sum[:8])
}
