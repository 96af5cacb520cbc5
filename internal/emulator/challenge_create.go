package emulator

import (
	"encoding/json"
	"net/url"
	"time"
)

// Bounds of a challenge, in characters and numbers.
const (
	maxMessage      = 256
	maxFields       = 20
	maxLabel        = 36
	maxValue        = 128
	minCode         = 3
	maxCode         = 8
	defaultLifetime = 5 * time.Minute
	maxLifetime     = 60 * time.Minute
)

const paramMessage = "Details.Message"

// createRequest is a create whose parameters are within their bounds.
type createRequest struct {
	factorSID string
	expires   time.Time // zero: default
	details   *detailsView
	hidden    json.RawMessage
	hiddenMap map[string]string
	code      string // AuthPayload
	hasCode   bool
}

func createChallenge(x *exchange) (answer, *apiError) {
	now := x.e.cfg.Now()
	req, err := x.createRequest(now)
	if err != nil {
		return answer{}, err
	}
	ent, err := x.entity()
	if err != nil {
		return answer{}, err
	}
	c, err := x.addChallenge(ent, req, now)
	if err != nil {
		return answer{}, err
	}
	x.logged = x.e.log.add(Created{
		SID: c.sid, AccountSID: ent.key.account, ServiceSID: ent.key.service, Identity: ent.identity,
		FactorSID: c.factor.sid, HiddenDetails: req.hiddenMap, At: now, Fault: x.plan.struck(),
	})
	x.e.stats.creates.Add(1)
	a := answer{status: 201, body: x.view(ent, c, now)}
	if x.e.cfg.Rules.RateLimitHeaders {
		a.header = [][2]string{{"Retry-After", "1"}, {reachedLimit, "false"}}
		x.decided("rate-limit-headers")
	}
	return a, nil
}

// createRequest reads and checks the parameters. What depends on the factor is checked in
// addChallenge.
func (x *exchange) createRequest(now time.Time) (createRequest, *apiError) {
	v, err := x.form("FactorSid", "ExpirationDate", "Details.Message", "Details.Fields", "HiddenDetails", "AuthPayload")
	if err != nil {
		return createRequest{}, err
	}
	req := createRequest{factorSID: v.Get("FactorSid"), code: v.Get("AuthPayload"), hasCode: v.Has("AuthPayload")}
	if x.e.cfg.Rules.MissingAs20001 && !v.Has("FactorSid") {
		return req, x.missing("FactorSid")
	}
	if !isSID(req.factorSID, "YF") {
		return req, invalid("FactorSid", "is not YF and 32 hex digits")
	}
	if req.expires, err = expiration(v, now); err != nil {
		return req, err
	}
	if req.details, err = x.details(v, now); err != nil {
		return req, err
	}
	req.hidden, req.hiddenMap, err = x.stringMap(v, "HiddenDetails")
	return req, err
}

// expiration must be ahead and at most maxLifetime away.
func expiration(v url.Values, now time.Time) (time.Time, *apiError) {
	if !v.Has("ExpirationDate") {
		return time.Time{}, nil
	}
	at, ok := instant(v.Get("ExpirationDate"))
	switch {
	case !ok:
		return at, invalid("ExpirationDate", "is not an ISO 8601 date-time with a zone")
	case !at.After(now):
		return at, invalid("ExpirationDate", "is not ahead")
	case at.After(now.Add(maxLifetime)):
		return at, invalid("ExpirationDate", "is more than 60 minutes ahead")
	}
	return at, nil
}

// details reads the message and the fields, a JSON object each. Nil: neither was sent.
func (x *exchange) details(v url.Values, now time.Time) (*detailsView, *apiError) {
	if !v.Has("Details.Message") && !v.Has("Details.Fields") {
		return nil, nil
	}
	d := &detailsView{Message: v.Get("Details.Message"), Fields: []fieldView{}}
	if longer(d.Message, maxMessage) {
		return nil, invalid("Details.Message", "is longer than %d characters", maxMessage)
	}
	if len(v["Details.Fields"]) > maxFields {
		return nil, invalid("Details.Fields", "has more than %d items", maxFields)
	}
	for _, text := range v["Details.Fields"] {
		f, err := field(text)
		if err != nil {
			return nil, err
		}
		d.Fields = append(d.Fields, f)
	}
	if x.e.cfg.Rules.IncludeDate {
		d.Date = stamp(now)
		x.decided("include-date")
	}
	return d, nil
}

