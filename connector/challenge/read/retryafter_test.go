package read

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRetryAfter(t *testing.T) {
	date := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	now := date.Add(10 * time.Minute) // this machine's clock is wrong
	for _, tc := range []struct {
		value string
		date  time.Time
		want  time.Duration
		ok    bool
	}{
		{"0", date, 0, true},
		{"30", date, 30 * time.Second, true},
		{" 30\t", date, 30 * time.Second, true},
		{"3600", date, time.Hour, true},
		{"3601", date, time.Hour, true},
		{"99999999999999999999999999", date, time.Hour, true},
		{"Sun, 01 Mar 2026 08:00:20 GMT", date, 20 * time.Second, true},
		{"Sunday, 01-Mar-26 08:00:20 GMT", date, 20 * time.Second, true},
		{"Sun Mar  1 08:00:20 2026", date, 20 * time.Second, true},
		{"Sun, 01 Mar 2026 07:00:00 GMT", date, 0, true},
		{"Mon, 01 Mar 2027 08:00:00 GMT", date, time.Hour, true},
		{"Sun, 01 Mar 2026 08:10:20 GMT", time.Time{}, 20 * time.Second, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", time.Time{}, time.Hour, true},
		{"", date, 0, false},
		{"-1", date, 0, false},
		{"+1", date, 0, false},
		{"1.5", date, 0, false},
		{"1e3", date, 0, false},
		{"soon", date, 0, false},
		{"2026-03-01T08:00:20Z", date, 0, false},
	} {
		got, ok := retryAfter(tc.value, tc.date, func() time.Time { return now })
		if got != tc.want || ok != tc.ok {
			t.Errorf("%q after %v: got %v, %v, want %v, %v", tc.value, tc.date, got, ok, tc.want, tc.ok)
		}
	}
}

// Both forms of one wait mean the same, whatever the two clocks say.
func TestRetryAfterFormsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		date := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "date"), 0)
		wait := rapid.Int64Range(0, 10_000).Draw(t, "wait")
		far := func() time.Time { return date.Add(time.Duration(rapid.Int64().Draw(t, "skew"))) }
		seconds, ok1 := retryAfter(strconv.FormatInt(wait, 10), date, far)
		at, ok2 := retryAfter(date.Add(time.Duration(wait)*time.Second).UTC().Format(http.TimeFormat), date, far)
		if want := min(time.Duration(wait)*time.Second, maxRetryAfter); seconds != want || at != want || !ok1 || !ok2 {
			t.Errorf("seconds give %v, the date gives %v, want %v", seconds, at, want)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, v := range []string{"0", "120", "-1", "Sun, 01 Mar 2026 08:00:20 GMT", "9e9", "١٢"} {
		f.Add(v, int64(1_772_352_000))
	}
	f.Fuzz(func(t *testing.T, value string, date int64) {
		d, ok := retryAfter(value, time.Unix(date, 0), time.Now)
		if d < 0 || d > maxRetryAfter || (!ok && d != 0) {
			t.Errorf("%q: %v, %v", value, d, ok)
		}
	})
}
