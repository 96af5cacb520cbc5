package verdict

import (
	"errors"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// Ending is how a request ends.
type Ending struct {
	// Outcome is empty where no result can be formed: there is only a dead letter.
	Outcome    schemas.Outcome
	Error      *schemas.Error // nil for success
	DeadLetter bool           // it is set aside, be it beside a result
	// Redrivable: to make it a request again makes sense, where it is set aside.
	Redrivable bool
}

// EndingOf is how a request ends by the verdict on its last call, which ended with
// err. The classes that are tried again, and never end a request, are taken for an
// end in doubt. The error carries the API's own words, never the request.
func EndingOf(v Verdict, err error) Ending {
	e := Ending{Redrivable: true}
	switch v.Class {
	case ClassOK:
		e.Outcome = schemas.OutcomeSucceeded
	case ClassRejected:
		e.Outcome, e.Error = schemas.OutcomeRejected, ErrorOf(schemas.ClassRejected, v, err)
	case ClassThrottled:
		e.Outcome, e.Error = schemas.OutcomeFailed, ErrorOf(schemas.ClassThrottled, v, err)
	case ClassUnavailable:
		e.Outcome, e.Error = schemas.OutcomeFailed, ErrorOf(schemas.ClassUnavailable, v, err)
	default:
		e.Outcome, e.Error = schemas.OutcomeFailed, ErrorOf(schemas.ClassAmbiguous, v, err)
	}
	e.DeadLetter = e.Outcome == schemas.OutcomeFailed
	return e
}

// ErrorOf puts what the API or the network said into an event, under a class. It
// carries the API's own words, never the request.
func ErrorOf(class schemas.Class, v Verdict, err error) *schemas.Error {
	out := &schemas.Error{Class: class, Message: v.Reason, Limit: v.Limit}
	if api, ok := errors.AsType[*read.APIError](err); ok {
		out.Code, out.Status, out.MoreInfo = api.Code, api.Status, api.MoreInfo
		if api.Message != "" {
			out.Message = api.Message
		}
		return out
	}
	if err != nil && class == schemas.ClassAmbiguous {
		out.Message = "the call's end is not known, so it was not repeated: " + v.Reason
	}
	return out
}

// EndingOfUnreadable is how a record ends that is no request, by what
// schemas.DecodeRequest said about it. The id and the operation are what could be
// read all the same.
func EndingOfUnreadable(err error) (e Ending, id string, operation schemas.Operation) {
	d, ok := errors.AsType[*schemas.DecodeError](err)
	if !ok {
		d = &schemas.DecodeError{Code: schemas.CodeNotJSON, Faults: []schemas.Fault{{Path: "$", Message: err.Error()}}}
	}
	e = EndingOfFaults(schemas.ClassInvalid, d.Faults)
	switch d.Code {
	case schemas.CodeInvalid:
		return e, d.ID, d.Operation
	case schemas.CodeVersion:
		// A later release may read it, so it is kept for a redrive.
		e.Error.Class, e.Outcome, e.DeadLetter, e.Redrivable = schemas.ClassVersion, schemas.OutcomeFailed, true, true
	case schemas.CodeTooLarge:
		e.Error.Class, e.Outcome, e.DeadLetter = schemas.ClassTooLarge, "", true
	case schemas.CodeNoID:
		e.Error.Class, e.Outcome, e.DeadLetter = schemas.ClassNoID, "", true
	default:
		e.Error.Class, e.Outcome, e.DeadLetter = schemas.ClassNotJSON, "", true
	}
	if d.ID == "" || d.Operation == "" {
		// A failed result names its operation; without one there is only the
		// dead letter.
		e.Outcome, e.DeadLetter = "", true
	}
	return e, d.ID, d.Operation
}

// EndingOfFaults is how a request ends that breaks a rule and costs no call.
func EndingOfFaults(class schemas.Class, faults []schemas.Fault) Ending {
	return Ending{
		Outcome: schemas.OutcomeRejected,
		Error:   &schemas.Error{Class: class, Message: "the request is not valid: nothing was called", Faults: faults},
	}
}
