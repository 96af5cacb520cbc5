package schemas

// kind is the JSON type of a value.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// flaws are what makes well-formed JSON not I-JSON.
type flaws uint8

const (
	flawUTF8      flaws = 1 << iota // a string that is not valid UTF-8
	flawSurrogate                   // a \u escape that is half of a pair
	flawRepeat                      // a member name used before in the same object
)

// node is one value of a JSON text, as spans into it. Spans of strings include
// their quotes, spans of names don't.
type node struct {
	kind       kind
	own        flaws // of the value itself, a string
	name       flaws // of the member name, flawRepeat included
	deep       flaws // of everything inside the value
	escaped    bool  // the value is a string with an escape
	nameEsc    bool  // so is the member name
	nameStart  int32
	nameEnd    int32
	start, end int32
	first      int32 // first child; 0: none
	next       int32 // next sibling; 0: none
	children   int32
}

// tree is a parsed JSON text. Node 0 is the whole; nodes stand in the order of
// the text. The offsets are 32 bits wide, so a text must be smaller than 2 GiB.
type tree struct {
	data   []byte
	nodes  []node
	spaced bool // there is white space between its parts
}

// memberName returns the name of a member, without its escapes.
func (t *tree) memberName(n *node) []byte {
	raw := t.data[n.nameStart:n.nameEnd]
	if !n.nameEsc {
		return raw
	}
	return unescape(raw)
}

// text returns the value of a string node.
func (t *tree) text(n *node) string {
	raw := t.data[n.start+1 : n.end-1]
	if !n.escaped {
		return string(raw)
	}
	return string(unescape(raw))
}

// span returns a value as it stands in the text.
func (t *tree) span(n *node) []byte { return t.data[n.start:n.end] }

// smallObject is up to how many members names are compared pair by pair.
const smallObject = 24

// markRepeats flags the members of an object whose name stood there before.
func (t *tree) markRepeats(at int32) {
	obj := &t.nodes[at]
	if obj.children < 2 {
		return
	}
	if obj.children > smallObject {
		t.markRepeatsByMap(obj)
		return
	}
	seen := uint64(0) // what is no bit of it was not met
	for b := obj.first; b != 0; b = t.nodes[b].next {
		bit := t.nameBit(&t.nodes[b])
		met := seen&bit != 0
		seen |= bit
		if !met {
			continue
		}
		for a := obj.first; a != b; a = t.nodes[a].next {
			if t.sameName(&t.nodes[a], &t.nodes[b]) {
				t.nodes[b].name |= flawRepeat
				obj.deep |= flawRepeat
				break
			}
		}
	}
}

// nameBit is one bit that names which are the same have in common.
func (t *tree) nameBit(n *node) uint64 {
	name := t.memberName(n)
	if len(name) == 0 {
		return 1
	}
	h := uint32(len(name)) + 5*uint32(name[0]) + 11*uint32(name[len(name)-1]) + 23*uint32(name[len(name)/2])
	return 1 << (h % 64)
}

func (t *tree) sameName(a, b *node) bool {
	if !a.nameEsc && !b.nameEsc {
		return string(t.data[a.nameStart:a.nameEnd]) == string(t.data[b.nameStart:b.nameEnd])
	}
	return string(t.memberName(a)) == string(t.memberName(b))
}

func (t *tree) markRepeatsByMap(obj *node) {
	seen := make(map[string]struct{}, obj.children)
	for i := obj.first; i != 0; i = t.nodes[i].next {
		name := string(t.memberName(&t.nodes[i]))
		if _, ok := seen[name]; ok {
			t.nodes[i].name |= flawRepeat
			obj.deep |= flawRepeat
		}
		seen[name] = struct{}{}
	}
}
