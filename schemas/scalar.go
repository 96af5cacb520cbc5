package schemas

import (
	"bytes"
	"strconv"
	"time"
)

// wholeNumber reads a JSON number, of which the grammar is known to hold. Like
// JSON Schema it takes 1.0 and 1e2 for whole numbers. It reports false for a
// fraction and for what 64 bits can't hold.
func wholeNumber(lit []byte) (int64, bool) {
	if len(lit) <= 18 && !bytes.ContainsAny(lit, ".eE") {
		v, err := strconv.ParseInt(string(lit), 10, 64)
		return v, err == nil
	}
	digits, shift := decimal(lit)
	if digits == "" {
		return 0, true
	}
	const most = 19 // decimal digits of the largest int64
	if shift < 0 || len(digits)+shift > most {
		return 0, false
	}
	for range shift {
		digits += "0"
	}
	if lit[0] == '-' {
		digits = "-" + digits
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	return v, err == nil
}

// decimal splits the size of a number into digits without outer zeros, none for
// zero, and the power of ten that they are multiplied by.
func decimal(lit []byte) (digits string, shift int) {
	lit = bytes.TrimPrefix(lit, []byte("-"))
	if e := bytes.IndexAny(lit, "eE"); e >= 0 {
		shift = exponent(lit[e+1:])
		lit = lit[:e]
	}
	whole, fraction, _ := bytes.Cut(lit, []byte("."))
	all := append(bytes.Clone(whole), fraction...)
	shift -= len(fraction)
	all = bytes.TrimLeft(all, "0")
	short := bytes.TrimRight(all, "0")
	return string(short), shift + len(all) - len(short)
}

// exponent reads an exponent; one beyond any event's length is cut to a bound
// that no digits can make up for.
func exponent(lit []byte) int {
	const bound = 4 * MaxEventBytes
	v, err := strconv.Atoi(string(lit))
	switch {
	case err != nil && lit[0] == '-' || v < -bound:
		return -bound
	case err != nil || v > bound:
		return bound
	default:
		return v
	}
}

func timeRule(s string) string {
	if _, ok := parseTime(s); ok {
		return ""
	}
	return notATime
}

const notATime = "must be a date and time as in 2026-01-02T15:04:05Z (RFC 3339, capital T and Z or an offset)"

// parseTime reads an RFC 3339 date-time, stricter than package time: capital T
// and Z, two digits everywhere, a point before at most nine digits of a second,
// offsets below 24 hours. A leap second is refused, since neither Go nor Kafka
// has one.
func parseTime(s string) (time.Time, bool) {
	const shape = "dddd-dd-ddTdd:dd:dd"
	if len(s) <= len(shape) {
		return time.Time{}, false
	}
	for i := range len(shape) {
		if shape[i] == 'd' && !isDigit(s[i]) || shape[i] != 'd' && s[i] != shape[i] {
			return time.Time{}, false
		}
	}
	nanos, rest, ok1 := fraction(s[len(shape):])
	offset, ok2 := zone(rest)
	year, month, day := number(s[:4]), time.Month(number(s[5:7])), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	if !ok1 || !ok2 || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day { // 30 February moves on to March
		return time.Time{}, false
	}
	return canonical(t, offset), true
}

// canonical takes the wall clock of a zone to UTC, unless UTC has it in a year
// that RFC 3339 can't write; then it stays in its zone.
func canonical(wall time.Time, offset time.Duration) time.Time {
	t := wall.Add(-offset)
	if y := t.Year(); y < 0 || y > 9999 {
		return t.In(time.FixedZone("", int(offset/time.Second)))
	}
	return t
}

// fraction reads the optional fraction of a second.
func fraction(s string) (nanos int, rest string, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	n := 1
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 1 || n > 10 {
		return 0, "", false
	}
	return number((s[1:n] + "000000000")[:9]), s[n:], true
}

// zone reads Z or an offset from UTC.
func zone(s string) (time.Duration, bool) {
	if s == "Z" {
		return 0, true
	}
	if len(s) != len("+hh:mm") || s[0] != '+' && s[0] != '-' || s[3] != ':' || !allDigits(s[1:3]) || !allDigits(s[4:]) {
		return 0, false
	}
	hours, minutes := number(s[1:3]), number(s[4:])
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// number reads decimal digits.
func number(digits string) (n int) {
	for i := range len(digits) {
		n = n*10 + int(digits[i]-'0')
	}
	return n
}
