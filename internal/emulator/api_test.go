package emulator_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

func wantCode(t *testing.T, name string, err error, code emulator.Code) {
	t.Helper()
	var own *emulator.Error
	if !errors.As(err, &own) || own.Code != code || own.Message == "" || !strings.Contains(err.Error(), string(code)) {
		t.Errorf("%s: %v, want code %s", name, err, code)
	}
}

func TestEntityLife(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "https://api.example"})
	entities := "/v2/Services/" + service + "/Entities"
	r := a.want(a.post(entities, url.Values{"Identity": {"User-0001-ABCD"}}), 201, 0)
	base := "https://api.example" + entities + "/User-0001-ABCD"
	want := `{"sid":"` + r.text("sid") + `","identity":"User-0001-ABCD","account_sid":"` + emulator.DefaultAccountSID +
		`","service_sid":"` + service + `","date_created":"2026-03-04T05:06:07Z","date_updated":"2026-03-04T05:06:07Z","url":"` + base +
		`","links":{"factors":"` + base + `/Factors","new_factors":"` + base + `/Factors","challenges":"` + base + `/Challenges"}}` + "\n"
	if string(r.raw) != want {
		t.Errorf("got  %s\nwant %s", r.raw, want)
	}
	a.want(a.post(entities, url.Values{"Identity": {identity}}), 409, 60301) // case does not tell them apart
	if got := a.want(a.get(entityPath(identity)), 200, 0); got.text("identity") != "User-0001-ABCD" {
		t.Errorf("%s", got.raw)
	}
	f, key := a.pushFactor()
	p := a.pushed(f.SID)
	a.want(a.call(http.MethodDelete, entityPath(identity), nil), 204, 0)
	a.want(a.call(http.MethodDelete, entityPath(identity), nil), 404, 20404)
	for _, path := range []string{entityPath(identity), factors(identity), challenges(identity), p.path} {
		a.want(a.get(path), 404, 20404)
	}
	a.want(a.answer(p, p.sign(t, key, "approved")), 404, 20404)
	a.want(a.post(entities, url.Values{"Identity": {identity}}), 201, 0)
}

func TestIdentitiesAtTheirBounds(t *testing.T) {
	a := handled(t, emulator.Config{})
	entities := "/v2/Services/" + service + "/Entities"
	for id, ok := range map[string]bool{
		"seven77": false, "eight888": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
		"with-dash": true, "-leading": false, "trailing-": false, "double--dash": false,
		"under_score": false, "dotted.name": false, "umläut-name": false, "": false,
	} {
		r := a.post(entities, url.Values{"Identity": {id}})
		if (r.status == 201) != ok || !ok && r.code() != 60306 {
			t.Errorf("identity %q: %s", id, r.raw)
		}
		if id == "" {
			continue
		}
		r = a.get("/v2/Services/" + service + "/Entities/" + url.PathEscape(id) + "/Challenges")
		if want := map[bool]int{true: 200, false: 400}[ok]; r.status != want {
			t.Errorf("path with %q: %s", id, r.raw)
		}
	}
}

