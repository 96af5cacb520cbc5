package device

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// TOTPOptions shape an Authenticator's factor. Zero values leave the choice to the API.
type TOTPOptions struct {
	Secret     string // Base32; empty: the API makes one
	Alg        string // sha1, sha256, sha512
	TimeStep   int    // seconds, 20 to 60
	CodeLength int    // digits, 3 to 8
}

// Authenticator is one enrolled TOTP factor. Its methods are safe for concurrent use.
type Authenticator struct {
	factor Factor
	secret string
	alg    string
	step   time.Duration
	digits int
}

// EnrolTOTP creates a TOTP factor and verifies it with its first code.
func EnrolTOTP(ctx context.Context, cfg Config, o TOTPOptions) (*Authenticator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	form := url.Values{"FriendlyName": {cfg.FriendlyName}, "FactorType": {"totp"}}
	for name, value := range map[string]string{"Binding.Secret": o.Secret, "Config.Alg": o.Alg} {
		if value != "" {
			form.Set(name, value)
		}
	}
	for name, value := range map[string]int{"Config.TimeStep": o.TimeStep, "Config.CodeLength": o.CodeLength} {
		if value != 0 {
			form.Set(name, strconv.Itoa(value))
		}
	}
	created, err := cfg.createFactor(ctx, form)
	if err != nil {
		return nil, err
	}
	a := &Authenticator{
		factor: Factor{SID: created.SID, AccountSID: created.AccountSID, EntitySID: created.EntitySID},
		secret: created.Binding.Secret, alg: created.Config.Alg,
		step: time.Duration(created.Config.TimeStep) * time.Second, digits: created.Config.CodeLength,
	}
	code, err := a.Code(cfg.Now())
	if err != nil {
		return nil, err
	}
	body, _, err := cfg.call(ctx, http.MethodPost, cfg.entityURL()+"/Factors/"+created.SID,
		url.Values{"AuthPayload": {code}}, fixed(cfg.Username, cfg.Password))
	if err != nil {
		return nil, err
	}
	var verified factorAnswer
	if err := decode(body, &verified); err != nil {
		return nil, err
	}
	if verified.Status != "verified" {
		return nil, failf(CodeUnsettled, "the factor is %q after its verification", verified.Status)
	}
	return a, nil
}

// Factor returns what is known of the factor; it has no credential.
func (a *Authenticator) Factor() Factor { return a.factor }

// Step is for how long a code is the current one.
func (a *Authenticator) Step() time.Duration { return a.step }

// Code returns the code at a moment. Errors are *Error with CodeTOTP.
func (a *Authenticator) Code(at time.Time) (string, error) {
	return TOTP(a.secret, a.alg, a.step, a.digits, at)
}
