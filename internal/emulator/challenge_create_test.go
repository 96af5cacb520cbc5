package emulator_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

func TestCreatePushShowsTheResource(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "https://api.example/"})
	f, _ := a.pushFactor()
	form := with(pushForm(f.SID), "Details.Fields", `{"label":"Action","value":"Sign <in>"}`, `{"value":"Oslo", "label":"Where"}`)
	r := a.want(a.post(challenges(identity), with(form, "HiddenDetails", `{"z":"1", "ip":"10.0.0.1"}`)), 201, 0)
	base := "https://api.example" + challenges(identity) + "/" + r.text("sid")
	want := fmt.Sprintf(`{"sid":%q,"account_sid":%q,"service_sid":%q,"entity_sid":%q,"identity":%q,"factor_sid":%q,`+
		`"date_created":"2026-03-04T05:06:07Z","date_updated":"2026-03-04T05:06:07Z","date_responded":null,`+
		`"expiration_date":"2026-03-04T05:11:07Z","status":"pending","responded_reason":"none",`+
		`"details":{"message":"Sign in?","fields":[{"label":"Action","value":"Sign <in>"},{"label":"Where","value":"Oslo"}]},`+
		`"hidden_details":{"z":"1","ip":"10.0.0.1"},"metadata":null,"factor_type":"push","url":%q,"links":{"notifications":%q}}`+"\n",
		r.text("sid"), emulator.DefaultAccountSID, service, f.EntitySID, identity, f.SID, base, base+"/Notifications")
	if string(r.raw) != want {
		t.Errorf("got  %s\nwant %s", r.raw, want)
	}
	if sid := r.text("sid"); len(sid) != 34 || !strings.HasPrefix(sid, "YC") {
		t.Errorf("sid %q", sid)
	}
	if got := a.get(challenges(identity) + "/" + r.text("sid")); string(got.raw) != want {
		t.Errorf("fetched %s", got.raw)
	}
}

func TestEveryAnswerHasTheAPIsHeaders(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, _ := a.pushFactor()
	created := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	refused := a.want(a.post(challenges(identity), url.Values{}), 400, 60306)
	for _, r := range []reply{created, refused} {
		h := r.header
		if id := h.Get("Twilio-Request-Id"); len(id) != 34 || !strings.HasPrefix(id, "RQ") {
			t.Errorf("request id %q", id)
		}
		if h.Get("Date") != "Wed, 04 Mar 2026 05:06:07 GMT" || h.Get("Content-Type") != "application/json" ||
			h.Get("Twilio-Request-Duration") != "0.000" || h.Get("Twilio-Concurrent-Requests") != "1" {
			t.Errorf("headers %v", h)
		}
	}
	if created.header.Get("Twilio-Request-Id") == refused.header.Get("Twilio-Request-Id") {
		t.Error("two requests with one id")
	}
	want := `{"code":60306,"message":"Invalid parameter: FactorSid is not YF and 32 hex digits",` +
		`"more_info":"https://www.twilio.com/docs/errors/60306","status":400}` + "\n"
	if string(refused.raw) != want {
		t.Errorf("error body %s", refused.raw)
	}
}

// jsonMap is a JSON object of strings that is exactly n characters long.
func jsonMap(n int, char string) string { return `{"k":"` + strings.Repeat(char, n-8) + `"}` }

func jsonField(label, value int) string {
	return fmt.Sprintf(`{"label":%q,"value":%q}`, strings.Repeat("ö", label), strings.Repeat("日", value))
}

