package device_test

import (
	"encoding/base32"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/device"
)

// RFC 6238, appendix B.
func TestTOTPKnowsRFC6238(t *testing.T) {
	secrets := map[string]string{
		"sha1":   "12345678901234567890",
		"sha256": "12345678901234567890123456789012",
		"sha512": "1234567890123456789012345678901234567890123456789012345678901234",
	}
	for _, v := range []struct {
		at   int64
		alg  string
		code string
	}{
		{59, "sha1", "94287082"},
		{59, "sha256", "46119246"},
		{59, "sha512", "90693936"},
		{1111111109, "sha1", "07081804"},
		{1111111109, "sha256", "68084774"},
		{1111111109, "sha512", "25091201"},
		{1111111111, "sha1", "14050471"},
		{1111111111, "sha256", "67062674"},
		{1111111111, "sha512", "99943326"},
		{1234567890, "sha1", "89005924"},
		{1234567890, "sha256", "91819424"},
		{1234567890, "sha512", "93441116"},
		{2000000000, "sha1", "69279037"},
		{2000000000, "sha256", "90698825"},
		{2000000000, "sha512", "38618901"},
		{20000000000, "sha1", "65353130"},
		{20000000000, "sha256", "77737706"},
		{20000000000, "sha512", "47863826"},
	} {
		for _, secret := range []string{
			base32.StdEncoding.EncodeToString([]byte(secrets[v.alg])),
			strings.TrimRight(base32.StdEncoding.EncodeToString([]byte(secrets[v.alg])), "="),
		} {
			got, err := device.TOTP(secret, v.alg, 30*time.Second, 8, time.Unix(v.at, 0))
			if err != nil || got != v.code {
				t.Errorf("%s at %d: %q, want %s, %v", v.alg, v.at, got, v.code, err)
			}
		}
	}
}

// A shorter code is the end of a longer one, and a code holds for its whole step.
func TestTOTPProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := base32.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "secret"))
		alg := rapid.SampledFrom([]string{"sha1", "sha256", "sha512"}).Draw(t, "alg")
		step := time.Duration(rapid.IntRange(20, 60).Draw(t, "step")) * time.Second
		at := time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "at"), 0)
		long, err := device.TOTP(secret, alg, step, 8, at)
		if err != nil || len(long) != 8 || strings.Trim(long, "0123456789") != "" {
			t.Fatalf("%q, %v", long, err)
		}
		digits := rapid.IntRange(3, 8).Draw(t, "digits")
		if short, err := device.TOTP(secret, alg, step, digits, at); err != nil || short != long[8-digits:] {
			t.Fatalf("%q of %q, %v", short, long, err)
		}
		begin := time.Unix(at.Unix()/int64(step/time.Second)*int64(step/time.Second), 0)
		for _, same := range []time.Time{begin, begin.Add(step - 1)} {
			if got, err := device.TOTP(secret, alg, step, 8, same); err != nil || got != long {
				t.Fatalf("%q at %v, %v", got, same, err)
			}
		}
	})
}

func TestTOTPRefuses(t *testing.T) {
	at := time.Unix(59, 0)
	for name, call := range map[string]func() (string, error){
		"no secret":     func() (string, error) { return device.TOTP("", "sha1", 30*time.Second, 6, at) },
		"not Base32":    func() (string, error) { return device.TOTP("1", "sha1", 30*time.Second, 6, at) },
		"algorithm":     func() (string, error) { return device.TOTP("GE", "md5", 30*time.Second, 6, at) },
		"no step":       func() (string, error) { return device.TOTP("GE", "sha1", 0, 6, at) },
		"half a second": func() (string, error) { return device.TOTP("GE", "sha1", 1500*time.Millisecond, 6, at) },
		"two digits":    func() (string, error) { return device.TOTP("GE", "sha1", 30*time.Second, 2, at) },
		"nine digits":   func() (string, error) { return device.TOTP("GE", "sha1", 30*time.Second, 9, at) },
		"before 1970":   func() (string, error) { return device.TOTP("GE", "sha1", 30*time.Second, 6, time.Unix(-1, 0)) },
	} {
		code, err := call()
		wantCode(t, name, err, device.CodeTOTP)
		if code != "" {
			t.Errorf("%s: %q", name, code)
		}
	}
}

func wantCode(t *testing.T, name string, err error, code device.Code) {
	t.Helper()
	var own *device.Error
	if !errors.As(err, &own) || own.Code != code || !strings.Contains(err.Error(), string(code)) {
		t.Errorf("%s: %v, want code %s", name, err, code)
	}
}
