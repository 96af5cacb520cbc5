package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// What parseJWS takes must be what it says: three parts that encode back to
// the text, and never another algorithm.
func FuzzParseJWS(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30." + strings.Repeat("A", 86))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, ok := parseJWS(text)
		if !ok {
			return
		}
		if token.signed+"."+base64url.EncodeToString(token.signature) != text || len(token.signature) != 64 {
			t.Errorf("%q is not canonical", text)
		}
		if token.signedBy(&key.PublicKey) {
			t.Errorf("%q is signed by a key nobody used", text)
		}
		var claims map[string]any
		if token.claims(&claims) && claims == nil {
			t.Errorf("%q has claims that are not an object", text)
		}
	})
}

// Whatever is sent, a create is answered 201 within every bound, or refused in
// the API's error form with nothing made.
func FuzzCreate(f *testing.F) {
	f.Add("Details.Message=m&HiddenDetails=%7B%7D")
	f.Add("Details.Message=m&Details.Fields=%7B%22label%22%3A%22a%22%2C%22value%22%3A%22b%22%7D&ExpirationDate=2030-01-01T00%3A00%3A00Z")
	f.Add("FactorSid=x&AuthPayload=123456")
	e, err := New(Config{LogLimit: 1})
	if err != nil {
		f.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	factor, err := e.AddPushFactor("user-0001-abcd", &key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		before := e.Stats().Creates
		r := httptest.NewRequest(http.MethodPost, "/v2/Services/"+DefaultServiceSID+"/Entities/user-0001-abcd/Challenges",
			strings.NewReader("FactorSid="+factor.SID+"&"+body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(DefaultAccountSID, DefaultAuthToken)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		made := e.Stats().Creates - before
		switch w.Code {
		case http.StatusCreated:
			checkCreated(t, w.Body.Bytes(), r.PostForm)
		case http.StatusBadRequest:
			var refusal errorBody
			if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || refusal.Code == 0 || refusal.Status != 400 || made != 0 {
				t.Errorf("%v %s, made %d", err, w.Body, made)
			}
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func checkCreated(t *testing.T, body []byte, form url.Values) {
	t.Helper()
	var c struct {
		Details       detailsJSON       `json:"details"`
		HiddenDetails map[string]string `json:"hidden_details"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if n := utf8.RuneCountInString(c.Details.Message); n == 0 || n > 256 || c.Details.Message != form.Get("Details.Message") {
		t.Errorf("message of %d characters", n)
	}
	if len(c.Details.Fields) > 20 || utf8.RuneCountInString(form.Get("HiddenDetails")) > 1024 {
		t.Errorf("beyond a bound: %s", body)
	}
	if slices.ContainsFunc(c.Details.Fields, func(f fieldView) bool {
		return utf8.RuneCountInString(f.Label) > 36 || utf8.RuneCountInString(f.Value) > 128
	}) {
		t.Errorf("a field beyond its bound: %s", body)
	}
}

type detailsJSON struct {
	Message string      `json:"message"`
	Fields  []fieldView `json:"fields"`
}
