package schemas

import (
	"fmt"
	"strings"
)

// ErrorCode says what kind of DecodeError or EncodeError it is.
type ErrorCode string

// The codes: a closed list.
const (
	CodeNotJSON  ErrorCode = "not_json"  // no JSON text, or one nested deeper than MaxDepth
	CodeNoID     ErrorCode = "no_id"     // JSON, but no object with a usable id
	CodeVersion  ErrorCode = "version"   // an event of another major version
	CodeInvalid  ErrorCode = "invalid"   // an event that breaks the contract
	CodeTooLarge ErrorCode = "too_large" // above MaxEventBytes; the event was not looked into
)

// Fault is one way in which an event breaks the contract.
type Fault struct {
	Path    string // e.g. $.create.details.fields[2].label
	Message string // reads on from the path: "is required"
}

// String returns the path and the message.
func (f Fault) String() string { return f.Path + " " + f.Message }

// Warning is something in an event that was ignored.
type Warning struct {
	Path    string
	Message string
}

// String returns the path and the message.
func (w Warning) String() string { return w.Path + " " + w.Message }

// DecodeError is the error of every Decode function.
type DecodeError struct {
	Code ErrorCode
	// ID is the event's id (of a dead letter: its request's), if it has one that
	// a result can refer to. It is never set with CodeNotJSON, CodeNoID and
	// CodeTooLarge.
	ID string
	// Operation is the event's, if it could be read.
	Operation Operation
	// Faults are all faults of the event, at least one, in the order of the
	// contract's fields; those of an object's names come before its fields'.
	Faults []Fault
}

// Error names the code and the first faults. It holds no payload and no identity.
func (e *DecodeError) Error() string { return describe("decode", e.Code, e.Faults) }

// Class returns the class under which a result or dead letter reports e.
func (e *DecodeError) Class() Class {
	switch e.Code {
	case CodeNotJSON:
		return ClassNotJSON
	case CodeNoID:
		return ClassNoID
	case CodeVersion:
		return ClassVersion
	case CodeTooLarge:
		return ClassTooLarge
	default:
		return ClassInvalid
	}
}

// EncodeError is the error of the Encode methods.
type EncodeError struct {
	Code   ErrorCode // CodeInvalid, CodeVersion, CodeNoID or CodeTooLarge
	Faults []Fault   // at least one
}

// Error names the code and the first faults. It holds no payload and no identity.
func (e *EncodeError) Error() string { return describe("encode", e.Code, e.Faults) }

// shownFaults is how many faults an error's text names; its Faults have all.
const shownFaults = 8

func describe(verb string, code ErrorCode, faults []Fault) string {
	var b strings.Builder
	fmt.Fprintf(&b, "schemas: %s: %s", verb, code)
	for i, f := range faults {
		if i == shownFaults {
			fmt.Fprintf(&b, "; and %d more", len(faults)-i)
			break
		}
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + f.String())
	}
	return b.String()
}
