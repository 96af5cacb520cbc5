package schemas

import (
	"fmt"
	"strconv"
	"sync"
	"unicode/utf8"
)

// decoder walks the tree of one event and collects what is wrong with it. The
// path of the value under way is kept in steps and only written out for a fault.
type decoder struct {
	tree
	root     *shape // of the whole event, to find where a misplaced field belongs
	steps    []step
	faults   []Fault
	warnings []Warning
	unsaid   int // faults beyond MaxFaults
	unwarned int // warnings beyond MaxFaults
}

// step is one part of a path: a member name, or an index where index is not -1.
type step struct {
	name  string
	index int
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// keptNodes is the largest tree whose memory a pooled decoder keeps.
const keptNodes = 4096

// newDecoder parses data. Its caller must release the decoder, unless there is
// an error.
func newDecoder(data []byte, root *shape) (*decoder, *DecodeError) {
	if len(data) > MaxEventBytes {
		return nil, refusal(CodeTooLarge, fmt.Sprintf("is %d bytes long; %d are allowed", len(data), MaxEventBytes))
	}
	d := decoders.Get().(*decoder)
	d.root = root
	if what, at := d.parse(data, MaxDepth); what != "" {
		d.release()
		return nil, refusal(CodeNotJSON, fmt.Sprintf("is not JSON: at byte %d, %s", at, what))
	}
	return d, nil
}

func refusal(code ErrorCode, message string) *DecodeError {
	return &DecodeError{Code: code, Faults: []Fault{{Path: "$", Message: message}}}
}

// release gives the decoder back. Nothing of the event stays in it.
func (d *decoder) release() {
	nodes := d.nodes[:0]
	if cap(nodes) > keptNodes {
		nodes = nil
	}
	clear(d.steps[:cap(d.steps)])
	*d = decoder{tree: tree{nodes: nodes}, steps: d.steps[:0]}
	decoders.Put(d)
}

// verdict ends a walk: nil where there was no fault.
func (d *decoder) verdict(id string, op Operation) error {
	if len(d.faults) == 0 {
		return nil
	}
	if d.unsaid > 0 {
		d.faults = append(d.faults, Fault{Path: "$", Message: fmt.Sprintf("has %d more faults", d.unsaid)})
	}
	code := CodeInvalid
	if id == "" {
		code = CodeNoID
	}
	return &DecodeError{Code: code, ID: id, Operation: op, Faults: d.faults}
}

// notices returns the warnings of a walk.
func (d *decoder) notices() []Warning {
	if d.unwarned == 0 {
		return d.warnings
	}
	return append(d.warnings, Warning{Path: "$", Message: fmt.Sprintf("has %d more unknown fields", d.unwarned)})
}

func (d *decoder) push(name string) { d.steps = append(d.steps, step{name: name, index: -1}) }
func (d *decoder) pushIndex(i int)  { d.steps = append(d.steps, step{index: i}) }
func (d *decoder) pop()             { d.steps = d.steps[:len(d.steps)-1] }

// fault notes a fault of the value under way.
func (d *decoder) fault(message string) {
	if len(d.faults) == MaxFaults {
		d.unsaid++
		return
	}
	d.faults = append(d.faults, Fault{Path: d.path(), Message: message})
}

// faultAt notes a fault of a member of the value under way.
func (d *decoder) faultAt(name, message string) {
	d.push(name)
	d.fault(message)
	d.pop()
}

func (d *decoder) warn(message string) {
	if len(d.warnings) == MaxFaults {
		d.unwarned++
		return
	}
	d.warnings = append(d.warnings, Warning{Path: d.path(), Message: message})
}

// path writes out the steps.
func (d *decoder) path() string {
	b := []byte{'$'}
	for _, s := range d.steps {
		if s.index >= 0 {
			b = append(b, '[')
			b = strconv.AppendInt(b, int64(s.index), 10)
			b = append(b, ']')
			continue
		}
		b = appendName(b, s.name)
	}
	return string(b)
}

// shownName is how many characters of a name a path shows.
const shownName = 64

func appendName(b []byte, name string) []byte {
	plain := name != "" && len(name) <= shownName
	for i := 0; plain && i < len(name); i++ {
		c := name[i]
		plain = c == '_' || isLetter(c) || i > 0 && isDigit(c)
	}
	if plain {
		return append(append(b, '.'), name...)
	}
	if utf8.RuneCountInString(name) > shownName {
		name = string([]rune(name)[:shownName]) + "…"
	}
	return append(strconv.AppendQuote(append(b, '['), name), ']')
}
