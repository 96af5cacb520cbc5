package emulator

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238's default, and the API's
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"time"
)

// totpHash returns the hash of Config.Alg; nil for an unknown name. The
// device package has its own TOTP: this one judges it.
func totpHash(alg string) func() hash.Hash {
	switch alg {
	case "sha1":
		return sha1.New
	case "sha256":
		return sha256.New
	case "sha512":
		return sha512.New
	}
	return nil
}

// hotp is RFC 4226 with a selectable hash: the code of one counter value.
func hotp(newHash func() hash.Hash, secret []byte, counter int64, digits int) string {
	mac := hmac.New(newHash, secret)
	var moving [8]byte
	binary.BigEndian.PutUint64(moving[:], uint64(counter)) // never negative, see match
	mac.Write(moving[:])
	sum := mac.Sum(nil)
	truncated := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0x0f:]) & 0x7fffffff
	modulus := uint32(1)
	for range digits {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", digits, truncated%modulus)
}

// match finds the time step, within the factor's skew of at, whose code is
// given. Steps before 1970 do not exist.
func (t *totpFactor) match(code string, at time.Time) (step int64, ok bool) {
	now := at.Unix() / int64(t.timeStep)
	for distance := int64(0); distance <= int64(t.skew); distance++ {
		for _, step := range []int64{now - distance, now + distance} {
			if step < 0 {
				continue
			}
			want := hotp(totpHash(t.alg), t.secret, step, t.codeLength)
			if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
				return step, true
			}
		}
	}
	return 0, false
}
