package emulator_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/internal/emulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	identity = "user-0001-abcd"
	service  = emulator.DefaultServiceSID
	noSID    = "00000000000000000000000000000000" // behind a prefix: nothing has it
	// rfcSecret20 is the secret of RFC 6238's SHA-1 vectors in Base32.
	rfcSecret20 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
)

// clock is a time that a test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time        { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) move(by time.Duration) { c.nanos.Add(int64(by)) }

// api calls an emulator, over a handler or over the network.
type api struct {
	t          testing.TB
	e          *emulator.Emulator
	user, pass string
	do         func(*http.Request) (*http.Response, error)
	base       string
	client     *http.Client // nil over a handler
}

// handled serves through Handler, without a network.
func handled(t testing.TB, cfg emulator.Config) *api {
	t.Helper()
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, e) })
	return &api{
		t: t, e: e, user: emulator.DefaultAccountSID, pass: emulator.DefaultAuthToken, base: "http://emulator.test",
		do: func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			e.Handler().ServeHTTP(w, r)
			return w.Result(), nil
		},
	}
}

// started serves on loopback and calls through a client of its own.
func started(t testing.TB, cfg emulator.Config) *api {
	t.Helper()
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		closeIt(t, e)
	})
	return &api{
		t: t, e: e, user: emulator.DefaultAccountSID, pass: emulator.DefaultAuthToken, base: e.URL(),
		do: client.Do, client: client,
	}
}

func closeIt(t testing.TB, e *emulator.Emulator) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// reply is an answer, decoded where it is JSON.
type reply struct {
	status int
	closes bool // it came with Connection: close
	header http.Header
	raw    []byte
	body   map[string]any
}

// code is the API's error code, 0 in a success.
func (r reply) code() int {
	n, _ := r.body["code"].(float64)
	return int(n)
}

func (r reply) text(name string) string {
	s, _ := r.body[name].(string)
	return s
}

func (a *api) request(method, path string, form url.Values) *http.Request {
	a.t.Helper()
	target := path
	if !strings.HasPrefix(path, "http") {
		target = a.base + path
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, target, body)
	if err != nil {
		a.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.SetBasicAuth(a.user, a.pass)
	return r
}

func (a *api) try(r *http.Request) (reply, error) {
	resp, err := a.do(r)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	out := reply{status: resp.StatusCode, closes: resp.Close, header: resp.Header, raw: raw}
	if bytes.HasPrefix(raw, []byte("{")) {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (a *api) call(method, path string, form url.Values) reply {
	a.t.Helper()
	r, err := a.try(a.request(method, path, form))
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (a *api) get(path string) reply { a.t.Helper(); return a.call(http.MethodGet, path, nil) }
func (a *api) post(path string, form url.Values) reply {
	a.t.Helper()
	return a.call(http.MethodPost, path, form)
}

// want fails unless the answer has this status and error code (0: none).
func (a *api) want(r reply, status, code int) reply {
	a.t.Helper()
	if r.status != status || r.code() != code {
		a.t.Fatalf("got %d/%d, want %d/%d: %s", r.status, r.code(), status, code, r.raw)
	}
	return r
}

func entityPath(id string) string { return "/v2/Services/" + service + "/Entities/" + id }
func challenges(id string) string { return entityPath(id) + "/Challenges" }
func factors(id string) string    { return entityPath(id) + "/Factors" }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pushFactor adds a verified push factor to the test's identity.
func (a *api) pushFactor() (emulator.Factor, *ecdsa.PrivateKey) {
	a.t.Helper()
	key := newKey(a.t)
	f, err := a.e.AddPushFactor(identity, &key.PublicKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return f, key
}

// totpFactor adds a verified TOTP factor to the test's identity, once.
func (a *api) totpFactor() emulator.Factor {
	a.t.Helper()
	f, err := a.e.AddTOTPFactor(identity, rfcSecret20)
	if err != nil {
		a.t.Fatal(err)
	}
	return f
}

// pushForm is a create that is accepted.
func pushForm(factorSID string) url.Values {
	return url.Values{"FactorSid": {factorSID}, "Details.Message": {"Sign in?"}}
}

// with returns a copy of the form with one parameter set anew.
func with(form url.Values, name string, values ...string) url.Values {
	out := url.Values{}
	maps.Copy(out, form)
	if values == nil {
		delete(out, name)
	} else {
		out[name] = values
	}
	return out
}
