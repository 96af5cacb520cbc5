package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// inner reads an object of the contract inside another.
func (o *object) inner(name string, need need, read func(in *object)) {
	o.within(name, need, func(n int32) {
		if in, ok := o.d.open(n, o.shape.inner[name]); ok {
			read(&in)
		}
	})
}

// items runs each on every item of an array, which may have at most max. It
// reports whether the array is there.
func (o *object) items(name string, max int, each func(n int32)) (there bool) {
	o.within(name, optional, func(n int32) {
		if !o.d.is(n, kindArray) {
			return
		}
		there = true
		if count := int(o.d.nodes[n].children); count > max {
			o.d.fault(fmt.Sprintf("must have at most %d items; it has %d", max, count))
		}
		index := 0
		for i := o.d.nodes[n].first; i != 0; i = o.d.nodes[i].next {
			o.d.pushIndex(index)
			each(i)
			o.d.pop()
			index++
		}
	})
	return there
}

// unbounded is for arrays that only the size of the event bounds.
const unbounded = math.MaxInt

// texts reads an object that holds only texts. Nil: absent or faulty. The
// reserved name, if any, is refused.
func (o *object) texts(name, reserved string) (m map[string]string) {
	o.within(name, optional, func(n int32) {
		if !o.d.is(n, kindObject) {
			return
		}
		m = make(map[string]string, o.d.nodes[n].children)
		for i := o.d.nodes[n].first; i != 0; i = o.d.nodes[i].next {
			o.d.member(i, reserved, m)
		}
	})
	return m
}

func (d *decoder) member(n int32, reserved string, m map[string]string) {
	key := string(d.memberName(&d.nodes[n]))
	d.push(key)
	defer d.pop()
	switch flaw := d.nodes[n].name; {
	case flaw&flawRepeat != 0:
		d.fault(repeated)
	case flaw != 0:
		d.fault("has a name that is not valid Unicode")
	case reserved != "" && key == reserved:
		d.fault("is reserved for Countersign's own marker")
	default:
		m[key] = d.textValue(n, anyText)
	}
}

// raw copies an object as it stands, without white space.
func (o *object) raw(name string) (raw json.RawMessage) {
	o.within(name, optional, func(n int32) { raw = o.d.rawValue(n) })
	return raw
}

func (d *decoder) rawValue(n int32) json.RawMessage {
	if !d.is(n, kindObject) {
		return nil
	}
	if d.nodes[n].deep&flawUTF8 != 0 {
		d.fault("holds " + flawUTF8.String())
		return nil
	}
	span := d.span(&d.nodes[n])
	if !d.spaced {
		return bytes.Clone(span)
	}
	return appendCompact(nil, span)
}

// raws copies an array of objects, likewise. It is nil where it is absent.
func (o *object) raws(name string) (all []json.RawMessage) {
	there := o.items(name, unbounded, func(n int32) { all = append(all, o.d.rawValue(n)) })
	if there && all == nil {
		all = []json.RawMessage{}
	}
	return all
}
