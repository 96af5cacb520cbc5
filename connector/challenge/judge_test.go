package challenge_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	twilio "github.com/twilio/twilio-go/client"
	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/secret"
)

// judge is the official Go client and ours before the same server. What the
// official client sends is right by definition, apart from the differences that
// a case names.
type judge struct {
	official *verify.ApiService
	ours     *challenge.Client
	last     exchange // of the server
	answer   []byte   // what the server says
	status   int
}

// exchange is a request, order of parameters apart.
type exchange struct {
	method, path string
	query, form  url.Values
	user, token  string
	contentType  string // of a POST
}

// toServer sends the official client's requests, whose host is fixed, to ours.
type toServer struct{ server *url.URL }

func (r toServer) RoundTrip(req *http.Request) (*http.Response, error) {
	moved := req.Clone(req.Context())
	moved.URL.Scheme, moved.URL.Host = r.server.Scheme, r.server.Host
	return http.DefaultTransport.RoundTrip(moved)
}

func newJudge(t *testing.T) *judge {
	t.Helper()
	t.Setenv("TWILIO_EDGE", "")
	t.Setenv("TWILIO_REGION", "")
	j := &judge{status: 200}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		j.last = exchange{method: r.Method, path: r.URL.EscapedPath(), query: r.URL.Query()}
		j.last.user, j.last.token, _ = r.BasicAuth()
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			j.last.form, j.last.contentType = r.PostForm, r.Header.Get("Content-Type")
		}
		w.WriteHeader(j.status)
		_, _ = w.Write(j.answer)
	}))
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := &twilio.Client{Credentials: twilio.NewCredentials(account, "the0token"), HTTPClient: &http.Client{Transport: toServer{u}}}
	j.official = verify.NewApiServiceWithClient(c)
	j.ours = newOf(t, read.Config{BaseURL: s.URL})
	return j
}

// compare makes both calls and compares what arrived.
func (j *judge) compare(t *testing.T, name string, official, ours func() error, reasoned ...func(official, ours *exchange)) {
	t.Helper()
	j.last = exchange{}
	if err := official(); err != nil {
		t.Fatalf("%s: the official client: %v", name, err)
	}
	want := j.last
	j.last = exchange{}
	if err := ours(); err != nil {
		t.Fatalf("%s: our client: %v", name, err)
	}
	got := j.last
	for _, adjust := range reasoned {
		adjust(&want, &got)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\nours     %+v\nofficial %+v", name, got, want)
	}
}

func ptr[T any](v T) *T { return &v }

// sameJSON compares parameters that hold JSON by what it means. The difference
// is reasoned: the official client escapes <, > and &, which costs characters
// that the API counts.
func sameJSON(names ...string) func(official, ours *exchange) {
	return func(official, ours *exchange) {
		for _, e := range []*exchange{official, ours} {
			for _, name := range names {
				for i, text := range e.form[name] {
					var v any
					if json.Unmarshal([]byte(text), &v) == nil {
						canonical, _ := json.Marshal(v)
						e.form[name][i] = string(canonical)
					}
				}
			}
		}
	}
}

func TestWritesLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	j.answer = []byte(`{"sid":"` + sid + `","status":"pending"}`)
	expires := time.Date(2026, 3, 1, 9, 5, 7, 0, time.UTC)
	for name, p := range map[string]challenge.CreateParams{
		"least":      {FactorSID: factor},
		"everything": {FactorSID: factor, ExpirationDate: expires, Message: "Öffnen? a=b&c +1", Fields: []read.Field{{Label: "A b", Value: "1"}, {Label: "C", Value: "2"}}, HiddenDetails: map[string]string{"z": "1", "a": "2"}, AuthPayload: "123456"},
	} {
		j.compare(t, name, func() error {
			_, err := j.official.CreateChallenge(service, identity, officialCreate(p))
			return err
		}, func() error {
			_, err := j.ours.Create(t.Context(), service, identity, p)
			return err
		})
	}
	escaped := challenge.CreateParams{FactorSID: factor, Fields: []read.Field{{Label: "<a>", Value: "b & c"}}, HiddenDetails: map[string]string{"<": "&"}}
	j.compare(t, "JSON with signs of HTML", func() error {
		_, err := j.official.CreateChallenge(service, identity, officialCreate(escaped))
		return err
	}, func() error {
		_, err := j.ours.Create(t.Context(), service, identity, escaped)
		return err
	}, sameJSON("Details.Fields", "HiddenDetails"))
	east := expires.In(time.FixedZone("east", 3600))
	j.compare(t, "expiration in another zone", func() error {
		_, err := j.official.CreateChallenge(service, identity, &verify.CreateChallengeParams{FactorSid: ptr(factor), ExpirationDate: &east})
		return err
	}, func() error {
		_, err := j.ours.Create(t.Context(), service, identity, challenge.CreateParams{FactorSID: factor, ExpirationDate: east})
		return err
	}, func(official, ours *exchange) {
		// Reasoned: ours converts to UTC, because parsers that drop the offset
		// would move the time. It is the same time.
		a, err1 := time.Parse(time.RFC3339, official.form.Get("ExpirationDate"))
		b, err2 := time.Parse(time.RFC3339, ours.form.Get("ExpirationDate"))
		if err1 != nil || err2 != nil || !a.Equal(b) || !strings.HasSuffix(ours.form.Get("ExpirationDate"), "Z") {
			t.Errorf("official %v, ours %v", official.form, ours.form)
		}
		official.form.Del("ExpirationDate")
		ours.form.Del("ExpirationDate")
	})
	for name, p := range map[string]challenge.UpdateParams{
		"nothing": {}, "code": {AuthPayload: "123456"}, "signed": {AuthPayload: "a.b-_.c", Metadata: map[string]string{"os": "x y"}},
	} {
		j.compare(t, name, func() error {
			_, err := j.official.UpdateChallenge(service, identity, sid, officialUpdate(p))
			return err
		}, func() error {
			_, err := j.ours.Update(t.Context(), service, identity, sid, p)
			return err
		})
	}
}

func officialCreate(p challenge.CreateParams) *verify.CreateChallengeParams {
	o := &verify.CreateChallengeParams{FactorSid: &p.FactorSID}
	if !p.ExpirationDate.IsZero() {
		o.ExpirationDate = &p.ExpirationDate
	}
	if p.Message != "" {
		o.DetailsMessage = &p.Message
	}
	if p.Fields != nil {
		fields := make([]any, 0, len(p.Fields))
		for _, f := range p.Fields {
			fields = append(fields, map[string]any{"label": f.Label, "value": f.Value})
		}
		o.DetailsFields = &fields
	}
	if p.HiddenDetails != nil {
		o.HiddenDetails = ptr(any(p.HiddenDetails))
	}
	if !p.AuthPayload.IsZero() {
		o.AuthPayload = ptr(p.AuthPayload.Reveal())
	}
	return o
}

func officialUpdate(p challenge.UpdateParams) *verify.UpdateChallengeParams {
	o := &verify.UpdateChallengeParams{}
	if p.AuthPayload != secret.String("") {
		o.AuthPayload = ptr(p.AuthPayload.Reveal())
	}
	if p.Metadata != nil {
		o.Metadata = ptr(any(p.Metadata))
	}
	return o
}

func TestReadsLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	j.answer = []byte(`{"sid":"` + sid + `","status":"pending"}`)
	j.compare(t, "fetch", func() error {
		_, err := j.official.FetchChallenge(service, identity, sid)
		return err
	}, func() error {
		_, err := j.ours.Fetch(t.Context(), service, identity, sid)
		return err
	})
	j.answer = []byte(`{"challenges":[],"meta":{"next_page_url":null,"key":"challenges"}}`)
	ours := func(p read.ListParams) func() error {
		return func() error {
			for _, err := range j.ours.All(t.Context(), service, identity, p) {
				return err
			}
			return nil
		}
	}
	official := func(p *verify.ListChallengeParams) func() error {
		return func() error {
			_, err := j.official.ListChallenge(service, identity, p)
			return err
		}
	}
	full := &verify.ListChallengeParams{FactorSid: &factor, Status: ptr("pending"), Order: ptr("desc"), PageSize: ptr(20)}
	j.compare(t, "list with everything", official(full), ours(read.ListParams{FactorSID: factor, Status: read.StatusPending, Order: read.OrderDesc, PageSize: 20}))
	for _, limit := range []int{1, 20, 1000, 1001, 5000} {
		j.compare(t, "list with limit", official(&verify.ListChallengeParams{Limit: &limit}), ours(read.ListParams{Limit: limit}))
		j.compare(t, "list with limit and page size", official(&verify.ListChallengeParams{Limit: &limit, PageSize: ptr(30)}), ours(read.ListParams{Limit: limit, PageSize: 30}))
	}
	j.compare(t, "list", official(nil), ours(read.ListParams{}), func(official, _ *exchange) {
		// Reasoned: where nobody asks for a size, ours leaves it to the API,
		// whose default is the 50 that the official client sends.
		if official.query.Get("PageSize") != "50" {
			t.Errorf("the official client sends %v", official.query)
		}
		official.query.Del("PageSize")
	})
	page := func() error {
		_, err := j.official.PageChallenge(service, identity, full, "DN"+sid, "3")
		return err
	}
	j.compare(t, "page", page, func() error {
		_, err := j.ours.List(t.Context(), service, identity, read.ListParams{
			FactorSID: factor, Status: read.StatusPending, Order: read.OrderDesc, PageSize: 20, Page: ptr(3), PageToken: "DN" + sid,
		})
		return err
	})
}

