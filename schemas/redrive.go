package schemas

import (
	"strconv"
	"time"
)

// The record headers of a request that was made again from a dead letter. They
// pass to its results and to a further dead letter with the record's other
// headers, and are no part of DeadLetter.
const (
	// HeaderNotAfter is its new deadline, in place of the event's own not_after.
	HeaderNotAfter = "countersign-not-after"
	// HeaderLookSince is the timestamp of the earliest record of this request
	// that may have been called. It is there only where one may have been: then
	// the request is looked up first, back to that moment, whatever its age.
	HeaderLookSince = "countersign-look-since"
)

// Redrive is what the headers of a request say about it having been made again
// from a dead letter. The zero value is that of a request that was not.
type Redrive struct {
	Redrives  int        // how often it was made a request again
	NotAfter  *time.Time // in place of the event's own; nil: that one holds
	LookSince *time.Time // nil: no earlier attempt can have been called
}

// Headers returns the headers that say r; none for the zero value.
func (r Redrive) Headers() (all []Header) {
	if r == (Redrive{}) {
		return nil
	}
	all = append(all, Header{Key: HeaderRedrives, Value: strconv.AppendInt(nil, int64(r.Redrives), 10)})
	if r.NotAfter != nil {
		all = append(all, Header{Key: HeaderNotAfter, Value: appendTime(nil, *r.NotAfter)})
	}
	if r.LookSince != nil {
		all = append(all, Header{Key: HeaderLookSince, Value: appendTime(nil, *r.LookSince)})
	}
	return all
}

// DecodeRedrive reads the headers of a request's record. It returns the zero
// Redrive where none of them is there, and with any fault; a fault has a path
// such as $["countersign-not-after"]. Other headers are passed over, and where a
// key repeats, the last one counts. A deadline or a look-since without
// HeaderRedrives is a fault: nobody but a redrive writes them.
func DecodeRedrive(list []Header) (Redrive, []Fault) {
	var h headers
	for _, one := range list {
		switch one.Key {
		case HeaderRedrives, HeaderNotAfter, HeaderLookSince:
			if h.values == nil {
				h.values = make(map[string]string, 3)
			}
			h.values[one.Key] = string(one.Value)
		}
	}
	if h.values == nil { // nearly every record
		return Redrive{}, nil
	}
	r := Redrive{
		Redrives:  h.count(HeaderRedrives, required),
		NotAfter:  h.moment(HeaderNotAfter),
		LookSince: h.moment(HeaderLookSince),
	}
	if len(h.d.faults) > 0 {
		return Redrive{}, h.d.faults
	}
	return r, nil
}

// moment reads an optional time. Nil: absent or faulty.
func (h *headers) moment(key string) *time.Time {
	if _, there := h.values[key]; !there {
		return nil
	}
	if t, ok := parseTime(h.text(key, required, timeRule)); ok {
		return &t
	}
	return nil
}
