// Package schemas is the event contract of Countersign, version 1: the events
// that it takes and makes, as Go types, as JSON Schema files and as golden
// examples in testdata.
//
// There are three events. A [Request] asks for one call of the Challenge API, a
// [Result] says what became of one request, and a [DeadLetter] describes, in the
// record headers that it is written as, a record that was set aside. A [Redrive]
// describes, in headers too, a request that was made again from a dead letter.
//
// Two more are Countersign's own memory, kept in topics of its own: a
// [LedgerEntry] says what became of a request id, a [Position] where a partition
// stands. Nobody else writes them, and reading them is no part of using it.
//
// # Decoding
//
// The Decode functions hold to the following.
//
//   - Every fault of an event is reported at once, each with its path, wrong
//     JSON types included. Only three things end the search early: text that is
//     not JSON, an event above MaxEventBytes, another major version.
//   - An error is always a *DecodeError. Its ID is set if, and only if, the
//     event has an id that a result can refer to. DecodeRedrive, which never
//     refuses a record, gives the faults alone.
//   - The text must be I-JSON (RFC 7493): valid UTF-8, no repeated member name,
//     no unpaired surrogate. Anything else reads differently in different
//     languages, and is a fault wherever it stands, unknown fields included. The
//     API's own resource inside a result is exempt, apart from UTF-8.
//   - An unknown field is a Warning, with the field probably meant, and is
//     ignored. Names are matched exactly, case included.
//   - null is a value of the wrong type, never a way to leave a field out. An
//     optional text is absent or not empty, so the zero value of a Go field
//     always means absent.
//   - Memory and time are linear in the size of the event; nesting is bounded by
//     MaxDepth, the list of faults by MaxFaults.
//   - No auth_payload or identity appears in a fault, a warning or an error.
//
// The Go decoder and the JSON Schema files accept the same documents. What a
// schema can't say is listed in README.md: size, depth, I-JSON, and whatever
// depends on the clock or on a serialised length, which is (*Request).Check.
//
// # Encoding
//
// Encode is deterministic: fields in the order of the contract, names of free
// objects sorted, times in UTC, no HTML escaping, no white space. Two equal
// events have equal bytes. What Encode wrote, Decode reads back as it was.
//
// # Versions
//
// Version is what Encode writes. Every 1.x is read; fields may be added within
// it, and an older reader warns about them. Removing or renaming a field,
// narrowing a limit or adding a value to a closed list takes a new major
// version, and another major is refused whole.
//
// Nothing here keeps state between calls: all functions are safe for concurrent
// use, and what they return shares no memory with what they were given.
package schemas

import "time"

// Version is the contract's version as Encode writes it.
const Version = "1.0"

// Limits of the contract. Lengths of texts are in code points. The limits that
// carry API names are the API's own, from its reference for the Challenge
// resource.
const (
	// MaxEventBytes is the largest event that is read or written.
	MaxEventBytes = 1 << 20
	// MaxDepth is how deep an event may be nested, the event itself being 1.
	MaxDepth = 64
	// MaxFaults bounds the faults, and separately the warnings, that one event
	// reports; a last entry then counts the rest. It keeps the result of a bad
	// event well below MaxEventBytes.
	MaxFaults = 256

	MaxID      = 128 // id, request_id
	MaxAccount = 64  // account

	MinIdentity = 8  // identity
	MaxIdentity = 64 // identity

	MaxMessage = 256 // create.details.message
	MaxFields  = 20  // create.details.fields, items
	MaxLabel   = 36  // create.details.fields[].label
	MaxValue   = 128 // create.details.fields[].value

	MinAuthPayload       = 3    // auth_payload of a create and of an update
	MaxCreateAuthPayload = 8    // create.auth_payload
	MaxUpdateAuthPayload = 5456 // update.auth_payload, which may be a push factor's

	// MaxSerialised bounds hidden_details and metadata, measured on what
	// Stringify returns for them.
	MaxSerialised = 1024
	// MarkerKey is the member of hidden_details that belongs to Countersign; a
	// request that carries it is faulty.
	MarkerKey = "countersign"
	// MarkerReserve is the part of MaxSerialised kept free in hidden_details for
	// the marker: its key, quotes, colon and comma take 17, which leaves 47 for
	// its value.
	MarkerReserve = 64

	// MaxExpiration is how far ahead create.expiration_date may be.
	MaxExpiration = 60 * time.Minute

	MaxPageSize = 1000      // list.page_size
	MaxCount    = 1<<31 - 1 // list.page, list.limit, attempts and the like
)

// Names of the W3C trace context headers, which pass from a request's record to
// its result and dead letter unchanged.
const (
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
)
