package challenge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/secret"
)

// newRecorder returns a client whose server answers 201 and hands over the
// bodies that it got.
func newRecorder(t testing.TB) (*challenge.Client, <-chan string) {
	bodies := make(chan string, 1)
	return newTest(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- string(body)
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"sid":%q,"status":"pending"}`, sid)
	}), bodies
}

func TestForms(t *testing.T) {
	c, bodies := newRecorder(t)
	expires := time.Date(2026, 3, 1, 9, 5, 7, 999, time.FixedZone("east", 3600))
	for name, tc := range map[string]struct {
		params challenge.CreateParams
		want   string
	}{
		"least": {challenge.CreateParams{FactorSID: factor}, "FactorSid=" + factor},
		"everything": {
			challenge.CreateParams{
				FactorSID: factor, ExpirationDate: expires, Message: "Open? <now> & \"here\"",
				Fields:        []read.Field{{Label: "Dör", Value: "<1> & 2"}, {Label: "a", Value: ""}},
				HiddenDetails: map[string]string{"z": "1", "a": "<&>", "m": "é"},
				AuthPayload:   "123456",
			},
			"AuthPayload=123456" +
				"&Details.Fields=" + url.QueryEscape(`{"label":"Dör","value":"<1> & 2"}`) +
				"&Details.Fields=" + url.QueryEscape(`{"label":"a","value":""}`) +
				"&Details.Message=" + url.QueryEscape(`Open? <now> & "here"`) +
				"&ExpirationDate=" + url.QueryEscape("2026-03-01T08:05:07Z") +
				"&FactorSid=" + factor +
				"&HiddenDetails=" + url.QueryEscape(`{"a":"<&>","m":"é","z":"1"}`),
		},
		"empty parts are left out": {
			challenge.CreateParams{FactorSID: factor, Fields: []read.Field{}, HiddenDetails: map[string]string{}}, "FactorSid=" + factor,
		},
	} {
		if _, err := c.Create(t.Context(), service, identity, tc.params); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := <-bodies; got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tc.want)
		}
	}
	for want, params := range map[string]challenge.UpdateParams{
		"":                   {},
		"AuthPayload=123456": {AuthPayload: "123456"},
		"AuthPayload=a.b.c&Metadata=" + url.QueryEscape(`{"app":"2","os":"x"}`): {AuthPayload: "a.b.c", Metadata: map[string]string{"os": "x", "app": "2"}},
	} {
		if _, err := c.Update(t.Context(), service, identity, sid, params); err != nil {
			t.Fatal(err)
		}
		if got := <-bodies; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What is taken arrives as it was meant; what isn't taken is never sent.
func TestFormsRoundTrip(t *testing.T) {
	c, bodies := newRecorder(t)
	rapid.Check(t, func(rt *rapid.T) {
		p := challenge.CreateParams{
			FactorSID:     factor,
			Message:       rapid.StringN(0, 300, -1).Draw(rt, "message"),
			HiddenDetails: rapid.MapOfN(rapid.String(), rapid.String(), 0, 5).Draw(rt, "hidden"),
		}
		for range rapid.IntRange(0, 21).Draw(rt, "fields") {
			p.Fields = append(p.Fields, read.Field{Label: rapid.StringN(0, 37, -1).Draw(rt, "label"), Value: rapid.String().Draw(rt, "value")})
		}
		_, err := c.Create(t.Context(), service, identity, p)
		if err != nil {
			var call *read.CallError
			if !errors.As(err, &call) || call.Code != read.CodeInvalid || len(bodies) != 0 {
				rt.Fatalf("got %v", err)
			}
			return
		}
		form, err := url.ParseQuery(<-bodies)
		if err != nil {
			rt.Fatal(err)
		}
		var fields []read.Field
		for _, text := range form["Details.Fields"] {
			var f read.Field
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				rt.Fatal(err)
			}
			fields = append(fields, f)
		}
		var hidden map[string]string
		if text := form.Get("HiddenDetails"); text != "" {
			if err := json.Unmarshal([]byte(text), &hidden); err != nil {
				rt.Fatal(err)
			}
		}
		if form.Get("Details.Message") != p.Message || !slices.Equal(fields, p.Fields) || !maps.Equal(hidden, p.HiddenDetails) {
			rt.Fatalf("sent %+v, it arrived as %v", p, form)
		}
	})
}

func TestInvalidIsNeverSent(t *testing.T) {
	c := newTest(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the server got %s %s", r.Method, r.URL) })
	long := func(n int) string { return strings.Repeat("é", n) }
	good := challenge.CreateParams{FactorSID: factor}
	creates := map[string]func(p *challenge.CreateParams){
		"no factor":            func(p *challenge.CreateParams) { p.FactorSID = "" },
		"challenge as factor":  func(p *challenge.CreateParams) { p.FactorSID = sid },
		"long message":         func(p *challenge.CreateParams) { p.Message = long(257) },
		"message not UTF-8":    func(p *challenge.CreateParams) { p.Message = "\xff" },
		"many fields":          func(p *challenge.CreateParams) { p.Fields = make([]read.Field, 21) },
		"long label":           func(p *challenge.CreateParams) { p.Fields = []read.Field{{Label: long(37)}} },
		"long value":           func(p *challenge.CreateParams) { p.Fields = []read.Field{{Value: long(129)}} },
		"long hidden details":  func(p *challenge.CreateParams) { p.HiddenDetails = map[string]string{"a": long(1017)} },
		"odd hidden details":   func(p *challenge.CreateParams) { p.HiddenDetails = map[string]string{"\xff": "a"} },
		"short code":           func(p *challenge.CreateParams) { p.AuthPayload = "12" },
		"long code":            func(p *challenge.CreateParams) { p.AuthPayload = "123456789" },
		"date out of RFC 3339": func(p *challenge.CreateParams) { p.ExpirationDate = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	}
	for name, spoil := range creates {
		p := good
		spoil(&p)
		_, err := c.Create(t.Context(), service, identity, p)
		wantInvalid(t, name, err)
	}
	for name, at := range map[string][3]string{
		"service": {"VA", identity, sid}, "identity": {service, "a b", sid}, "challenge": {service, identity, "YC"}, "no challenge": {service, identity, ""},
	} {
		_, err := c.Update(t.Context(), at[0], at[1], at[2], challenge.UpdateParams{AuthPayload: "123456"})
		wantInvalid(t, name, err)
	}
	for name, p := range map[string]challenge.UpdateParams{
		"long payload":  {AuthPayload: secret.String(long(5457))},
		"long metadata": {Metadata: map[string]string{"a": long(1017)}},
		"odd metadata":  {Metadata: map[string]string{"a": "\xff"}},
	} {
		_, err := c.Update(t.Context(), service, identity, sid, p)
		wantInvalid(t, name, err)
	}
}

func TestLongestIsSent(t *testing.T) {
	c, bodies := newRecorder(t)
	long := func(n int) string { return strings.Repeat("é", n) }
	fields := slices.Repeat([]read.Field{{Label: long(36), Value: long(128)}}, 20)
	_, err := c.Create(t.Context(), service, identity, challenge.CreateParams{
		FactorSID: factor, Message: long(256), Fields: fields, HiddenDetails: map[string]string{"a": long(1016)}, AuthPayload: "12345678",
	})
	if err != nil {
		t.Fatal(err)
	}
	<-bodies
	p := challenge.UpdateParams{AuthPayload: secret.String(long(5456)), Metadata: map[string]string{"a": long(1016)}}
	if _, err := c.Update(t.Context(), service, identity, sid, p); err != nil {
		t.Fatal(err)
	}
}

func wantInvalid(t *testing.T, name string, err error) {
	t.Helper()
	var call *read.CallError
	if !errors.As(err, &call) || call.Code != read.CodeInvalid || call.Sent {
		t.Errorf("%s: got %v, want %s", name, err, read.CodeInvalid)
	}
	if v := challenge.Classify(true, err); v.Class != challenge.ClassRejected || v.Failure {
		t.Errorf("%s: classified as %+v", name, v)
	}
}
