package schemas

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// writer writes compact JSON. It puts a comma where one is due by looking at the
// byte before, which is an opening bracket only where a container has just begun.
type writer struct{ buf []byte }

func (w *writer) comma() {
	if last := w.buf[len(w.buf)-1]; last != '{' && last != '[' {
		w.buf = append(w.buf, ',')
	}
}

// key begins a member; its value must follow.
func (w *writer) key(name string) {
	w.comma()
	w.buf = appendText(w.buf, name)
	w.buf = append(w.buf, ':')
}

func (w *writer) open()  { w.buf = append(w.buf, '{') }
func (w *writer) close() { w.buf = append(w.buf, '}') }

func (w *writer) begin(name string) {
	w.key(name)
	w.open()
}

func (w *writer) text(name, s string) {
	w.key(name)
	w.buf = appendText(w.buf, s)
}

// optional leaves an empty text out.
func (w *writer) optional(name, s string) {
	if s != "" {
		w.text(name, s)
	}
}

func (w *writer) integer(name string, v int64) {
	w.key(name)
	w.buf = strconv.AppendInt(w.buf, v, 10)
}

// count leaves zero out.
func (w *writer) count(name string, v int) {
	if v != 0 {
		w.integer(name, int64(v))
	}
}

func (w *writer) boolean(name string, v bool) {
	w.key(name)
	w.buf = strconv.AppendBool(w.buf, v)
}

func (w *writer) time(name string, t time.Time) {
	w.key(name)
	w.buf = append(w.buf, '"')
	w.buf = appendTime(w.buf, t)
	w.buf = append(w.buf, '"')
}

// moment leaves an absent time out.
func (w *writer) moment(name string, t *time.Time) {
	if t != nil {
		w.time(name, *t)
	}
}

// texts leaves a nil map out, and writes an empty one.
func (w *writer) texts(name string, m map[string]string) {
	if m != nil {
		w.key(name)
		w.buf = appendTexts(w.buf, m)
	}
}

// Stringify returns an object of texts the way the API wants hidden_details and
// metadata: as compact JSON, here with its names sorted and nothing escaped but
// what JSON itself demands. The API's limit on them counts the characters of
// this text. Nil and empty give {}.
func Stringify(m map[string]string) string { return string(appendTexts(nil, m)) }

func appendTexts(b []byte, m map[string]string) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, name)
		b = append(b, ':')
		b = appendText(b, m[name])
	}
	return append(b, '}')
}

// appendText writes a JSON string. What is not valid UTF-8 in it is kept.
func appendText(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// appendTime writes a time in UTC, or in its own zone where only that has a year
// of four digits, or else the nearest moment that has.
func appendTime(b []byte, t time.Time) []byte {
	utc := t.UTC()
	if y := utc.Year(); 0 <= y && y <= 9999 {
		return utc.AppendFormat(b, time.RFC3339Nano)
	}
	_, offset := t.Zone()
	if y := t.Year(); 0 <= y && y <= 9999 && offset%60 == 0 {
		return t.AppendFormat(b, time.RFC3339Nano)
	}
	if utc.Year() < 0 {
		return append(b, "0000-01-01T00:00:00Z"...)
	}
	return append(b, "9999-12-31T23:59:59.999999999Z"...)
}

// appendCompact copies well-formed JSON without the white space between its
// parts. What is not valid UTF-8 becomes U+FFFD.
func appendCompact(b []byte, raw json.RawMessage) []byte {
	start := len(b)
	b = slices.Grow(b, len(raw))
	for i := 0; i < len(raw); {
		end := i
		for end < len(raw) && raw[end] != '"' && !isSpace(raw[end]) {
			end++
		}
		b = append(b, raw[i:end]...)
		if i = end; i == len(raw) {
			break
		}
		if raw[i] != '"' {
			i++
			continue
		}
		end = textEnd(raw, i)
		b = append(b, raw[i:end]...)
		i = end
	}
	if utf8.Valid(b[start:]) {
		return b
	}
	return append(b[:start:start], strings.ToValidUTF8(string(b[start:]), "\uFFFD")...)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// textEnd is where the text ends that begins at a position, behind its quote.
func textEnd(raw []byte, at int) int {
	for end := at + 1; ; {
		n := bytes.IndexByte(raw[end:], '"')
		if n < 0 {
			return len(raw)
		}
		end += n + 1
		escapes := 0
		for raw[end-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return end
		}
	}
}
