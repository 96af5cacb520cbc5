package audit

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"
)

// hostile is what a stranger would like to have in a page or on a terminal.
const hostile = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>']]><!--javascript:alert(1)\x1b[31m\r\n\x00\u202e\u2066\u200b\u2028" +
	"<style>*{}</style></title></style></textarea><a href=\"javascript:alert(1)\" {{.}}\\"

// poison writes into every text that a report holds, and leaves its numbers.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem())
		}
	case reflect.Struct:
		if v.Type() == timeType {
			return
		}
		for _, field := range v.Fields() {
			poison(field)
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.Map:
		if v.IsNil() || v.Type().Key() == reflect.TypeFor[Kind]() {
			return
		}
		v.SetMapIndex(reflect.ValueOf(hostile).Convert(v.Type().Key()), reflect.New(v.Type().Elem()).Elem())
		for _, key := range v.MapKeys() {
			if v.Type().Elem().Kind() == reflect.Int64 {
				v.SetMapIndex(key, reflect.ValueOf(int64(7)))
			}
		}
	case reflect.String:
		if v.Type() != reflect.TypeFor[Kind]() {
			v.SetString(hostile)
		}
	}
}

// skeleton are the elements and attributes of a page, and the attributes' values
// with the digits left out: coordinates depend on numbers.
func skeleton(t *testing.T, page string) (names map[string]bool) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	names = map[string]bool{}
	for n := range root.Descendants() {
		switch n.Type {
		case html.CommentNode:
			t.Errorf("a comment: %q", n.Data)
		case html.ElementNode:
			names[n.Data] = true
			for _, a := range n.Attr {
				names[n.Data+" "+a.Key] = true
				if a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
					t.Errorf("a link to %q", a.Val)
				}
				if strings.Contains(strings.ToLower(a.Val), "alert") || strings.HasPrefix(a.Key, "on") || a.Key == "style" {
					t.Errorf("attribute %s=%q", a.Key, a.Val)
				}
			}
		}
	}
	return names
}

func TestStrangersWriteNoMarkup(t *testing.T) {
	plain := skeleton(t, pageOf(t, troubledReport()))
	r := troubledReport()
	poison(reflect.ValueOf(r).Elem())
	page := pageOf(t, r)
	for name := range skeleton(t, page) {
		if !plain[name] {
			t.Errorf("%s comes from the report's texts", name)
		}
	}
	for _, never := range []string{"script", "img", "iframe", "link", "object"} {
		if plain[never] {
			t.Errorf("the page has <%s>", never)
		}
	}
	for _, c := range page {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Fatalf("the page holds %U", c)
		}
	}
	if n := strings.Count(page, "alert(1)"); n < 5*len(r.Findings) {
		t.Errorf("the texts are shown %d times: the fixture reaches too few", n)
	}
	checkText(t, text(t, r))
}

// checkText holds a text to what a terminal can bear.
func checkText(t *testing.T, s string) {
	t.Helper()
	for line := range strings.SplitSeq(s, "\n") {
		width := 0
		for _, c := range line {
			if !unicode.IsPrint(c) {
				t.Fatalf("%U in %q", c, line)
			}
			width += columns(c)
		}
		if width > textColumns {
			t.Fatalf("%d columns: %s", width, line)
		}
	}
}

func TestPageLoadsNothing(t *testing.T) {
	for name, report := range goldenReports {
		page := pageOf(t, report())
		if !strings.Contains(page, `<html lang="en">`) || !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'; `) {
			t.Errorf("%s: no language, or no policy", name)
		}
		for _, never := range []string{"http://", "https://", "src=", "@import", "//fonts", "ZgotmplZ"} {
			if strings.Contains(page, never) {
				t.Errorf("%s: the page has %s", name, never)
			}
		}
	}
}

