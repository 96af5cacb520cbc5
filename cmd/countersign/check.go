package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/countersign/countersign/schemas"
)

// report collects what is found in events and prints it, one finding a line.
type report struct {
	out                    io.Writer
	events, faulty, faults int
	warnings               int
}

// request checks one request event as the connector would that receives it
// now. The request is nil where it has a fault.
func (r *report) request(e event, now time.Time) *schemas.Request {
	req, warnings, err := schemas.DecodeRequest(e.data)
	var faults []schemas.Fault
	if err == nil {
		faults = req.Check(now)
	}
	if r.event(e, warnings, faults, err) {
		return req
	}
	return nil
}

// result checks one result event.
func (r *report) result(e event, _ time.Time) {
	_, warnings, err := schemas.DecodeResult(e.data)
	r.event(e, warnings, nil, err)
}

// event prints and counts what was found in one event, and reports whether it
// is without a fault.
func (r *report) event(e event, warnings []schemas.Warning, faults []schemas.Fault, err error) bool {
	r.events++
	if refused, ok := errors.AsType[*schemas.DecodeError](err); ok {
		faults = append(faults, refused.Faults...)
	} else if err != nil {
		faults = append(faults, schemas.Fault{Path: "$", Message: err.Error()})
	}
	for _, f := range faults {
		r.line(e.where, printable(f.String()))
	}
	for _, w := range warnings {
		r.line(e.where, "warning: "+printable(w.String()))
	}
	r.warnings += len(warnings)
	if len(faults) == 0 {
		return true
	}
	r.faulty++
	r.faults += len(faults)
	return false
}

func (r *report) line(where, text string) { _, _ = fmt.Fprintf(r.out, "%s: %s\n", where, text) }
