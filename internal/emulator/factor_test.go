package emulator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

func publicText(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// newPush is a push factor that is accepted.
func newPush(t *testing.T) (url.Values, *ecdsa.PrivateKey) {
	t.Helper()
	key := newKey(t)
	return url.Values{
		"FriendlyName": {"phone"}, "FactorType": {"push"}, "Binding.Alg": {"ES256"},
		"Binding.PublicKey": {publicText(t, &key.PublicKey)}, "Config.AppId": {"com.example.myapp"},
		"Config.NotificationPlatform": {"fcm"}, "Config.NotificationToken": {strings.Repeat("t", 32)}, "Config.SdkVersion": {"1.0"},
	}, key
}

func newTOTP() url.Values {
	return url.Values{"FriendlyName": {"app"}, "FactorType": {"totp"}, "Binding.Secret": {rfcSecret20}}
}

func TestPushFactorLife(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "https://api.example"})
	form, key := newPush(t)
	r := a.want(a.post(factors(identity), with(form, "Metadata", `{"os":"x"}`)), 201, 0)
	config, _ := r.body["config"].(map[string]any)
	credential, _ := config["credential_sid"].(string)
	if !strings.HasPrefix(credential, "CR") || len(credential) != 34 {
		t.Fatalf("credential %q", credential)
	}
	sid := r.text("sid")
	want := fmt.Sprintf(`{"sid":%q,"account_sid":%q,"service_sid":%q,"entity_sid":%q,"identity":%q,`+
		`"date_created":"2026-03-04T05:06:07Z","date_updated":"2026-03-04T05:06:07Z","friendly_name":"phone","status":"unverified",`+
		`"factor_type":"push","config":{"sdk_version":"1.0","app_id":"com.example.myapp","notification_platform":"fcm",`+
		`"notification_token":%q,"credential_sid":%q},"metadata":{"os":"x"},"url":%q,`+
		`"binding":{"alg":"ES256","public_key":%q},"options":null}`+"\n",
		sid, emulator.DefaultAccountSID, service, r.text("entity_sid"), identity, strings.Repeat("t", 32), credential,
		"https://api.example"+factors(identity)+"/"+sid, form.Get("Binding.PublicKey"))
	if string(r.raw) != want {
		t.Errorf("got  %s\nwant %s", r.raw, want)
	}
	path := factors(identity) + "/" + sid
	fetched := a.want(a.get(path), 200, 0)
	if _, ok := fetched.body["binding"]; ok {
		t.Error("the binding is shown again")
	}
	proof := func(key *ecdsa.PrivateKey, over string) url.Values {
		payload, err := device.SignFactor(key, over)
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"AuthPayload": {payload}}
	}
	for name, wrong := range map[string]url.Values{
		"another key": proof(newKey(t), sid), "another text": proof(key, "YF"+noSID),
		"not Base64": {"AuthPayload": {"%%"}}, "empty": {"AuthPayload": {""}},
	} {
		if r := a.post(path, wrong); r.status != 403 || r.code() != 60311 {
			t.Errorf("%s: %s", name, r.raw)
		}
	}
	if got := a.get(path).text("status"); got != "unverified" {
		t.Fatalf("wrong proofs made it %s", got)
	}
	verified := a.want(a.post(path, proof(key, sid)), 200, 0)
	if verified.text("status") != "verified" || verified.header.Get("Twilio-Verify-Factor-Signature") == "" {
		t.Errorf("%s", verified.raw)
	}
	if r := a.want(a.post(path, url.Values{"FriendlyName": {"tablet"}, "Config.NotificationToken": {strings.Repeat("u", 255)}}), 200, 0); r.text("friendly_name") != "tablet" ||
		!strings.Contains(string(r.raw), strings.Repeat("u", 255)) {
		t.Errorf("%s", r.raw)
	}
	a.want(a.call("DELETE", path, nil), 204, 0)
	a.want(a.get(path), 404, 20404)
	a.want(a.call("DELETE", path, nil), 404, 20404)
}

