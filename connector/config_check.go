package connector

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// configCheck collects violations. Its messages are made of rules, numbers and
// durations alone: a text of the configuration may be a secret that ended up in
// the wrong field, so none is ever shown.
type configCheck struct{ violations []Violation }

func (c *configCheck) add(path, format string, args ...any) {
	c.violations = append(c.violations, Violation{Path: path, Message: fmt.Sprintf(format, args...)})
}

// checkNumber checks bounds that both belong to what is allowed.
func checkNumber[N int | int64 | float64](c *configCheck, path string, n, low, high N) {
	if !(n >= low && n <= high) { // so written, it refuses NaN too
		c.add(path, "must be from %s to %s, is %s", plainNumber(low), plainNumber(high), plainNumber(n))
	}
}

func (c *configCheck) duration(path string, d, low, high time.Duration) {
	if d < low || d > high {
		c.add(path, "must be from %s to %s, is %s", shortDuration(low), shortDuration(high), shortDuration(d))
	}
}

// plainName checks a name that Kafka takes as it is.
func (c *configCheck) plainName(path, name string) {
	if len(name) > maxNameLength || strings.ContainsFunc(name, notPlain) {
		c.add(path, "must be %d printable characters at most, without spaces", maxNameLength)
	}
}

func (c *configCheck) pattern(path, text string, allowed *regexp.Regexp, rule string) {
	if !allowed.MatchString(text) {
		c.add(path, "%s", rule)
	}
}

// plainNumber writes a number without an exponent.
func plainNumber[N int | int64 | float64](n N) string {
	return strconv.FormatFloat(float64(n), 'f', -1, 64)
}

// shortDuration writes a duration without the zero units that Go appends: 1m0s is 1m.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
