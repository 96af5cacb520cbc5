package challenge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
)

func create(ctx context.Context, c *challenge.Client) (*read.Response, error) {
	return c.Create(ctx, service, identity, challenge.CreateParams{FactorSID: factor})
}

func TestCreateAndUpdate(t *testing.T) {
	var requests []string
	c := newTest(t, func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.Method+" "+r.RequestURI)
		w.Header().Set("Twilio-Request-Id", "RQ1")
		w.Header().Set("Twilio-Verify-Challenge-Signature", "sig")
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"sid":%q,"status":"pending","service_sid":%q,"identity":%q,"factor_sid":%q}`, sid, service, identity, factor)
	})
	made, err := create(t.Context(), c)
	if err != nil || made.Challenge.SID != sid || made.Status != 201 || made.RequestID != "RQ1" || made.Date.IsZero() {
		t.Errorf("got %+v, %v", made, err)
	}
	changed, err := c.Update(t.Context(), service, identity, sid, challenge.UpdateParams{AuthPayload: "123456"})
	if err != nil || changed.ChallengeSignature != "sig" {
		t.Errorf("got %+v, %v", changed, err)
	}
	fetched, err := c.Fetch(t.Context(), service, identity, sid)
	if err != nil || fetched.Challenge.SID != sid {
		t.Errorf("got %+v, %v", fetched, err)
	}
	path := "/v2/Services/" + service + "/Entities/" + identity + "/Challenges"
	if got, want := strings.Join(requests, "\n"), "POST "+path+"\nPOST "+path+"/"+sid+"\nGET "+path+"/"+sid; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAnswersAboutSomethingElse gives a 2xx that can't be what was asked for.
func TestAnswersAboutSomethingElse(t *testing.T) {
	other := strings.Repeat("9", 32)
	for name, body := range map[string]string{
		"no JSON":         "created",
		"nothing":         "",
		"no sid":          `{"status":"pending"}`,
		"odd sid":         `{"sid":"YC1","status":"pending"}`,
		"another factor":  fmt.Sprintf(`{"sid":%q,"status":"pending","factor_sid":"YF%s"}`, sid, other),
		"another service": fmt.Sprintf(`{"sid":%q,"status":"pending","service_sid":"VA%s"}`, sid, other),
		"another entity":  fmt.Sprintf(`{"sid":%q,"status":"pending","identity":"somebody-else"}`, sid),
	} {
		c := newTest(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, body)
		})
		_, err := create(t.Context(), c)
		var call *read.CallError
		if !errors.As(err, &call) || call.Code != read.CodeBadAnswer || challenge.Classify(true, err).Class != challenge.ClassAmbiguous {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestEnds creates against servers that end in each way, and looks at what a
// connector would be told.
func TestEnds(t *testing.T) {
	hijack := func(w http.ResponseWriter, answer string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	}
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		class   challenge.Class
		failure bool
	}{
		"reset": {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") }, challenge.ClassAmbiguous, true},
		"half a body": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{")
		}, challenge.ClassAmbiguous, true},
		"garbage":       {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "\x00\x01\x02\r\n\r\n") }, challenge.ClassAmbiguous, true},
		"too large":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat(" ", 2000)) }, challenge.ClassAmbiguous, false},
		"bad gateway":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", 502) }, challenge.ClassAmbiguous, true},
		"redirect":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v2/x", 307) }, challenge.ClassAmbiguous, false},
		"missing route": {http.NotFound, challenge.ClassAmbiguous, false},
		"throttled":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"code":20429}`, 429) }, challenge.ClassThrottled, false},
		"credentials":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"code":20003}`, 401) }, challenge.ClassCredentials, false},
		"rejected":      {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"code":60318}`, 403) }, challenge.ClassRejected, false},
	} {
		var arrived atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived.Add(1)
			tc.handler(w, r)
		}))
		c := newOf(t, read.Config{BaseURL: s.URL, MaxBodyBytes: 1000})
		_, err := create(t.Context(), c)
		if v := challenge.Classify(true, err); v.Class != tc.class || v.Failure != tc.failure {
			t.Errorf("%s: %v is %+v, want %s, failure %v", name, err, v, tc.class, tc.failure)
		}
		if n := arrived.Load(); n != 1 {
			t.Errorf("%s: the request arrived %d times", name, n)
		}
		c.CloseIdleConnections()
		s.Close()
	}
}

func TestCanceledCreate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newTest(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client leave
		cancel()
		<-r.Context().Done()
	})
	_, err := create(ctx, c)
	if v := challenge.Classify(true, err); v.Class != challenge.ClassAmbiguous || v.Failure || !errors.Is(err, context.Canceled) {
		t.Errorf("%v is %+v, want it ambiguous", err, v)
	}
	_, err = create(ctx, c)
	if v := challenge.Classify(true, err); v.Class != challenge.ClassCanceled || v.Failure {
		t.Errorf("%v is %+v, want it canceled", err, v)
	}
}

// TestHalvesShareConnections closes the reader's idle connections: the one
// that carried a write must be among them.
func TestHalvesShareConnections(t *testing.T) {
	closed := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"sid":%q,"status":"pending"}`, sid)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	c := newOf(t, read.Config{BaseURL: s.URL})
	if _, err := create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections()
	select {
	case <-closed:
	case <-time.After(10 * time.Second): // only where it fails
		t.Error("the connection of the create stays open")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []read.Config{{}, {AccountSID: account, Password: "t", BaseURL: "http://verify.example"}} {
		_, err := challenge.New(cfg)
		var call *read.CallError
		if !errors.As(err, &call) || call.Code != read.CodeInvalid || call.Sent {
			t.Errorf("got %v", err)
		}
	}
}

func TestNothingShowsSecrets(t *testing.T) {
	c := newOf(t, read.Config{BaseURL: "http://127.0.0.1:1"})
	p := challenge.CreateParams{FactorSID: factor, AuthPayload: "31415926"}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		shown := fmt.Sprintf(verb+verb+verb, c, p, challenge.UpdateParams{AuthPayload: "31415926"})
		if strings.Contains(shown, "the0token") || strings.Contains(shown, "31415926") {
			t.Errorf("%s shows a secret: %s", verb, shown)
		}
	}
	_, err := create(t.Context(), c)
	if err == nil || strings.Contains(err.Error(), identity) || strings.Contains(err.Error(), "the0token") {
		t.Errorf("the error shows too much: %v", err)
	}
}
