package device

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Factor is what a device knows of its factor after enrolment.
type Factor struct {
	SID           string
	AccountSID    string
	EntitySID     string
	CredentialSID string // names the device's key in its tokens
}

// Device is one enrolled push factor. Its methods are safe for concurrent use.
type Device struct {
	cfg    Config
	key    *ecdsa.PrivateKey
	factor Factor
	skew   atomic.Int64 // nanoseconds that the API's clock is ahead of ours
}

// Enrol makes a P-256 key, creates the push factor and verifies it. The
// notification platform is "none": a virtual device polls.
func Enrol(ctx context.Context, cfg Config) (*Device, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Message: "no key could be made", Err: err}
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Message: "the key can't be encoded", Err: err}
	}
	created, err := cfg.createFactor(ctx, url.Values{
		"FriendlyName": {cfg.FriendlyName}, "FactorType": {"push"},
		"Binding.Alg": {"ES256"}, "Binding.PublicKey": {base64.StdEncoding.EncodeToString(der)},
		"Config.AppId": {"virtual.device"}, "Config.NotificationPlatform": {"none"}, "Config.SdkVersion": {"1.0.0"},
	})
	if err != nil {
		return nil, err
	}
	if created.Config.CredentialSID == "" {
		return nil, failf(CodeAnswer, "the new factor has no config.credential_sid")
	}
	d := &Device{cfg: cfg, key: key, factor: Factor{
		SID: created.SID, AccountSID: created.AccountSID, EntitySID: created.EntitySID,
		CredentialSID: created.Config.CredentialSID,
	}}
	if err := d.verify(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Attach returns a Device for a factor that exists and is verified already.
// Username and Password of the Config are not used.
func Attach(cfg Config, key *ecdsa.PrivateKey, factor Factor) (*Device, error) {
	cfg = cfg.withDefaults()
	cfg.Username, cfg.Password = "token", "unused"
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if key == nil || factor.SID == "" || factor.AccountSID == "" || factor.CredentialSID == "" {
		return nil, failf(CodeConfig, "a key, and the factor's, account's and credential's SIDs are required")
	}
	return &Device{cfg: cfg, key: key, factor: factor}, nil
}

type factorAnswer struct {
	SID        string `json:"sid"`
	AccountSID string `json:"account_sid"`
	EntitySID  string `json:"entity_sid"`
	Status     string `json:"status"`
	Config     struct {
		CredentialSID string `json:"credential_sid"`
		Alg           string `json:"alg"`
		TimeStep      int    `json:"time_step"`
		CodeLength    int    `json:"code_length"`
	} `json:"config"`
	Binding struct {
		Secret string `json:"secret"`
	} `json:"binding"`
}

func (c Config) createFactor(ctx context.Context, form url.Values) (factorAnswer, error) {
	var created factorAnswer
	body, _, err := c.call(ctx, http.MethodPost, c.entityURL()+"/Factors", form, fixed(c.Username, c.Password))
	if err != nil {
		return created, err
	}
	return created, decode(body, &created)
}

// verify proves that the device holds the key, with a token as credentials, as
// the SDKs do.
func (d *Device) verify(ctx context.Context) error {
	payload, err := SignFactor(d.key, d.factor.SID)
	if err != nil {
		return err
	}
	body, _, err := d.call(ctx, http.MethodPost, d.cfg.entityURL()+"/Factors/"+d.factor.SID, url.Values{"AuthPayload": {payload}})
	if err != nil {
		return err
	}
	var verified factorAnswer
	if err := decode(body, &verified); err != nil {
		return err
	}
	if verified.Status != "verified" {
		return failf(CodeUnsettled, "the factor is %q after its verification", verified.Status)
	}
	return nil
}

// Factor returns what is known of the device's factor.
func (d *Device) Factor() Factor { return d.factor }

// PrivateKey returns the device's key, to Attach with later. Whoever has it can
// answer in the place of the device's owner.
func (d *Device) PrivateKey() *ecdsa.PrivateKey { return d.key }

// Close closes idle connections of the device's HTTP client.
func (d *Device) Close() { d.cfg.HTTPClient.CloseIdleConnections() }

// call calls as the device. On a 401 it takes the clock from the answer's Date
// and tries once more, as the SDKs do.
func (d *Device) call(ctx context.Context, method, target string, form url.Values) ([]byte, http.Header, error) {
	auth := func() (string, string, error) {
		token, err := Token(d.key, d.factor.CredentialSID, d.factor.AccountSID, d.now())
		return "token", token, err
	}
	body, header, err := d.cfg.call(ctx, method, target, form, auth)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		date, parseErr := http.ParseTime(header.Get("Date"))
		if parseErr != nil {
			return nil, nil, err
		}
		d.skew.Store(int64(date.Sub(d.cfg.Now())))
		body, header, err = d.cfg.call(ctx, method, target, form, auth)
	}
	return body, header, err
}

func (d *Device) now() time.Time { return d.cfg.Now().Add(time.Duration(d.skew.Load())) }
