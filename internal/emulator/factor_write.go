package emulator

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"
)

// issuer is what authenticator apps show beside an account name.
const issuer = "Challenge API emulator"

func createFactor(x *exchange) (answer, *apiError) {
	v, err := x.form("FriendlyName", "FactorType", "Binding.Alg", "Binding.PublicKey", "Config.AppId",
		"Config.NotificationPlatform", "Config.NotificationToken", "Config.SdkVersion", "Binding.Secret",
		"Config.TimeStep", "Config.Skew", "Config.CodeLength", "Config.Alg", "Metadata")
	if err != nil {
		return answer{}, err
	}
	now := x.e.cfg.Now()
	f := &factor{sid: newSID("YF"), created: now, updated: now, kind: v.Get("FactorType")}
	if f.friendlyName, err = friendlyName(v); err != nil {
		return answer{}, err
	}
	if f.metadata, _, err = x.stringMap(v, "Metadata"); err != nil {
		return answer{}, err
	}
	switch f.kind {
	case kindPush:
		f.push, err = readPush(v)
		f.credential = newSID("CR")
	case kindTOTP:
		f.totp, err = readTOTP(v)
	default:
		err = &apiError{status: 400, code: codeFactorType, message: "Invalid factor type: not push or totp"}
	}
	if err != nil {
		return answer{}, err
	}
	if err := x.e.store.attach(x.key(x.account.sid), x.route.identity, f, now); err != nil {
		return answer{}, err
	}
	f.entity.mu.Lock()
	defer f.entity.mu.Unlock()
	return answer{status: 201, body: newFactorView{factorView: x.viewFactor(f), Binding: f.binding()}}, nil
}

// attach adds a factor to its entity, which it makes where there is none.
func (s *store) attach(k key, identity string, f *factor, now time.Time) *apiError {
	for {
		ent, _ := s.add(k, identity, now)
		ent.mu.Lock()
		if ent.deleted { // between add and Lock: there is a new one to be made
			ent.mu.Unlock()
			continue
		}
		err := ent.attach(f)
		if err == nil && f.push != nil {
			s.credentials.Store(f.credential, f)
		}
		ent.mu.Unlock()
		return err
	}
}

// attach checks the limits of an entity, which is locked.
func (ent *entity) attach(f *factor) *apiError {
	most, count := map[string]int{kindPush: maxPushFactors, kindTOTP: maxTOTPFactors, kindPasskeys: math.MaxInt}[f.kind], 0
	for _, other := range ent.factors {
		if other.kind != f.kind {
			continue
		}
		count++
		if f.push != nil && other.push.key.Equal(f.push.key) || f.totp != nil && string(other.totp.secret) == string(f.totp.secret) {
			return &apiError{status: 409, code: codeFactorExists, message: "Factor already exists"}
		}
	}
	if count >= most {
		name := map[string]string{kindPush: "push", kindTOTP: "TOTP"}[f.kind]
		return &apiError{
			status: 400, code: codeFactorCount,
			message: fmt.Sprintf("Reached max limit of %d %s Factors associated per Entity", most, name),
		}
	}
	f.entity = ent
	ent.factors = append(ent.factors, f)
	return nil
}

// binding is what only the answer to a creation shows.
func (f *factor) binding() any {
	if f.push != nil {
		return map[string]string{"alg": "ES256", "public_key": f.push.keyText}
	}
	t := f.totp
	query := "secret=" + strings.TrimRight(t.secretText, "=") + "&issuer=" + url.PathEscape(issuer) +
		fmt.Sprintf("&algorithm=%s&digits=%d&period=%d", strings.ToUpper(t.alg), t.codeLength, t.timeStep)
	return map[string]string{
		"secret": t.secretText,
		"uri":    "otpauth://totp/" + url.PathEscape(issuer) + ":" + url.PathEscape(f.friendlyName) + "?" + query,
	}
}

func updateFactor(x *exchange) (answer, *apiError) {
	v, err := x.form("AuthPayload", "FriendlyName", "Config.NotificationToken", "Config.SdkVersion", "Config.TimeStep",
		"Config.Skew", "Config.CodeLength", "Config.Alg", "Config.NotificationPlatform")
	if err != nil {
		return answer{}, err
	}
	f, err := x.lockedFactor()
	if err != nil {
		return answer{}, err
	}
	defer f.entity.mu.Unlock()
	if f.passkeys != nil {
		return answer{}, notByForm("updated")
	}
	now := x.e.cfg.Now()
	if v.Has("AuthPayload") {
		err := f.verify(v.Get("AuthPayload"), now)
		if err != nil && (err.code != codeFactorRefused || !x.e.cfg.Rules.KeepUnverifiedOnWrongCode) {
			return answer{}, err
		}
		if err != nil {
			x.decided("keep-unverified-on-wrong-code")
		}
	}
	if err := f.configure(v); err != nil {
		return answer{}, err
	}
	f.updated = now
	view := x.viewFactor(f)
	return answer{status: 200, body: view, header: [][2]string{{"Twilio-Verify-Factor-Signature", x.seal(f.sid, view.Status)}}}, nil
}

func (f *factor) configure(v url.Values) *apiError {
	name := f.friendlyName
	if v.Has("FriendlyName") {
		var err *apiError
		if name, err = friendlyName(v); err != nil {
			return err
		}
	}
	var err *apiError
	if f.push != nil {
		err = f.push.configure(v)
	} else {
		err = f.totp.configure(v)
	}
	if err == nil {
		f.friendlyName = name
	}
	return err
}

// verify takes the proof that the caller holds what the factor is made of: a
// DER signature over the factor's SID, or a TOTP code.
func (f *factor) verify(payload string, now time.Time) *apiError {
	if f.push != nil {
		signature, err := base64.StdEncoding.DecodeString(payload)
		digest := sha256.Sum256([]byte(f.sid))
		if err != nil || !ecdsa.VerifyASN1(f.push.key, digest[:], signature) {
			return forbidden(codeFactorRefused, "Factor verification failed")
		}
		f.verified = true
		return nil
	}
	if err := codeLength(payload); err != nil {
		return err
	}
	if !f.verified && f.totp.attempts >= maxCodeChecks {
		return tooMany(codeFactorChecks, "Factor verification attempts limit reached")
	}
	if _, ok := f.totp.match(payload, now); !ok {
		f.totp.attempts++
		return forbidden(codeFactorRefused, "Factor verification failed")
	}
	f.verified = true
	return nil
}
