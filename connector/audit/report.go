package audit

import (
	"encoding/json"
	"math"
	"time"

	"github.com/countersign/countersign/schemas"
)

// ReportVersion is the version of the report's form. Another major version is
// refused by Decode.
const ReportVersion = "1.0"

// Report is what an audit found. Its JSON is the same, byte for byte, for the same
// window of the same records by the same release, as long as all of them are
// retained and every request of the window has been answered. The part about the
// API is the exception: the API goes on.
type Report struct {
	Version string `json:"version"` // ReportVersion
	Tool    string `json:"tool"`    // release that wrote it
	Window  Window `json:"window"`
	Covered Digest `json:"covered"`
	Counts  Counts `json:"counts"`
	// Findings are in the order of Kinds and, within a kind, of where they stand.
	// Never nil.
	Findings []Finding `json:"findings"`
	Series   Series    `json:"series"`
	Latency  Latency   `json:"latency"`
	// API is the comparison with the Challenge API; nil: none was asked for.
	API *API `json:"api,omitempty"`
}

// Clean reports that nothing was found.
func (r *Report) Clean() bool { return r.Counts.Found() == 0 }

// Complete reports that a comparison with the API that was asked for left nothing out
// but what its budget is too small for.
func (r *Report) Complete() bool { return r.API == nil || r.API.Failed == 0 && r.API.Deleted == 0 }

// Window says what was audited, and how.
type Window struct {
	From         *time.Time   `json:"from"` // of the requests' timestamps; null: from the log's start, or by offsets
	To           *time.Time   `json:"to"`   // exclusive; null: to the end, or by offsets
	AnswersUntil *time.Time   `json:"answers_until"`
	Group        string       `json:"group"` // consumer group whose results count
	Topics       Topics       `json:"topics"`
	ByOffsets    bool         `json:"by_offsets"`
	Requests     []OffsetSpan `json:"requests"` // by partition
	// Gone are offsets of the window below the log's start. Never nil.
	Gone     []OffsetSpan `json:"gone"`
	NotEnded bool         `json:"not_ended"` // the window's end was ahead
	// WorkedOff is how much of Requests the group had worked off, where it was not
	// all of it.
	WorkedOff []OffsetSpan `json:"worked_off,omitempty"`
	// Results and DeadLetters are what was read of them where the window has no
	// end of its own, or was open; elsewhere what is written later makes no
	// difference.
	Results     []OffsetSpan `json:"results,omitempty"`
	DeadLetters []OffsetSpan `json:"dead_letters,omitempty"`
	Records     int64        `json:"records"` // request records in it
	First       *time.Time   `json:"first"`   // earliest timestamp of them; null: there are none
	Last        *time.Time   `json:"last"`    // latest
	// Closed: the group has worked off all of it. So there is no finding of
	// KindOpen, and elsewhere there is one.
	Closed        bool     `json:"closed"`
	NotAfter      Duration `json:"not_after"`      // deadline of a request that has none of its own
	Skew          Duration `json:"skew"`           // how much before the window answers are looked for
	LateTolerance Duration `json:"late_tolerance"` // a call that much behind the deadline is not late
	// IdentityKey tells apart which key identities are hashed with; empty: they
	// are in clear.
	IdentityKey string `json:"identity_key"`
	// MaxFindings is how many findings of a kind are listed.
	MaxFindings int `json:"max_findings"`
}

// Topics are the names of the topics that are read.
type Topics struct {
	Requests    string `json:"requests"`
	Results     string `json:"results"`
	DeadLetters string `json:"deadletters"`
}

