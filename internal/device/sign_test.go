package device_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/device"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// open checks a compact ES256 JWS as RFC 7515 and 7518 have it and returns its
// header and payload.
func open(t fataler, key *ecdsa.PublicKey, token string) (header, payload string) {
	t.Helper()
	part := strings.Split(token, ".")
	if len(part) != 3 {
		t.Fatalf("%d parts", len(part))
	}
	var raw [3][]byte
	for i, p := range part {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(p); err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	if len(raw[2]) != 64 {
		t.Fatalf("a signature of %d bytes", len(raw[2]))
	}
	digest := sha256.Sum256([]byte(part[0] + "." + part[1]))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:])) {
		t.Fatalf("the signature is wrong")
	}
	return string(raw[0]), string(raw[1])
}

func TestSignChallengeCopiesWhatIsNamed(t *testing.T) {
	key := newKey(t)
	body := `{"sid":"YC1","status":"pending","details":{"message":"é \u003c", "fields":[]},"hidden_details":null,"extra":1}`
	token, err := device.SignChallenge(key, []string{"sid", "details", "hidden_details", "status"}, []byte(body), "denied")
	if err != nil {
		t.Fatal(err)
	}
	header, payload := open(t, &key.PublicKey, token)
	if header != `{"typ":"JWT","alg":"ES256"}` {
		t.Errorf("header %s", header)
	}
	want := `{"details":{"message":"é \u003c","fields":[]},"hidden_details":null,"sid":"YC1","status":"denied"}`
	if payload != want {
		t.Errorf("got  %s\nwant %s", payload, want)
	}
}

// Whatever a challenge holds, the claims are the named properties and the
// status.
func TestSignChallengeProperties(t *testing.T) {
	key := newKey(t)
	rapid.Check(t, func(t *rapid.T) {
		properties := rapid.MapOfN(rapid.StringMatching(`[a-z_]{1,12}`), rapid.String(), 1, 12).Draw(t, "properties")
		body, err := json.Marshal(properties)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		var fields []string
		for name, value := range properties {
			if rapid.Bool().Draw(t, name) {
				fields = append(fields, name)
				want[name] = value
			}
		}
		status := rapid.SampledFrom([]string{"approved", "denied"}).Draw(t, "status")
		token, err := device.SignChallenge(key, fields, body, status)
		if len(fields) == 0 {
			if err == nil {
				t.Fatal("signed nothing")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		want["status"] = status
		_, payload := open(t, &key.PublicKey, token)
		var got map[string]string
		if err := json.Unmarshal([]byte(payload), &got); err != nil || len(got) != len(want) {
			t.Fatalf("%s, %v", payload, err)
		}
		// json.Marshal has replaced what is not UTF-8, in body and payload alike.
		for name := range want {
			if a, b := jsonText(t, got[name]), jsonText(t, want[name]); a != b {
				t.Fatalf("%s: %s, want %s", name, a, b)
			}
		}
	})
}

func jsonText(t *rapid.T, s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// One signature in 128 has an r or an s that starts with a zero byte.
func TestSignaturesAreAlways64Bytes(t *testing.T) {
	key := newKey(t)
	for range 1500 {
		token, err := device.SignChallenge(key, []string{"sid"}, []byte(`{"sid":"YC1"}`), "approved")
		if err != nil {
			t.Fatal(err)
		}
		open(t, &key.PublicKey, token)
	}
}

func TestSignChallengeRefuses(t *testing.T) {
	key := newKey(t)
	body := []byte(`{"sid":"YC1"}`)
	for name, call := range map[string]func() (string, error){
		"no fields":        func() (string, error) { return device.SignChallenge(key, nil, body, "approved") },
		"missing property": func() (string, error) { return device.SignChallenge(key, []string{"sid", "details"}, body, "approved") },
		"not JSON":         func() (string, error) { return device.SignChallenge(key, []string{"sid"}, []byte("x"), "approved") },
		"not an object":    func() (string, error) { return device.SignChallenge(key, []string{"sid"}, []byte("[]"), "approved") },
		"status pending":   func() (string, error) { return device.SignChallenge(key, []string{"sid"}, body, "pending") },
		"status injected":  func() (string, error) { return device.SignChallenge(key, []string{"sid"}, body, `approved","x":"`) },
	} {
		_, err := call()
		wantCode(t, name, err, device.CodeUnsignable)
	}
}

func TestSignFactor(t *testing.T) {
	key := newKey(t)
	payload, err := device.SignFactor(key, "YF1")
	if err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("YF1"))
	if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], der) {
		t.Error("the signature is wrong")
	}
}

func TestToken(t *testing.T) {
	key := newKey(t)
	token, err := device.Token(key, "CR1", "AC1", time.Unix(1000, 999))
	if err != nil {
		t.Fatal(err)
	}
	header, payload := open(t, &key.PublicKey, token)
	if header != `{"alg":"ES256","cty":"twilio-pba;v=1","kid":"CR1","typ":"JWT"}` || payload != `{"exp":1600,"nbf":1000,"sub":"AC1"}` {
		t.Errorf("%s %s", header, payload)
	}
}
