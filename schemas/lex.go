package schemas

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

func (p *parser) literal(word string) {
	if len(p.data)-p.pos < len(word) || string(p.data[p.pos:p.pos+len(word)]) != word {
		p.fail("no value starts like this")
		return
	}
	p.pos += len(word)
}

// number reads a number by the grammar of RFC 8259, section 6.
func (p *parser) number() {
	if p.at('-') {
		p.pos++
	}
	switch {
	case p.at('0'):
		p.pos++
	case !p.digits():
		return
	}
	if p.at('.') {
		p.pos++
		if !p.digits() {
			return
		}
	}
	if p.at('e') || p.at('E') {
		p.pos++
		if p.at('+') || p.at('-') {
			p.pos++
		}
		p.digits()
	}
}

func (p *parser) at(c byte) bool { return p.pos < len(p.data) && p.data[p.pos] == c }

func (p *parser) digits() bool {
	start := p.pos
	for p.pos < len(p.data) && '0' <= p.data[p.pos] && p.data[p.pos] <= '9' {
		p.pos++
	}
	if p.pos == start {
		p.fail("a digit is due")
		return false
	}
	return true
}

// str reads a string, of which pos is the opening quote.
func (p *parser) str() (flaw flaws, escaped bool) {
	p.pos++
	for p.pos < len(p.data) {
		p.pos += plain(p.data[p.pos:])
		if p.pos == len(p.data) {
			break
		}
		c := p.data[p.pos]
		switch {
		case c == '"':
			p.pos++
			return flaw, escaped
		case c == '\\':
			escaped = true
			flaw |= p.escape()
			if p.err != "" {
				return flaw, escaped
			}
		case c < ' ':
			p.fail("a string holds a control character")
			return flaw, escaped
		default:
			r, size := utf8.DecodeRune(p.data[p.pos:])
			if r == utf8.RuneError && size == 1 {
				flaw |= flawUTF8
			}
			p.pos += size
		}
	}
	p.fail("a string has no end")
	return flaw, escaped
}

// plain is how many bytes at the start of b a string has as they are: ASCII, no
// quote, backslash or control character. It looks at eight at a time, since most of
// an event is text.
func plain(b []byte) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	i := 0
	for ; i+8 <= len(b); i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := v^('"'*ones), v^('\\'*ones)
		// Each term has the high bit set in the first byte that is meant; those behind
		// it may have it for the borrow.
		if not := (v | (v - ' '*ones) | (quote - ones) | (backslash - ones)) & highs; not != 0 {
			return i + bits.TrailingZeros64(not)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// escape reads one escape, of which pos is the backslash.
func (p *parser) escape() flaws {
	if p.pos+1 == len(p.data) {
		p.fail("a string has no end")
		return 0
	}
	switch p.data[p.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.pos += 2
		return 0
	case 'u':
		_, size, flaw := escapedRune(p.data[p.pos:])
		if size == 0 {
			p.fail("a \\u escape needs four hexadecimal digits")
		}
		p.pos += size
		return flaw
	default:
		p.fail("no such escape")
		return 0
	}
}

// escapedRune reads the \u escape, or pair of them, at the start of b. The size
// is 0 where there is none.
func escapedRune(b []byte) (r rune, size int, flaw flaws) {
	hi, ok := hex4(b)
	if !ok {
		return 0, 0, 0
	}
	if !utf16.IsSurrogate(hi) {
		return hi, 6, 0
	}
	if lo, ok := hex4(b[6:]); ok {
		if r := utf16.DecodeRune(hi, lo); r != utf8.RuneError {
			return r, 12, 0
		}
	}
	return utf8.RuneError, 6, flawSurrogate
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape resolves the escapes of a JSON string's inside, which the parser has
// checked. Half a surrogate pair becomes U+FFFD.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			out = append(out, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, size, _ := escapedRune(raw[i-1:])
			out = utf8.AppendRune(out, r)
			i += size - 2
		default: // quote, backslash, slash
			out = append(out, raw[i])
		}
	}
	return out
}
