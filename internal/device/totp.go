package device

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238's default, and the API's
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/binary"
	"hash"
	"strconv"
	"strings"
	"time"
)

// TOTP returns the code of RFC 6238 at a moment. The secret is Base32, with or
// without padding; alg is sha1, sha256 or sha512; step is in whole seconds;
// digits is 3 to 8. Moments before 1970 have no code. Errors are *Error with CodeTOTP.
func TOTP(secret, alg string, step time.Duration, digits int, at time.Time) (string, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(secret, "="))
	if err != nil || len(key) == 0 {
		return "", failf(CodeTOTP, "the secret is not Base32")
	}
	var newHash func() hash.Hash
	switch alg {
	case "sha1":
		newHash = sha1.New
	case "sha256":
		newHash = sha256.New
	case "sha512":
		newHash = sha512.New
	default:
		return "", failf(CodeTOTP, "unknown algorithm %q", alg)
	}
	if step < time.Second || step%time.Second != 0 {
		return "", failf(CodeTOTP, "a step of %v", step)
	}
	if digits < 3 || digits > 8 {
		return "", failf(CodeTOTP, "a length of %d digits", digits)
	}
	if at.Unix() < 0 {
		return "", failf(CodeTOTP, "a moment before 1970")
	}
	return code(newHash, key, uint64(at.Unix())/uint64(step/time.Second), digits), nil
}

// code is RFC 4226, 5.3, for the moving factor counter.
func code(newHash func() hash.Hash, key []byte, counter uint64, digits int) string {
	mac := hmac.New(newHash, key)
	_ = binary.Write(mac, binary.BigEndian, counter) // a hash never fails
	sum := mac.Sum(nil)
	offset := int(sum[len(sum)-1] & 0xf)
	number := uint64(binary.BigEndian.Uint32(sum[offset:offset+4]) & 0x7fffffff)
	text := strconv.FormatUint(number, 10)
	if len(text) < digits {
		return strings.Repeat("0", digits-len(text)) + text
	}
	return text[len(text)-digits:]
}