// TestDecodesLikeTheOfficialClient gives both clients the same answers.
func TestDecodesLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	files, err := filepath.Glob("read/testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no answers to compare", err)
	}
	for _, file := range files {
		if j.answer, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(file, "page.json") {
			continue
		}
		mine, err := read.ParseChallenge(j.answer)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := j.official.FetchChallenge(service, identity, mine.SID)
		if err != nil {
			t.Fatal(err)
		}
		equalResources(t, file, theirs, &mine)
	}
}

func TestListsLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	data, err := os.ReadFile("read/testdata/page.json")
	if err != nil {
		t.Fatal(err)
	}
	j.answer = data
	own := func(m map[string]any) string { return m["service_sid"].(string) }
	var list struct{ Challenges []map[string]any }
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	at := own(list.Challenges[0])
	theirs, err := j.official.PageChallenge(at, "door-4711-north", nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	mine, err := j.ours.List(t.Context(), at, "door-4711-north", read.ListParams{})
	if err != nil {
		t.Fatal(err)
	}
	if len(theirs.Challenges) != len(mine.Challenges) || *theirs.Meta.NextPageUrl != mine.Meta.NextPageURL ||
		theirs.Meta.Page != mine.Meta.Page || theirs.Meta.PageSize != mine.Meta.PageSize || theirs.Meta.Key != mine.Meta.Key {
		t.Fatalf("official %+v, ours %+v", theirs.Meta, mine.Meta)
	}
	for i := range mine.Challenges {
		equalResources(t, "page.json", &theirs.Challenges[i], &mine.Challenges[i])
	}
}

// equalResources compares property by property, by JSON. Where the API gave
// null, the official client has nil and ours the zero value.
func equalResources(t *testing.T, name string, theirs *verify.VerifyV2Challenge, mine *read.Challenge) {
	t.Helper()
	a, b := properties(t, theirs), properties(t, mine)
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range b {
			if !yield(n) {
				return
			}
		}
	})
	if len(names) != 18 {
		t.Errorf("%s: ours has %d properties, the reference has 18: %v", name, len(names), names)
	}
	for n := range a {
		if !slices.Contains(names, n) {
			t.Errorf("%s: ours lacks %s", name, n)
		}
	}
	for _, n := range names {
		if av, bv := a[n], b[n]; !reflect.DeepEqual(av, bv) && !(av == nil && bv == "") {
			t.Errorf("%s: %s is %v in ours, %v in the official client", name, n, bv, av)
		}
	}
}

func properties(t *testing.T, v any) map[string]any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatal("more than one value")
	}
	return m
}

// TestErrorsLikeTheOfficialClient gives both clients the same refusals.
func TestErrorsLikeTheOfficialClient(t *testing.T) {
	j := newJudge(t)
	j.status = 403
	j.answer = []byte(`{"code":60318,"message":"Factor is unverified","more_info":"https://www.twilio.com/docs/errors/60318","status":403,"details":{"a":"b"}}`)
	_, err := j.official.FetchChallenge(service, identity, sid)
	theirs, isTheirs := err.(*twilio.TwilioRestError)
	_, err = j.ours.Fetch(t.Context(), service, identity, sid)
	mine, isMine := err.(*read.APIError)
	if !isTheirs || !isMine {
		t.Fatalf("got %v and %v", theirs, err)
	}
	details, err := json.Marshal(theirs.Details)
	if err != nil {
		t.Fatal(err)
	}
	if mine.Status != theirs.Status || mine.Code != theirs.Code || mine.Message != theirs.Message || mine.MoreInfo != theirs.MoreInfo || string(mine.Details) != string(details) {
		t.Errorf("ours %+v, official %+v", mine, theirs)
	}
}
