package challenge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
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
	respond  http.HandlerFunc // replaces answer and status where set
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
		if j.respond != nil {
			j.respond(w, r)
			return
		}
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

//go:fix inline

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
		_, err := j.official.CreateChallenge(service, identity, &verify.CreateChallengeParams{FactorSid: new(factor), ExpirationDate: &east})
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
		o.HiddenDetails = new(any(p.HiddenDetails))
	}
	if !p.AuthPayload.IsZero() {
		o.AuthPayload = new(p.AuthPayload.Reveal())
	}
	return o
}

func officialUpdate(p challenge.UpdateParams) *verify.UpdateChallengeParams {
	o := &verify.UpdateChallengeParams{}
	if p.AuthPayload != secret.String("") {
		o.AuthPayload = new(p.AuthPayload.Reveal())
	}
	if p.Metadata != nil {
		o.Metadata = new(any(p.Metadata))
	}
	return o
}