func TestCreateParametersAtTheirBounds(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, _ := a.pushFactor()
	now := c.now()
	many := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = jsonField(1, 1)
		}
		return out
	}
	iso := "2006-01-02T15:04:05Z07:00"
	oslo := time.FixedZone("", 3600)
	for _, tc := range []struct {
		name   string
		param  string
		values []string
		ok     bool
	}{
		{"factor missing", "FactorSid", nil, false},
		{"factor malformed", "FactorSid", []string{f.SID[:33]}, false},
		{"factor of another kind", "FactorSid", []string{"VA" + f.SID[2:]}, false},
		{"factor with a letter beyond hex", "FactorSid", []string{f.SID[:33] + "g"}, false},
		{"message missing", "Details.Message", nil, false},
		{"message empty", "Details.Message", []string{""}, false},
		{"message at bound", "Details.Message", []string{strings.Repeat("é", 256)}, true},
		{"message beyond", "Details.Message", []string{strings.Repeat("e", 257)}, false},
		{"message not UTF-8", "Details.Message", []string{"\xff"}, false},
		{"fields at bound", "Details.Fields", many(20), true},
		{"fields beyond", "Details.Fields", many(21), false},
		{"label at bound", "Details.Fields", []string{jsonField(36, 1)}, true},
		{"label beyond", "Details.Fields", []string{jsonField(37, 1)}, false},
		{"value at bound", "Details.Fields", []string{jsonField(1, 128)}, true},
		{"value beyond", "Details.Fields", []string{jsonField(1, 129)}, false},
		{"field with spaces and escapes", "Details.Fields", []string{"{ \"label\" : \"\\u003ca\", \"value\": \"b\" }"}, true},
		{"field not JSON", "Details.Fields", []string{"Action"}, false},
		{"field null", "Details.Fields", []string{"null"}, false},
		{"field an array", "Details.Fields", []string{`[{"label":"a","value":"b"}]`}, false},
		{"field without value", "Details.Fields", []string{`{"label":"a"}`}, false},
		{"field with null value", "Details.Fields", []string{`{"label":"a","value":null}`}, false},
		{"field with a number", "Details.Fields", []string{`{"label":"a","value":1}`}, false},
		{"field with other capitals", "Details.Fields", []string{`{"Label":"a","Value":"b"}`}, false},
		{"hidden at bound", "HiddenDetails", []string{jsonMap(1024, "x")}, true},
		{"hidden at bound in characters", "HiddenDetails", []string{jsonMap(1024, "日")}, true},
		{"hidden beyond", "HiddenDetails", []string{jsonMap(1025, "x")}, false},
		{"hidden empty object", "HiddenDetails", []string{"{}"}, true},
		{"hidden with a number", "HiddenDetails", []string{`{"n":1}`}, false},
		{"hidden with null", "HiddenDetails", []string{`{"n":null}`}, false},
		{"hidden nested", "HiddenDetails", []string{`{"n":{"m":"o"}}`}, false},
		{"hidden null", "HiddenDetails", []string{"null"}, false},
		{"hidden empty", "HiddenDetails", []string{""}, false},
		{"hidden with a tail", "HiddenDetails", []string{`{} {}`}, false},
		{"hidden quoted", "HiddenDetails", []string{`"{\"ip\":\"1\"}"`}, false},
		{"expiry at bound", "ExpirationDate", []string{now.Add(time.Hour).Format(iso)}, true},
		{"expiry beyond", "ExpirationDate", []string{now.Add(time.Hour + time.Second).Format(iso)}, false},
		{"expiry beyond by a hair", "ExpirationDate", []string{now.Add(time.Hour + time.Millisecond).Format(time.RFC3339Nano)}, false},
		{"expiry next second", "ExpirationDate", []string{now.Add(time.Second).Format(iso)}, true},
		{"expiry now", "ExpirationDate", []string{now.Format(iso)}, false},
		{"expiry past", "ExpirationDate", []string{"2015-07-30T20:00:00Z"}, false},
		{"expiry with an offset", "ExpirationDate", []string{now.Add(time.Hour).In(oslo).Format(iso)}, true},
		{"expiry with an offset beyond", "ExpirationDate", []string{now.Add(61 * time.Minute).In(oslo).Format(iso)}, false},
		{"expiry with a short offset", "ExpirationDate", []string{now.Add(time.Hour).In(oslo).Format("2006-01-02T15:04:05-0700")}, true},
		{"expiry without a zone", "ExpirationDate", []string{now.Add(time.Minute).Format("2006-01-02T15:04:05")}, false},
		{"expiry a day", "ExpirationDate", []string{"2026-03-05"}, false},
		{"expiry empty", "ExpirationDate", []string{""}, false},
		{"code for push", "AuthPayload", []string{"123456"}, false},
		{"unknown parameter", "Details.Feilds", []string{"x"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := a.post(challenges(identity), with(pushForm(f.SID), tc.param, tc.values...))
			if tc.ok {
				a.want(r, 201, 0)
				return
			}
			a.want(r, 400, 60306)
			if !strings.Contains(r.text("message"), tc.param) {
				t.Errorf("message %q does not name %s", r.text("message"), tc.param)
			}
		})
	}
}

func TestCreateCodeLengths(t *testing.T) {
	a := handled(t, emulator.Config{})
	f := a.totpFactor()
	for code, status := range map[string]int{"": 400, "12": 400, "123": 201, "12345678": 201, "123456789": 400, "日本語": 201} {
		r := a.post(challenges(identity), url.Values{"FactorSid": {f.SID}, "AuthPayload": {code}})
		if r.status != status {
			t.Errorf("code %q: %d, want %d: %s", code, r.status, status, r.raw)
		}
	}
}

