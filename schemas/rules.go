package schemas

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// rule checks a text and returns what is wrong with it, or an empty text. It
// quotes the text only where that is harmless.
type rule func(s string) string

func anyText(string) string { return "" }

// length allows min to max code points. What it says holds no part of the text.
func length(min, max int) rule {
	return func(s string) string {
		if len(s) >= min && len(s) <= max && (min < 2 || isASCII(s)) {
			return ""
		}
		n := utf8.RuneCountInString(s)
		if min <= n && n <= max {
			return ""
		}
		return fmt.Sprintf("must have %d to %d characters; it has %d", min, max, n)
	}
}

// notEmpty is the rule of an optional text without a longest length.
func notEmpty(s string) string {
	if s == "" {
		return "must not be empty; a field without a value is left out"
	}
	return ""
}

// oneOf allows the values of a closed list.
func oneOf[T ~string](values ...T) rule {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	message := "must be one of " + strings.Join(names, ", ")
	return func(s string) string {
		if slices.Contains(names, s) {
			return ""
		}
		return message + quoted(s)
	}
}

// quoted shows a text that looks like a value of a closed list, and no other.
func quoted(s string) string {
	if s == "" {
		return "; it is empty"
	}
	if len(s) > 24 {
		return ""
	}
	for i := range len(s) {
		if !isLetter(s[i]) && s[i] != '_' && s[i] != '-' {
			return ""
		}
	}
	return ", not " + strconv.Quote(s)
}

// sid allows a prefix and 32 hexadecimal digits.
func sid(prefix string) rule {
	const digits = 32
	return func(s string) string {
		if len(s) == len(prefix)+digits && strings.HasPrefix(s, prefix) && isHex(s[len(prefix):]) {
			return ""
		}
		message := fmt.Sprintf("must be %s and %d hexadecimal digits", prefix, digits)
		n := utf8.RuneCountInString(s)
		switch {
		case n != len(prefix)+digits:
			return fmt.Sprintf("%s; it has %d characters", message, n)
		case isUpper(s[0]) && isUpper(s[1]) && s[:2] != prefix:
			return message + "; it starts with " + s[:2]
		default:
			return message
		}
	}
}

// idRule allows printable ASCII that neither starts nor ends with a space, so
// that an id survives a header, a log line and a copy by hand.
func idRule(s string) string {
	ok := s != "" && len(s) <= MaxID && s[0] != ' ' && s[len(s)-1] != ' '
	for i := 0; ok && i < len(s); i++ {
		ok = ' ' <= s[i] && s[i] <= '~'
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("must have 1 to %d printable ASCII characters, no space first or last", MaxID)
}

func accountRule(s string) string {
	ok := s != "" && len(s) <= MaxAccount
	for i := 0; ok && i < len(s); i++ {
		ok = isLetter(s[i]) || isDigit(s[i]) || s[i] == '_' || s[i] == '.' || s[i] == '-'
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("must have 1 to %d letters, digits, dots, dashes or underscores", MaxAccount)
}

// identityRule never shows the identity: it may be personal.
func identityRule(s string) string {
	ok := len(s) >= MinIdentity && len(s) <= MaxIdentity && s[0] != '-' && s[len(s)-1] != '-'
	for i := 0; ok && i < len(s); i++ {
		ok = isLetter(s[i]) || isDigit(s[i]) || s[i] == '-' && s[i-1] != '-'
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("must have %d to %d letters and digits, in groups separated by single dashes", MinIdentity, MaxIdentity)
}

// versionRule allows this major version.
func versionRule(s string) string {
	if minor, ok := strings.CutPrefix(s, "1."); ok && minor != "" && allDigits(minor) {
		return ""
	}
	return `must be 1. and a minor version, such as "` + Version + `"`
}

// otherMajor reports whether s is a version of another major, not merely a
// malformed one.
func otherMajor(s string) bool {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || !allDigits(p) {
			return false
		}
	}
	return parts[0] != "1" && (parts[0] == "0" || parts[0][0] != '0')
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isUpper(c byte) bool  { return 'A' <= c && c <= 'Z' }

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; !isDigit(s[i]) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
