package schemas

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Each rule is its pattern, written out.
func TestRulesAreTheirPatterns(t *testing.T) {
	for name, c := range map[string]struct {
		rule    rule
		pattern string
		max     int
	}{
		"id":       {idRule, `^[!-~]([ -~]*[!-~])?$`, MaxID},
		"account":  {accountRule, `^[A-Za-z0-9_.-]{1,64}$`, MaxAccount},
		"identity": {identityRule, `^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$`, MaxIdentity},
		"service":  {serviceRule, `^VA[0-9a-fA-F]{32}$`, 34},
		"version":  {versionRule, `^1\.[0-9]+$`, 1000},
		"result":   {resultIDRule, `^[0-9a-f]{32}$`, 32},
		"message":  {messageRule, `(?s)^.+$`, MaxMessage},
		"value":    {valueRule, `(?s)^.*$`, MaxValue},
	} {
		re := regexp.MustCompile(c.pattern)
		near := rapid.StringMatching(`(VA|YF|1\.|[ -~])?[0-9a-fA-F -]{0,40}[g_.\n ~é-]?[A-Za-z0-9é]{0,3}`)
		gen := rapid.OneOf(near, rapid.StringMatching(strings.TrimPrefix(strings.Trim(c.pattern, "^$"), "(?s)^")), rapid.String(), rapid.StringN(-1, 300, -1))
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := gen.Draw(t, "text")
				want := re.MatchString(s) && utf8.RuneCountInString(s) <= c.max
				if name == "identity" {
					want = want && len(s) >= MinIdentity
				}
				if message := c.rule(s); (message == "") != want {
					t.Fatalf("%q: %q, want %v", s, message, want)
				}
			})
		})
	}
}

func TestOtherMajor(t *testing.T) {
	for _, v := range []string{"2.0", "2", "0.9", "10.0", "2.0.1", "0"} {
		if !otherMajor(v) {
			t.Errorf("%s is not another major", v)
		}
	}
	for _, v := range []string{"1.0", "1", "1.x", "1.0.0", "", ".", "2.", ".2", "v2.0", "02.0", "01.0", "2.x", "2.0-beta", "two"} {
		if otherMajor(v) {
			t.Errorf("%q is another major", v)
		}
	}
}

func TestRulesQuoteNothingButNames(t *testing.T) {
	for _, s := range []string{"123456", "a b", "ff483d1ff591898a9942916050d2ca3f", strings.Repeat("x", 25), "x\ny", "jürgen"} {
		if message := operationRule(s); strings.Contains(message, s) {
			t.Errorf("%q is quoted: %s", s, message)
		}
	}
	if message := operationRule("creat"); !strings.Contains(message, `not "creat"`) {
		t.Errorf("a name is not quoted: %s", message)
	}
	if message := operationRule(""); !strings.Contains(message, "empty") {
		t.Errorf("an empty name: %s", message)
	}
}

func TestSIDRuleSaysWhatIsWrong(t *testing.T) {
	hex := strings.Repeat("0f", 16)
	for s, want := range map[string]string{
		"VA" + hex:              "",
		"YF" + hex:              "starts with YF",
		"VA" + hex[1:]:          "has 33 characters",
		"VA" + hex[2:]:          "has 32 characters",
		"VAxx" + hex[2:]:        "must be VA and 32 hexadecimal digits",
		"":                      "has 0 characters",
		strings.Repeat("é", 34): "must be VA",
	} {
		got := serviceRule(s)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestSlips(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"identity", "identity", 0},
		{"idenity", "identity", 1},
		{"idnetity", "identity", 1},
		{"identify", "identity", 1},
		{"ca", "abc", 3},
		{"kitten", "sitting", 3},
	} {
		if got := slips(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := slips(c.b, c.a); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

// find panics on a name that a shape doesn't have, so shapes must be complete
// and none larger than an object has room for.
func TestShapesFit(t *testing.T) {
	for name, s := range map[string]*shape{"request": &requestShape, "result": &resultShape, "deadletter": &deadLetterShape} {
		if len(s.names) > maxNames {
			t.Errorf("%s has %d names", name, len(s.names))
		}
		for field := range s.inner {
			if s.index([]byte(field)) < 0 {
				t.Errorf("%s has no %s", name, field)
			}
		}
	}
}