// OffsetSpan are offsets of one partition: from From on, below To.
type OffsetSpan struct {
	Partition int   `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
}

// Digest is over every record of the window: its requests, and the results and
// dead letters that answer them. docs/audit.md says how it is made.
type Digest struct {
	Algorithm string `json:"algorithm"` // DigestAlgorithm
	Root      Hash   `json:"root"`
	Trees     []Tree `json:"trees"` // by topic (requests, results, dead letters) and partition; those with records
}

// Tree is the hash tree over the window's records in one partition.
type Tree struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Records   int64  `json:"records"`
	First     int64  `json:"first"` // offset of the first record
	Last      int64  `json:"last"`  // offset of the last record
	Root      Hash   `json:"root"`
	// Block is how many records each hash of Blocks covers, a power of two; the
	// last one covers the rest. They tell where a partition differs.
	Block  int64   `json:"block"`
	Blocks []Block `json:"blocks"`
}

// Block is a subtree of a partition's tree.
type Block struct {
	First int64 `json:"first"` // offset of its first record
	Hash  Hash  `json:"hash"`
}

// Counts are numbers of records, exact where the list of findings is cut.
type Counts struct {
	Requests        int64            `json:"requests"`             // data records of the window
	Results         int64            `json:"results"`              // that answer them, pages of a list one by one
	DeadLetters     int64            `json:"dead_letters"`         // in place of a result
	FailedLetters   int64            `json:"dead_letters_also"`    // beside a result
	AnsweredOnce    int64            `json:"answered_once"`        // requests with exactly one answer
	Waiting         int64            `json:"waiting"`              // not answered, or not wholly, and not worked off yet
	Operations      map[string]int64 `json:"operations"`           // results by operation; "unreadable" where it is none
	Outcomes        map[string]int64 `json:"outcomes"`             // results by outcome
	Classes         map[string]int64 `json:"classes"`              // results and bare dead letters by error class
	Calls           int64            `json:"calls"`                // attempts at the API, as the answers tell
	Challenges      int64            `json:"challenges"`           // creates that succeeded or were adopted
	Unreadable      int64            `json:"unreadable"`           // requests that break the contract
	NoData          int64            `json:"offsets_without_data"` // transactions' markers and aborted records
	AnswersGone     int64            `json:"answers_gone"`         // requests whose answer, or a part of it, retention may have taken
	ByKind          map[Kind]int64   `json:"findings"`             // every kind, be it 0
	FindingsLeftOut int64            `json:"findings_left_out"`
}

// Found is how many findings there are of all kinds.
func (c *Counts) Found() int64 {
	n := int64(0)
	for _, found := range c.ByKind {
		n += found
	}
	return n
}

// Kind is what kind of finding it is. The set is closed.
type Kind string

const (
	KindMissing     Kind = "missing"     // a request without an answer, or a part of one
	KindDuplicate   Kind = "duplicate"   // the same answer twice, or one intent carried out twice
	KindConflicting Kind = "conflicting" // answers that contradict each other or their request
	KindLate        Kind = "late"        // a call behind the request's deadline
	KindOrphan      Kind = "orphan"      // an answer without a request
	KindSchema      Kind = "schema_violation"
	KindGap         Kind = "gap"         // offsets or answers that are not there any more
	KindOpen        Kind = "open_window" // not worked off yet
	KindAPIMissing  Kind = "api_missing" // the API does not know a challenge
	KindAPIStatus   Kind = "api_status"  // its status contradicts the recorded one
	KindAPIChanged  Kind = "api_changed" // a field that never changes has
)

// Kinds returns all kinds, in the report's order.
func Kinds() []Kind {
	return []Kind{
		KindMissing, KindDuplicate, KindConflicting, KindLate, KindOrphan, KindSchema, KindGap, KindOpen,
		KindAPIMissing, KindAPIStatus, KindAPIChanged,
	}
}

// Detail says more closely what a finding is. The set is closed.
type Detail string

const (
	DetailNoAnswer       Detail = "no_answer"           // missing: neither result nor dead letter
	DetailNoPage         Detail = "no_page"             // missing: a page of a list's result
	DetailNoDeadLetter   Detail = "no_dead_letter"      // missing: the dead letter of a failed request
	DetailAnsweredTwice  Detail = "answered_twice"      // duplicate: a further answer that says the same
	DetailLetterTwice    Detail = "dead_letter_twice"   // duplicate: a further dead letter beside a result
	DetailIDTwice        Detail = "id_called_twice"     // duplicate: two requests of one id each have a challenge
	DetailSIDTwice       Detail = "challenge_twice"     // conflicting: two creates claim one challenge
	DetailTwoAnswers     Detail = "two_answers"         // conflicting: a further answer that says something else
	DetailOtherRequest   Detail = "another_request"     // conflicting: the answer is about another request than stands there
	DetailOtherRecord    Detail = "another_record"      // conflicting: the dead letter holds another record
	DetailNotAnswerable  Detail = "not_answerable"      // conflicting: a success for a request that breaks the contract
	DetailLetterUnfailed Detail = "letter_of_unfailed"  // conflicting: a dead letter says failed, the result does not
	DetailSentLate       Detail = "sent_after_deadline" // late
	DetailNoRequest      Detail = "no_such_request"     // orphan: at its coordinates there is none
	DetailElsewhere      Detail = "another_topic"       // orphan: its request stands in no partition of the topic
	DetailOtherGroup     Detail = "another_group"       // orphan: its id is not what the group makes of the request
	DetailNotAResult     Detail = "not_a_result"        // schema violation in the results
	DetailNotALetter     Detail = "not_a_dead_letter"   // schema violation in the dead letters
	DetailRetention      Detail = "retention"           // gap: the log starts within the window
	DetailAbsent         Detail = "absent"              // gap: offsets without a record, a marker or an aborted record
	DetailAnswersGone    Detail = "answers_retention"   // gap: answers may have been deleted
	DetailNotWorkedOff   Detail = "not_worked_off"      // open: the group has not committed it
	DetailNotEnded       Detail = "not_ended"           // open: the window's end is ahead
	DetailNotFound       Detail = "not_found"           // api_missing
	DetailStatusDrift    Detail = "status_drift"        // api_status
	DetailFieldsChanged  Detail = "fields_changed"      // api_changed
)

// Finding is one thing that should not be so, with where it stands.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Detail Detail `json:"detail"`
	// Request is the request that it is about; nil: none, or none that can be told.
	Request *Request `json:"request,omitempty"`
	// Records are the others that it is about, by topic, partition and offset.
	Records []Place `json:"records,omitempty"`
	// Span are the offsets that a gap or an open window is about.
	Span *OffsetSpan `json:"span,omitempty"`
	// Count is how many it stands for, where it is about offsets or answers.
	Count int64 `json:"count,omitempty"`
	// ChallengeSID is the challenge that it is about; empty: none.
	ChallengeSID string `json:"challenge_sid,omitempty"`
	Text         string `json:"text"` // a sentence for a person
}

// Request is a request of a finding.
type Request struct {
	Place
	ID        string            `json:"id"`        // empty: it has no usable one, or the record is gone
	Operation schemas.Operation `json:"operation"` // likewise
	// Identity is a keyed hash, or in clear where that was asked for.
	Identity string `json:"identity,omitempty"`
}

// Place is where a record stands.
type Place struct {
	Topic     string     `json:"topic"`
	Partition int        `json:"partition"`
	Offset    int64      `json:"offset"`
	Timestamp *time.Time `json:"timestamp,omitempty"` // null: not known
}

// Series is the course of the window: one bucket after the other, by the requests'
// timestamps. Its width is the smallest of 1 s times a power of two that needs no
// more than MaxBuckets.
type Series struct {
	Start   *time.Time `json:"start"` // of the first bucket; null: there is none
	Width   Duration   `json:"width"`
	Buckets []Bucket   `json:"buckets"` // never nil
}

// Bucket is a span of Series.Width.
type Bucket struct {
	Outcomes map[string]int64 `json:"outcomes"` // results by outcome, and "dead_letter" for bare ones
	// Latency is that of the results whose request was called.
	Latency Percentiles `json:"latency"`
}

// Latency is from a request's timestamp to its outcome, of all results whose
// request was called, and of these by operation.
type Latency struct {
	All        Percentiles            `json:"all"`
	Operations map[string]Percentiles `json:"operations"`
}

// Percentiles are of a number of measured times. They are exact to 1/64 of
// themselves, rounded up; all zero where nothing was measured.
type Percentiles struct {
	Count int64    `json:"count"`
	P50   Duration `json:"p50"`
	P90   Duration `json:"p90"`
	P99   Duration `json:"p99"`
	Max   Duration `json:"max"`
}

// API is what the comparison with the Challenge API did.
type API struct {
	Challenges int64 `json:"challenges"` // of the window
	Compared   int64 `json:"compared"`
	Calls      int64 `json:"calls"` // GET requests
	Budget     int64 `json:"budget"`
	Failed     int64 `json:"failed"` // the API gave no answer: not compared
	// Failures are the reasons for Failed, with their numbers. Never nil.
	Failures map[string]int64 `json:"failures"`
	// Deleted are offsets of results that were deleted while the audit ran. What
	// challenges they tell of is not compared, nor counted in Challenges.
	Deleted int64 `json:"deleted"`
	// Moves are the changes of status that are in order, as "pending to approved".
	Moves map[string]int64 `json:"moves"`
}

// Duration is a time.Duration that is written as a number of seconds.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).Seconds()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return err
	}
	*d = Duration(math.Round(seconds * float64(time.Second)))
	return nil
}