func TestTOTPFactorLife(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	r := a.want(a.post(factors(identity), with(newTOTP(), "FriendlyName", "Jo’s: account")), 201, 0)
	binding, _ := r.body["binding"].(map[string]any)
	uri := "otpauth://totp/Challenge%20API%20emulator:Jo%E2%80%99s:%20account?secret=" + rfcSecret20 +
		"&issuer=Challenge%20API%20emulator&algorithm=SHA1&digits=6&period=30"
	if binding["secret"] != rfcSecret20 || binding["uri"] != uri {
		t.Errorf("binding %v", binding)
	}
	if !strings.Contains(string(r.raw), `"config":{"alg":"sha1","skew":1,"code_length":6,"time_step":30}`) {
		t.Errorf("%s", r.raw)
	}
	path := factors(identity) + "/" + r.text("sid")
	code, err := device.TOTP(rfcSecret20, "sha1", 30*time.Second, 6, c.now())
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"12", "123456789"} {
		a.want(a.post(path, url.Values{"AuthPayload": {wrong}}), 400, 60306)
	}
	for range 5 {
		a.want(a.post(path, url.Values{"AuthPayload": {"0000"}}), 403, 60311)
	}
	a.want(a.post(path, url.Values{"AuthPayload": {code}}), 429, 60310)

	again := a.want(a.post(factors("another-user"), with(newTOTP(), "Binding.Secret")), 201, 0)
	made, _ := again.body["binding"].(map[string]any)
	text, _ := made["secret"].(string)
	if code, err = device.TOTP(text, "sha1", 30*time.Second, 6, c.now()); err != nil {
		t.Fatalf("a made secret %q: %v", text, err)
	}
	r = a.want(a.post(factors("another-user")+"/"+again.text("sid"), url.Values{"AuthPayload": {code}, "Config.TimeStep": {"60"}}), 200, 0)
	if r.text("status") != "verified" || !strings.Contains(string(r.raw), `"time_step":60`) {
		t.Errorf("%s", r.raw)
	}
}

func TestFactorParametersAtTheirBounds(t *testing.T) {
	a := handled(t, emulator.Config{})
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	push, totp := func() url.Values { f, _ := newPush(t); return f }, newTOTP
	const ok = 0
	for i, tc := range []struct {
		form  func() url.Values
		param string
		value string
		code  int
	}{
		{push, "FriendlyName", "", 20001},
		{push, "FriendlyName", strings.Repeat("é", 64), ok},
		{push, "FriendlyName", strings.Repeat("e", 65), 60306},
		{push, "FactorType", "", 60369},
		{push, "FactorType", "passkeys", 60369},
		{push, "FactorType", "sms", 60369},
		{push, "Binding.Alg", "RS256", 60314},
		{push, "Binding.PublicKey", "", 60314},
		{push, "Binding.PublicKey", "AAAA", 60314},
		{push, "Binding.PublicKey", publicText(t, &p384.PublicKey), 60314},
		{push, "Binding.PublicKey", publicText(t, &rsaKey.PublicKey), 60314},
		{push, "Config.AppId", "", 60306},
		{push, "Config.AppId", strings.Repeat("a", 100), ok},
		{push, "Config.AppId", strings.Repeat("a", 101), 60306},
		{push, "Config.NotificationPlatform", "apn", ok},
		{push, "Config.NotificationPlatform", "none", ok},
		{push, "Config.NotificationPlatform", "sms", 60306},
		{push, "Config.NotificationToken", strings.Repeat("t", 31), 60306},
		{push, "Config.NotificationToken", strings.Repeat("t", 255), ok},
		{push, "Config.NotificationToken", strings.Repeat("t", 256), 60306},
		{push, "Config.SdkVersion", "", 60306},
		{push, "Metadata", jsonMap(1024, "x"), ok},
		{push, "Metadata", jsonMap(1025, "x"), 60306},
		{totp, "Binding.Secret", "not base 32!", 60314},
		{totp, "Binding.Secret", "", 60314},
		{totp, "Binding.Secret", "GE======", ok},
		{totp, "Config.TimeStep", "19", 60306},
		{totp, "Config.TimeStep", "20", ok},
		{totp, "Config.TimeStep", "60", ok},
		{totp, "Config.TimeStep", "61", 60306},
		{totp, "Config.TimeStep", "x", 60306},
		{totp, "Config.Skew", "-1", 60306},
		{totp, "Config.Skew", "0", ok},
		{totp, "Config.Skew", "2", ok},
		{totp, "Config.Skew", "3", 60306},
		{totp, "Config.CodeLength", "2", 60306},
		{totp, "Config.CodeLength", "3", ok},
		{totp, "Config.CodeLength", "8", ok},
		{totp, "Config.CodeLength", "9", 60306},
		{totp, "Config.Alg", "md5", 60306},
		{totp, "Config.Alg", "sha256", ok},
		{totp, "Config.Alg", "sha512", ok},
	} {
		r := a.post(factors(fmt.Sprintf("identity-%d", i)), with(tc.form(), tc.param, tc.value))
		if want := map[bool]int{true: 201, false: 400}[tc.code == ok]; r.status != want || r.code() != tc.code {
			t.Errorf("%s %.40q: %d/%d, want %d/%d", tc.param, tc.value, r.status, r.code(), want, tc.code)
		}
	}
	for _, missing := range []string{"Config.NotificationPlatform", "Config.NotificationToken", "Config.SdkVersion", "Config.AppId"} {
		a.want(a.post(factors(identity), with(push(), missing)), 400, 60306)
	}
	a.want(a.post(factors(identity), with(with(push(), "Config.NotificationToken"), "Config.NotificationPlatform", "none")), 201, 0)
}