func field(text string) (fieldView, *apiError) {
	var f struct{ Label, Value *string }
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		return fieldView{}, invalid("Details.Fields", "has an item that is not a JSON object")
	}
	// Names are matched exactly, which decoding into a struct does not do.
	if json.Unmarshal(object["label"], &f.Label) != nil || json.Unmarshal(object["value"], &f.Value) != nil ||
		f.Label == nil || f.Value == nil {
		return fieldView{}, invalid("Details.Fields", "has an item without a label and a value that are strings")
	}
	if longer(*f.Label, maxLabel) {
		return fieldView{}, invalid("Details.Fields", "has a label longer than %d characters", maxLabel)
	}
	if longer(*f.Value, maxValue) {
		return fieldView{}, invalid("Details.Fields", "has a value longer than %d characters", maxValue)
	}
	return fieldView{*f.Label, *f.Value}, nil
}

// addChallenge checks what depends on the factor and stores the challenge. It
// returns a copy.
func (x *exchange) addChallenge(ent *entity, req createRequest, now time.Time) (challenge, *apiError) {
	ent.mu.Lock()
	defer ent.mu.Unlock()
	f := ent.factor(req.factorSID)
	if f == nil || ent.deleted {
		return challenge{}, x.notFound(codeFactorMissing)
	}
	if !f.verified {
		return challenge{}, forbidden(codeUnverified, "Factor is unverified")
	}
	if err := x.fits(f, req); err != nil {
		return challenge{}, err
	}
	limited := x.e.cfg.Rules.CreationLimits && f.totp != nil
	if limited {
		if err := f.totp.limit(now); err != nil {
			x.decided("creation-limits")
			return challenge{}, err
		}
	}
	created := now.Truncate(time.Second)
	c := &challenge{
		sid: newSID("YC"), factor: f, made: now, created: created, updated: created, expires: req.expires,
		details: req.details, hidden: req.hidden, luck: x.plan.luck,
	}
	if c.expires.IsZero() {
		c.expires = created.Add(defaultLifetime)
	}
	if req.hasCode {
		if x.check(f, req.code, now) {
			c.respond(statusApproved, now)
			c.atOnce = true
		} else if x.e.cfg.Rules.RefuseWrongCode {
			x.decided("refuse-wrong-code")
			return challenge{}, forbidden(codeRefused, "Challenge verification failed")
		} else {
			c.attempts, c.forgiven = x.firstAttempt()
		}
	}
	if limited {
		f.totp.creations = append(f.totp.creations, now)
	}
	ent.insert(c)
	return *c, nil
}

// firstAttempt is what a wrong code counts that came with the challenge's own create.
func (x *exchange) firstAttempt() (attempts, forgiven int) {
	if x.e.cfg.Rules.FreeCodeAtCreate {
		return 0, 1
	}
	return 1, 0
}

// missing refuses a request without a required parameter, as 400/20001.
func (x *exchange) missing(name string) *apiError {
	x.decided("missing-as-20001")
	return badRequest("Missing required parameter " + name + " in the post body")
}

// fits checks the parameters that one type of factor requires or refuses.
func (x *exchange) fits(f *factor, req createRequest) *apiError {
	if f.passkeys != nil {
		return notByForm("created")
	}
	if f.push != nil {
		if req.details == nil || req.details.Message == "" {
			err := invalid(paramMessage, "is required for push")
			switch rules := x.e.cfg.Rules; {
			case rules.MissingMessage60368:
				err.code = codeDetails
				x.decided("missing-message-60368")
			case rules.MissingAs20001:
				return x.missing(paramMessage)
			}
			return err
		}
		if req.hasCode {
			return invalid("AuthPayload", "is for totp only")
		}
		return nil
	}
	if x.e.cfg.Rules.RefuseDetailsForTOTP && req.details != nil {
		x.decided("refuse-details-for-totp")
		return invalid(paramMessage, "is for push only, as fields are")
	}
	if req.hasCode {
		return codeLength(req.code)
	}
	return nil
}

func codeLength(code string) *apiError {
	if longer(code, maxCode) || !longer(code, minCode-1) {
		return invalid("AuthPayload", "is not %d to %d characters long", minCode, maxCode)
	}
	return nil
}
