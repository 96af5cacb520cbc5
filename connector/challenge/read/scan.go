package read

import (
	"time"
	"unicode/utf8"
)

// scanChallenge reads a challenge as the API nearly always writes it, for a fraction
// of what encoding/json takes. Where it is true, encoding/json would read the
// same; everything out of the ordinary, faults among it, is left to that: names
// that Challenge doesn't have, or twice, escapes, and values of other kinds.
func scanChallenge(data []byte) (c Challenge, plain bool) {
	s := scanner{data: data, plain: true}
	s.members(func(name []byte) int { return 1 << c.scan(&s, name) })
	s.space()
	return c, s.plain && s.at == len(data)
}

// scan takes the property of that name and returns the number that the property
// has here.
func (c *Challenge) scan(s *scanner, name []byte) int {
	switch string(name) {
	case "sid":
		c.SID = s.text()
		return 0
	case "account_sid":
		c.AccountSID = s.text()
		return 1
	case "service_sid":
		c.ServiceSID = s.text()
		return 2
	case "entity_sid":
		c.EntitySID = s.text()
		return 3
	case "identity":
		c.Identity = s.text()
		return 4
	case "factor_sid":
		c.FactorSID = s.text()
		return 5
	case "date_created":
		c.DateCreated = s.moment()
		return 6
	case "date_updated":
		c.DateUpdated = s.moment()
		return 7
	case "date_responded":
		c.DateResponded = s.moment()
		return 8
	case "expiration_date":
		c.ExpirationDate = s.moment()
		return 9
	case "status":
		c.Status = Status(s.text())
		return 10
	case "responded_reason":
		c.RespondedReason = RespondedReason(s.text())
		return 11
	case "factor_type":
		c.FactorType = FactorType(s.text())
		return 12
	case "url":
		c.URL = s.text()
		return 13
	case "details":
		c.Details = s.details()
		return 14
	case "hidden_details":
		c.HiddenDetails = s.properties()
		return 15
	case "metadata":
		c.Metadata = s.properties()
		return 16
	case "links":
		c.Links = s.links()
		return 17
	default:
		s.plain = false
		return 18
	}
}

// scanner walks over JSON until something is not plain; from there on its
// methods do nothing.
type scanner struct {
	data  []byte
	at    int
	plain bool
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// next takes a byte if it is the next one that is not white space.
func (s *scanner) next(c byte) bool {
	s.space()
	if !s.plain || s.at == len(s.data) || s.data[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) want(c byte) {
	if !s.next(c) {
		s.plain = false
	}
}

// null takes a null.
func (s *scanner) null() bool {
	s.space()
	const word = "null"
	if !s.plain || len(s.data)-s.at < len(word) || string(s.data[s.at:s.at+len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

// list takes what stands between two brackets, with commas between its items.
func (s *scanner) list(open, closing byte, item func()) {
	if s.want(open); s.next(closing) {
		return
	}
	for s.plain {
		item()
		if s.next(closing) {
			return
		}
		s.want(',')
	}
}

func (s *scanner) object(member func(name []byte)) {
	s.list('{', '}', func() {
		name := s.quoted()
		if s.want(':'); s.plain {
			member(name)
		}
	})
}

// members reads an object whose names are known: each has a bit of its own, and
// an unknown name, with none, or a second one of the same is not plain.
func (s *scanner) members(member func(name []byte) (bit int)) {
	seen := 0
	s.object(func(name []byte) {
		bit := member(name)
		s.plain = s.plain && bit != 0 && seen&bit == 0
		seen |= bit
	})
}

// quoted takes a string without escapes, with its quotes cut off.
func (s *scanner) quoted() []byte {
	s.want('"')
	if !s.plain {
		return nil
	}
	from, ascii := s.at, true
	for s.at < len(s.data) {
		c := s.data[s.at]
		if c == '"' {
			out := s.data[from:s.at]
			s.at++
			s.plain = ascii || utf8.Valid(out)
			return out
		}
		if c < ' ' || c == '\\' {
			break
		}
		ascii = ascii && c < utf8.RuneSelf
		s.at++
	}
	s.plain = false
	return nil
}

// text takes a string or null.
func (s *scanner) text() string {
	if s.null() {
		return ""
	}
	return string(s.quoted())
}

func (s *scanner) moment() *time.Time {
	if s.null() {
		return nil
	}
	from := len(s.quoted()) + 2
	if !s.plain {
		return nil
	}
	var t time.Time
	if t.UnmarshalJSON(s.data[s.at-from:s.at]) != nil {
		s.plain = false
	}
	return &t
}

func (s *scanner) details() *Details {
	if s.null() {
		return nil
	}
	d := &Details{}
	s.members(func(name []byte) (bit int) {
		switch string(name) {
		case "message":
			d.Message, bit = s.text(), 1
		case "date":
			d.Date, bit = s.moment(), 2
		case "fields":
			d.Fields, bit = s.fields(), 4
		}
		return bit
	})
	return d
}

func (s *scanner) fields() []Field {
	if s.null() {
		return nil
	}
	out := []Field{}
	s.list('[', ']', func() {
		f := Field{}
		s.members(func(name []byte) (bit int) {
			switch string(name) {
			case "label":
				f.Label, bit = s.text(), 1
			case "value":
				f.Value, bit = s.text(), 2
			}
			return bit
		})
		out = append(out, f)
	})
	return out
}

func (s *scanner) properties() Properties {
	if s.null() {
		return nil
	}
	out := Properties{}
	s.object(func(name []byte) { out[string(name)] = string(s.quoted()) })
	return out
}

func (s *scanner) links() map[string]string {
	if s.null() {
		return nil
	}
	out := map[string]string{}
	s.object(func(name []byte) { out[string(name)] = string(s.quoted()) })
	return out
}
