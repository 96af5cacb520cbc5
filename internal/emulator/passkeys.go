package emulator

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// passkeysLife is how long a passkeys challenge can be answered; it is said as
// options.publicKey.timeout, and expiration_date stays null.
const passkeysLife = 5 * time.Minute

// relyingParty is the one of every service. Browsers take it for pages on
// loopback without a certificate.
const relyingParty = "localhost"

// passkeysFactor is empty for a challenge that names no factor.
type passkeysFactor struct {
	credentialID string // base64url without padding
}

type passkeysConfigView struct {
	RelyingParty            relyingPartyView `json:"relying_party"`
	AuthenticatorAttachment string           `json:"authenticator_attachment"`
	DiscoverableCredentials string           `json:"discoverable_credentials"`
	UserVerification        string           `json:"user_verification"`
}

type relyingPartyView struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Origins []string `json:"origins"`
}

func passkeysConfig() passkeysConfigView {
	return passkeysConfigView{
		RelyingParty:            relyingPartyView{ID: relyingParty, Name: issuer, Origins: []string{"http://" + relyingParty}},
		AuthenticatorAttachment: "platform", DiscoverableCredentials: "preferred", UserVerification: "preferred",
	}
}

// passkeyOptions is what a page hands to navigator.credentials.get.
type passkeyOptions struct {
	PublicKey publicKeyOptions `json:"publicKey"`
}

type publicKeyOptions struct {
	Challenge        string           `json:"challenge"` // base64url of the challenge's SID
	Timeout          int64            `json:"timeout"`   // milliseconds
	RPID             string           `json:"rpId"`
	AllowCredentials []credentialView `json:"allowCredentials"`
	UserVerification string           `json:"userVerification"`
}

type credentialView struct {
	ID         string   `json:"id"`
	Type       string   `json:"type"`
	Transports []string `json:"transports"`
}

// passkeysView is a challenge with what only passkeys have. The form API shows
// it as its creation did.
type passkeysView struct {
	challengeView
	Options *passkeyOptions `json:"options"`
}

func (x *exchange) viewPasskeys(ent *entity, c challenge, now time.Time) any {
	x.countReason(c.reason(x.e.cfg.Rules, now))
	x.countIdentity(ent)
	if x.e.cfg.Rules.RandomPasskeysChallenge {
		x.decided("random-passkeys-challenge")
	}
	return x.asShown(passkeysView{
		challengeView: challengeView{
			SID: c.sid, AccountSID: ent.key.account, ServiceSID: ent.key.service, EntitySID: ent.sid, Identity: ent.identity,
			FactorSID:   c.factor.sid,
			DateCreated: stamp(c.created), DateUpdated: stamp(x.shownUpdate(&c, now)), Status: c.status(now),
			RespondedReason: c.reason(x.e.cfg.Rules, now),
			FactorType:      kindPasskeys, URL: x.baseURL() + "/v2/Services/" + ent.key.service + "/Passkeys/Challenges",
		},
		Options: c.options,
	})
}

// notByForm refuses what has a path of its own for passkeys. How the API does that is
// not published. The dictionary has 60369 for a type of factor that a form path does
// not take, and no status for it; 400 is that of the other invalid requests.
func notByForm(what string) *apiError {
	return &apiError{status: 400, code: codeFactorType, message: "Invalid factor type: passkeys are " + what + " below /Passkeys only"}
}

// refusePasskeys answers the calls that need WebAuthn, which the emulator does
// not verify, with the code of a service that lacks the feature.
func refusePasskeys(*exchange) (answer, *apiError) {
	return answer{}, forbidden(codeNoSupport, "Service does not support this feature: the emulator verifies no passkeys")
}

// createPasskeysChallenge makes a challenge for a factor, for any passkey of an
// identity, or for whoever has a discoverable one.
func createPasskeysChallenge(x *exchange) (answer, *apiError) {
	identity, factorSID, err := x.passkeysRequest()
	if err != nil {
		return answer{}, err
	}
	now := x.e.cfg.Now()
	k := x.e.store.key(x.account.sid, x.route.service, identity)
	ent := x.e.store.find(k)
	if identity == "" {
		ent, _ = x.e.store.add(k, "", now)
	}
	if ent == nil {
		return answer{}, x.notFound(codeEntityMissing)
	}
	c, err := x.addPasskeysChallenge(ent, factorSID, now)
	if err != nil {
		return answer{}, err
	}
	x.logged = x.e.log.add(Created{
		SID: c.sid, AccountSID: ent.key.account, ServiceSID: ent.key.service, Identity: ent.identity, FactorSID: c.factor.sid, At: now,
	})
	x.e.stats.creates.Add(1)
	return answer{status: 201, body: x.view(ent, c, now)}, nil
}

