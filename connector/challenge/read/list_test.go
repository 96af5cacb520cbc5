package read

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// sidOf is the SID of a list's n-th challenge.
func sidOf(n int) string { return fmt.Sprintf("YC%032x", n) }

// listServer has total challenges and gives them in pages as the API does: the
// token of a page is the SID before its first item.
type listServer struct {
	t       *testing.T
	total   int
	calls   atomic.Int64
	queries []string // of calls one after another
	base    string   // stands before the path of page URLs
	next    func(page int, regular string) string
}

func (s *listServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.calls.Add(1)
	s.queries = append(s.queries, r.URL.RawQuery)
	q := r.URL.Query()
	size, page, start := 50, 0, 0
	if v := q.Get("PageSize"); v != "" {
		size, _ = strconv.Atoi(v)
	}
	if v := q.Get("Page"); v != "" {
		page, _ = strconv.Atoi(v)
	}
	if v := q.Get("PageToken"); v != "" {
		_, err := fmt.Sscanf(v, "DNYC%x", &start)
		if err != nil {
			s.t.Errorf("page token %q", v)
		}
		start++
	}
	var items []string
	for n := start; n < min(start+size, s.total); n++ {
		items = append(items, `{"sid":"`+sidOf(n)+`","status":"pending","identity":"`+testIdentity+`"}`)
	}
	next := ""
	if end := start + size; end < s.total {
		q.Set("Page", strconv.Itoa(page+1))
		q.Set("PageToken", "DN"+sidOf(end-1))
		next = s.base + r.URL.Path + "?" + q.Encode()
	}
	if s.next != nil {
		next = s.next(page, next)
	}
	quoted := "null"
	if next != "" {
		quoted = strconv.Quote(next)
	}
	own := r.URL.Query()
	own.Set("Page", strconv.Itoa(page)) // the API names the first page so
	_, _ = fmt.Fprintf(w, `{"challenges":[%s],"meta":{"page":%d,"page_size":%d,"url":%q,"next_page_url":%s,"key":"challenges"}}`,
		strings.Join(items, ","), page, size, s.base+r.URL.Path+"?"+own.Encode(), quoted)
}

func startList(t *testing.T, total int) (*listServer, *Client) {
	t.Helper()
	l := &listServer{t: t, total: total}
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	l.base = s.URL
	return l, newOf(t, s.URL)
}

func TestAll(t *testing.T) {
	for _, tc := range []struct {
		total  int
		params ListParams
		stop   int // the consumer leaves after so many; 0: never
		want   int
		calls  int64
		first  string // query of the first call
	}{
		{0, ListParams{}, 0, 0, 1, ""},
		{3, ListParams{}, 0, 3, 1, ""},
		{120, ListParams{}, 0, 120, 3, ""},
		{7, ListParams{PageSize: 2}, 0, 7, 4, "PageSize=2"},
		{6, ListParams{PageSize: 2}, 0, 6, 3, "PageSize=2"},
		{7, ListParams{PageSize: 2, Limit: 3}, 0, 3, 2, "PageSize=2"},
		{7, ListParams{PageSize: 2, Limit: 4}, 0, 4, 2, "PageSize=2"}, // no call to learn that it is over
		{7, ListParams{PageSize: 5, Limit: 3}, 0, 3, 1, "PageSize=3"},
		{120, ListParams{Limit: 60}, 0, 60, 1, "PageSize=60"},
		{3000, ListParams{Limit: 1500}, 0, 1500, 2, "PageSize=1000"},
		{7, ListParams{PageSize: 2}, 2, 2, 1, "PageSize=2"}, // stops early without another request
		{7, ListParams{PageSize: 2}, 3, 3, 2, "PageSize=2"},
		{5, ListParams{PageToken: "DN" + sidOf(2)}, 0, 2, 1, "PageToken=DN" + sidOf(2)},
	} {
		l, c := startList(t, tc.total)
		got := 0
		start := max(0, tc.total-tc.want)
		if tc.params.PageToken == "" {
			start = 0
		}
		for ch, err := range c.All(t.Context(), testService, testIdentity, tc.params) {
			if err != nil {
				t.Fatalf("%+v: %v", tc, err)
			}
			if ch.SID != sidOf(start+got) {
				t.Fatalf("%+v: number %d is %s", tc, got, ch.SID)
			}
			if got++; got == tc.stop {
				break
			}
		}
		if got != tc.want || l.calls.Load() != tc.calls || l.queries[0] != tc.first {
			t.Errorf("%+v: got %d in %d calls, first %q", tc, got, l.calls.Load(), l.queries[0])
		}
	}
}

