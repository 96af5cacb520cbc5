package device

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// What a device can answer.
const (
	StatusApproved = "approved"
	StatusDenied   = "denied"
)

// SignChallenge makes the AuthPayload that answers a push challenge: a compact
// JWS (RFC 7515) with ES256 over the named properties of the challenge's JSON,
// copied as they stand in body, and the status. Errors are *Error with
// CodeUnsignable.
func SignChallenge(key *ecdsa.PrivateKey, fields []string, body []byte, status string) (string, error) {
	if status != StatusApproved && status != StatusDenied {
		return "", failf(CodeUnsignable, "status %q is neither approved nor denied", status)
	}
	if len(fields) == 0 {
		return "", failf(CodeUnsignable, "the challenge names no signature fields")
	}
	var properties map[string]json.RawMessage
	if err := json.Unmarshal(body, &properties); err != nil {
		return "", &Error{Code: CodeUnsignable, Message: "the challenge is not a JSON object", Err: err}
	}
	claims := make(map[string]json.RawMessage, len(fields)+1)
	for _, name := range fields {
		value, ok := properties[name]
		if !ok {
			return "", failf(CodeUnsignable, "the challenge has no property %q", name)
		}
		claims[name] = value
	}
	claims["status"] = json.RawMessage(`"` + status + `"`)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", &Error{Code: CodeUnsignable, Message: "the claims can't be encoded", Err: err}
	}
	return compact(key, []byte(`{"typ":"JWT","alg":"ES256"}`), payload)
}

// SignFactor makes the AuthPayload that verifies a push factor: padded Base64 of
// the DER signature, ECDSA with SHA-256, over the factor's SID.
func SignFactor(key *ecdsa.PrivateKey, factorSID string) (string, error) {
	digest := sha256.Sum256([]byte(factorSID))
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		return "", &Error{Code: CodeUnsignable, Message: "signing failed", Err: err}
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// tokenLife is how long a device token is good for, as the SDKs have it.
const tokenLife = 10 * time.Minute

// Token makes the Basic password, for the user "token", with which an enrolled
// device calls: a JWT that its key signed.
func Token(key *ecdsa.PrivateKey, credentialSID, accountSID string, at time.Time) (string, error) {
	header, err := json.Marshal(map[string]string{
		"cty": "twilio-pba;v=1", "kid": credentialSID, "typ": "JWT", "alg": "ES256",
	})
	if err != nil {
		return "", &Error{Code: CodeUnsignable, Message: "the header can't be encoded", Err: err}
	}
	claims, err := json.Marshal(map[string]any{
		"sub": accountSID, "exp": at.Add(tokenLife).Unix(), "nbf": at.Unix(),
	})
	if err != nil {
		return "", &Error{Code: CodeUnsignable, Message: "the claims can't be encoded", Err: err}
	}
	return compact(key, header, claims)
}

// compact signs header and payload and writes the signature as JWS has it: r
// and s, 32 bytes each (RFC 7518, 3.4).
func compact(key *ecdsa.PrivateKey, header, payload []byte) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", &Error{Code: CodeUnsignable, Message: "signing failed", Err: err}
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature[:]), nil
}
