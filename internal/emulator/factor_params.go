package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"net/url"
	"strings"
)

const (
	maxFriendlyName = 64
	maxAppID        = 100
	minToken        = 32
	maxToken        = 255
)

// friendlyName reads FriendlyName; a create requires it.
func friendlyName(v url.Values) (string, *apiError) {
	name := v.Get("FriendlyName")
	if name == "" {
		return "", badRequest("Missing required parameter FriendlyName in the post body")
	}
	if longer(name, maxFriendlyName) {
		return "", invalid("FriendlyName", "is longer than %d characters", maxFriendlyName)
	}
	return name, nil
}

// readPush reads what makes a push factor.
func readPush(v url.Values) (*pushFactor, *apiError) {
	p := &pushFactor{keyText: v.Get("Binding.PublicKey"), appID: v.Get("Config.AppId")}
	if alg := v.Get("Binding.Alg"); alg != "ES256" {
		return nil, &apiError{status: 400, code: codeBinding, message: "Invalid binding: Alg is not ES256"}
	}
	var ok bool
	if p.key, ok = publicKey(p.keyText); !ok {
		return nil, &apiError{
			status: 400, code: codeBinding,
			message: "Invalid binding: PublicKey is not a P-256 key in PKIX, ASN.1 DER and Base64",
		}
	}
	if p.appID == "" || longer(p.appID, maxAppID) {
		return nil, invalid("Config.AppId", "is not 1 to %d characters long", maxAppID)
	}
	if !v.Has("Config.NotificationPlatform") {
		return nil, invalid("Config.NotificationPlatform", "is required for push")
	}
	if v.Get("Config.SdkVersion") == "" {
		return nil, invalid("Config.SdkVersion", "is required for push")
	}
	if err := p.configure(v); err != nil {
		return nil, err
	}
	if p.token == "" && p.platform != platformNone {
		return nil, invalid("Config.NotificationToken", "is required for platform %q", p.platform)
	}
	return p, nil
}

// configure applies what a create and an update of a push factor both take.
func (p *pushFactor) configure(v url.Values) *apiError {
	platform, err := oneOf(v, "Config.NotificationPlatform", "apn", "fcm", platformNone)
	if err != nil {
		return err
	}
	if v.Has("Config.NotificationToken") {
		token := v.Get("Config.NotificationToken")
		if longer(token, maxToken) || !longer(token, minToken-1) {
			return invalid("Config.NotificationToken", "is not %d to %d characters long", minToken, maxToken)
		}
		p.token = token
	}
	if platform != "" {
		p.platform = platform
	}
	if v.Has("Config.SdkVersion") {
		p.sdk = v.Get("Config.SdkVersion")
	}
	return nil
}

// publicKey decodes a P-256 key from padded standard Base64 of PKIX DER.
func publicKey(text string) (*ecdsa.PublicKey, bool) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, false
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	return key, ok && key.Curve == elliptic.P256()
}

// readTOTP reads what makes a TOTP factor and makes a secret where none is
// sent.
func readTOTP(v url.Values) (*totpFactor, *apiError) {
	t := &totpFactor{alg: "sha1", timeStep: 30, skew: 1, codeLength: 6}
	if v.Has("Binding.Secret") {
		secret, ok := decodeSecret(v.Get("Binding.Secret"))
		if !ok {
			return nil, &apiError{status: 400, code: codeBinding, message: "Invalid binding: Secret is not Base32"}
		}
		t.secret, t.secretText = secret, v.Get("Binding.Secret")
	} else {
		t.secret = make([]byte, 20)
		_, _ = rand.Read(t.secret) // never fails
		t.secretText = base32.StdEncoding.EncodeToString(t.secret)
	}
	return t, t.configure(v)
}

// configure applies what a create and an update of a TOTP factor both take.
func (t *totpFactor) configure(v url.Values) *apiError {
	changed := *t
	var err *apiError
	if changed.timeStep, err = integer(v, "Config.TimeStep", 20, 60, t.timeStep); err != nil {
		return err
	}
	if changed.skew, err = integer(v, "Config.Skew", 0, 2, t.skew); err != nil {
		return err
	}
	if changed.codeLength, err = integer(v, "Config.CodeLength", minCode, maxCode, t.codeLength); err != nil {
		return err
	}
	alg, err := oneOf(v, "Config.Alg", "sha1", "sha256", "sha512")
	if err != nil {
		return err
	}
	if alg != "" {
		changed.alg = alg
	}
	*t = changed
	return nil
}

// decodeSecret reads Base32, padded or not.
func decodeSecret(text string) ([]byte, bool) {
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(text, "="))
	return secret, err == nil && len(secret) > 0
}
