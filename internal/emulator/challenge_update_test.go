package emulator_test

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// pushed is a pending push challenge as its device fetched it.
type pushed struct {
	path   string
	fields []string
	body   []byte
}

func (a *api) pushed(factorSID string) pushed {
	a.t.Helper()
	form := with(pushForm(factorSID), "HiddenDetails", `{"ip":"10.0.0.1"}`)
	path := challenges(identity) + "/" + a.want(a.post(challenges(identity), form), 201, 0).text("sid")
	r := a.want(a.get(path), 200, 0)
	fields := strings.Split(r.header.Get("Twilio-Verify-Signature-Fields"), ",")
	return pushed{path: path, fields: fields, body: r.raw}
}

func (p pushed) sign(t *testing.T, key *ecdsa.PrivateKey, status string) string {
	t.Helper()
	payload, err := device.SignChallenge(key, p.fields, p.body, status)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func (a *api) answer(p pushed, payload string) reply {
	a.t.Helper()
	return a.post(p.path, url.Values{"AuthPayload": {payload}})
}

func TestPushIsApprovedOrDeniedOnce(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, key := a.pushFactor()
	for _, status := range []string{"approved", "denied"} {
		p := a.pushed(f.SID)
		c.move(5 * time.Second)
		payload := p.sign(t, key, status)
		r := a.want(a.answer(p, payload), 200, 0)
		if r.text("status") != status || r.text("date_responded") != r.text("date_updated") ||
			r.text("date_responded") == r.text("date_created") || r.text("responded_reason") != "none" {
			t.Errorf("%s: %s", status, r.raw)
		}
		if r.header.Get("Twilio-Verify-Challenge-Signature") == "" || r.header.Get("Twilio-Verify-Signature-Fields") != "" {
			t.Errorf("%s: headers %v", status, r.header)
		}
		a.want(a.answer(p, payload), 403, 60322) // replayed
		a.want(a.answer(p, p.sign(t, key, "approved")), 403, 60322)
		c.move(time.Hour)
		if got := a.get(p.path); got.text("status") != status {
			t.Errorf("an hour later it is %s", got.text("status"))
		}
		a.want(a.answer(p, payload), 403, 60322) // answered, not expired
	}
}

func TestSignatureFieldsHeader(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, _ := a.pushFactor()
	p := a.pushed(f.SID)
	if got, want := strings.Join(p.fields, ","), strings.Join(emulator.DefaultSignatureFields(), ","); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b := handled(t, emulator.Config{SignatureFields: []string{"sid", "status"}})
	g, key := b.pushFactor()
	q := b.pushed(g.SID)
	// The status claim is the device's answer, also where status is a signed property.
	b.want(b.answer(q, q.sign(t, key, "denied")), 200, 0)
}

// edit signs claims that a test has changed.
func edit(t *testing.T, key *ecdsa.PrivateKey, p pushed, change func(claims map[string]any)) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(p.body, &all); err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"status": "approved"}
	for _, name := range p.fields {
		claims[name] = all[name]
	}
	change(claims)
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return compact(t, key, `{"typ":"JWT","alg":"ES256"}`, body)
}

func compact(t *testing.T, key *ecdsa.PrivateKey, header string, payload []byte) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(header)) + "." + b64(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + b64(raw)
}

