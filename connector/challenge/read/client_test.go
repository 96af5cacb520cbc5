package read

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/secret"
)

func TestFetch(t *testing.T) {
	c, _ := newTest(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/v2/Services/"+testService+"/Entities/"+testIdentity+"/Challenges/"+testSID || r.URL.RawQuery != "" {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		if user, password, _ := r.BasicAuth(); user != testAccount || password != "the0token" {
			t.Errorf("credentials of %q", user)
		}
		w.Header().Set("Twilio-Verify-Signature-Fields", "sid,identity")
		_, _ = w.Write(testdata(t, "pending_push.json"))
	})
	r, err := c.Fetch(t.Context(), testService, testIdentity, testSID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Challenge.SID != testSID || r.SignatureFields != "sid,identity" || r.Status != 200 || r.Date.IsZero() {
		t.Errorf("got %+v", r)
	}
}

func TestFetchOfAnotherChallenge(t *testing.T) {
	c, _ := newTest(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(testdata(t, "totp.json")) })
	_, err := c.Fetch(t.Context(), testService, testIdentity, "YC"+strings.Repeat("9", 32))
	wantCall(t, err, CodeBadAnswer, true)
}

func TestFetchErrors(t *testing.T) {
	c, s := newTest(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	var api *APIError
	if _, err := c.Fetch(t.Context(), testService, testIdentity, testSID); !errors.As(err, &api) || api.Status != 307 {
		t.Errorf("a redirect is %v", err)
	}
	for _, bad := range [][3]string{{"", testIdentity, testSID}, {testService, "a", testSID}, {testService, testIdentity, ""}, {testService, testIdentity, "x"}} {
		_, err := c.Fetch(t.Context(), bad[0], bad[1], bad[2])
		wantCall(t, err, CodeInvalid, false)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Fetch(ended, testService, testIdentity, testSID)
	wantCall(t, err, CodeCanceled, false)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the cause is lost: %v", err)
	}
	c.CloseIdleConnections() // a kept one would take the request and count as sent
	s.Close()
	_, err = c.Fetch(t.Context(), testService, testIdentity, testSID)
	wantCall(t, err, CodeNotSent, false)
}

func TestTooLargeKeepsTheRequestID(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Twilio-Request-Id", "RQ3")
		_, _ = w.Write(testdata(t, "totp.json"))
	}))
	defer s.Close()
	c, err := New(Config{AccountSID: testAccount, Password: "t", BaseURL: s.URL, MaxBodyBytes: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	_, err = c.Fetch(t.Context(), testService, testIdentity, testSID)
	if call := wantCall(t, err, CodeTooLarge, true); call.Status != 200 || call.RequestID != "RQ3" {
		t.Errorf("got %+v", call)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{
		{},
		{AccountSID: testAccount},
		{AccountSID: testAccount, Password: "t", BaseURL: "http://verify.example"},
		{AccountSID: testAccount, Password: "t", Region: "a.b"},
	} {
		_, err := New(cfg)
		wantCall(t, err, CodeInvalid, false)
	}
}

func TestClientShowsNoCredentials(t *testing.T) {
	c, err := New(Config{AccountSID: testAccount, Password: secret.String("hidden0token")})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if shown := fmt.Sprintf(verb, c) + fmt.Sprintf(verb, *c); strings.Contains(shown, "hidden0token") {
			t.Errorf("%s shows the token: %s", verb, shown)
		}
	}
}

func wantCall(t *testing.T, err error, code CallCode, sent bool) *CallError {
	t.Helper()
	var call *CallError
	if !errors.As(err, &call) || call.Code != code || call.Sent != sent {
		t.Fatalf("got %v (%T), want %s with sent %v", err, err, code, sent)
	}
	return call
}
