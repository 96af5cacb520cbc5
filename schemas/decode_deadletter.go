package schemas

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// headers is the last value of each header of the contract.
type headers struct {
	d      decoder
	values map[string]string
}

// DecodeDeadLetter reads the headers of a dead letter's record. Headers whose
// key doesn't begin with HeaderPrefix belong to the record and are passed over;
// where a key repeats, the last one counts. The error, if any, is a *DecodeError
// with a path such as $["countersign-class"], whose ID is the request's; its code
// is never CodeNotJSON or CodeNoID, since a dead letter need have no id. The
// warnings are given either way.
func DecodeDeadLetter(list []Header) (*DeadLetter, []Warning, error) {
	size := 0
	for _, h := range list {
		size += len(h.Key) + len(h.Value)
	}
	if size > MaxEventBytes {
		return nil, nil, refusal(CodeTooLarge, fmt.Sprintf("has %d bytes of headers; %d are allowed", size, MaxEventBytes))
	}
	h := headers{values: make(map[string]string)}
	h.collect(list)
	dl := h.deadLetter()
	if v := h.values[HeaderVersion]; otherMajor(v) {
		message := "is another major version than 1, which is the one read here"
		return nil, nil, &DecodeError{Code: CodeVersion, ID: dl.RequestID, Faults: []Fault{{Path: `$["` + HeaderVersion + `"]`, Message: message}}}
	}
	if len(h.d.faults) > 0 {
		return nil, h.d.notices(), &DecodeError{Code: CodeInvalid, ID: dl.RequestID, Faults: h.d.faults}
	}
	return dl, h.d.notices(), nil
}

func (h *headers) collect(list []Header) {
	warned := make(map[string]bool)
	for _, one := range list {
		switch {
		case foreignHeader(one.Key):
		case deadLetterShape.index([]byte(one.Key)) >= 0:
			h.values[one.Key] = string(one.Value)
		case !warned[one.Key]:
			warned[one.Key] = true
			hint := ""
			if len(one.Key) <= longestName {
				if near := deadLetterShape.nearest(one.Key); near != "" {
					hint = didYouMean(near)
				}
			}
			h.d.push(one.Key)
			h.d.warn("is not a header of version 1 and is ignored" + hint)
			h.d.pop()
		}
	}
}

func (h *headers) deadLetter() *DeadLetter {
	dl := &DeadLetter{
		Version: h.text(HeaderVersion, required, versionRule),
		Class:   Class(h.text(HeaderClass, required, classRule)),
		Code:    h.count(HeaderCode, optional),
		Message: h.text(HeaderMessage, optional, anyText),
	}
	dl.Topic = h.text(HeaderTopic, required, notEmpty)
	dl.Partition = h.count(HeaderPartition, required)
	dl.Offset = h.number(HeaderOffset, required, 18)
	dl.Timestamp, _ = parseTime(h.text(HeaderTimestamp, required, timeRule))
	dl.RequestID = h.text(HeaderRequestID, optional, idOrNone)
	dl.HasResult = h.text(HeaderHasResult, required, truthRule) == "true"
	dl.Redrivable = h.text(HeaderRedrivable, required, truthRule) == "true"
	dl.Attempts = h.count(HeaderAttempts, required)
	dl.Redrives = h.count(HeaderRedrives, required)
	dl.At, _ = parseTime(h.text(HeaderAt, required, timeRule))
	return dl
}

var truthRule = oneOf("true", "false")

func idOrNone(s string) string {
	if s == "" {
		return ""
	}
	return idRule(s)
}

func (h *headers) text(key string, need need, rule rule) string {
	s, there := h.values[key]
	message := ""
	switch {
	case !there && bool(need):
		message = "is required"
	case !there:
	case !utf8.ValidString(s):
		message = "holds " + flawUTF8.String()
	default:
		message = rule(s)
	}
	if message != "" {
		h.d.faultAt(key, message)
		return ""
	}
	return s
}

// count reads a number that fits an int of 32 bits.
func (h *headers) count(key string, need need) int { return int(h.number(key, need, 9)) }

// number reads a decimal number of so many digits at most.
func (h *headers) number(key string, need need, digits int) int64 {
	s := h.text(key, need, func(s string) string {
		if s != "" && allDigits(s) && len(s) <= digits && (s[0] != '0' || s == "0") {
			return ""
		}
		return fmt.Sprintf("must be a decimal number of at most %d digits", digits)
	})
	v, _ := strconv.ParseInt(s, 10, 64) // the rule leaves nothing to fail but an absent value, which is 0
	return v
}