func TestVerdict(t *testing.T) {
	for want, change := range map[string]func(*Report){
		"clean: every one of 4,380 requests has exactly one answer": func(*Report) {},
		"clean: the one request has exactly one answer":             func(r *Report) { r.Counts.Requests, r.Counts.AnsweredOnce = 1, 1 },
		"clean: the window holds no request, and nothing was found": func(r *Report) { r.Counts.Requests, r.Counts.AnsweredOnce = 0, 0 },
		"nothing was found; 4,379 of 4,380 requests have exactly one answer": func(r *Report) {
			r.Counts.AnsweredOnce--
		},
		"not clean: 2 missing, 1 gap": func(r *Report) { r.Counts.ByKind[KindMissing], r.Counts.ByKind[KindGap] = 2, 1 },
	} {
		r := cleanReport()
		change(r)
		if lines := strings.Split(strings.TrimSpace(text(t, r)), "\n"); lines[len(lines)-1] != "verdict     "+want {
			t.Errorf("%s, want %s", lines[len(lines)-1], want)
		}
		if !strings.Contains(pageOf(t, r), want) {
			t.Errorf("the page does not say %s", want)
		}
	}
}

// A report of nothing, and one whose numbers make no sense, are shown as well.
func TestOddReportsAreShown(t *testing.T) {
	odd := cleanReport()
	odd.Series.Width = 1 << 62
	endless := cleanReport()
	endless.Series.Buckets[3].Outcomes["succeeded"] = 1 << 62
	endless.Series.Buckets[3].Latency.P99 = 1 << 62
	single := cleanReport()
	single.Series.Buckets = single.Series.Buckets[:1]
	single.Series.Buckets[0].Latency = percentiles(1, 0, 0, 0, 0)
	startless := cleanReport()
	startless.Series.Start = nil
	for i, r := range []*Report{{}, odd, endless, single, startless} {
		checkText(t, text(t, r))
		if page := pageOf(t, r); strings.Contains(page, "NaN") || strings.Contains(page, "Inf") || !strings.HasSuffix(page, "</html>\n") {
			t.Errorf("report %d: not a page: %.200s", i, page)
		}
	}
}

func TestScales(t *testing.T) {
	for most, want := range map[int64]string{0: "1 1", 1: "1 1", 5: "1 5", 6: "2 3", 11: "5 3", 100: "20 5", 101: "50 3", 99999: "20000 5"} {
		step, steps := roundScale(most)
		if got := fmt.Sprint(step, steps); got != want || step*steps < most {
			t.Errorf("up to %d: %s, want %s", most, got, want)
		}
	}
	for _, c := range []struct{ least, most float64 }{{0.09, 0.8}, {0.1, 0.1}, {1e-9, 1e9}, {3, 3.1}, {0.2, 5}} {
		steps := logScale(c.least, c.most)
		if len(steps) < 2 || !slices.IsSorted(steps) || c.least >= 1e-6 && steps[0] > c.least || steps[len(steps)-1] < c.most {
			t.Errorf("from %g to %g: %g", c.least, c.most, steps)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 s", 1500: "0.0015 ms", 74 * time.Millisecond: "74 ms", 1875 * time.Millisecond: "1.88 s", 12400 * time.Millisecond: "12.4 s", 5 * time.Minute: "5m0s",
	} {
		if got := took(Duration(d)); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

func TestTextKeepsItsColumns(t *testing.T) {
	for s, want := range map[string][]string{
		"":               {""},
		"one two three":  {"one two", "three"},
		"abcdefghijklmn": {"abcdefgh", "ijklmn"},
		"日本語日本語":         {"日本語日", "本語"},
	} {
		if got := wrapped(s, 8); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// largeReport has as many findings as a report lists of all kinds by default.
func largeReport() *Report {
	r := cleanReport()
	for d, k := range details {
		if r.Counts.ByKind[k] == 0 {
			for i := range 1000 {
				r.Findings = append(r.Findings, findingOf(i, k, d))
			}
			r.Counts.ByKind[k] = 1000
		}
	}
	return r
}

func TestLargeReport(t *testing.T) {
	r := largeReport()
	page := pageOf(t, r)
	if n := strings.Count(page, `class="finding"`); n != 11000 {
		t.Errorf("%d rows", n)
	}
	if len(page) > 12<<20 {
		t.Errorf("%d bytes", len(page))
	}
	if s := text(t, r); strings.Count(s, "\n") > 11*3*textShown+100 {
		t.Errorf("%d lines", strings.Count(s, "\n"))
	}
}

func BenchmarkHTML(b *testing.B) {
	r := largeReport()
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		if err := r.HTML(&out); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(out.Len()))
}
