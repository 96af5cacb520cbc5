package read

import (
	"net/http"
	"strings"
	"time"
)

// maxRetryAfter bounds what a server can make its callers wait: past an hour no
// request is still worth sending, because a challenge lives an hour at most.
const maxRetryAfter = time.Hour

// retryAfter reads a Retry-After value (RFC 9110, section 10.2.3): seconds, or
// an HTTP date, which counts from date, the answer's own, so that the two
// clocks needn't agree; where date is zero, from now. The result is between 0
// and maxRetryAfter; false means that the value is neither form.
func retryAfter(value string, date time.Time, now func() time.Time) (time.Duration, bool) {
	value = strings.Trim(value, " \t")
	if seconds, ok := delaySeconds(value); ok {
		return seconds, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if date.IsZero() {
		date = now()
	}
	return min(max(at.Sub(date), 0), maxRetryAfter), true
}

// delaySeconds reads digits only: no sign, no fraction. More digits than a
// Duration holds end at the bound.
func delaySeconds(value string) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	var d time.Duration
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		d = min(d*10+time.Duration(value[i]-'0')*time.Second, maxRetryAfter)
	}
	return d, true
}
