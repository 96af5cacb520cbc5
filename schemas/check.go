package schemas

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Check finds what is wrong with a decoded request beyond its form: an
// expiration date that is not ahead of now, or more than MaxExpiration ahead,
// and hidden_details or metadata that are too long once serialised. It returns
// nil where nothing is.
//
// Now is the moment to judge the event by. The timestamp of its record judges
// the event alone, so that one which merely waited too long is not called
// faulty. NotAfter may be any time; one in the past is no fault but a request
// that came too late.
func (r *Request) Check(now time.Time) []Fault {
	var faults []Fault
	if c := r.Create; c != nil {
		if message := expiration(c.ExpirationDate, now); message != "" {
			faults = append(faults, Fault{Path: "$.create.expiration_date", Message: message})
		}
		if message := serialised(c.HiddenDetails, MaxSerialised-MarkerReserve); message != "" {
			message += fmt.Sprintf(" (%d less %d kept free for Countersign's own marker)", MaxSerialised, MarkerReserve)
			faults = append(faults, Fault{Path: "$.create.hidden_details", Message: message})
		}
	}
	if u := r.Update; u != nil {
		if message := serialised(u.Metadata, MaxSerialised); message != "" {
			faults = append(faults, Fault{Path: "$.update.metadata", Message: message})
		}
	}
	return faults
}

func expiration(t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return ""
	case !t.After(now):
		return "must be ahead; it is " + now.Sub(*t).Round(time.Second).String() + " past"
	case t.Sub(now) > MaxExpiration:
		return fmt.Sprintf("must be at most %d minutes ahead; it is %s", MaxExpiration/time.Minute, t.Sub(now).Round(time.Second))
	default:
		return ""
	}
}

func serialised(m map[string]string, max int) string {
	if m == nil {
		return ""
	}
	n := utf8.RuneCountInString(Stringify(m))
	if n <= max {
		return ""
	}
	return fmt.Sprintf("must have at most %d characters as compact JSON; it has %d", max, n)
}
