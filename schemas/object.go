package schemas

import (
	"fmt"
	"time"
)

// object is one object of an event, its fields found by name. A method that
// reads a field notes what is wrong with it and then returns a zero value.
type object struct {
	d     *decoder
	shape *shape
	node  int32
	at    [maxNames]int32 // node by position in shape.names; 0: absent; -1: repeated
}

// open takes the value under way for an object of the given shape, and notes
// repeated, misspelled and unknown fields.
func (d *decoder) open(n int32, s *shape) (o object, ok bool) {
	o = object{d: d, shape: s, node: n}
	if !d.is(n, kindObject) {
		return o, false
	}
	for i := d.nodes[n].first; i != 0; i = d.nodes[i].next {
		m := &d.nodes[i]
		name := d.memberName(m)
		pos := s.index(name)
		switch {
		case pos < 0:
			o.unknown(m, string(name))
		case m.name&flawRepeat != 0:
			if o.at[pos] != -1 {
				d.faultAt(s.names[pos], repeated)
			}
			o.at[pos] = -1
		default:
			o.at[pos] = i
		}
	}
	return o, true
}

const repeated = "appears more than once"

// unknown warns about a field that the contract doesn't have. What is not I-JSON
// about it is a fault all the same.
func (o *object) unknown(m *node, name string) {
	o.d.push(name)
	defer o.d.pop()
	switch {
	case m.name&flawRepeat != 0:
		o.d.fault(repeated)
	case m.name != 0:
		o.d.fault("has a name that is not valid Unicode")
	case m.own|m.deep != 0:
		o.d.fault("holds " + (m.own | m.deep).String())
	default:
		o.d.warn("is not a field of version 1 and is ignored" + o.hint(name))
	}
}

func (f flaws) String() string {
	switch {
	case f&flawUTF8 != 0:
		return "text that is not valid UTF-8"
	case f&flawSurrogate != 0:
		return "half of a surrogate pair"
	default:
		return "a repeated member name"
	}
}

// find returns the node of a field. It is 0 where the field is absent, which is
// a fault if it is needed, and negative where it is there but repeated.
func (o *object) find(name string, need need) int32 {
	for i, n := range o.shape.names {
		if n == name {
			if o.at[i] == 0 && need {
				o.d.faultAt(name, "is required"+o.misspelling(name))
			}
			return o.at[i]
		}
	}
	panic("schemas: no field " + name) // a slip in this package, met by every test
}

// has reports whether a field is there, be it faulty.
func (o *object) has(name string) bool { return o.find(name, optional) != 0 }

// need says whether a field must be there.
type need bool

const (
	required need = true
	optional need = false
)

// is checks the type of the value under way.
func (d *decoder) is(n int32, want kind) bool {
	got := d.nodes[n].kind
	if got == want {
		return true
	}
	message := "must be " + want.String() + ", not " + got.String()
	if got == kindNull && len(d.steps) > 0 {
		message += "; a field without a value is left out"
	}
	d.fault(message)
	return false
}

// within runs read on a field that is there and not repeated.
func (o *object) within(name string, need need, read func(n int32)) {
	if n := o.find(name, need); n > 0 {
		o.d.push(name)
		read(n)
		o.d.pop()
	}
}

// text reads a text that keeps to a rule.
func (o *object) text(name string, need need, rule rule) (s string) {
	if n := o.find(name, need); n > 0 {
		o.d.push(name)
		s = o.d.textValue(n, rule)
		o.d.pop()
	}
	return s
}

func (d *decoder) textValue(n int32, rule rule) string {
	if !d.is(n, kindString) {
		return ""
	}
	m := &d.nodes[n]
	if m.own != 0 {
		d.fault("holds " + m.own.String())
		return ""
	}
	s := d.tree.text(m)
	if message := rule(s); message != "" {
		d.fault(message)
		return ""
	}
	return s
}

// integer reads a whole number between min and max. There is false where it is
// absent or faulty.
func (o *object) integer(name string, need need, min, max int64) (v int64, there bool) {
	o.within(name, need, func(n int32) {
		if !o.d.is(n, kindNumber) {
			return
		}
		var whole bool
		v, whole = wholeNumber(o.d.span(&o.d.nodes[n]))
		there = whole && min <= v && v <= max
		if !there {
			v = 0
			o.d.fault(fmt.Sprintf("must be a whole number from %d to %d", min, max))
		}
	})
	return v, there
}

// boolean reads true or false.
func (o *object) boolean(name string, need need) (v bool) {
	o.within(name, need, func(n int32) {
		v = o.d.is(n, kindBool) && o.d.data[o.d.nodes[n].start] == 't'
	})
	return v
}

// time reads a moment. Nil: absent or faulty.
func (o *object) time(name string, need need) (t *time.Time) {
	o.within(name, need, func(n int32) {
		var v time.Time
		said := len(o.d.faults) + o.d.unsaid
		o.d.textValue(n, func(s string) string {
			var ok bool
			if v, ok = parseTime(s); ok {
				return ""
			}
			return notATime
		})
		if len(o.d.faults)+o.d.unsaid == said {
			t = &v
		}
	})
	return t
}

// count reads a whole number that fits an int. Zero: absent or faulty, or zero.
func (o *object) count(name string, need need, min, max int64) int {
	v, _ := o.integer(name, need, min, max)
	return int(v)
}
