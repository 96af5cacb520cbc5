package read

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseApprovedPush(t *testing.T) {
	data := testdata(t, "approved_push.json")
	got, err := ParseChallenge(data)
	if err != nil {
		t.Fatal(err)
	}
	at := func(s int) *time.Time { v := time.Date(2026, 3, 1, 8, 0, s, 0, time.UTC); return &v }
	url := "https://verify.twilio.com/v2/Services/" + testService + "/Entities/" + testIdentity + "/Challenges/" + testSID
	want := Challenge{
		SID: testSID, AccountSID: testAccount, ServiceSID: testService,
		EntitySID: "YE" + strings.Repeat("1b", 16), Identity: testIdentity, FactorSID: testFactor,
		DateCreated: at(0), DateUpdated: at(4), DateResponded: at(4), ExpirationDate: at(300),
		Status: StatusApproved, RespondedReason: ReasonNone, FactorType: FactorPush,
		Details: &Details{Message: "Open the north door?", Date: at(0), Fields: []Field{
			{"Door", "North <4711>"}, {"Asked by", "the gate & the guard"},
		}},
		HiddenDetails: Properties{"countersign": "v1:9f3c", "ip": "198.51.100.7"},
		Metadata:      Properties{"os": "Android"},
		URL:           url, Links: map[string]string{"notifications": url + "/Notifications"},
		Raw: json.RawMessage(strings.TrimSpace(string(data))),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if v, ok := got.HiddenDetails.Text("countersign"); !ok || v != "v1:9f3c" {
		t.Errorf("hidden detail is %q, %v", v, ok)
	}
}

func TestParseOthers(t *testing.T) {
	for name, holds := range map[string]func(Challenge) bool{
		"pending_push.json": func(c Challenge) bool {
			return c.Status == StatusPending && c.DateResponded == nil && c.HiddenDetails == nil && c.Metadata == nil &&
				c.Details.Date == nil && len(c.Details.Fields) == 0
		},
		"totp.json": func(c Challenge) bool {
			return c.FactorType == FactorTOTP && c.Status == StatusDenied && c.RespondedReason == ReasonNotRequested &&
				c.Details == nil && c.HiddenDetails != nil && len(c.HiddenDetails) == 0
		},
		"passkeys.json": func(c Challenge) bool {
			return c.FactorType == FactorPasskeys && c.EntitySID+c.Identity+c.FactorSID == "" && c.Links == nil &&
				c.ExpirationDate == nil && strings.Contains(string(c.Raw), `"rpId"`)
		},
		"future.json": func(c Challenge) bool {
			return c.Status == "paused" && c.RespondedReason == "moved" && c.FactorType == "voice" && strings.Contains(string(c.Raw), `"risk"`)
		},
		"nulls.json": func(c Challenge) bool {
			return c.Status == StatusExpired && c.RespondedReason == ReasonNotNeeded && c.AccountSID == "" && c.DateCreated == nil
		},
	} {
		c, err := ParseChallenge(testdata(t, name))
		if err != nil || !holds(c) {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
}

func TestParseKeepsCallersMemory(t *testing.T) {
	data := testdata(t, "totp.json")
	c, err := ParseChallenge(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if !json.Valid(c.Raw) {
		t.Error("Raw changes with the caller's buffer")
	}
}

func TestPropertiesForms(t *testing.T) {
	for in, want := range map[string]Properties{
		`null`:                  nil,
		`{}`:                    {},
		`{"a":"b","n":1}`:       {"a": "b", "n": 1.0},
		`"{\"a\":\"b\"}"`:       {"a": "b"},
		`" {} "`:                {},
		`"text"`:                nil,
		`"null"`:                nil,
		`["a"]`:                 nil,
		`7`:                     nil,
		`"[\"a\"]"`:             nil,
		`"\"{\\\"a\\\":\\\"\""`: nil,
	} {
		var p Properties
		err := json.Unmarshal([]byte(in), &p)
		if wantError := want == nil && in != `null`; (err != nil) != wantError || !reflect.DeepEqual(p, want) {
			t.Errorf("%s: got %v, %v", in, p, err)
		}
	}
	if v, ok := (Properties{"n": 1.0}).Text("n"); ok || v != "" {
		t.Errorf("a number is no text: %q", v)
	}
}

// change returns the approved challenge with one property replaced; remove
// where value is empty.
func change(t *testing.T, name, value string) []byte {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(testdata(t, "approved_push.json"), &m); err != nil {
		t.Fatal(err)
	}
	if m[name] = json.RawMessage(value); value == "" {
		delete(m, name)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseRefuses(t *testing.T) {
	want := Want{ServiceSID: testService, Identity: testIdentity, FactorSID: testFactor, SID: testSID}
	good := func(name, value string) []byte { return change(t, name, value) }
	for name, tc := range map[string]struct {
		body []byte
		ok   bool
	}{
		"as it is":                 {good("status", `"pending"`), true},
		"identity of other case":   {good("identity", `"DOOR-4711-North"`), true},
		"sid of other case":        {good("sid", `"YC`+strings.Repeat("3D", 16)+`"`), true},
		"no identity":              {good("identity", `""`), true},
		"null factor":              {good("factor_sid", `null`), true},
		"nothing":                  {nil, false},
		"null":                     {[]byte("null"), false},
		"HTML":                     {[]byte("<html></html>"), false},
		"a list":                   {[]byte("[]"), false},
		"empty object":             {[]byte("{}"), false},
		"two values":               {append(good("url", `""`), '{', '}'), false},
		"cut off":                  {good("url", `""`)[:100], false},
		"no sid":                   {good("sid", ""), false},
		"null sid":                 {good("sid", "null"), false},
		"short sid":                {good("sid", `"YC12"`), false},
		"factor's SID as sid":      {good("sid", `"`+testFactor+`"`), false},
		"odd account":              {good("account_sid", `"AC1"`), false},
		"odd service":              {good("service_sid", `"x"`), false},
		"odd entity":               {good("entity_sid", `"`+testSID+`"`), false},
		"odd factor":               {good("factor_sid", `"YF"`), false},
		"no status":                {good("status", ""), false},
		"status of another kind":   {good("status", "1"), false},
		"odd date":                 {good("date_created", `"yesterday"`), false},
		"odd details":              {good("details", `"text"`), false},
		"odd hidden details":       {good("hidden_details", `"text"`), false},
		"another challenge":        {good("sid", `"YC`+strings.Repeat("4e", 16)+`"`), false},
		"another service":          {good("service_sid", `"VA`+strings.Repeat("4e", 16)+`"`), false},
		"another identity":         {good("identity", `"door-4711-south"`), false},
		"another factor":           {good("factor_sid", `"YF`+strings.Repeat("4e", 16)+`"`), false},
		"property nobody has seen": {good("new", `{"a":1}`), true},
	} {
		h := http.Header{"Twilio-Request-Id": {"RQ1"}}
		r, err := ParseResponse(201, h, tc.body, want)
		if tc.ok {
			if err != nil || r.Challenge.SID == "" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var call *CallError
		if !errors.As(err, &call) || call.Code != CodeBadAnswer || !call.Sent || call.Status != 201 || call.RequestID != "RQ1" {
			t.Errorf("%s: got %+v, %v, want a bad answer", name, r, err)
		}
	}
}

func TestParseResponseHeaders(t *testing.T) {
	h := http.Header{}
	h.Set("Twilio-Request-Id", "RQ7")
	h.Set("Twilio-Concurrent-Requests", "12")
	h.Set("Twilio-Verify-Signature-Fields", "sid,service_sid")
	h.Set("Twilio-Verify-Challenge-Signature", "sig")
	h.Set("Date", "Sun, 01 Mar 2026 08:00:05 GMT")
	r, err := ParseResponse(200, h, testdata(t, "approved_push.json"), Want{})
	if err != nil {
		t.Fatal(err)
	}
	if r.RequestID != "RQ7" || r.ConcurrentRequests != 12 || r.SignatureFields != "sid,service_sid" || r.ChallengeSignature != "sig" ||
		r.Status != 200 || !r.Date.Equal(time.Date(2026, 3, 1, 8, 0, 5, 0, time.UTC)) || string(r.Raw) != string(r.Challenge.Raw) {
		t.Errorf("got %+v", r)
	}
	h = http.Header{"Date": {"soon"}, "Twilio-Concurrent-Requests": {"-1"}}
	r, err = ParseResponse(200, h, testdata(t, "approved_push.json"), Want{})
	if err != nil || !r.Date.IsZero() || r.ConcurrentRequests != 0 || r.RequestID != "" {
		t.Errorf("got %+v, %v", r, err)
	}
}
