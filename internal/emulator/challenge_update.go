package emulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"time"
)

const (
	maxPushPayload = 5456
	maxCodeChecks  = 5
)

// updateRequest is an update whose parameters are within their bounds.
type updateRequest struct {
	payload    string
	hasPayload bool
	metadata   json.RawMessage
}

func updateChallenge(x *exchange) (answer, *apiError) {
	v, err := x.form("AuthPayload", "Metadata")
	if err != nil {
		return answer{}, err
	}
	req := updateRequest{payload: v.Get("AuthPayload"), hasPayload: v.Has("AuthPayload")}
	if req.metadata, _, err = x.stringMap(v, "Metadata"); err != nil {
		return answer{}, err
	}
	ent, c, before, err := x.challenge()
	if err != nil {
		return answer{}, err
	}
	if before.options != nil {
		return answer{}, notByForm("approved")
	}
	if !req.hasPayload && req.metadata == nil {
		if !x.e.cfg.Rules.AcceptEmptyUpdate {
			return answer{}, invalid("AuthPayload", "is missing, and Metadata too")
		}
		x.decided("accept-empty-update")
	}
	if err := before.factor.payloadLength(req); err != nil {
		return answer{}, err
	}
	verdict := ""
	if req.hasPayload && before.factor.push != nil && before.open(x.e.cfg.Now()) == nil {
		// A signature takes long to check, and nothing that it covers can change
		// meanwhile: this is done without the lock.
		verdict = x.pushVerdict(ent, before, req.payload)
	}
	now := x.e.cfg.Now()
	after, err := x.settle(ent, c, req, verdict, now)
	if err != nil {
		return answer{}, err
	}
	return answer{
		status: 200, body: x.view(ent, after, now),
		header: [][2]string{{"Twilio-Verify-Challenge-Signature", x.seal(after.sid, after.status(now))}},
	}, nil
}

// payloadLength checks the bounds that depend on the type of factor.
func (f *factor) payloadLength(req updateRequest) *apiError {
	if !req.hasPayload {
		return nil
	}
	if f.push != nil {
		if req.payload == "" || longer(req.payload, maxPushPayload) {
			return invalid("AuthPayload", "is not 1 to %d characters long", maxPushPayload)
		}
		return nil
	}
	return codeLength(req.payload)
}

// settle applies an update under the lock. The verdict is that of a push
// payload; a TOTP code is checked here, so that attempts are counted exactly.
func (x *exchange) settle(ent *entity, c *challenge, req updateRequest, verdict string, now time.Time) (challenge, *apiError) {
	ent.mu.Lock()
	defer ent.mu.Unlock()
	if err := c.open(now); err != nil {
		if req.hasPayload || req.metadata == nil || !x.e.cfg.Rules.MetadataAfterAnswer {
			return challenge{}, err
		}
		x.decided("metadata-after-answer")
	}
	if c.factor.deleted {
		return challenge{}, x.notFound(codeFactorMissing)
	}
	if req.hasPayload && c.factor.totp != nil {
		if c.attempts >= maxCodeChecks {
			return challenge{}, tooMany(codeChallengeChecks, "Challenge verification attempts limit reached")
		}
		if c.attempts+c.forgiven >= maxCodeChecks {
			x.decided("free-code-at-create")
		}
		if x.check(c.factor, req.payload, now) {
			verdict = statusApproved
		} else {
			c.attempts++
		}
	}
	if req.hasPayload {
		if verdict == "" && x.e.cfg.Rules.KeepPendingOnWrongUpdate {
			x.decided("keep-pending-on-wrong-update")
			return *c, nil
		}
		if verdict == "" {
			return challenge{}, forbidden(codeRefused, "Challenge verification failed")
		}
		c.respond(verdict, now)
	}
	if req.metadata != nil {
		c.metadata, c.updated = req.metadata, now
	}
	return *c, nil
}

// pushVerdict returns the status that a payload proves, or nothing. The
// payload is a JWS by the factor's key whose claims hold every signed property
// as the API shows it, and the status that the device chose.
func (x *exchange) pushVerdict(ent *entity, c challenge, payload string) string {
	token, ok := parseJWS(payload)
	if !ok || !token.signedBy(c.factor.push.key) {
		return ""
	}
	var claims map[string]any
	if !token.claims(&claims) {
		return ""
	}
	shown := x.shown(ent, c)
	for _, name := range x.signed(shown) {
		claim, ok := claims[name]
		if name != "status" && (!ok || !reflect.DeepEqual(claim, shown[name])) {
			return ""
		}
	}
	switch status := claims["status"]; status {
	case statusApproved, statusDenied:
		return status.(string) //nolint:forcetypeassert // equal to a string
	}
	return ""
}

// shown returns a challenge's properties as a caller decodes them.
func (x *exchange) shown(ent *entity, c challenge) map[string]any {
	data, err := json.Marshal(x.view(ent, c, x.e.cfg.Now()))
	if err != nil {
		panic("emulator: challenge can't be encoded: " + err.Error())
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		panic("emulator: challenge can't be decoded: " + err.Error())
	}
	return object
}

// seal makes the opaque value of a signature header. What the live API puts there is
// not published; this one is a MAC, so that equal states have equal seals.
func (x *exchange) seal(parts ...string) string {
	mac := hmac.New(sha256.New, x.e.sealKey)
	for _, p := range parts {
		mac.Write([]byte(p))
		mac.Write([]byte{0})
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
