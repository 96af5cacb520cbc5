package schemas

import (
	"strconv"
	"strings"
	"time"
)

// Header is one record header. Keys may repeat; the last one counts.
type Header struct {
	Key   string
	Value []byte
}

// The record headers of a dead letter. Numbers are decimal, truth values true or
// false, times RFC 3339 in UTC.
const (
	HeaderPrefix     = "countersign-" // begins all of them
	HeaderVersion    = "countersign-version"
	HeaderClass      = "countersign-class"
	HeaderCode       = "countersign-code"
	HeaderMessage    = "countersign-message"
	HeaderTopic      = "countersign-topic"
	HeaderPartition  = "countersign-partition"
	HeaderOffset     = "countersign-offset"
	HeaderTimestamp  = "countersign-timestamp"
	HeaderRequestID  = "countersign-request-id"
	HeaderHasResult  = "countersign-has-result"
	HeaderRedrivable = "countersign-redrivable"
	HeaderAttempts   = "countersign-attempts"
	HeaderRedrives   = "countersign-redrives"
	HeaderAt         = "countersign-at"
)

// DeadLetter describes a record that was set aside. The dead letter itself is
// that record, key, value and headers untouched, with Headers added behind.
type DeadLetter struct {
	Version     string // 1.x; empty: Headers writes Version
	Class       Class
	Code        int       // the API's error code; zero: none
	Message     string    // never an auth_payload; empty: none
	Coordinates           // of the record
	RequestID   string    // empty: it has no usable one
	HasResult   bool      // a result tells of this record too
	Redrivable  bool      // making a request of it again makes sense
	Attempts    int       // calls made for this record
	Redrives    int       // times it was made a request again before
	At          time.Time // when it was set aside
}

// Headers returns the headers that describe d, always all of them: a record
// that is set aside for the second time carries older ones before them, and none
// of those may show through.
func (d *DeadLetter) Headers() []Header {
	header := func(key, value string) Header { return Header{Key: key, Value: []byte(valid(value))} }
	moment := func(t time.Time) string { return string(appendTime(nil, t)) }
	return []Header{
		header(HeaderVersion, versionOr(d.Version)),
		header(HeaderClass, string(d.Class)),
		header(HeaderCode, strconv.Itoa(d.Code)),
		header(HeaderMessage, d.Message),
		header(HeaderTopic, d.Topic),
		header(HeaderPartition, strconv.Itoa(d.Partition)),
		header(HeaderOffset, strconv.FormatInt(d.Offset, 10)),
		header(HeaderTimestamp, moment(d.Timestamp)),
		header(HeaderRequestID, d.RequestID),
		header(HeaderHasResult, strconv.FormatBool(d.HasResult)),
		header(HeaderRedrivable, strconv.FormatBool(d.Redrivable)),
		header(HeaderAttempts, strconv.Itoa(d.Attempts)),
		header(HeaderRedrives, strconv.Itoa(d.Redrives)),
		header(HeaderAt, moment(d.At)),
	}
}

// deadLetterShape has the header names, so that an unknown one gets a hint.
var deadLetterShape = shape{names: []string{
	HeaderVersion, HeaderClass, HeaderCode, HeaderMessage, HeaderTopic, HeaderPartition, HeaderOffset, HeaderTimestamp,
	HeaderRequestID, HeaderHasResult, HeaderRedrivable, HeaderAttempts, HeaderRedrives, HeaderAt,
	// Of the record itself, where it is a redriven one.
	HeaderNotAfter, HeaderLookSince,
}}

// foreignHeader reports whether a header is none of the contract's, but the
// record's own.
func foreignHeader(key string) bool { return !strings.HasPrefix(key, HeaderPrefix) }