func TestCreateWithoutDetailsIsForTOTPOnly(t *testing.T) {
	a := handled(t, emulator.Config{})
	f := a.totpFactor()
	r := a.want(a.post(challenges(identity), url.Values{"FactorSid": {f.SID}}), 201, 0)
	if r.body["details"] != nil || r.body["hidden_details"] != nil || r.text("factor_type") != "totp" || r.text("status") != "pending" {
		t.Errorf("%s", r.raw)
	}
}

func TestRuleRefuseDetailsForTOTP(t *testing.T) {
	form := func(f emulator.Factor, name, value string) url.Values {
		return url.Values{"FactorSid": {f.SID}, name: {value}}
	}
	a := handled(t, emulator.Config{})
	if r := a.want(a.post(challenges(identity), form(a.totpFactor(), "Details.Message", "Sign in?")), 201, 0); !strings.Contains(string(r.raw), `"details":{"message":"Sign in?"`) {
		t.Errorf("default: %s", r.raw)
	}
	b := handled(t, emulator.Config{Rules: emulator.Rules{RefuseDetailsForTOTP: true, MissingMessage60368: true}})
	f := b.totpFactor()
	b.want(b.post(challenges(identity), form(f, "Details.Message", "Sign in?")), 400, 60306)
	b.want(b.post(challenges(identity), form(f, "Details.Fields", jsonField(1, 1))), 400, 60306)
	b.want(b.post(challenges(identity), url.Values{"FactorSid": {f.SID}}), 201, 0)
	push, _ := b.pushFactor()
	b.want(b.post(challenges(identity), with(pushForm(push.SID), "Details.Fields", jsonField(1, 1))), 201, 0)
}

func TestCreateApprovesTOTPAtOnce(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f := a.totpFactor()
	code, err := device.TOTP(f.Secret, "sha1", 30*time.Second, 6, c.now())
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"FactorSid": {f.SID}, "AuthPayload": {code}}
	r := a.want(a.post(challenges(identity), form), 201, 0)
	if r.text("status") != "approved" || r.text("date_responded") == "" {
		t.Errorf("%s", r.raw)
	}
	a.want(a.post(challenges(identity)+"/"+r.text("sid"), url.Values{"AuthPayload": {code}}), 403, 60322)
	// The same code again: the API's rule is not published, and the default accepts.
	if r := a.want(a.post(challenges(identity), form), 201, 0); r.text("status") != "approved" {
		t.Errorf("again: %s", r.raw)
	}
}

func TestRuleRefuseReusedCode(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Rules: emulator.Rules{RefuseReusedCode: true}})
	f := a.totpFactor()
	for i, want := range []string{"approved", "pending", "approved"} {
		code, err := device.TOTP(f.Secret, "sha1", 30*time.Second, 6, c.now())
		if err != nil {
			t.Fatal(err)
		}
		r := a.want(a.post(challenges(identity), url.Values{"FactorSid": {f.SID}, "AuthPayload": {code}}), 201, 0)
		if r.text("status") != want {
			t.Errorf("use %d: %s, want %s", i, r.text("status"), want)
		}
		if i == 1 {
			c.move(30 * time.Second)
		}
	}
}

func TestRuleRefuseWrongCode(t *testing.T) {
	wrong := func(f emulator.Factor) url.Values {
		return url.Values{"FactorSid": {f.SID}, "AuthPayload": {"00000000"}} // eight digits never match six
	}
	a := handled(t, emulator.Config{})
	if r := a.want(a.post(challenges(identity), wrong(a.totpFactor())), 201, 0); r.text("status") != "pending" {
		t.Errorf("default: %s", r.raw)
	}
	b := handled(t, emulator.Config{Rules: emulator.Rules{RefuseWrongCode: true}})
	b.want(b.post(challenges(identity), wrong(b.totpFactor())), 403, 60324)
	if n := len(b.e.Created()); n != 0 {
		t.Errorf("%d challenges made for a refused create", n)
	}
}

func TestRuleAcceptQuotedJSON(t *testing.T) {
	a := handled(t, emulator.Config{Rules: emulator.Rules{AcceptQuotedJSON: true}})
	f, _ := a.pushFactor()
	quoted, err := json.Marshal(jsonMap(1024, "x"))
	if err != nil {
		t.Fatal(err)
	}
	a.want(a.post(challenges(identity), with(pushForm(f.SID), "HiddenDetails", string(quoted))), 201, 0)
	r := a.want(a.post(challenges(identity), with(pushForm(f.SID), "HiddenDetails", `"{\"ip\":\"1\"}"`)), 201, 0)
	if !strings.Contains(string(r.raw), `"hidden_details":{"ip":"1"}`) {
		t.Errorf("%s", r.raw)
	}
	a.want(a.post(challenges(identity), with(pushForm(f.SID), "HiddenDetails", `"\"{}\""`)), 400, 60306)
}

