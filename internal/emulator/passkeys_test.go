package emulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

const passkeys = "/v2/Services/" + service + "/Passkeys/"

// postJSON sends a body as it is. An empty one is left out.
func (a *api) postJSON(path, body string) reply {
	a.t.Helper()
	req := a.request(http.MethodPost, path, nil)
	if body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	r, err := a.try(req)
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

func (a *api) passkeysFactor() emulator.Factor {
	a.t.Helper()
	f, err := a.e.AddPasskeysFactor(identity)
	if err != nil {
		a.t.Fatal(err)
	}
	return f
}

func TestPasskeysChallengeShowsTheResource(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "https://api.example"})
	f := a.passkeysFactor()
	other := a.passkeysFactor()
	for _, tc := range []struct {
		name, body               string
		entity, identity, factor string
		credentials              int
	}{
		{"for a factor", fmt.Sprintf(`{"identity":%q,"factor_sid":%q}`, strings.ToUpper(identity), f.SID), f.EntitySID, identity, f.SID, 1},
		{"for an identity", fmt.Sprintf(`{"identity":%q}`, identity), f.EntitySID, identity, "", 2},
		{"for nobody", `{}`, "", "", "", 0},
		{"without a body", ``, "", "", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := a.want(a.postJSON(passkeys+"Challenges", tc.body), 201, 0)
			var options struct {
				Options struct {
					PublicKey struct {
						Challenge, RPID, UserVerification string
						Timeout                           int
						AllowCredentials                  []struct{ ID, Type string }
					} `json:"publicKey"`
				} `json:"options"`
			}
			if err := json.Unmarshal(r.raw, &options); err != nil {
				t.Fatal(err)
			}
			key := options.Options.PublicKey
			if len(key.AllowCredentials) != tc.credentials || key.Timeout != 300000 || key.RPID == "" || key.Challenge == "" {
				t.Errorf("options %s", r.raw)
			}
			delete(r.body, "options")
			want := map[string]any{
				"sid": r.text("sid"), "account_sid": emulator.DefaultAccountSID, "service_sid": service,
				"entity_sid": tc.entity, "identity": tc.identity, "factor_sid": tc.factor, "factor_type": "passkeys", "status": "pending",
				"date_created": "2026-03-04T05:06:07Z", "date_updated": "2026-03-04T05:06:07Z", "date_responded": nil, "expiration_date": nil,
				"details": nil, "hidden_details": nil, "metadata": nil, "links": nil, "responded_reason": "none",
				"url": "https://api.example" + passkeys + "Challenges",
			}
			if fmt.Sprint(r.body) != fmt.Sprint(want) {
				t.Errorf("got  %v\nwant %v", r.body, want)
			}
		})
	}
	if made := a.e.Created(); len(made) != 4 || made[0].FactorSID != f.SID || made[3].Identity != "" || a.e.Stats().Creates != 4 {
		t.Errorf("created %+v", made)
	}
	if shown := readPage(t, a.want(a.get(factors(identity)), 200, 0), "factors"); !slices.Equal(shown.sids, []string{f.SID, other.SID}) {
		t.Errorf("factors %v", shown.sids)
	}
	if shown := readPage(t, a.want(a.get("/v2/Services/"+service+"/Entities"), 200, 0), "entities"); len(shown.sids) != 1 {
		t.Errorf("the owner of what belongs to nobody is listed: %v", shown.sids)
	}
}

func TestPasskeysChallengeRefuses(t *testing.T) {
	a := handled(t, emulator.Config{})
	push, _ := a.pushFactor()
	for _, tc := range []struct {
		name, body   string
		status, code int
	}{
		{"no object", `[]`, 400, 60306},
		{"null", `null`, 400, 60306},
		{"two values", `{} {}`, 400, 60306},
		{"cut off", `{"identity":`, 400, 60306},
		{"identity malformed", `{"identity":"short"}`, 400, 60306},
		{"factor malformed", `{"identity":"` + identity + `","factor_sid":"YF"}`, 400, 60306},
		{"factor without identity", `{"factor_sid":"` + push.SID + `"}`, 400, 60306},
		{"identity unknown", `{"identity":"nobody-0001"}`, 404, 20404},
		{"identity without a passkey", `{"identity":"` + identity + `"}`, 404, 20404},
		{"factor unknown", `{"identity":"` + identity + `","factor_sid":"YF` + noSID + `"}`, 404, 20404},
		{"factor of another type", `{"identity":"` + identity + `","factor_sid":"` + push.SID + `"}`, 400, 60369},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a.want(a.postJSON(passkeys+"Challenges", tc.body), tc.status, tc.code)
		})
	}
	a.want(a.post(passkeys+"Challenges", url.Values{"identity": {identity}}), 400, 20001)
	a.want(a.get(passkeys+"Challenges"), 405, 20004)
	a.want(a.post(passkeys+"Nothing", url.Values{}), 404, 20404)
	for _, name := range []string{"ApproveChallenge", "Factors", "VerifyFactor"} {
		a.want(a.postJSON(passkeys+name, `{}`), 403, 60204)
	}
	if n := len(a.e.Created()); n != 0 {
		t.Errorf("%d challenges made", n)
	}
	b := handled(t, emulator.Config{Rules: emulator.Rules{RefuseUnknownParameters: true}})
	b.want(b.postJSON(passkeys+"Challenges", `{"user":"x"}`), 400, 60306)
	a.want(a.postJSON(passkeys+"Challenges", `{"user":"x"}`), 201, 0)
}

