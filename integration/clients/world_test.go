package clients

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

const (
	identity = "ff483d1ff591898a9942916050d2ca3f" // as in the API's documents
	service  = emulator.DefaultServiceSID
	none     = "00000000000000000000000000000000" // behind a prefix: nothing has it
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a time that a test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time        { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) move(by time.Duration) { c.nanos.Add(int64(by)) }

// The API key of each world's account.
var (
	keySID    = "SK" + strings.Repeat("0c", 16)
	keySecret = "thesecretofthekey"
)

// start serves an emulator on a clock of its own. It knows every parameter that
// an official client sends, or refuses the call.
func start(ctx context.Context, rules emulator.Rules) (*emulator.Emulator, *clock, error) {
	c := newClock()
	rules.RefuseUnknownParameters = true
	e, err := emulator.New(emulator.Config{Rules: rules, Now: c.now, Accounts: []emulator.Account{{
		SID: emulator.DefaultAccountSID, AuthToken: emulator.DefaultAuthToken, APIKeys: map[string]string{keySID: keySecret},
	}}})
	if err == nil {
		err = e.Start(ctx)
	}
	return e, c, err
}

func closeIt(t testing.TB, e *emulator.Emulator) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// observer sends what twilio-go addresses to the live API to the emulator, leaves
// the emulator's own page URLs as they are, and keeps the last answer: twilio-go
// shows neither headers of errors nor the JSON that a device signs.
type observer struct {
	to   *url.URL
	next *http.Transport

	mu     sync.Mutex
	header http.Header
	body   []byte
}

func (o *observer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "verify.twilio.com" {
		req = req.Clone(req.Context())
		req.URL.Scheme, req.URL.Host, req.Host = o.to.Scheme, o.to.Host, o.to.Host
	}
	resp, err := o.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.header, o.body = resp.Header, body
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (o *observer) last() (http.Header, []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.header, o.body
}

// world is one emulator and twilio-go as its client.
type world struct {
	*testing.T
	e     *emulator.Emulator
	clock *clock
	seen  *observer
	rest  *client.Client
	api   *verify.ApiService
}

func newWorld(t *testing.T, rules emulator.Rules) *world {
	t.Helper()
	e, c, err := start(t.Context(), rules)
	must(t, err)
	t.Cleanup(func() { closeIt(t, e) })
	to, err := url.Parse(e.URL())
	must(t, err)
	w := &world{T: t, e: e, clock: c, seen: &observer{to: to, next: &http.Transport{}}}
	t.Cleanup(w.seen.next.CloseIdleConnections)
	w.api = w.as(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	return w
}

// as is the API for whoever has these credentials.
func (w *world) as(user, password string) *verify.ApiService {
	w.rest = &client.Client{
		Credentials: client.NewCredentials(user, password),
		HTTPClient:  &http.Client{Transport: w.seen},
	}
	w.rest.SetAccountSid(emulator.DefaultAccountSID)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: w.rest}).VerifyV2
}

func (w *world) calls(op emulator.Operation) int64 { return w.e.Stats().Calls[op] }

// push is a factor of the world, and the key of the phone that has it.
type push struct {
	sid string
	key *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func publicText(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(t, err)
	return base64.StdEncoding.EncodeToString(der)
}

func (w *world) pushParams(key *ecdsa.PrivateKey) *verify.CreateNewFactorParams {
	return (&verify.CreateNewFactorParams{}).SetFriendlyName("phone").SetFactorType("push").
		SetBindingAlg("ES256").SetBindingPublicKey(publicText(w, key)).SetConfigAppId("com.example.app").
		SetConfigNotificationPlatform("fcm").SetConfigNotificationToken(strings.Repeat("t", 32)).SetConfigSdkVersion("1.0")
}

// push enrols a phone.
func (w *world) push() push {
	w.Helper()
	key := newKey(w)
	made, err := w.api.CreateNewFactor(service, identity, w.pushParams(key))
	must(w, err)
	proof, err := device.SignFactor(key, *made.Sid)
	must(w, err)
	_, err = w.api.UpdateFactor(service, identity, *made.Sid, (&verify.UpdateFactorParams{}).SetAuthPayload(proof))
	must(w, err)
	return push{*made.Sid, key}
}

// totp is a factor of the world, and the secret of the app that has it.
type totp struct {
	sid, secret string
	digits      int
}

// totp enrols an authenticator app; digits zero is the API's default.
func (w *world) totp(digits int) totp {
	w.Helper()
	params := (&verify.CreateNewFactorParams{}).SetFriendlyName("app").SetFactorType("totp")
	if digits == 0 {
		digits = 6
	} else {
		params.SetConfigCodeLength(digits)
	}
	made, err := w.api.CreateNewFactor(service, identity, params)
	must(w, err)
	binding, _ := (*made.Binding).(map[string]any)
	text, _ := binding["secret"].(string)
	f := totp{*made.Sid, text, digits}
	_, err = w.api.UpdateFactor(service, identity, f.sid, (&verify.UpdateFactorParams{}).SetAuthPayload(w.code(f)))
	must(w, err)
	return f
}

// code is right now.
func (w *world) code(f totp) string {
	w.Helper()
	code, err := device.TOTP(f.secret, "sha1", 30*time.Second, f.digits, w.clock.now())
	must(w, err)
	return code
}

// wrong is a code that is not right, nor within the skew.
func (w *world) wrong(f totp) string {
	w.Helper()
	right := map[string]bool{}
	for _, by := range []time.Duration{-30 * time.Second, 0, 30 * time.Second} {
		code, err := device.TOTP(f.secret, "sha1", 30*time.Second, f.digits, w.clock.now().Add(by))
		must(w, err)
		right[code] = true
	}
	for _, c := range "0123456789" {
		if code := strings.Repeat(string(c), f.digits); !right[code] {
			return code
		}
	}
	return ""
}

// ask makes a challenge for a push factor.
func (w *world) ask(f push) string {
	w.Helper()
	made, err := w.api.CreateChallenge(service, identity, (&verify.CreateChallengeParams{}).
		SetFactorSid(f.sid).SetDetailsMessage("Sign in?"))
	must(w, err)
	return *made.Sid
}

// signed is the phone's answer to a challenge.
func (w *world) signed(f push, sid, status string) string {
	w.Helper()
	_, err := w.api.FetchChallenge(service, identity, sid)
	must(w, err)
	header, body := w.seen.last()
	payload, err := device.SignChallenge(f.key, strings.Split(header.Get("Twilio-Verify-Signature-Fields"), ","), body, status)
	must(w, err)
	return payload
}

// answer answers a challenge with a payload.
func (w *world) answer(sid, payload string) (*verify.VerifyV2Challenge, error) {
	return w.api.UpdateChallenge(service, identity, sid, (&verify.UpdateChallengeParams{}).SetAuthPayload(payload))
}