func TestPushRefusesForgedAndAlteredPayloads(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, key := a.pushFactor()
	p := a.pushed(f.SID)
	good := p.sign(t, key, "approved")
	part := strings.Split(good, ".")
	b64 := base64.RawURLEncoding
	claims, _ := b64.DecodeString(part[1])
	signature, _ := b64.DecodeString(part[2])
	digest := sha256.Sum256([]byte(part[0] + "." + part[1]))
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	hs := b64.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + part[1]
	mac := hmac.New(sha256.New, []byte(emulator.DefaultAuthToken))
	mac.Write([]byte(hs))
	header := `{"typ":"JWT","alg":"ES256"}`
	tests := map[string]string{
		"another key":         p.sign(t, newKey(t), "approved"),
		"another challenge":   a.pushed(f.SID).sign(t, key, "approved"),
		"swapped status":      part[0] + "." + b64.EncodeToString([]byte(strings.Replace(string(claims), "approved", "denied", 1))) + "." + part[2],
		"no signature":        part[0] + "." + part[1] + ".",
		"two parts":           part[0] + "." + part[1],
		"four parts":          good + ".x",
		"DER signature":       part[0] + "." + part[1] + "." + b64.EncodeToString(der),
		"short signature":     part[0] + "." + part[1] + "." + b64.EncodeToString(signature[:63]),
		"zero signature":      part[0] + "." + part[1] + "." + b64.EncodeToString(make([]byte, 64)),
		"padded":              good + "==",
		"line break":          good + "\n",
		"stray bits":          stray(good),
		"standard alphabet":   part[0] + "." + part[1] + "." + base64.StdEncoding.EncodeToString(signature),
		"algorithm none":      b64.EncodeToString([]byte(`{"alg":"none"}`)) + "." + part[1] + ".",
		"algorithm none, 64":  b64.EncodeToString([]byte(`{"alg":"none"}`)) + "." + part[1] + "." + part[2],
		"algorithm HS256":     hs + "." + b64.EncodeToString(append(mac.Sum(nil), mac.Sum(nil)...)),
		"algorithm lowercase": compact(t, key, `{"alg":"es256"}`, claims),
		"critical extension":  compact(t, key, `{"alg":"ES256","crit":["exp"],"exp":1}`, claims),
		"header not JSON":     compact(t, key, `x`, claims),
		"payload not JSON":    compact(t, key, header, []byte(`x`)),
		"payload an array":    compact(t, key, header, []byte(`[]`)),
		"payload null":        compact(t, key, header, []byte(`null`)),
		"status missing":      edit(t, key, p, func(c map[string]any) { delete(c, "status") }),
		"status pending":      edit(t, key, p, func(c map[string]any) { c["status"] = "pending" }),
		"status a number":     edit(t, key, p, func(c map[string]any) { c["status"] = 1 }),
		"status a list":       edit(t, key, p, func(c map[string]any) { c["status"] = []string{"approved"} }),
	}
	for _, name := range p.fields {
		tests["without "+name] = edit(t, key, p, func(c map[string]any) { delete(c, name) })
		tests["null "+name] = edit(t, key, p, func(c map[string]any) { c[name] = nil })
		tests["other "+name] = edit(t, key, p, func(c map[string]any) { c[name] = "YC" + noSID })
	}
	tests["message changed"] = edit(t, key, p, func(c map[string]any) {
		c["details"].(map[string]any)["message"] = "Send money?" //nolint:forcetypeassert // as created
	})
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			a.want(a.answer(p, payload), 403, 60324)
		})
	}
	if got := a.get(p.path); got.text("status") != "pending" || got.body["date_responded"] != nil {
		t.Errorf("a refused payload changed the challenge: %s", got.raw)
	}
	a.want(a.answer(p, edit(t, key, p, func(c map[string]any) { c["extra"] = true })), 200, 0)
}