// The form API shows passkeys challenges and can't make, answer or push them.
func TestPasskeysThroughTheFormAPI(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "http://emulator.test"})
	f := a.passkeysFactor()
	a.want(a.post(challenges(identity), url.Values{"FactorSid": {f.SID}, "Details.Message": {"m"}}), 400, 60369)
	a.want(a.post(challenges(identity), url.Values{"FactorSid": {f.SID}, "AuthPayload": {"123456"}}), 400, 60369)
	made := a.want(a.postJSON(passkeys+"Challenges", `{"identity":"`+identity+`","factor_sid":"`+f.SID+`"}`), 201, 0)
	path := challenges(identity) + "/" + made.text("sid")
	if got := a.want(a.get(path), 200, 0); string(got.raw) != string(made.raw) {
		t.Errorf("fetched %s\nmade    %s", got.raw, made.raw)
	}
	for query, shown := range map[string]bool{
		"": true, "?Status=pending": true, "?FactorSid=" + f.SID: true, "?Status=approved": false, "?FactorSid=YF" + noSID: false,
	} {
		if got := a.list(challenges(identity) + query).sids; (len(got) == 1) != shown {
			t.Errorf("%q lists %v", query, got)
		}
	}
	for _, form := range []url.Values{{"AuthPayload": {"123456"}}, {"AuthPayload": {strings.Repeat("x", 5456)}}, {"Metadata": {`{"os":"x"}`}}} {
		a.want(a.post(path, form), 400, 60369)
	}
	a.want(a.post(path+"/Notifications", url.Values{}), 400, 60306)
	a.want(a.post(factors(identity)+"/"+f.SID, url.Values{"FriendlyName": {"x"}}), 400, 60369)
	c.move(5 * time.Minute)
	if got := a.want(a.get(path), 200, 0); got.text("status") != "expired" {
		t.Errorf("after five minutes %s", got.raw)
	}
	a.want(a.call(http.MethodDelete, factors(identity)+"/"+f.SID, nil), 204, 0)
}

func TestRuleHidePasskeys(t *testing.T) {
	a := handled(t, emulator.Config{Rules: emulator.Rules{HidePasskeys: true}, PublicURL: "http://emulator.test"})
	a.passkeysFactor()
	sid := a.want(a.postJSON(passkeys+"Challenges", `{"identity":"`+identity+`"}`), 201, 0).text("sid")
	a.want(a.get(challenges(identity)+"/"+sid), 404, 20404)
	if got := a.list(challenges(identity)); len(got.sids) != 0 {
		t.Errorf("listed %v", got.sids)
	}
}

func TestRuleFetchDiscoverable(t *testing.T) {
	for _, shown := range []bool{false, true} {
		a := handled(t, emulator.Config{Rules: emulator.Rules{FetchDiscoverable: shown}, PublicURL: "http://emulator.test"})
		a.passkeysFactor()
		made := a.want(a.postJSON(passkeys+"Challenges", `{}`), 201, 0)
		path := challenges(identity) + "/" + made.text("sid")
		if shown {
			if got := a.want(a.get(path), 200, 0); string(got.raw) != string(made.raw) {
				t.Errorf("fetched %s", got.raw)
			}
			a.want(a.post(path, url.Values{"AuthPayload": {"123456"}}), 400, 60369)
		} else {
			a.want(a.get(path), 404, 20404)
		}
		a.want(a.get(challenges("nobody-0001")+"/"+made.text("sid")), 404, 20404)
		if got := a.list(challenges(identity)); len(got.sids) != 0 {
			t.Errorf("listed %v", got.sids)
		}
	}
}
