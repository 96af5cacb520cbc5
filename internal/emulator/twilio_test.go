package emulator_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// redirect sends what twilio-go addresses to the live API to the emulator, and
// leaves every other URL, such as the emulator's own page URLs, as it is.
type redirect struct {
	to   *url.URL
	next http.RoundTripper
}

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "verify.twilio.com" {
		req = req.Clone(req.Context())
		req.URL.Scheme, req.URL.Host, req.Host = r.to.Scheme, r.to.Host, r.to.Host
	}
	return r.next.RoundTrip(req)
}

// official is a twilio-go client of the emulator.
func official(t *testing.T, a *api, password string) *verify.ApiService {
	t.Helper()
	to, err := url.Parse(a.base)
	if err != nil {
		t.Fatal(err)
	}
	c := &client.Client{
		Credentials: client.NewCredentials(emulator.DefaultAccountSID, password),
		HTTPClient:  &http.Client{Transport: redirect{to: to, next: a.client.Transport}},
	}
	c.SetAccountSid(emulator.DefaultAccountSID)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: c}).VerifyV2
}

func TestTwilioGoPush(t *testing.T) {
	a := started(t, emulator.Config{})
	api := official(t, a, emulator.DefaultAuthToken)
	key := newKey(t)
	newFactor, err := api.CreateNewFactor(service, identity, (&verify.CreateNewFactorParams{}).
		SetFriendlyName("phone").SetFactorType("push").SetBindingAlg("ES256").SetBindingPublicKey(publicText(t, &key.PublicKey)).
		SetConfigAppId("com.example.app").SetConfigNotificationPlatform("none").SetConfigSdkVersion("1.0").
		SetMetadata(map[string]string{"os": "Any"}))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := device.SignFactor(key, *newFactor.Sid)
	if err != nil {
		t.Fatal(err)
	}
	factor, err := api.UpdateFactor(service, identity, *newFactor.Sid, (&verify.UpdateFactorParams{}).SetAuthPayload(proof))
	if err != nil || *factor.Status != "verified" {
		t.Fatalf("%+v, %v", factor, err)
	}
	expires := time.Now().Add(30 * time.Minute).In(time.FixedZone("", 3600)).Truncate(time.Second)
	made, err := api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).
		SetFactorSid(*factor.Sid).SetDetailsMessage("Sign in?").SetExpirationDate(expires).
		SetDetailsFields([]any{map[string]string{"label": "<Where>", "value": "Oslo & more"}}).
		SetHiddenDetails(map[string]string{"ip": "10.0.0.1"}))
	if err != nil {
		t.Fatal(err)
	}
	if !made.ExpirationDate.Equal(expires) || *made.Status != "pending" || made.DateResponded != nil {
		t.Errorf("%+v", made)
	}
	fetched, err := api.FetchChallengeWithMetadata(service, identity, *made.Sid)
	if err != nil {
		t.Fatal(err)
	}
	if fields := fetched.GetHeaders().Get("Twilio-Verify-Signature-Fields"); fields == "" {
		t.Error("no signature fields")
	}
	d, err := device.Attach(device.Config{BaseURL: a.base, ServiceSID: service, Identity: identity, HTTPClient: a.client},
		key, device.Factor{SID: *factor.Sid, AccountSID: emulator.DefaultAccountSID, CredentialSID: credential(t, newFactor)})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := d.Fetch(t.Context(), *made.Sid)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Answer(t.Context(), seen, device.StatusDenied); err != nil {
		t.Fatal(err)
	}
	if after, err := api.FetchChallenge(service, identity, *made.Sid); err != nil || *after.Status != "denied" {
		t.Errorf("%+v, %v", after, err)
	}
	_, err = api.UpdateChallenge(service, identity, *made.Sid, (&verify.UpdateChallengeParams{}).SetAuthPayload("x"))
	wantRest(t, err, 403, 60322)
	_, err = api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).
		SetFactorSid(*factor.Sid).SetDetailsMessage("m").SetHiddenDetails(`{"ip":"10.0.0.1"}`))
	wantRest(t, err, 400, 60306) // a Go string is sent as a quoted JSON string
}

func credential(t *testing.T, f *verify.VerifyV2NewFactor) string {
	t.Helper()
	config, _ := (*f.Config).(map[string]any)
	sid, ok := config["credential_sid"].(string)
	if !ok {
		t.Fatalf("config %v", config)
	}
	return sid
}

func wantRest(t *testing.T, err error, status, code int) {
	t.Helper()
	var rest *client.TwilioRestError
	if !errors.As(err, &rest) || rest.Status != status || rest.Code != code || rest.MoreInfo == "" {
		t.Errorf("%v, want %d/%d", err, status, code)
	}
}