// passkeysRequest reads a body whose two properties are optional.
func (x *exchange) passkeysRequest() (identity, factorSID string, fault *apiError) {
	var body struct {
		Identity  *string `json:"identity"`
		FactorSID *string `json:"factor_sid"`
	}
	if len(x.json) == 0 {
		x.json = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(x.json))
	if x.e.cfg.Rules.RefuseUnknownParameters && hasUnknown(x.json, body) {
		x.decided("refuse-unknown-parameters")
		return "", "", invalid("body", "has a property that is not known")
	}
	if err := d.Decode(&body); err != nil || !bytes.HasPrefix(bytes.TrimSpace(x.json), []byte("{")) {
		return "", "", invalid("body", "is not an object with identity and factor_sid")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", "", invalid("body", "is more than one JSON value")
	}
	if body.Identity != nil {
		if identity = *body.Identity; !isIdentity(identity) {
			return "", "", invalid("identity", "is not 8 to 64 dash-separated alphanumerics")
		}
	}
	if body.FactorSID != nil {
		if factorSID = *body.FactorSID; !isSID(factorSID, "YF") {
			return "", "", invalid("factor_sid", "is not YF and 32 hex digits")
		}
		if identity == "" {
			return "", "", invalid("identity", "is required with factor_sid")
		}
	}
	return identity, factorSID, nil
}

// hasUnknown reports whether a JSON object that fits into body has more than that.
func hasUnknown[T any](data []byte, body T) bool {
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	return json.Unmarshal(data, &body) == nil && strict.Decode(&body) != nil
}

// addPasskeysChallenge stores the challenge and returns a copy.
func (x *exchange) addPasskeysChallenge(ent *entity, factorSID string, now time.Time) (challenge, *apiError) {
	ent.mu.Lock()
	defer ent.mu.Unlock()
	if ent.deleted {
		return challenge{}, x.notFound(codeEntityMissing)
	}
	f, allowed, err := x.passkeysOf(ent, factorSID)
	if err != nil {
		return challenge{}, err
	}
	created := now.Truncate(time.Second)
	c := &challenge{
		sid: newSID("YC"), factor: f, made: now, created: created, updated: created, expires: created.Add(passkeysLife), luck: x.plan.luck,
	}
	asked := []byte(c.sid)
	if x.e.cfg.Rules.RandomPasskeysChallenge {
		asked = randomBytes()
	}
	c.options = &passkeyOptions{publicKeyOptions{
		Challenge: base64url.EncodeToString(asked), Timeout: passkeysLife.Milliseconds(), RPID: relyingParty,
		AllowCredentials: allowed, UserVerification: "preferred",
	}}
	ent.insert(c)
	return *c, nil
}

// passkeysOf returns the factor that a challenge is for, without a SID where it
// names none, and the credentials that can answer it. The entity is locked.
func (x *exchange) passkeysOf(ent *entity, factorSID string) (*factor, []credentialView, *apiError) {
	allowed := []credentialView{}
	if factorSID != "" {
		f := ent.factor(factorSID)
		switch {
		case f == nil:
			return nil, nil, x.notFound(codeFactorMissing)
		case f.passkeys == nil:
			return nil, nil, &apiError{status: 400, code: codeFactorType, message: "Invalid factor type: not passkeys"}
		}
		return f, append(allowed, f.passkeys.view()), nil
	}
	for _, f := range ent.factors {
		if f.passkeys != nil {
			allowed = append(allowed, f.passkeys.view())
		}
	}
	if len(allowed) == 0 && ent.identity != "" {
		return nil, nil, x.notFound(codeFactorMissing)
	}
	return &factor{entity: ent, kind: kindPasskeys, passkeys: &passkeysFactor{}}, allowed, nil
}

func (p *passkeysFactor) view() credentialView {
	return credentialView{ID: p.credentialID, Type: "public-key", Transports: []string{"internal", "hybrid"}}
}

// discoverable returns rest, the owner of what belongs to nobody, where it and
// not ent has the challenge that the path names.
func (x *exchange) discoverable(ent, rest *entity) *entity {
	rest.mu.Lock()
	defer rest.mu.Unlock()
	if rest.bySID[x.route.sid] != nil {
		return rest
	}
	return ent
}

// newPasskeysFactor has a credential that nobody can use: the emulator verifies
// no passkeys.
func newPasskeysFactor() *passkeysFactor {
	return &passkeysFactor{credentialID: base64url.EncodeToString(randomBytes())}
}

func randomBytes() []byte {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return raw
}
