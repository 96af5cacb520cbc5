package schemas

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWholeNumber(t *testing.T) {
	for lit, want := range map[string]int64{
		"0": 0, "-0": 0, "0.0": 0, "0e9": 0, "0e-9": 0, "-0.000e5": 0, "1": 1, "-1": -1, "1.0": 1, "1e2": 100, "1E+2": 100, "100e-2": 1,
		"1.5e1": 15, "0.00012e5": 12, "-2.50e2": -250, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63,
		"922337203685477580.7e1": 1<<63 - 1, "1000000000000000000000e-3": 1e18, "0e99999999999999999999": 0, "10e-1": 1,
		"1" + strings.Repeat("0", 400) + "e-400": 1,
	} {
		if got, ok := wholeNumber([]byte(lit)); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", lit, got, ok, want)
		}
	}
	for _, lit := range []string{
		"0.5", "1e-1", "1.01", "15e-1", "9223372036854775808", "-9223372036854775809", "1e19", "1e400", "1e99999999999999999999",
		"1e-99999999999999999999", "-1e999999999", "123456789012345678901234567890", "100000000000000000000.5",
	} {
		if got, ok := wholeNumber([]byte(lit)); ok {
			t.Errorf("%s: %d", lit, got)
		}
	}
}

// wholeNumber agrees with exact arithmetic.
func TestWholeNumberIsExact(t *testing.T) {
	gen := rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		lit := gen.Draw(t, "number")
		r, ok := new(big.Rat).SetString(lit)
		if !ok {
			t.Fatalf("%s is no number", lit)
		}
		whole := r.IsInt() && r.Num().IsInt64()
		got, ok := wholeNumber([]byte(lit))
		if ok != whole || ok && got != r.Num().Int64() {
			t.Fatalf("%s: %d, %v; exactly %s", lit, got, ok, r)
		}
	})
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]time.Time{
		"2026-01-02T15:04:05Z":                time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05.5Z":              time.Date(2026, 1, 2, 15, 4, 5, 5e8, time.UTC),
		"2026-01-02T15:04:05.000000001Z":      time.Date(2026, 1, 2, 15, 4, 5, 1, time.UTC),
		"2026-01-02T00:04:05+01:30":           time.Date(2026, 1, 1, 22, 34, 5, 0, time.UTC),
		"2026-12-31T23:59:59-00:01":           time.Date(2027, 1, 1, 0, 0, 59, 0, time.UTC),
		"2028-02-29T00:00:00Z":                time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC),
		"2000-02-29T00:00:00-00:00":           time.Date(2000, 2, 29, 0, 0, 0, 0, time.UTC),
		"0000-01-01T00:00:00Z":                time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		"9999-12-31T23:59:59.999999999Z":      time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		"0000-01-01T00:00:00+23:59":           time.Date(-1, 12, 31, 0, 1, 0, 0, time.UTC),
		"9999-12-31T23:59:59.999999999-23:59": time.Date(10000, 1, 1, 23, 58, 59, 999999999, time.UTC),
	} {
		got, ok := parseTime(s)
		if !ok || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", s, got, ok, want)
		}
		back, ok := parseTime(string(appendTime(nil, got)))
		if !ok || !back.Equal(got) {
			t.Errorf("%s: written as %s", s, appendTime(nil, got))
		}
	}
}

// strictTime is the pattern of the JSON Schemas.
var strictTime = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// parseTime takes exactly what fits the pattern and has a day that exists, and
// then agrees with package time.
func TestParseTimeAgainstPattern(t *testing.T) {
	digits := rapid.StringMatching(`[0-2][0-9][0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{0,10})?([Zz]|[+-][0-2][0-9]:?[0-6][0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		s := digits.Draw(t, "time")
		if rapid.Bool().Draw(t, "spoil") && len(s) > 0 {
			at := rapid.IntRange(0, len(s)-1).Draw(t, "at")
			s = s[:at] + rapid.SampledFrom([]string{"", "0", "x", "-", ":", "T", " ", "é"}).Draw(t, "by") + s[at+1:]
		}
		std, err := time.Parse(time.RFC3339Nano, s)
		want := err == nil && strictTime.MatchString(s)
		got, ok := parseTime(s)
		if ok != want || ok && !got.Equal(std) {
			t.Fatalf("%s: %v %v, package time has %v %v", s, got, ok, std, err)
		}
	})
}

// A moment that RFC 3339 can't say is written as the nearest one that it can.
func TestAppendTimeClamps(t *testing.T) {
	for want, in := range map[string]time.Time{
		"0000-01-01T00:00:00Z":           time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC),
		"9999-12-31T23:59:59.999999999Z": time.UnixMilli(1<<62 - 1),
		"0001-01-01T00:00:00Z":           {},
		"2026-01-02T14:34:05Z":           time.Date(2026, 1, 2, 15, 4, 5, 0, time.FixedZone("", 30*60)),
	} {
		if got := string(appendTime(nil, in)); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
	odd := time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3601))
	if got := string(appendTime(nil, odd)); got != "9999-12-31T23:59:59.999999999Z" {
		t.Errorf("an offset with seconds: %s", got)
	}
}
