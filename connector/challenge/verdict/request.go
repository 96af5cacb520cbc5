package verdict

import (
	"time"

	"github.com/countersign/countersign/schemas"
)

// Request is what a record says by itself, before any call.
type Request struct {
	// Event is the request; nil where the record is none, and Ending says so.
	Event    *schemas.Request
	Redrive  schemas.Redrive
	Warnings []schemas.Warning
	// Ending is how it ends without a call; nil: as far as the record alone can
	// tell it may be called.
	Ending *Ending
	// ID and Operation are what could be read of a record that is no request.
	ID        string
	Operation schemas.Operation
}

// RequestOf reads a record and checks all that it and the clock of its producer
// can get wrong. Its accounts are not looked at.
func RequestOf(value []byte, headers []schemas.Header, timestamp time.Time) (r Request) {
	var err error
	if r.Event, r.Warnings, err = schemas.DecodeRequest(value); err != nil {
		ending, id, operation := EndingOfUnreadable(err)
		r.Event, r.Ending, r.ID, r.Operation = nil, &ending, id, operation
		return r
	}
	r.ID, r.Operation = r.Event.ID, r.Event.Operation
	var faults []schemas.Fault
	if r.Redrive, faults = schemas.DecodeRedrive(headers); len(faults) == 0 {
		// Against the record's own time: an event that was right when it was sent
		// and is late now is not invalid but expired.
		faults = r.Event.Check(timestamp)
	}
	if len(faults) > 0 {
		ending := EndingOfFaults(schemas.ClassInvalid, faults)
		r.Ending = &ending
	}
	return r
}

// NotAfter is the request's deadline: that of its redrive, else its own, else the
// record's timestamp plus the usual one.
func (r Request) NotAfter(timestamp time.Time, usual time.Duration) time.Time {
	switch {
	case r.Redrive.NotAfter != nil:
		return *r.Redrive.NotAfter
	case r.Event != nil && r.Event.NotAfter != nil:
		return *r.Event.NotAfter
	default:
		return timestamp.Add(usual)
	}
}
