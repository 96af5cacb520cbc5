package emulator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
)

// jws is a compact JWS (RFC 7515) with alg ES256, not yet verified.
type jws struct {
	keyID     string // kid, may be empty
	signed    string // the octets that the signature covers
	payload   []byte
	signature []byte // r and s, 32 bytes each (RFC 7518, 3.4)
}

// base64url is strict: no padding, no line breaks, no stray trailing bits.
var base64url = base64.RawURLEncoding.Strict()

// parseJWS splits and decodes a token. It refuses every algorithm but ES256,
// "none" above all, and headers that ask for extensions it doesn't know (crit).
func parseJWS(text string) (jws, bool) {
	part := strings.Split(text, ".")
	if len(part) != 3 || strings.ContainsAny(text, "\r\n") {
		return jws{}, false
	}
	header, err1 := base64url.DecodeString(part[0])
	payload, err2 := base64url.DecodeString(part[1])
	signature, err3 := base64url.DecodeString(part[2])
	if err1 != nil || err2 != nil || err3 != nil || len(signature) != 64 {
		return jws{}, false
	}
	var h struct {
		Algorithm string          `json:"alg"`
		KeyID     string          `json:"kid"`
		Critical  json.RawMessage `json:"crit"`
	}
	if json.Unmarshal(header, &h) != nil || h.Algorithm != "ES256" || h.Critical != nil {
		return jws{}, false
	}
	return jws{keyID: h.KeyID, signed: part[0] + "." + part[1], payload: payload, signature: signature}, true
}

// signedBy reports whether the key made the signature.
func (j jws) signedBy(key *ecdsa.PublicKey) bool {
	digest := sha256.Sum256([]byte(j.signed))
	r := new(big.Int).SetBytes(j.signature[:32])
	s := new(big.Int).SetBytes(j.signature[32:])
	return ecdsa.Verify(key, digest[:], r, s)
}

// claims decodes the payload, which must be one JSON object.
func (j jws) claims(into any) bool {
	return bytes.HasPrefix(bytes.TrimSpace(j.payload), []byte("{")) && json.Unmarshal(j.payload, into) == nil
}
