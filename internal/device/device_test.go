package device_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const identity = "user-0001-abcd"

// start serves an emulator on loopback and returns a Config that enrols there.
func start(t *testing.T, cfg emulator.Config) (*emulator.Emulator, device.Config) {
	t.Helper()
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e, device.Config{
		BaseURL: e.URL() + "/", ServiceSID: emulator.DefaultServiceSID, Identity: identity,
		Username: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, HTTPClient: client, Now: cfg.Now,
		Poll: time.Millisecond,
	}
}

func enrol(t *testing.T, cfg device.Config) *device.Device {
	t.Helper()
	d, err := device.Enrol(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// create makes a push challenge as a backend would and returns its SID.
func create(t *testing.T, cfg device.Config, d *device.Device, message string) string {
	t.Helper()
	form := url.Values{
		"FactorSid": {d.Factor().SID}, "Details.Message": {message}, "HiddenDetails": {`{"ip":"10.0.0.1"}`},
		"Details.Fields": {`{"label":"Where","value":"Oslo"}`},
	}
	r, err := http.NewRequest(http.MethodPost, cfg.BaseURL+"v2/Services/"+cfg.ServiceSID+"/Entities/"+identity+"/Challenges", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	resp, err := cfg.HTTPClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	location := make([]byte, 64)
	n, _ := resp.Body.Read(location)
	if resp.StatusCode != http.StatusCreated || n < 42 {
		t.Fatalf("%s %s", resp.Status, location)
	}
	return string(location[8:42]) // {"sid":"YC...
}

func TestEnrolAndAnswer(t *testing.T) {
	_, cfg := start(t, emulator.Config{})
	d := enrol(t, cfg)
	if f := d.Factor(); !strings.HasPrefix(f.SID, "YF") || !strings.HasPrefix(f.CredentialSID, "CR") || f.AccountSID != emulator.DefaultAccountSID {
		t.Errorf("%+v", f)
	}
	for _, status := range []string{device.StatusApproved, device.StatusDenied} {
		sid := create(t, cfg, d, "Sign in?")
		pending, err := d.Pending(t.Context())
		if err != nil || len(pending) != 1 || pending[0].SID != sid || pending[0].Details.Message != "Sign in?" ||
			pending[0].Details.Fields[0] != (device.Field{Label: "Where", Value: "Oslo"}) || pending[0].HiddenDetails["ip"] != "10.0.0.1" {
			t.Fatalf("%+v, %v", pending, err)
		}
		wantCode(t, "not fetched", d.Answer(t.Context(), pending[0], status), device.CodeUnsignable)
		c, err := d.Fetch(t.Context(), sid)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Answer(t.Context(), c, status); err != nil {
			t.Fatal(err)
		}
		after, err := d.Fetch(t.Context(), sid)
		if err != nil || after.Status != status {
			t.Fatalf("%+v, %v", after, err)
		}
		wantCode(t, "answered", d.Answer(t.Context(), after, status), device.CodeNotPending)
		err = d.Answer(t.Context(), c, status)
		var refused *device.Error
		if !errors.As(err, &refused) || refused.Code != device.CodeRefused || refused.Status != 403 || refused.APICode != 60322 {
			t.Errorf("answered by a stale copy: %v", err)
		}
	}
}

func TestADeviceSeesItsOwnFactorOverAllPages(t *testing.T) {
	for name, rules := range map[string]emulator.Rules{"tokens": {}, "opaque tokens": {OpaquePageTokens: true}, "numbers": {PagesWithoutToken: true}} {
		t.Run(name, func(t *testing.T) {
			e, cfg := start(t, emulator.Config{Rules: rules})
			d, other := enrol(t, cfg), enrol(t, cfg)
			create(t, cfg, other, "not mine")
			var want []string
			for i := range 120 { // three pages
				want = append(want, create(t, cfg, d, fmt.Sprintf("number %d", i)))
			}
			before := e.Stats().Calls[emulator.OperationList]
			pending, err := d.Pending(t.Context())
			if err != nil || len(pending) != len(want) {
				t.Fatalf("%d, %v", len(pending), err)
			}
			for i := range want {
				if pending[i].SID != want[i] {
					t.Fatalf("%d is %s", i, pending[i].SID)
				}
			}
			if n := e.Stats().Calls[emulator.OperationList] - before; n != 3 {
				t.Errorf("%d pages", n)
			}
		})
	}
}

func TestADeviceTakesTheAPIsClock(t *testing.T) {
	ahead := func() time.Time { return time.Now().Add(3 * time.Hour) }
	e, cfg := start(t, emulator.Config{Now: ahead})
	cfg.Now = time.Now
	d := enrol(t, cfg) // the token of the verification is refused once, then right
	if n := e.Stats().Statuses[http.StatusUnauthorized]; n != 1 {
		t.Errorf("%d refusals", n)
	}
	if _, err := d.Pending(t.Context()); err != nil {
		t.Error(err)
	}
	if n := e.Stats().Statuses[http.StatusUnauthorized]; n != 1 {
		t.Errorf("%d refusals after the clock is known", n)
	}
}

func TestAttach(t *testing.T) {
	e, cfg := start(t, emulator.Config{})
	key := newKey(t)
	f, err := e.AddPushFactor(identity, &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	factor := device.Factor{SID: f.SID, AccountSID: f.AccountSID, EntitySID: f.EntitySID, CredentialSID: f.CredentialSID}
	cfg.Username, cfg.Password = "", ""
	d, err := device.Attach(cfg, key, factor)
	if err != nil {
		t.Fatal(err)
	}
	sid := create(t, cfg, d, "Sign in?")
	c, err := d.Fetch(t.Context(), sid)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Answer(t.Context(), c, device.StatusApproved); err != nil {
		t.Error(err)
	}
	_, err = device.Attach(cfg, nil, factor)
	wantCode(t, "no key", err, device.CodeConfig)
	factor.CredentialSID = ""
	_, err = device.Attach(cfg, key, factor)
	wantCode(t, "no credential", err, device.CodeConfig)
	d.Close()
}

func TestEnrolFaults(t *testing.T) {
	e, good := start(t, emulator.Config{})
	for name, tc := range map[string]struct {
		change func(*device.Config)
		code   device.Code
	}{
		"no URL":       {func(c *device.Config) { c.BaseURL = "" }, device.CodeConfig},
		"not http":     {func(c *device.Config) { c.BaseURL = "ftp://x" }, device.CodeConfig},
		"no identity":  {func(c *device.Config) { c.Identity = "" }, device.CodeConfig},
		"no service":   {func(c *device.Config) { c.ServiceSID = "" }, device.CodeConfig},
		"no password":  {func(c *device.Config) { c.Password = "" }, device.CodeConfig},
		"poll":         {func(c *device.Config) { c.Poll = -1 }, device.CodeConfig},
		"credentials":  {func(c *device.Config) { c.Password = "wrong" }, device.CodeRefused},
		"bad identity": {func(c *device.Config) { c.Identity = "short" }, device.CodeRefused},
	} {
		cfg := good
		tc.change(&cfg)
		_, err := device.Enrol(t.Context(), cfg)
		wantCode(t, name, err, tc.code)
		_, err = device.EnrolTOTP(t.Context(), cfg, device.TOTPOptions{})
		wantCode(t, name+", totp", err, tc.code)
	}
	if n := e.Stats().Statuses[http.StatusCreated]; n != 0 {
		t.Errorf("%d factors made", n)
	}
	_, err := device.EnrolTOTP(t.Context(), good, device.TOTPOptions{CodeLength: 9})
	wantCode(t, "code length", err, device.CodeRefused)
}

// An API that answers nonsense must not be taken at its word.
func TestAnswersThatAreNotUnderstood(t *testing.T) {
	var body atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/YC2") {
			w.Header().Set("Twilio-Verify-Signature-Fields", "sid, status")
		}
		_, _ = w.Write([]byte(body.Load().(string))) //nolint:forcetypeassert // the test stores strings
	}))
	defer server.Close()
	cfg := device.Config{
		BaseURL: server.URL, ServiceSID: "VA1", Identity: identity, Username: "u", Password: "p", HTTPClient: server.Client(),
	}
	for text, code := range map[string]device.Code{
		"<html>":        device.CodeAnswer,
		`{"sid":"YF1"}`: device.CodeAnswer, // no credential
		`{"sid":"YF1","config":{"credential_sid":"CR1"},"status":"unverified"}`: device.CodeUnsettled,
	} {
		body.Store(text)
		_, err := device.Enrol(t.Context(), cfg)
		wantCode(t, text, err, code)
	}
	body.Store(`{"binding":{"secret":"GE"},"config":{"alg":"sha1","time_step":30,"code_length":6},"status":"unverified"}`)
	_, err := device.EnrolTOTP(t.Context(), cfg, device.TOTPOptions{})
	wantCode(t, "totp", err, device.CodeUnsettled)
	d, err := device.Attach(cfg, newKey(t), device.Factor{SID: "YF1", AccountSID: "AC1", CredentialSID: "CR1"})
	if err != nil {
		t.Fatal(err)
	}
	body.Store(`{"sid":"YC1","status":"pending"}`)
	c, err := d.Fetch(t.Context(), "YC1")
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "no signature fields", d.Answer(t.Context(), c, device.StatusApproved), device.CodeUnsignable)
	body.Store(`{"sid":"YC2","status":"pending"}`) // and stays so after every answer
	if c, err = d.Fetch(t.Context(), "YC2"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "no effect", d.Answer(t.Context(), c, device.StatusApproved), device.CodeUnsettled)
	body.Store(`{"challenges":[],"meta":{"next_page_url":"https://api.example/Challenges?Page=1"}}`)
	_, err = d.Pending(t.Context())
	wantCode(t, "a list without an end", err, device.CodeAnswer)
	body.Store(`{"challenges":[],"meta":{"next_page_url":"%zz"}}`)
	_, err = d.Pending(t.Context())
	wantCode(t, "next page", err, device.CodeAnswer)
	body.Store("<html>")
	_, err = d.Pending(t.Context())
	wantCode(t, "list", err, device.CodeAnswer)
	server.Close()
	_, err = d.Pending(t.Context())
	wantCode(t, "no server", err, device.CodeTransport)
}

func TestEnrolTOTP(t *testing.T) {
	_, cfg := start(t, emulator.Config{})
	for _, o := range []device.TOTPOptions{
		{}, {Secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", Alg: "sha512", TimeStep: 60, CodeLength: 8}, {Alg: "sha256", CodeLength: 3},
	} {
		a, err := device.EnrolTOTP(t.Context(), cfg, o)
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		code, err := a.Code(time.Now())
		if want := map[bool]int{true: 6, false: o.CodeLength}[o.CodeLength == 0]; err != nil || len(code) != want {
			t.Errorf("%+v: %q, %v", o, code, err)
		}
		if a.Factor().SID == "" || a.Factor().CredentialSID != "" {
			t.Errorf("%+v", a.Factor())
		}
	}
}