func TestRuleRefuseUnknownParameters(t *testing.T) {
	a := handled(t, emulator.Config{Rules: emulator.Rules{RefuseUnknownParameters: true}})
	f, _ := a.pushFactor()
	a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	a.want(a.post(challenges(identity), with(pushForm(f.SID), "Details.Feilds", "x")), 400, 60306)
	a.want(a.get(challenges(identity)+"?Limit=1"), 400, 60306)
}

func TestRuleIncludeDate(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Rules: emulator.Rules{IncludeDate: true}})
	f, _ := a.pushFactor()
	r := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	if !strings.Contains(string(r.raw), `"date":"2026-03-04T05:06:07Z","fields":[]`) {
		t.Errorf("%s", r.raw)
	}
}

func TestRuleCreationLimits(t *testing.T) {
	const otherSecret = "JBSWY3DPEHPK3PXP"
	create := func(a *api, sid string) reply { return a.post(challenges(identity), url.Values{"FactorSid": {sid}}) }
	short := func(a *api) string {
		r := a.want(a.post(factors(identity), url.Values{
			"FriendlyName": {"x"}, "FactorType": {"totp"}, "Config.CodeLength": {"4"}, "Binding.Secret": {otherSecret},
		}), 201, 0)
		code, err := device.TOTP(otherSecret, "sha1", 30*time.Second, 4, clockOf(a))
		if err != nil {
			t.Fatal(err)
		}
		a.want(a.post(factors(identity)+"/"+r.text("sid"), url.Values{"AuthPayload": {code}}), 200, 0)
		return r.text("sid")
	}
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Rules: emulator.Rules{CreationLimits: true}})
	t.Run("codes of six digits", func(t *testing.T) {
		f := a.totpFactor()
		for hour := range 2 {
			for i := range 50 {
				if r := create(a, f.SID); r.status != 201 {
					t.Fatalf("hour %d, challenge %d: %s", hour, i, r.raw)
				}
			}
			a.want(create(a, f.SID), 429, 60312)
			c.move(time.Hour)
		}
		a.want(create(a, f.SID), 429, 60312) // 100 within 24 hours
		c.move(22*time.Hour - time.Nanosecond)
		a.want(create(a, f.SID), 429, 60312)
		c.move(time.Nanosecond)
		a.want(create(a, f.SID), 201, 0)
	})
	t.Run("codes of four digits", func(t *testing.T) {
		sid := short(a)
		for range 10 {
			a.want(create(a, sid), 201, 0)
		}
		c.move(23 * time.Hour)
		a.want(create(a, sid), 429, 60312)
		c.move(time.Hour)
		a.want(create(a, sid), 201, 0)
	})
	t.Run("not for push", func(t *testing.T) {
		f, _ := a.pushFactor()
		for range 101 {
			a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
		}
	})
	t.Run("off by default", func(t *testing.T) {
		b := handled(t, emulator.Config{Now: c.now})
		sid := short(b)
		for range 101 {
			b.want(create(b, sid), 201, 0)
		}
	})
}

// clockOf reads the emulator's clock from an answer.
func clockOf(a *api) time.Time {
	a.t.Helper()
	at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", a.get("/v2/nowhere").header.Get("Date"))
	if err != nil {
		a.t.Fatal(err)
	}
	return at
}

func TestCreateNeedsAVerifiedFactorOfTheIdentity(t *testing.T) {
	a := handled(t, emulator.Config{})
	a.want(a.post(challenges(identity), pushForm("YF"+noSID)), 404, 20404) // no entity
	f, _ := a.pushFactor()
	a.want(a.post(challenges(identity), pushForm("YF"+noSID)), 404, 20404)
	other, err := a.e.AddPushFactor("another-user", &newKey(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	a.want(a.post(challenges(identity), pushForm(other.SID)), 404, 20404)
	unverified := a.want(a.post(factors(identity), url.Values{"FriendlyName": {"x"}, "FactorType": {"totp"}}), 201, 0)
	a.want(a.post(challenges(identity), url.Values{"FactorSid": {unverified.text("sid")}}), 403, 60318)
	a.want(a.post(challenges(strings.ToUpper(identity)), pushForm(f.SID)), 201, 0)
}