func TestListQuery(t *testing.T) {
	page := 3
	p := ListParams{FactorSID: testFactor, Status: StatusExpired, Order: OrderDesc, PageSize: 20, Page: &page, PageToken: "DN&=", Limit: 9}
	q, err := p.query()
	if want := "FactorSid=" + testFactor + "&Order=desc&Page=3&PageSize=9&PageToken=DN%26%3D&Status=expired"; err != nil || q.Encode() != want {
		t.Errorf("got %s, %v", q.Encode(), err)
	}
	c := newOf(t, "http://127.0.0.1:1")
	minus := -1
	for _, bad := range []ListParams{
		{FactorSID: "YF"}, {Status: "open"}, {Order: "up"}, {PageSize: -1}, {PageSize: 1001}, {Page: &minus}, {Limit: -1},
	} {
		_, err := c.List(t.Context(), testService, testIdentity, bad)
		wantCall(t, err, CodeInvalid, false)
		for _, err := range c.All(t.Context(), testService, testIdentity, bad) {
			wantCall(t, err, CodeInvalid, false)
		}
	}
	_, err2 := c.List(t.Context(), testService, "x", ListParams{})
	wantCall(t, err2, CodeInvalid, false)
}

func TestPages(t *testing.T) {
	l, c := startList(t, 3)
	one, err := c.List(t.Context(), testService, testIdentity, ListParams{PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.NextPage(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	if len(one.Challenges) != 2 || len(two.Challenges) != 1 || two.Meta.Page != 1 || two.Meta.PageSize != 2 || two.Meta.Key != "challenges" || two.Status != 200 {
		t.Errorf("got %+v and %+v", one, two)
	}
	_, err = c.NextPage(t.Context(), two)
	wantCall(t, err, CodeInvalid, false)
	_, err = c.NextPage(t.Context(), nil)
	wantCall(t, err, CodeInvalid, false)
	if l.calls.Load() != 2 {
		t.Errorf("%d calls, want 2", l.calls.Load())
	}
}

func TestPagesBehindAPrefix(t *testing.T) {
	l := &listServer{t: t, total: 5}
	s := httptest.NewServer(http.StripPrefix("/verify", l))
	defer s.Close()
	for _, base := range []string{s.URL, s.URL + "/verify"} { // page URLs without and with the prefix
		l.base = base
		n := 0
		for _, err := range newOf(t, s.URL+"/verify").All(t.Context(), testService, testIdentity, ListParams{PageSize: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 5 {
			t.Errorf("page URLs at %s: got %d, want 5", base, n)
		}
	}
}

// TestForeignPageURL gives page URLs of other places, among them a server that
// would take the credentials if it were asked.
func TestForeignPageURL(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other server got %s %s", r.Method, r.URL)
	}))
	defer other.Close()
	l, c := startList(t, 2)
	for name, next := range map[string]string{
		"other port":   other.URL + "/v2/Services?Page=1",
		"other scheme": strings.Replace(l.base, "http", "https", 1) + "/v2/Services?Page=1",
		"other name":   strings.Replace(l.base, "127.0.0.1", "localhost", 1) + "/v2/Services?Page=1",
		"user info":    strings.Replace(l.base, "http://", "http://a:b@", 1) + "/v2/Services?Page=1",
		"no scheme":    strings.TrimPrefix(other.URL, "http:") + "/v2/Services?Page=1",
		"other API":    l.base + "/2010-04-01/Accounts",
		"not a URL":    "http://%zz",
	} {
		l.calls.Store(0)
		l.next = func(int, string) string { return next }
		n := 0
		var last error
		for _, err := range c.All(t.Context(), testService, testIdentity, ListParams{}) {
			if last = err; err == nil {
				n++
			}
		}
		wantCall(t, last, CodeBadAnswer, false)
		if n != 2 || l.calls.Load() != 1 {
			t.Errorf("%s: %d challenges in %d calls, want the first page and no more", name, n, l.calls.Load())
		}
	}
}

func TestPageLoops(t *testing.T) {
	for name, tc := range map[string]struct {
		next  func(base string) func(page int, regular string) string
		calls int64
	}{
		"to itself": {func(base string) func(int, string) string {
			return func(int, string) string { return base + path() + "?PageSize=2" }
		}, 1},
		"to the first by another name": {func(base string) func(int, string) string {
			return func(page int, regular string) string {
				if page == 1 {
					return path() + "?PageSize=2&Page=0"
				}
				return regular
			}
		}, 2},
		"to the second, parameters in other order": {func(base string) func(int, string) string {
			return func(page int, regular string) string {
				if page == 2 {
					return base + path() + "?PageToken=DN" + sidOf(1) + "&PageSize=2&Page=1"
				}
				return regular
			}
		}, 3},
	} {
		l, c := startList(t, 100)
		l.next = tc.next(l.base)
		var last error
		for _, err := range c.All(t.Context(), testService, testIdentity, ListParams{PageSize: 2}) {
			last = err
		}
		call := wantCall(t, last, CodeBadAnswer, false)
		if !errors.Is(call, errPageLoop) || l.calls.Load() != tc.calls {
			t.Errorf("%s: %v after %d calls, want %d", name, call, l.calls.Load(), tc.calls)
		}
	}
}

func TestNextPageRefusesItself(t *testing.T) {
	l, c := startList(t, 9)
	l.next = func(int, string) string { return l.base + path() + "?PageSize=2" }
	p, err := c.List(t.Context(), testService, testIdentity, ListParams{PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.NextPage(t.Context(), p)
	wantCall(t, err, CodeBadAnswer, false)
}

func path() string {
	return "/v2/Services/" + testService + "/Entities/" + url.PathEscape(testIdentity) + "/Challenges"
}

func TestErrorInTheMiddleOfAll(t *testing.T) {
	l, _ := startList(t, 5)
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		l.ServeHTTP(w, r)
	}))
	defer s.Close()
	l.base = s.URL
	var errs []error
	for _, err := range newOf(t, s.URL).All(t.Context(), testService, testIdentity, ListParams{PageSize: 2}) {
		errs = append(errs, err)
	}
	var api *APIError
	if len(errs) != 3 || slices.Contains(errs[:2], errs[2]) || !errors.As(errs[2], &api) || api.Status != 503 {
		t.Errorf("got %v, want two challenges and one error", errs)
	}
}

func TestParsePage(t *testing.T) {
	p, err := parsePage(200, http.Header{"Twilio-Request-Id": {"RQ5"}}, testdata(t, "page.json"), Want{ServiceSID: testService})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Challenges) != 2 || p.Challenges[1].Status != StatusPending || p.RequestID != "RQ5" || p.Meta.PreviousPageURL != "" ||
		!strings.HasSuffix(p.Meta.NextPageURL, "PageToken=DNYC"+strings.Repeat("4e", 16)) || !strings.HasSuffix(p.Meta.FirstPageURL, "Page=0") {
		t.Errorf("got %+v", p)
	}
	meta := `"meta":{"page":0,"next_page_url":null}`
	for name, body := range map[string]string{
		"nothing":                ``,
		"an empty object":        `{}`,
		"no challenges":          `{` + meta + `}`,
		"null challenges":        `{"challenges":null,` + meta + `}`,
		"no meta":                `{"challenges":[]}`,
		"null meta":              `{"challenges":[],"meta":null}`,
		"no next page URL":       `{"challenges":[],"meta":{"page":0}}`,
		"next page URL a number": `{"challenges":[],"meta":{"next_page_url":1}}`,
		"an odd item":            `{"challenges":[{}],` + meta + `}`,
		"null item":              `{"challenges":[null],` + meta + `}`,
		"of another service":     `{"challenges":[{"sid":"` + testSID + `","status":"pending","service_sid":"VA` + strings.Repeat("9", 32) + `"}],` + meta + `}`,
	} {
		_, err := parsePage(200, http.Header{"Twilio-Request-Id": {"RQ5"}}, []byte(body), Want{ServiceSID: testService})
		if call := wantCall(t, err, CodeBadAnswer, true); call.Status != 200 || call.RequestID != "RQ5" {
			t.Errorf("%s: got %+v", name, call)
		}
	}
	if _, err := parsePage(200, nil, []byte(`{"challenges":[],`+meta+`}`), Want{}); err != nil {
		t.Errorf("an empty list is an answer: %v", err)
	}
}