func TestAuthentication(t *testing.T) {
	apiKey := "SK" + noSID
	second := emulator.Account{SID: "AC" + noSID, AuthToken: "other", Services: []string{"VA" + noSID}}
	a := handled(t, emulator.Config{Accounts: []emulator.Account{
		{SID: emulator.DefaultAccountSID, AuthToken: "right", APIKeys: map[string]string{apiKey: "hush"}}, second,
	}})
	f, _ := a.pushFactor()
	for _, tc := range []struct {
		name, user, pass string
		status           int
	}{
		{"token", emulator.DefaultAccountSID, "right", 200},
		{"API key", apiKey, "hush", 200},
		{"wrong token", emulator.DefaultAccountSID, "wrong", 401},
		{"empty token", emulator.DefaultAccountSID, "", 401},
		{"key with the token", apiKey, "right", 401},
		{"unknown account", "AC" + strings.Repeat("f", 32), "right", 401},
		{"device without a token", "token", "", 401},
		{"device with junk", "token", "a.b.c", 401},
	} {
		a.user, a.pass = tc.user, tc.pass
		r := a.get(challenges(identity))
		if r.status != tc.status || tc.status == 401 && (r.code() != 20003 || r.header.Get("WWW-Authenticate") == "" || r.text("message") != "Authenticate") {
			t.Errorf("%s: %s %v", tc.name, r.raw, r.header)
		}
	}
	r, err := http.NewRequest(http.MethodGet, a.base+challenges(identity), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.try(r); err != nil || got.status != 401 {
		t.Errorf("without credentials: %v %s", err, got.raw)
	}
	// What one account has, another does not see.
	a.user, a.pass = second.SID, second.AuthToken
	a.want(a.get(challenges(identity)), 404, 20404) // the service is not the account's
	a.want(a.get("/v2/Services/VA"+noSID+"/Entities/"+identity), 404, 20404)
	if f.AccountSID != emulator.DefaultAccountSID {
		t.Errorf("factor of %s", f.AccountSID)
	}
}

func TestPathsAndMethods(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, _ := a.pushFactor()
	p := a.pushed(f.SID)
	for _, path := range []string{
		"/", "/v2", "/v1/Services/" + service, "/v2/Services/" + service, "/v2/Services/" + service + "/Nothing",
		entityPath(identity) + "/Nothing", p.path + "/Nothing", p.path + "/Notifications/NT" + noSID, challenges(identity) + "/",
	} {
		r := a.get(path)
		if r.status != 404 && r.status != 400 || r.code() == 0 {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
	if r := a.want(a.get("/v2/Services/"+service+"/VerificationCheck"), 404, 20404); r.text("message") !=
		"The requested resource /Services/"+service+"/VerificationCheck was not found" {
		t.Errorf("%s", r.raw)
	}
	for _, path := range []string{
		"/v2/Services/VAxyz/Entities", "/v2/Services/VAxyz/Entities/" + identity + "/Challenges",
		challenges(identity) + "/YC1", challenges(identity) + "/YF" + noSID, factors(identity) + "/YC" + noSID,
	} {
		a.want(a.get(path), 400, 60306)
	}
	for path, method := range map[string]string{
		p.path: http.MethodDelete, challenges(identity): http.MethodPut, factors(identity): http.MethodPatch,
		entityPath(identity): http.MethodPost, p.path + "/Notifications": http.MethodGet,
	} {
		a.want(a.call(method, path, nil), 405, 20004)
	}
}

func TestBodiesThatAreNoForm(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, _ := a.pushFactor()
	body := pushForm(f.SID).Encode()
	for kind, status := range map[string]int{
		"application/x-www-form-urlencoded": 201, "application/x-www-form-urlencoded; charset=utf-8": 201,
		"application/json": 400, "": 400, "multipart/form-data": 400,
	} {
		r := httptest.NewRequest(http.MethodPost, challenges(identity), strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		r.SetBasicAuth(a.user, a.pass)
		if got, err := a.try(r); err != nil || got.status != status || status == 400 && got.code() != 20001 {
			t.Errorf("%q: %v %s", kind, err, got.raw)
		}
	}
	for name, bad := range map[string]string{"escape": "FactorSid=%zz", "size": "x=" + strings.Repeat("x", 1<<20)} {
		r := httptest.NewRequest(http.MethodPost, challenges(identity), strings.NewReader(bad))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(a.user, a.pass)
		if got, err := a.try(r); err != nil || got.code() != 20001 {
			t.Errorf("%s: %v %s", name, err, got.raw)
		}
	}
	a.want(a.get(challenges(identity)+"?Status=%zz"), 400, 20001)
}

func TestRuleSpecificNotFound(t *testing.T) {
	a := handled(t, emulator.Config{Rules: emulator.Rules{SpecificNotFound: true}})
	a.want(a.get(entityPath(identity)), 404, 60392)
	a.want(a.get(challenges(identity)), 404, 60392)
	f, _ := a.pushFactor()
	a.want(a.get(challenges(identity)+"/YC"+noSID), 404, 60391)
	a.want(a.get(factors(identity)+"/YF"+noSID), 404, 60390)
	a.want(a.post(challenges(identity), pushForm("YF"+noSID)), 404, 60390)
	a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0)
	a.want(a.get("/v2/nowhere"), 404, 20404)
}

func TestNotifications(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	form, key := newPush(t)
	f := a.want(a.post(factors(identity), form), 201, 0).text("sid")
	proof, err := device.SignFactor(key, f)
	if err != nil {
		t.Fatal(err)
	}
	a.want(a.post(factors(identity)+"/"+f, url.Values{"AuthPayload": {proof}}), 200, 0)
	p := a.pushed(f)
	notify := func(p pushed, form url.Values) reply { return a.post(p.path+"/Notifications", form) }
	for _, ttl := range []string{"-1", "301", "x"} {
		a.want(notify(p, url.Values{"Ttl": {ttl}}), 400, 60306)
	}
	r := a.want(notify(p, url.Values{}), 201, 0)
	want := `{"sid":"` + r.text("sid") + `","account_sid":"` + emulator.DefaultAccountSID + `","service_sid":"` + service +
		`","entity_sid":"` + r.text("entity_sid") + `","identity":"` + identity + `","challenge_sid":"` + p.path[len(p.path)-34:] +
		`","date_created":"2026-03-04T05:06:07Z","priority":"high","ttl":300}` + "\n"
	if string(r.raw) != want {
		t.Errorf("got  %s\nwant %s", r.raw, want)
	}
	a.want(notify(p, url.Values{"Ttl": {"0"}}), 201, 0)
	a.want(notify(p, url.Values{"Ttl": {"300"}}), 201, 0)
	a.want(notify(p, url.Values{}), 429, 60309)

	q := a.pushed(f)
	a.want(a.answer(q, q.sign(t, key, "denied")), 200, 0)
	a.want(notify(q, url.Values{}), 403, 60322)
	late := a.pushed(f)
	c.move(5 * time.Minute)
	a.want(notify(late, url.Values{}), 403, 60323)

	silent, _ := a.pushFactor() // its platform is none
	a.want(notify(a.pushed(silent.SID), url.Values{}), 400, 60307)
	totp := a.want(a.post(challenges(identity), url.Values{"FactorSid": {a.totpFactor().SID}}), 201, 0)
	a.want(a.post(challenges(identity)+"/"+totp.text("sid")+"/Notifications", url.Values{}), 400, 60306)
	a.want(a.post(challenges(identity)+"/YC"+noSID+"/Notifications", url.Values{}), 404, 20404)
}

func TestAccessTokens(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	path := "/v2/Services/" + service + "/AccessTokens"
	good := url.Values{"Identity": {identity}, "FactorType": {"push"}}
	for _, bad := range []url.Values{
		with(good, "Identity", "short"), with(good, "FactorType", "totp"), with(good, "FactorType"), with(good, "Ttl", "59"),
		with(good, "Ttl", "301"), with(good, "FactorFriendlyName", strings.Repeat("x", 65)),
	} {
		a.want(a.post(path, bad), 400, 60305)
	}
	a.want(a.post(path, with(good, "Ttl", "300")), 201, 0)
	r := a.want(a.post(path, good), 201, 0)
	if ttl, _ := r.body["ttl"].(float64); ttl != 60 || r.text("entity_identity") != identity || r.text("token") == "" {
		t.Fatalf("%s", r.raw)
	}
	a.user, a.pass = "token", r.text("token")
	form, _ := newPush(t)
	a.want(a.post(factors("another-user"), form), 403, 60313)
	a.want(a.get(factors(identity)), 403, 60313)
	a.want(a.post("/v2/Services/VA"+noSID+"/Entities/"+identity+"/Factors", form), 403, 60313)
	a.want(a.post(factors(identity), form), 201, 0)
	c.move(time.Minute)
	form, _ = newPush(t)
	a.want(a.post(factors(identity), form), 401, 20003)
}

func TestFetchAccessToken(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	path := "/v2/Services/" + service + "/AccessTokens"
	made := a.want(a.post(path, url.Values{"Identity": {identity}, "FactorType": {"push"}}), 201, 0)
	sid := made.text("sid")
	if got := a.want(a.get(made.text("url")), 200, 0); string(got.raw) != string(made.raw) {
		t.Errorf("made %s, fetched %s", made.raw, got.raw)
	}
	a.want(a.get(path+"/YK"+noSID), 404, 20404)
	a.want(a.get(path+"/YK12"), 400, 60306)
	a.want(a.get(path+"/"+sid+"/more"), 404, 20404)
	a.want(a.get("/v2/Services/VA"+noSID+"/AccessTokens/"+sid), 404, 20404)
	a.want(a.post(path+"/"+sid, url.Values{}), 405, 20004)
	c.move(time.Minute)
	a.want(a.get(path+"/"+sid), 404, 20404)
	a.user, a.pass = "token", made.text("token")
	a.want(a.get(path+"/"+sid), 401, 20003)
}

func TestDeviceTokens(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, key := a.pushFactor()
	other, err := a.e.AddPushFactor("another-user", &newKey(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	a.user = "token"
	token := func(credential, account string, at time.Time) string {
		text, err := device.Token(key, credential, account, at)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, tc := range map[string]struct {
		token, path string
		status      int
	}{
		"own":             {token(f.CredentialSID, f.AccountSID, c.now()), challenges(identity), 200},
		"other case":      {token(f.CredentialSID, f.AccountSID, c.now()), challenges(strings.ToUpper(identity)), 200},
		"other identity":  {token(f.CredentialSID, f.AccountSID, c.now()), challenges("another-user"), 401},
		"other key":       {token(other.CredentialSID, f.AccountSID, c.now()), challenges("another-user"), 401},
		"unknown key":     {token("CR"+noSID, f.AccountSID, c.now()), challenges(identity), 401},
		"other account":   {token(f.CredentialSID, "AC"+noSID, c.now()), challenges(identity), 401},
		"last second":     {token(f.CredentialSID, f.AccountSID, c.now().Add(time.Second-10*time.Minute)), challenges(identity), 200},
		"expired":         {token(f.CredentialSID, f.AccountSID, c.now().Add(-10*time.Minute)), challenges(identity), 401},
		"from the future": {token(f.CredentialSID, f.AccountSID, c.now().Add(time.Second)), challenges(identity), 401},
	} {
		a.pass = tc.token
		if r := a.get(tc.path); r.status != tc.status {
			t.Errorf("%s: %s", name, r.raw)
		}
	}
	a.pass = token(f.CredentialSID, f.AccountSID, c.now())
	a.want(a.call(http.MethodDelete, factors(identity)+"/"+f.SID, nil), 204, 0)
	a.want(a.get(challenges(identity)), 401, 20003)
}

func TestNewRefusesBadConfigs(t *testing.T) {
	account := emulator.Account{SID: emulator.DefaultAccountSID, AuthToken: "x"}
	key := "SK" + noSID
	for name, cfg := range map[string]emulator.Config{
		"account SID":    {Accounts: []emulator.Account{{SID: "AC1", AuthToken: "x"}}},
		"no token":       {Accounts: []emulator.Account{{SID: emulator.DefaultAccountSID}}},
		"account twice":  {Accounts: []emulator.Account{account, account}},
		"bad key":        {Accounts: []emulator.Account{{SID: account.SID, AuthToken: "x", APIKeys: map[string]string{"k": "v"}}}},
		"empty secret":   {Accounts: []emulator.Account{{SID: account.SID, AuthToken: "x", APIKeys: map[string]string{key: ""}}}},
		"bad service":    {Accounts: []emulator.Account{{SID: account.SID, AuthToken: "x", Services: []string{"VA1"}}}},
		"public URL":     {PublicURL: "api.example"},
		"signed unknown": {SignatureFields: []string{"sid", "nothing"}},
		"log limit":      {LogLimit: -1},
	} {
		_, err := emulator.New(cfg)
		wantCode(t, name, err, emulator.CodeConfig)
	}
	_, err := emulator.New(emulator.Config{Faults: emulator.Faults{ThrottleRate: 2}})
	wantCode(t, "faults", err, emulator.CodeFaults)
}
