package schemas

// parser builds a tree in one pass over a JSON text. The first syntax error
// ends it; flaws don't, they are noted on the nodes.
type parser struct {
	*tree
	pos   int
	depth int    // how much deeper it may still go
	err   string // what is wrong at pos; empty: nothing
}

// parse reads data into t, nested at most depth deep. It returns what is wrong
// and where, or an empty text.
func (t *tree) parse(data []byte, depth int) (what string, at int) {
	t.data, t.nodes, t.spaced = data, t.nodes[:0], false
	p := parser{tree: t, depth: depth}
	p.value()
	if p.err == "" {
		p.space()
		if p.pos < len(p.data) {
			p.err = "text follows the end of the value"
		}
	}
	return p.err, p.pos
}

func (p *parser) fail(what string) { p.err = what }

// peek returns the next byte that is no white space, or 0 at the end.
func (p *parser) peek() byte {
	p.space()
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

func (p *parser) space() {
	for p.pos < len(p.data) && p.data[p.pos] <= ' ' {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
			p.spaced = true
		default:
			return
		}
	}
}

// value reads one value and returns its node.
func (p *parser) value() int32 {
	c := p.peek()
	at := int32(len(p.nodes))
	p.nodes = append(p.nodes, node{start: int32(p.pos)})
	switch {
	case c == '"':
		own, escaped := p.str()
		p.nodes[at].kind, p.nodes[at].own, p.nodes[at].escaped = kindString, own, escaped
	case c == '{':
		p.nested(at, kindObject)
	case c == '[':
		p.nested(at, kindArray)
	case c == '-' || '0' <= c && c <= '9':
		p.nodes[at].kind = kindNumber
		p.number()
	case c == 't':
		p.nodes[at].kind = kindBool
		p.literal("true")
	case c == 'f':
		p.nodes[at].kind = kindBool
		p.literal("false")
	case c == 'n':
		p.literal("null")
	case p.pos == len(p.data):
		p.fail("the text ends where a value is due")
	default:
		p.fail("no value starts like this")
	}
	p.nodes[at].end = int32(p.pos)
	return at
}

func (p *parser) nested(at int32, k kind) {
	if p.depth == 0 {
		p.fail("it is nested too deep")
		return
	}
	p.depth--
	p.nodes[at].kind = k
	p.pos++
	if k == kindObject {
		p.members(at)
	} else {
		p.items(at)
	}
	p.depth++
}

func (p *parser) members(at int32) {
	last := int32(0)
	for p.more(last != 0, '}') {
		if p.peek() != '"' {
			p.fail("a member name is due")
			return
		}
		start := p.pos + 1
		flaw, escaped := p.str()
		end := p.pos - 1
		if p.err == "" && p.peek() != ':' {
			p.fail("a colon is due")
		}
		if p.err != "" {
			return
		}
		p.pos++
		child := p.value()
		n := &p.nodes[child]
		n.nameStart, n.nameEnd, n.name, n.nameEsc = int32(start), int32(end), flaw, escaped
		last = p.link(at, last, child)
	}
	if p.err == "" {
		p.markRepeats(at)
	}
}

func (p *parser) items(at int32) {
	last := int32(0)
	for p.more(last != 0, ']') {
		last = p.link(at, last, p.value())
	}
}

// more reports whether another child follows, behind one or as the first, and moves past the comma before
// it or past the bracket that closes the parent.
func (p *parser) more(behind bool, closing byte) bool {
	if p.err != "" {
		return false
	}
	c := p.peek()
	switch {
	case c == closing:
		p.pos++
		return false
	case !behind:
		return true
	case c == ',':
		p.pos++
		return true
	default:
		p.fail("a comma or a closing bracket is due")
		return false
	}
}

// link makes child the last of parent's children.
func (p *parser) link(parent, last, child int32) int32 {
	n, c := &p.nodes[parent], &p.nodes[child]
	if last == 0 {
		n.first = child
	} else {
		p.nodes[last].next = child
	}
	n.children++
	n.deep |= c.own | c.name | c.deep
	return child
}
