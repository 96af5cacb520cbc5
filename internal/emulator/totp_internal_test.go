package emulator

import (
	"encoding/base32"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/device"
)

// RFC 6238, appendix B: the secrets are the digits 1 to 0 repeated to the
// hash's length.
func TestHOTPKnowsRFC6238(t *testing.T) {
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
		if got := hotp(totpHash(v.alg), []byte(secrets[v.alg]), v.at/30, 8); got != v.code {
			t.Errorf("%s at %d: %s, want %s", v.alg, v.at, got, v.code)
		}
	}
	if totpHash("md5") != nil {
		t.Error("md5 is taken")
	}
}

// The two implementations were written apart and must agree on everything.
func TestMatchAgreesWithTheDevice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := totpFactor{
			secret:     rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "secret"),
			alg:        rapid.SampledFrom([]string{"sha1", "sha256", "sha512"}).Draw(t, "alg"),
			timeStep:   rapid.IntRange(20, 60).Draw(t, "step"),
			skew:       rapid.IntRange(0, 2).Draw(t, "skew"),
			codeLength: rapid.IntRange(6, 8).Draw(t, "digits"),
		}
		at := time.Unix(rapid.Int64Range(1000, 1<<40).Draw(t, "at"), 0)
		shift := rapid.IntRange(-4, 4).Draw(t, "shift")
		step := time.Duration(f.timeStep) * time.Second
		code, err := device.TOTP(base32.StdEncoding.EncodeToString(f.secret), f.alg, step, f.codeLength, at.Add(time.Duration(shift)*step))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := f.match(code, at)
		if inside := shift >= -f.skew && shift <= f.skew; inside != ok && (inside || !collides(f, code, at)) {
			t.Fatalf("shift %d with skew %d: %v", shift, f.skew, ok)
		}
		if ok && hotp(totpHash(f.alg), f.secret, got, f.codeLength) != code {
			t.Fatalf("step %d has another code", got)
		}
	})
}

// collides reports whether a step within the skew happens to have the code.
func collides(f totpFactor, code string, at time.Time) bool {
	for d := -f.skew; d <= f.skew; d++ {
		if hotp(totpHash(f.alg), f.secret, at.Unix()/int64(f.timeStep)+int64(d), f.codeLength) == code {
			return true
		}
	}
	return false
}

func TestMatchBeforeTime(t *testing.T) {
	f := totpFactor{secret: []byte("x"), alg: "sha1", timeStep: 30, skew: 2, codeLength: 6}
	code := hotp(totpHash("sha1"), f.secret, 0, 6)
	if step, ok := f.match(code, time.Unix(59, 0)); !ok || step != 0 {
		t.Errorf("step %d, %v", step, ok)
	}
}