func TestFactorUpdateChangesAllOrNothing(t *testing.T) {
	a := handled(t, emulator.Config{})
	r := a.want(a.post(factors(identity), newTOTP()), 201, 0)
	path := factors(identity) + "/" + r.text("sid")
	a.want(a.post(path, url.Values{"FriendlyName": {"new"}, "Config.Skew": {"2"}, "Config.TimeStep": {"61"}}), 400, 60306)
	a.want(a.post(path, url.Values{"FriendlyName": {""}}), 400, 20001)
	got := a.get(path)
	if got.text("friendly_name") != "app" || !strings.Contains(string(got.raw), `"skew":1`) {
		t.Errorf("%s", got.raw)
	}
}

func TestFactorsPerEntity(t *testing.T) {
	a := handled(t, emulator.Config{})
	form, _ := newPush(t)
	a.want(a.post(factors(identity), form), 201, 0)
	a.want(a.post(factors(identity), form), 409, 60317)
	a.want(a.post(factors("another-user"), form), 201, 0)
	for range 19 {
		next, _ := newPush(t)
		a.want(a.post(factors(identity), next), 201, 0)
	}
	next, _ := newPush(t)
	r := a.want(a.post(factors(identity), next), 400, 60315)
	if r.text("message") != "Reached max limit of 20 push Factors associated per Entity" {
		t.Errorf("message %q", r.text("message"))
	}
	for range 100 {
		a.want(a.post(factors(identity), with(newTOTP(), "Binding.Secret")), 201, 0)
	}
	a.want(a.post(factors(identity), newTOTP()), 400, 60315)
	first := a.want(a.get(factors(identity)+"?PageSize=1000"), 200, 0)
	if list, _ := first.body["factors"].([]any); len(list) != 120 {
		t.Errorf("%d factors", len(list))
	}
}

func TestAddFactorFaults(t *testing.T) {
	e, err := emulator.New(emulator.Config{Accounts: []emulator.Account{
		{SID: emulator.DefaultAccountSID, AuthToken: "x", Services: []string{"VA" + noSID}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	f, err := e.AddPushFactor(identity, &key.PublicKey)
	if err != nil || f.ServiceSID != "VA"+noSID || f.CredentialSID == "" || f.Secret != "" {
		t.Errorf("%+v, %v", f, err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, add := range map[string]func() error{
		"twice":      func() error { _, err := e.AddPushFactor(identity, &key.PublicKey); return err },
		"nil key":    func() error { _, err := e.AddPushFactor(identity, nil); return err },
		"P-384":      func() error { _, err := e.AddPushFactor(identity, &p384.PublicKey); return err },
		"identity":   func() error { _, err := e.AddPushFactor("short", &key.PublicKey); return err },
		"secret":     func() error { _, err := e.AddTOTPFactor(identity, "1"); return err },
		"no account": func() error { _, err := e.AddTOTPFactorTo("AC"+noSID, "VA"+noSID, identity, ""); return err },
		"no service": func() error {
			_, err := e.AddTOTPFactorTo(emulator.DefaultAccountSID, service, identity, "")
			return err
		},
	} {
		wantCode(t, name, add(), emulator.CodeFactor)
	}
}
