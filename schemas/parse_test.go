package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var texts = []string{
	``, ` `, `{}`, `[]`, `""`, `0`, `-0`, `-`, `01`, `1.`, `.5`, `1.5`, `1e`, `1e+`, `1e5`, `1E-5`, `1.5e+05`, `+1`, `0x1`, `1_0`,
	`true`, `false`, `null`, `tru`, `truE`, `nul`, `falsey`, `True`, `NaN`, `Infinity`, `undefined`,
	`{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a" 1}`, `{a:1}`, `{'a':1}`, `{"a":1 "b":2}`, `{"a":1,"a":2}`, `{1:2}`,
	`[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[1`, `[`, `{`, `{"a`, `{"a":`, `{"a":1`, `]`, `}`, `[}`, `{]`, `[[]]`, `[[],{}]`,
	` [ 1 , 2 ] `, "\t{\n\"a\" :\r1 }", "\v1", "\f1", "\u00a01", "1 2", "{} {}", "1,", `1//c`, `/* */1`,
	`"a`, `"`, `"\`, `"\"`, `"\x"`, `"\u"`, `"\u12"`, `"\u12g4"`, `"\u1234"`, `"\u12345"`, `"\ud83d\ude00"`, `"\uD83D\uDE00\u00Ff"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`,
	`"\ud83d\`, `"\ud83d\u"`, `"\ud83d\n"`, `"\b\f\n\r\t\"\\\/"`, "\"\n\"", "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\"", "\"\xc3\x28\"", "\"\xed\xa0\x80\"", "\xef\xbb\xbf{}",
	`"é € 😀"`, "{\"\xff\":1}", `{"\ud800":1}`, `{"a":1,"\u0061":2}`,
}

// The grammar is that of encoding/json, which knows of no flaws.
func TestParseTakesWhatIsJSON(t *testing.T) {
	for _, text := range texts {
		checkParse(t, []byte(text))
	}
}

func TestParseTakesWhatIsJSONInPieces(t *testing.T) {
	piece := rapid.SampledFrom(append([]string{`{`, `}`, `[`, `]`, `,`, `:`, `"`, `\`, `\u00`, `-`, `e`, `.`}, texts...))
	rapid.Check(t, func(t *rapid.T) {
		checkParse(t, []byte(strings.Join(rapid.SliceOfN(piece, 1, 12).Draw(t, "pieces"), "")))
	})
}

func checkParse(t interface{ Fatalf(string, ...any) }, data []byte) {
	var tr tree
	what, at := tr.parse(data, 1000)
	if (what == "") != json.Valid(data) {
		t.Fatalf("%q: %q at %d, valid: %v", data, what, at, json.Valid(data))
	}
	if at < 0 || at > len(data) {
		t.Fatalf("%q: fault at %d", data, at)
	}
	if what != "" {
		return
	}
	var want any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&want); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	if got, want := fmt.Sprintf("%#v", value(&tr, 0)), fmt.Sprintf("%#v", want); got != want && utf8.Valid(data) {
		t.Fatalf("%q: %s, want %s", data, got, want)
	}
}

// value rebuilds what encoding/json makes of a tree. The last of repeated names
// counts there, too.
func value(t *tree, i int32) any {
	n := &t.nodes[i]
	switch n.kind {
	case kindObject:
		m := map[string]any{}
		for c := n.first; c != 0; c = t.nodes[c].next {
			m[strings.ToValidUTF8(string(t.memberName(&t.nodes[c])), "\uFFFD")] = value(t, c)
		}
		return m
	case kindArray:
		list := []any{}
		for c := n.first; c != 0; c = t.nodes[c].next {
			list = append(list, value(t, c))
		}
		return list
	case kindString:
		return t.text(n)
	case kindNumber:
		return json.Number(t.span(n))
	case kindBool:
		return string(t.span(n)) == "true"
	default:
		return nil
	}
}

func TestParseBoundsDepth(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat(`[`, n) + strings.Repeat(`]`, n)) }
	var tr tree
	if what, _ := tr.parse(nested(8), 8); what != "" {
		t.Errorf("8 levels of 8: %s", what)
	}
	if what, at := tr.parse(nested(9), 8); what == "" || at != 8 {
		t.Errorf("9 levels of 8: %q at %d", what, at)
	}
	// Siblings are no depth.
	if what, _ := tr.parse([]byte(`[[],[],{"a":[]},{"b":{}}]`), 3); what != "" {
		t.Errorf("siblings: %s", what)
	}
	if what, _ := tr.parse([]byte(strings.Repeat(`[`, 1<<20)), 64); what == "" {
		t.Error("a million brackets are taken")
	}
}

func TestParseNotesFlaws(t *testing.T) {
	for text, want := range map[string]flaws{
		`{"a":1,"b":{"a":1}}`:                   0,
		`{"a":1,"a":1}`:                         flawRepeat,
		`{"a":1,"\u0061":1}`:                    flawRepeat,
		`[{"x":{"a":1,"b":2,"a":3}}]`:           flawRepeat,
		`["\ud83d\ude00"]`:                      0,
		`["\ud83d"]`:                            flawSurrogate,
		`{"\ude00":1}`:                          flawSurrogate,
		"[\"\xff\"]":                            flawUTF8,
		"{\"a\":{\"\xff\":\"\\ud800\"}}":        flawUTF8 | flawSurrogate,
		"[\"\xed\xa0\x80\"]":                    flawUTF8,
		many(smallObject+4, `"k0":0`):           flawRepeat,
		many(smallObject+4, `"\u006b\u0030":0`): flawRepeat,
		many(smallObject+4, `"other":0`):        0,
	} {
		var tr tree
		if what, _ := tr.parse([]byte(text), 64); what != "" {
			t.Errorf("%q: %s", text, what)
		} else if got := tr.nodes[0].deep; got != want {
			t.Errorf("%q: flaws %b, want %b", text, got, want)
		}
	}
}

// many is an object of n members and one more.
func many(n int, last string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	return b.String() + last + "}"
}

func TestCompactKeepsEverythingButSpace(t *testing.T) {
	for in, want := range map[string]string{
		` { "a b" : [ 1.50 , 1e2 ,true ] , "c\" d" : "\\" } `: `{"a b":[1.50,1e2,true],"c\" d":"\\"}`,
		"{\n\t\"<&>\": \"\\u003c\"}":                          `{"<&>":"\u003c"}`,
		"{\"a\":\"\xff b\"}":                                  "{\"a\":\"\uFFFD b\"}",
		`{"a":"\\\" b"}`:                                      `{"a":"\\\" b"}`,
	} {
		if got := string(appendCompact(nil, []byte(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// What ends plain text is found wherever it stands, whatever comes before or behind it.
func TestPlain(t *testing.T) {
	slowly := func(b []byte) int {
		for i, c := range b {
			if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
				return i
			}
		}
		return len(b)
	}
	for _, around := range []byte{' ', '!', '#', '[', ']', 'a', 0x7f, 0, 0x1f, '"', '\\', 0x80, 0xff} {
		for c := range 256 {
			for size := range 20 {
				for at := range size {
					b := bytes.Repeat([]byte{'a'}, size)
					b[at] = byte(c)
					for i := at + 1; i < size; i++ {
						b[i] = around
					}
					if got := plain(b); got != slowly(b) {
						t.Fatalf("%q: %d", b, got)
					}
				}
			}
		}
	}
}
