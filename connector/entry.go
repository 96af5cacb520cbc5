package connector

import (
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// entryState is where a record stands inside its lane. A record moves forward
// through these states and leaves the window only when its outcome has been
// committed.
type entryState uint8

const (
	entryQueued   entryState = iota // behind an earlier record of its key
	entryReady                      // first of its key, waiting for a free slot
	entryInFlight                   // an attempt is under way
	entryWaiting                    // for the time of its next attempt
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
	notAfter time.Time        // fixed
	received time.Time        // fixed
	verdict  *outcome         // fixed; the outcome of a record that needs no call

	state    entryState
	since    time.Time // of the state
	why      string    // what a waiting or parked entry waits for
	bytes    int64
	attempts int // answered, or sent without an answer
	retries  int // all tries, for the backoff
	called   time.Time
	first    time.Time     // of the first attempt
	stopped  time.Duration // the account's blocked time at first
	wake     time.Time     // in the timer heap
	heapAt   int           // index in the timer heap, -1 outside
}

func (e *entry) enter(s entryState, now time.Time, why string) {
	e.state, e.since, e.why = s, now, why
}