// stray sets bits in a token's last character that no byte is made of.
func stray(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func TestPushExpires(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, key := a.pushFactor()
	p, q := a.pushed(f.SID), a.pushed(f.SID)
	c.move(5*time.Minute - time.Nanosecond)
	a.want(a.answer(p, p.sign(t, key, "approved")), 200, 0)
	c.move(time.Nanosecond)
	a.want(a.answer(q, q.sign(t, key, "approved")), 403, 60323)
	a.want(a.post(q.path, url.Values{"Metadata": {`{"os":"x"}`}}), 403, 60323)
	r := a.want(a.get(q.path), 200, 0)
	if r.text("status") != "expired" || r.body["date_responded"] != nil || r.text("date_updated") != r.text("expiration_date") {
		t.Errorf("%s", r.raw)
	}
}

func TestUpdateParametersAtTheirBounds(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, key := a.pushFactor()
	p := a.pushed(f.SID)
	for name, tc := range map[string]struct {
		form         url.Values
		status, code int
	}{
		"nothing":            {url.Values{}, 400, 60306},
		"payload empty":      {url.Values{"AuthPayload": {""}}, 400, 60306},
		"payload at bound":   {url.Values{"AuthPayload": {strings.Repeat("x", 5456)}}, 403, 60324},
		"payload beyond":     {url.Values{"AuthPayload": {strings.Repeat("x", 5457)}}, 400, 60306},
		"metadata at bound":  {url.Values{"Metadata": {jsonMap(1024, "x")}}, 200, 0},
		"metadata beyond":    {url.Values{"Metadata": {jsonMap(1025, "x")}}, 400, 60306},
		"metadata a number":  {url.Values{"Metadata": {`{"os":1}`}}, 400, 60306},
		"metadata not JSON":  {url.Values{"Metadata": {`os`}}, 400, 60306},
		"metadata, no proof": {url.Values{"Metadata": {`{"os":"a"}`}, "AuthPayload": {"x"}}, 403, 60324},
	} {
		t.Run(name, func(t *testing.T) {
			r := a.want(a.post(p.path, tc.form), tc.status, tc.code)
			if tc.status == 200 && r.text("status") != "pending" {
				t.Errorf("metadata alone answered: %s", r.raw)
			}
		})
	}
	r := a.want(a.post(p.path, url.Values{"Metadata": {`{"os":"Any", "v":"1"}`}, "AuthPayload": {p.sign(t, key, "approved")}}), 200, 0)
	if !strings.Contains(string(r.raw), `"metadata":{"os":"Any","v":"1"}`) || r.text("status") != "approved" {
		t.Errorf("%s", r.raw)
	}
}

func TestTOTPAttempts(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f := a.totpFactor()
	code, err := device.TOTP(f.Secret, "sha1", 30*time.Second, 6, c.now())
	if err != nil {
		t.Fatal(err)
	}
	try := func(path, code string) reply { return a.post(path, url.Values{"AuthPayload": {code}}) }
	create := func(form url.Values) string {
		form.Set("FactorSid", f.SID)
		return challenges(identity) + "/" + a.want(a.post(challenges(identity), form), 201, 0).text("sid")
	}
	last := create(url.Values{})
	for range 4 {
		a.want(try(last, "0000"), 403, 60324)
	}
	if r := a.want(try(last, code), 200, 0); r.text("status") != "approved" {
		t.Errorf("the fifth attempt: %s", r.raw)
	}
	spent := create(url.Values{})
	for range 5 {
		a.want(try(spent, "0000"), 403, 60324)
	}
	a.want(try(spent, code), 429, 60308)
	// A wrong code at creation is an attempt as well.
	begun := create(url.Values{"AuthPayload": {"0000"}})
	for range 4 {
		a.want(try(begun, "0000"), 403, 60324)
	}
	a.want(try(begun, code), 429, 60308)
	for _, wrong := range []string{"12", "123456789", ""} {
		a.want(try(create(url.Values{}), wrong), 400, 60306)
	}
	c.move(5 * time.Minute)
	a.want(try(spent, code), 403, 60323)
}

func TestTOTPSkew(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f := a.totpFactor() // skew 1
	for steps, ok := range map[int]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		code, err := device.TOTP(f.Secret, "sha1", 30*time.Second, 6, c.now().Add(time.Duration(steps)*30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		r := a.want(a.post(challenges(identity), url.Values{"FactorSid": {f.SID}, "AuthPayload": {code}}), 201, 0)
		if got := r.text("status") == "approved"; got != ok {
			t.Errorf("%+d steps: %s", steps, r.text("status"))
		}
	}
}

func TestUpdateAfterTheFactorIsGone(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, key := a.pushFactor()
	p := a.pushed(f.SID)
	a.want(a.call("DELETE", factors(identity)+"/"+f.SID, nil), 204, 0)
	a.want(a.answer(p, p.sign(t, key, "approved")), 404, 20404)
	a.want(a.post(challenges(identity)+"/YC"+noSID, url.Values{"Metadata": {"{}"}}), 404, 20404)
}
