package audit

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"strings"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// known is what is kept of a challenge until it is compared.
type known struct {
	sid, account, serviceSID, identity string
	requestID                          string
	operation                          schemas.Operation
	result, request                    Place
	state                              *state // nil: the recorded resource can't be read
}

func knownOf(r Recorded) *known {
	return &known{
		sid: r.SID, account: r.Account, serviceSID: r.ServiceSID, identity: r.Identity, requestID: r.RequestID,
		operation: r.Operation, result: r.Result, request: r.Request, state: stateOf(r.Challenge),
	}
}

// after reports whether k is told of a later state than other, or of the same
// one later on.
func (k *known) after(other *known) bool {
	a, b := k.state, other.state
	if a == nil || b == nil {
		return a != nil
	}
	if !a.updated.Equal(b.updated) {
		return a.updated.After(b.updated)
	}
	// The API counts in seconds, and an answer may come within the challenge's first.
	return a.status != read.StatusPending || b.status == read.StatusPending
}

// kindOfField says how a field of a challenge may change.
type kindOfField uint8

const (
	fieldFixed     kindOfField = iota // never
	fieldOnce                         // from empty to a value
	fieldResponded                    // while the challenge is pending
)

// field is one that is compared.
type field struct {
	name string
	kind kindOfField
	// same makes values of equal meaning equal.
	same func(json.RawMessage) json.RawMessage
}

// fields are those that are compared, in the order of the API's reference. What
// changes as it likes is left out: date_updated, url and links; and status, which
// has rules of its own.
var fields = []field{
	{"sid", fieldFixed, lower},
	{"account_sid", fieldFixed, lower},
	{"service_sid", fieldFixed, lower},
	{"entity_sid", fieldFixed, lower},
	{"identity", fieldFixed, lower},
	{"factor_sid", fieldFixed, lower},
	{"date_created", fieldFixed, rawTime},
	{"date_responded", fieldResponded, rawTime},
	{"expiration_date", fieldFixed, rawTime},
	{"responded_reason", fieldResponded, unlessNone},
	{"details", fieldFixed, canonical},
	{"hidden_details", fieldFixed, properties},
	{"metadata", fieldOnce, properties},
	{"factor_type", fieldFixed, lower},
}

// fingerprint stands for a field's value: absentField, emptyField, or a hash. A hash keeps what
// a person was shown out of memory and makes all challenges the same size.
type fingerprint uint64

const (
	absentField fingerprint = iota // the resource does not have it, as releases of the API differ
	emptyField                     // null, or nothing
)

var seed = maphash.MakeSeed()

// state is a challenge's, as far as it is compared.
type state struct {
	status  read.Status
	updated time.Time       // zero: not told
	prints  [14]fingerprint // of fields
}

// stateOf reads a resource; nil where it is none.
func stateOf(raw json.RawMessage) *state {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil || all == nil {
		return nil
	}
	s := &state{}
	if json.Unmarshal(all["status"], &s.status) != nil || s.status == "" {
		return nil
	}
	_ = json.Unmarshal(all["date_updated"], &s.updated) // what it can't be read of has none
	for i, f := range fields {
		value, there := all[f.name]
		if !there {
			continue
		}
		s.prints[i] = printOf(f.same(value))
	}
	return s
}

func printOf(value json.RawMessage) fingerprint {
	switch string(value) {
	case "null", `""`, "{}", "[]":
		return emptyField
	}
	return max(fingerprint(maphash.Bytes(seed, value)), emptyField+1)
}

// moved is what the status has done since: a move that is in order, or a sentence
// about one that is not; both empty where it is the same.
func (s *state) moved(now *state) (move, drift string) {
	if s == nil || s.status == now.status {
		return "", ""
	}
	switch now.status {
	case read.StatusApproved, read.StatusDenied, read.StatusExpired:
		if s.status == read.StatusPending {
			return string(s.status) + " to " + string(now.status), ""
		}
	}
	return "", "The status was recorded as " + statusText(s.status) + " and is " + statusText(now.status) + " at the API."
}

// statusText keeps what is no status out of a report.
func statusText(s read.Status) string {
	switch s {
	case read.StatusPending, read.StatusApproved, read.StatusDenied, read.StatusExpired:
		return string(s)
	default:
		return "one that this release does not know"
	}
}

// changed names the fields that differ and must not. A field that was not
// recorded proves nothing.
func (s *state) changed(now *state) (names []string) {
	if s == nil {
		return nil
	}
	for i, f := range fields {
		was, is := s.prints[i], max(now.prints[i], emptyField)
		if was == absentField || was == is {
			continue
		}
		switch {
		case f.kind == fieldOnce && was == emptyField:
		case f.kind == fieldResponded && (was == emptyField || s.status == read.StatusPending):
		default:
			names = append(names, f.name)
		}
	}
	return names
}

// lower is for what the API looks up in either case.
func lower(v json.RawMessage) json.RawMessage { return bytes.ToLower(canonical(v)) }

func rawTime(v json.RawMessage) json.RawMessage {
	var t *time.Time
	if json.Unmarshal(v, &t) != nil || t == nil {
		return canonical(v)
	}
	return json.RawMessage(t.UTC().Format(time.RFC3339Nano))
}

// unlessNone takes the reason that says that there is none for nothing.
func unlessNone(v json.RawMessage) json.RawMessage {
	if strings.EqualFold(string(canonical(v)), `"`+string(read.ReasonNone)+`"`) {
		return json.RawMessage("null")
	}
	return canonical(v)
}

// properties are an object, or a text that holds one.
func properties(v json.RawMessage) json.RawMessage {
	var p read.Properties
	if json.Unmarshal(v, &p) != nil {
		return canonical(v)
	}
	return encoded(map[string]any(p))
}

// canonical writes JSON of the same meaning alike: members by name, null ones left
// out, numbers as they are.
func canonical(v json.RawMessage) json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return v
	}
	return encoded(withoutNulls(value))
}

func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if member == nil {
				delete(v, name)
				continue
			}
			v[name] = withoutNulls(member)
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return v
}

func encoded(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic("audit: what was JSON can't be JSON: " + err.Error()) // decoded values always can
	}
	return out
}
