package schemas

import (
	"encoding/json"
	"log/slog"
	"time"
)

// Outcome is what became of a request.
type Outcome string

// The outcomes. Succeeded, adopted and duplicate carry no error; the others
// always carry one.
const (
	OutcomeSucceeded Outcome = "succeeded" // the call was made and answered
	OutcomeAdopted   Outcome = "adopted"   // an earlier attempt had been made and was found at the API
	OutcomeDuplicate Outcome = "duplicate" // this id had its result before; no call was made for this record
	OutcomeRejected  Outcome = "rejected"  // the event, or the API's answer to it, says no
	OutcomeExpired   Outcome = "expired"   // too late to be sent; nobody was bothered
	OutcomeFailed    Outcome = "failed"    // given up; Error says why and whether a call may have been made
)

// Result says what became of one request record. A list too large for one
// record becomes several results, told apart by Page.
type Result struct {
	Version   string // 1.x; empty: Encode writes Version
	ID        string // ResultID of the request's record
	RequestID string // the request's id
	// Operation is empty only on a rejected request whose operation could not
	// be read.
	Operation    Operation
	Outcome      Outcome
	Account      string // as in the request; empty: it named none, or was unreadable
	ServiceSID   string // likewise
	Identity     string // likewise
	ChallengeSID string // likewise: the challenge that a fetch or update was about
	// Challenge is the API's resource, as it came, white space removed. It is
	// there for a succeeded or adopted create, fetch or update, and may be there
	// for other outcomes of these.
	Challenge json.RawMessage
	// Challenges are a list's resources, as they came. A succeeded list has
	// them, be it none; other operations never do.
	Challenges []json.RawMessage
	// Headers are the API's signature headers as they came. Nil: none.
	Headers      map[string]string
	Error        *Error // set for rejected, expired and failed, nil otherwise
	Original     *Original
	Attempts     int         // calls made for this record
	Request      Coordinates // where the request stands
	Times        Times
	APIRequestID string // the API's id of its last answer; empty: none came
	Page         *Page  // only on lists; nil: the only page
}

// Error says why a request has no success.
type Error struct {
	Class    Class
	Code     int    // the API's error code; zero: none
	Message  string // never an auth_payload
	MoreInfo string // the API's link; empty: none
	Status   int    // HTTP status; zero: none
	// Faults are those of the event, for ClassInvalid and ClassVersion. Nil: none.
	Faults []Fault
	// Limit names the limit that was hit, the API's or the guard's, and its window;
	// empty: none.
	Limit string
}

// Class says what kind of error it is. Results and dead letters share the list.
type Class string

// The classes: a closed list.
const (
	ClassInvalid     Class = "invalid"     // the event breaks the contract; see its faults
	ClassVersion     Class = "version"     // the event has another major version
	ClassRejected    Class = "rejected"    // the API refused the request
	ClassThrottled   Class = "throttled"   // the API was too busy for as long as the request was good for
	ClassUnavailable Class = "unavailable" // the API could not be reached, or failed a read again and again
	ClassAmbiguous   Class = "ambiguous"   // a call may have been made, and the API can't tell
	ClassCredentials Class = "credentials" // the API refused the account's credentials
	ClassExpired     Class = "expired"     // past not_after or the expiration date before it was sent
	ClassIDConflict  Class = "id_conflict" // the id was used before with another body
	ClassAccount     Class = "account"     // the account is not configured
	ClassTooLarge    Class = "too_large"   // the event, or its result, is larger than a record may be
	ClassGuard       Class = "guard"       // a configured limit per identity or factor forbids it
	ClassNotJSON     Class = "not_json"    // the record is no JSON text
	ClassNoID        Class = "no_id"       // the event has no id that a result could refer to
)

// Classes returns all classes, in the contract's order.
func Classes() []Class {
	return []Class{
		ClassInvalid, ClassVersion, ClassRejected, ClassThrottled, ClassUnavailable, ClassAmbiguous, ClassCredentials,
		ClassExpired, ClassIDConflict, ClassAccount, ClassTooLarge, ClassGuard, ClassNotJSON, ClassNoID,
	}
}

// Coordinates say where a record stands. A timestamp outside of the years 0 to
// 9999 is written as the nearest that RFC 3339 can say: a producer may put
// anything there, and it must not cost a result.
type Coordinates struct {
	Topic     string
	Partition int
	Offset    int64
	Timestamp time.Time
}

// Times are the moments of a request's way through the connector, by its clock.
type Times struct {
	Received  time.Time  // the record was read
	Called    *time.Time // the last call was sent; nil: none was
	Completed time.Time  // the outcome was known
}

// Page places a result among those of one list.
type Page struct {
	Index int // from 0
	Last  bool
}

// Original points from a duplicate to the record that its id was first seen in.
type Original struct {
	ResultID     string  // of its (first) result
	ChallengeSID string  // empty: not known
	Outcome      Outcome // empty: not known
	Topic        string
	Partition    int
	Offset       int64
}

// LogValue keeps identities and resources out of slog.
func (r Result) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", r.ID),
		slog.String("request_id", r.RequestID),
		slog.String("operation", string(r.Operation)),
		slog.String("outcome", string(r.Outcome)),
	)
}
