package emulator

import (
	"crypto/ecdsa"
	"encoding/json"
	"time"
)

// The types of factors, and how many of the form API's own an entity has.
const (
	kindPush     = "push"
	kindTOTP     = "totp"
	kindPasskeys = "passkeys"

	maxPushFactors = 20
	maxTOTPFactors = 100

	platformNone = "none"
)

// factor is under its entity's lock, except for what never changes: entity,
// sid, kind, credential, created and push.key.
type factor struct {
	entity     *entity
	sid        string
	kind       string
	credential string // shown as config.credential_sid; push only
	created    time.Time
	push       *pushFactor     // exactly one of
	totp       *totpFactor     // the three is
	passkeys   *passkeysFactor // not nil

	friendlyName string
	updated      time.Time
	verified     bool
	deleted      bool
	metadata     json.RawMessage
}

type pushFactor struct {
	key      *ecdsa.PublicKey
	keyText  string // as it was sent
	appID    string
	platform string
	token    string
	sdk      string
}

type totpFactor struct {
	secret     []byte
	secretText string // Base32, as it was sent or made
	alg        string
	timeStep   int
	skew       int
	codeLength int

	attempts  int         // wrong codes while unverified
	lastStep  int64       // of the last code that approved; zero: none
	creations []time.Time // of the last 24 hours, kept for limit alone
}

// check reports whether a TOTP code is right now. A step that has approved before,
// or an older one, may be wrong. The factor's entity is locked.
func (x *exchange) check(f *factor, code string, now time.Time) bool {
	step, ok := f.totp.match(code, now)
	if !ok {
		return false
	}
	if x.e.cfg.Rules.RefuseReusedCode && f.totp.lastStep >= step {
		x.decided("refuse-reused-code")
		return false
	}
	f.totp.lastStep = max(f.totp.lastStep, step)
	return true
}

// limit refuses a challenge beyond the documented number per factor.
func (t *totpFactor) limit(now time.Time) *apiError {
	kept := t.creations[:0]
	lastHour := 0
	for _, at := range t.creations {
		if now.Sub(at) < 24*time.Hour {
			kept = append(kept, at)
			if now.Sub(at) < time.Hour {
				lastHour++
			}
		}
	}
	t.creations = kept
	perHour, perDay := 50, 100
	if t.codeLength <= 4 {
		perHour, perDay = 10, 10
	}
	if lastHour >= perHour || len(kept) >= perDay {
		return tooMany(codeChallengeCreates, "Challenge creation limit per factor reached")
	}
	return nil
}

// factorView is the resource as the API shows it. Binding and options are
// shown on creation only.
type factorView struct {
	SID          string          `json:"sid"`
	AccountSID   string          `json:"account_sid"`
	ServiceSID   string          `json:"service_sid"`
	EntitySID    string          `json:"entity_sid"`
	Identity     string          `json:"identity"`
	DateCreated  stamp           `json:"date_created"`
	DateUpdated  stamp           `json:"date_updated"`
	FriendlyName string          `json:"friendly_name"`
	Status       string          `json:"status"`
	FactorType   string          `json:"factor_type"`
	Config       any             `json:"config"`
	Metadata     json.RawMessage `json:"metadata"`
	URL          string          `json:"url"`
}

type newFactorView struct {
	factorView
	Binding any `json:"binding"`
	Options any `json:"options"` // passkeys only: null here
}

type pushConfigView struct {
	SDKVersion    string  `json:"sdk_version"`
	AppID         string  `json:"app_id"`
	Platform      string  `json:"notification_platform"`
	Token         *string `json:"notification_token"`
	CredentialSID string  `json:"credential_sid,omitempty"`
}

type totpConfigView struct {
	Alg        string `json:"alg"`
	Skew       int    `json:"skew"`
	CodeLength int    `json:"code_length"`
	TimeStep   int    `json:"time_step"`
}

// viewFactor shows a factor. Its entity is locked, or nobody else has it yet.
func (x *exchange) viewFactor(f *factor) factorView {
	ent := f.entity
	v := factorView{
		SID: f.sid, AccountSID: ent.key.account, ServiceSID: ent.key.service, EntitySID: ent.sid, Identity: ent.identity,
		DateCreated: stamp(f.created), DateUpdated: stamp(f.updated), FriendlyName: f.friendlyName,
		Status: "unverified", FactorType: f.kind, Metadata: f.metadata,
		URL: x.baseURL() + ent.path() + "/Factors/" + f.sid,
	}
	if f.verified {
		v.Status = "verified"
	}
	v.Config = f.config()
	if config, ok := v.Config.(pushConfigView); ok && x.e.cfg.Rules.OmitCredentialSID {
		x.decided("omit-credential-sid")
		config.CredentialSID = ""
		v.Config = config
	}
	return v
}

func (f *factor) config() any {
	switch {
	case f.passkeys != nil:
		return passkeysConfig()
	case f.totp != nil:
		return totpConfigView{Alg: f.totp.alg, Skew: f.totp.skew, CodeLength: f.totp.codeLength, TimeStep: f.totp.timeStep}
	}
	config := pushConfigView{SDKVersion: f.push.sdk, AppID: f.push.appID, Platform: f.push.platform, CredentialSID: f.credential}
	if f.push.token != "" {
		config.Token = &f.push.token
	}
	return config
}

// lockedFactor finds what the path names. On success its entity is locked.
func (x *exchange) lockedFactor() (*factor, *apiError) {
	ent, err := x.entity()
	if err != nil {
		return nil, err
	}
	ent.mu.Lock()
	f := ent.factor(x.route.sid)
	if f == nil || ent.deleted {
		ent.mu.Unlock()
		return nil, x.notFound(codeFactorMissing)
	}
	return f, nil
}

func fetchFactor(x *exchange) (answer, *apiError) {
	f, err := x.lockedFactor()
	if err != nil {
		return answer{}, err
	}
	defer f.entity.mu.Unlock()
	return answer{status: 200, body: x.viewFactor(f)}, nil
}

// deleteFactor leaves the factor's challenges; they can no longer be answered.
func deleteFactor(x *exchange) (answer, *apiError) {
	f, err := x.lockedFactor()
	if err != nil {
		return answer{}, err
	}
	ent := f.entity
	defer ent.mu.Unlock()
	f.deleted = true
	x.e.store.credentials.Delete(f.credential)
	for i := range ent.factors {
		if ent.factors[i] == f {
			ent.factors = append(ent.factors[:i:i], ent.factors[i+1:]...)
			break
		}
	}
	return answer{status: 204}, nil
}