func TestTwilioGoTOTP(t *testing.T) {
	a := started(t, emulator.Config{})
	api := official(t, a, emulator.DefaultAuthToken)
	made, err := api.CreateNewFactor(service, identity, (&verify.CreateNewFactorParams{}).
		SetFriendlyName("app").SetFactorType("totp").SetConfigAlg("sha256").SetConfigCodeLength(8).SetConfigTimeStep(60).SetConfigSkew(2))
	if err != nil {
		t.Fatal(err)
	}
	binding, _ := (*made.Binding).(map[string]any)
	text, _ := binding["secret"].(string)
	code, err := device.TOTP(text, "sha256", time.Minute, 8, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wrong := "00000000"
	if code == wrong {
		wrong = "11111111"
	}
	_, err = api.UpdateFactor(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).SetAuthPayload(wrong))
	wantRest(t, err, 403, 60311)
	if _, err = api.UpdateFactor(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).SetAuthPayload(code)); err != nil {
		t.Fatal(err)
	}
	params := func() *verify.CreateChallengeParams { return (&verify.CreateChallengeParams{}).SetFactorSid(*made.Sid) }
	approved, err := api.CreateChallenge(service, identity, params().SetAuthPayload(code))
	if err != nil || *approved.Status != "approved" || *approved.FactorType != "totp" {
		t.Fatalf("%+v, %v", approved, err)
	}
	pending, err := api.CreateChallenge(service, identity, params().SetAuthPayload(wrong))
	if err != nil || *pending.Status != "pending" {
		t.Fatalf("%+v, %v", pending, err)
	}
	updated, err := api.UpdateChallenge(service, identity, *pending.Sid,
		(&verify.UpdateChallengeParams{}).SetAuthPayload(code).SetMetadata(map[string]string{"os": "Any"}))
	if err != nil || *updated.Status != "approved" || (*updated.Metadata).(map[string]any)["os"] != "Any" {
		t.Fatalf("%+v, %v", updated, err)
	}
}

func TestTwilioGoLists(t *testing.T) {
	a := started(t, emulator.Config{})
	api := official(t, a, emulator.DefaultAuthToken)
	f, _ := a.pushFactor()
	var want []string
	for range 7 {
		made, err := api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid(f.SID).SetDetailsMessage("m"))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, *made.Sid)
	}
	pages := func() int64 { return a.e.Stats().Calls[emulator.OperationList] }
	for _, tc := range []struct {
		size, limit int // zero: not given
		items       int
		pages       int64
	}{
		{0, 0, 7, 1}, {2, 0, 7, 4}, {7, 0, 7, 1}, {3, 4, 4, 2}, {2, 4, 4, 2}, {0, 3, 3, 1}, {1, 0, 7, 7},
	} {
		params := (&verify.ListChallengeParams{}).SetStatus("pending").SetOrder("desc").SetFactorSid(f.SID)
		if tc.size > 0 {
			params.SetPageSize(tc.size)
		}
		if tc.limit > 0 {
			params.SetLimit(tc.limit)
		}
		before := pages()
		items, err := api.ListChallenge(service, identity, params)
		if err != nil || len(items) != tc.items {
			t.Fatalf("%+v: %d items, %v", tc, len(items), err)
		}
		for i, item := range items {
			if *item.Sid != want[len(want)-1-i] {
				t.Errorf("%+v: item %d is %s", tc, i, *item.Sid)
			}
		}
		if got := pages() - before; got != tc.pages {
			t.Errorf("%+v: %d pages read, want %d", tc, got, tc.pages)
		}
	}
	stream, failed := api.StreamChallenge(service, identity, (&verify.ListChallengeParams{}).SetPageSize(3))
	n := 0
	for item := range stream {
		if *item.Sid != want[n] {
			t.Errorf("streamed %d is %s", n, *item.Sid)
		}
		n++
	}
	if err := <-failed; err != nil || n != len(want) {
		t.Errorf("streamed %d, %v", n, err)
	}
	_, err := api.ListChallenge(service, identity, (&verify.ListChallengeParams{}).SetPageSize(1001))
	wantRest(t, err, 400, 60306)
}

func TestTwilioGoErrors(t *testing.T) {
	a := started(t, emulator.Config{Faults: emulator.Faults{RetryAfter: time.Second}})
	_, err := official(t, a, "wrong").FetchChallenge(service, identity, "YC"+noSID)
	wantRest(t, err, 401, 20003)
	api := official(t, a, emulator.DefaultAuthToken)
	_, err = api.FetchChallenge(service, identity, "YC"+noSID)
	wantRest(t, err, 404, 20404)
	if err := a.e.Script(emulator.OperationFetch, emulator.FaultThrottle, emulator.FaultServerError, emulator.FaultResetAfter); err != nil {
		t.Fatal(err)
	}
	_, err = api.FetchChallenge(service, identity, "YC"+noSID)
	wantRest(t, err, 429, 20429)
	_, err = api.FetchChallenge(service, identity, "YC"+noSID)
	wantRest(t, err, 500, 20500)
}

func TestTwilioGoEntitiesAndTokens(t *testing.T) {
	a := started(t, emulator.Config{})
	api := official(t, a, emulator.DefaultAuthToken)
	entity, err := api.CreateEntity(service, (&verify.CreateEntityParams{}).SetIdentity(identity))
	if err != nil || *entity.Identity != identity {
		t.Fatalf("%+v, %v", entity, err)
	}
	list, err := api.ListEntity(service, &verify.ListEntityParams{})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	token, err := api.CreateAccessToken(service, (&verify.CreateAccessTokenParams{}).SetIdentity(identity).SetFactorType("push"))
	if err != nil || token.Ttl != 60 {
		t.Fatalf("%+v, %v", token, err)
	}
	d, err := device.Enrol(t.Context(), device.Config{
		BaseURL: a.base, ServiceSID: service, Identity: identity, Username: "token", Password: *token.Token, HTTPClient: a.client,
	})
	if err != nil {
		t.Fatal(err)
	}
	factors, err := api.ListFactor(service, identity, &verify.ListFactorParams{})
	if err != nil || len(factors) != 1 || *factors[0].Sid != d.Factor().SID || *factors[0].Status != "verified" {
		t.Fatalf("%+v, %v", factors, err)
	}
	made, err := api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).SetFactorSid(d.Factor().SID).SetDetailsMessage("m"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.CreateNotification(service, identity, *made.Sid, (&verify.CreateNotificationParams{}).SetTtl(10))
	wantRest(t, err, 400, 60307)
	if err := api.DeleteEntity(service, identity); err != nil {
		t.Fatal(err)
	}
}
