package emulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base32"
	"encoding/base64"
	"strings"
)

// Factor tells what a caller needs to know of a factor that was added without
// HTTP.
type Factor struct {
	SID, EntitySID, Identity string
	Type                     string // push, totp or passkeys
	AccountSID, ServiceSID   string
	CredentialSID            string // push only
	Secret                   string // Base32, totp only
}

// AddPushFactor adds a verified push factor to an identity of the first account
// and its first service (DefaultServiceSID where it names none), as if a device
// had enrolled. Errors are *Error with CodeFactor.
func (e *Emulator) AddPushFactor(identity string, public *ecdsa.PublicKey) (Factor, error) {
	account, service := e.defaultService()
	return e.AddPushFactorTo(account, service, identity, public)
}

// AddTOTPFactor is the same for TOTP with the API's defaults: sha1, 30 s, 6
// digits, skew 1. The secret is Base32; empty: one is made.
func (e *Emulator) AddTOTPFactor(identity, secret string) (Factor, error) {
	account, service := e.defaultService()
	return e.AddTOTPFactorTo(account, service, identity, secret)
}

// AddPasskeysFactor is the same for passkeys. Challenges can be made for it,
// and never answered, because the emulator verifies no passkeys.
func (e *Emulator) AddPasskeysFactor(identity string) (Factor, error) {
	account, service := e.defaultService()
	return e.AddPasskeysFactorTo(account, service, identity)
}

func (e *Emulator) defaultService() (account, service string) {
	first := e.cfg.Accounts[0]
	if len(first.Services) > 0 {
		return first.SID, first.Services[0]
	}
	return first.SID, DefaultServiceSID
}

// AddPushFactorTo is AddPushFactor for any account and service.
func (e *Emulator) AddPushFactorTo(account, service, identity string, public *ecdsa.PublicKey) (Factor, error) {
	if public == nil || public.Curve != elliptic.P256() {
		return Factor{}, failf(CodeFactor, "the key is not on P-256")
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Factor{}, &Error{Code: CodeFactor, Message: "the key can't be encoded", Err: err}
	}
	return e.addFactor(account, service, identity, &factor{
		kind: kindPush, credential: newSID("CR"),
		push: &pushFactor{
			key: public, keyText: base64.StdEncoding.EncodeToString(der),
			appID: "emulator", platform: platformNone, sdk: "emulator",
		},
	})
}

// AddTOTPFactorTo is AddTOTPFactor for any account and service.
func (e *Emulator) AddTOTPFactorTo(account, service, identity, secret string) (Factor, error) {
	if secret == "" {
		raw := make([]byte, 20)
		_, _ = rand.Read(raw) // never fails
		secret = base32.StdEncoding.EncodeToString(raw)
	}
	raw, ok := decodeSecret(secret)
	if !ok {
		return Factor{}, failf(CodeFactor, "the secret is not Base32")
	}
	return e.addFactor(account, service, identity, &factor{
		kind: kindTOTP,
		totp: &totpFactor{secret: raw, secretText: secret, alg: "sha1", timeStep: 30, skew: 1, codeLength: 6},
	})
}

// AddPasskeysFactorTo is AddPasskeysFactor for any account and service.
func (e *Emulator) AddPasskeysFactorTo(account, service, identity string) (Factor, error) {
	return e.addFactor(account, service, identity, &factor{kind: kindPasskeys, passkeys: newPasskeysFactor()})
}

func (e *Emulator) addFactor(account, service, identity string, f *factor) (Factor, error) {
	acc, ok := e.accounts[account]
	switch {
	case !ok:
		return Factor{}, failf(CodeFactor, "there is no account %q", account)
	case !isSID(service, "VA") || acc.services != nil && !acc.services[service]:
		return Factor{}, failf(CodeFactor, "account %s has no service %q", account, service)
	case !isIdentity(identity):
		return Factor{}, failf(CodeFactor, "identity %q is not 8 to 64 dash-separated alphanumerics", identity)
	}
	now := e.cfg.Now()
	f.sid, f.created, f.updated, f.verified = newSID("YF"), now, now, true
	f.friendlyName = "emulator"
	if err := e.store.attach(e.store.key(account, service, identity), identity, f, now); err != nil {
		return Factor{}, failf(CodeFactor, "%s", strings.ToLower(err.message))
	}
	out := Factor{
		SID: f.sid, EntitySID: f.entity.sid, Identity: f.entity.identity, Type: f.kind,
		AccountSID: account, ServiceSID: service, CredentialSID: f.credential,
	}
	if f.totp != nil {
		out.Secret = f.totp.secretText
	}
	return out, nil
}
