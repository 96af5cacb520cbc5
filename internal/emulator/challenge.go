package emulator

import (
	"encoding/json"
	"strings"
	"time"
)

// The statuses of a challenge.
const (
	statusPending  = "pending"
	statusExpired  = "expired"
	statusApproved = "approved"
	statusDenied   = "denied"
)

// challenge is under its entity's lock, except for what never changes: sid,
// seq, factor, made, created, expires, details, hidden, options and luck.
type challenge struct {
	sid     string
	seq     uint64
	factor  *factor
	made    time.Time
	created time.Time // made, as far as the API shows it: in whole seconds
	expires time.Time
	details *detailsView
	hidden  json.RawMessage
	options *passkeyOptions // of a passkeys challenge; nil: another type
	luck    luck

	updated       time.Time
	responded     time.Time
	answer        string // statusApproved or statusDenied; empty: none
	metadata      json.RawMessage
	attempts      int // wrong TOTP codes
	notifications int
}

// status is the answer, or what the clock makes of it.
func (c *challenge) status(now time.Time) string {
	switch {
	case c.answer != "":
		return c.answer
	case !now.Before(c.expires):
		return statusExpired
	}
	return statusPending
}

// open refuses a challenge that can no longer be answered.
func (c *challenge) open(now time.Time) *apiError {
	switch c.status(now) {
	case statusApproved, statusDenied:
		return forbidden(codeResponded, "Challenge was already responded")
	case statusExpired:
		return forbidden(codeExpired, "Challenge is expired")
	}
	return nil
}

// respond records the answer, once and for all.
func (c *challenge) respond(answer string, now time.Time) {
	c.answer, c.responded, c.updated = answer, now, now
}

type fieldView struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

type detailsView struct {
	Message string      `json:"message"`
	Date    stamp       `json:"date,omitzero"`
	Fields  []fieldView `json:"fields"`
}

// challengeView is the resource as the API shows it.
type challengeView struct {
	SID             string          `json:"sid"`
	AccountSID      string          `json:"account_sid"`
	ServiceSID      string          `json:"service_sid"`
	EntitySID       string          `json:"entity_sid"`
	Identity        string          `json:"identity"`
	FactorSID       string          `json:"factor_sid"`
	DateCreated     stamp           `json:"date_created"`
	DateUpdated     stamp           `json:"date_updated"`
	DateResponded   stamp           `json:"date_responded"`
	ExpirationDate  stamp           `json:"expiration_date"`
	Status          string          `json:"status"`
	RespondedReason string          `json:"responded_reason"`
	Details         *detailsView    `json:"details"`
	HiddenDetails   json.RawMessage `json:"hidden_details"`
	Metadata        json.RawMessage `json:"metadata"`
	FactorType      string          `json:"factor_type"`
	URL             string          `json:"url"`
	Links           *challengeLinks `json:"links"`
}

type challengeLinks struct {
	Notifications string `json:"notifications"`
}

// challengeProperties returns the names of a challenge's top-level properties.
func challengeProperties() []string {
	data, err := json.Marshal(challengeView{})
	if err != nil {
		panic("emulator: " + err.Error()) // a zero value of plain fields
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		panic("emulator: " + err.Error())
	}
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	return names
}

// view shows a copy of a challenge, so that no lock is held while it is
// encoded.
func (x *exchange) view(ent *entity, c challenge, now time.Time) any {
	if c.options != nil {
		return x.viewPasskeys(ent, c, now)
	}
	url := x.baseURL() + ent.path() + "/Challenges/" + c.sid
	status, updated := c.status(now), c.updated
	if status == statusExpired {
		updated = c.expires
	}
	return challengeView{
		SID: c.sid, AccountSID: ent.key.account, ServiceSID: ent.key.service, EntitySID: ent.sid, Identity: ent.identity,
		FactorSID:   c.factor.sid,
		DateCreated: stamp(c.created), DateUpdated: stamp(updated), DateResponded: stamp(c.responded),
		ExpirationDate: stamp(c.expires), Status: status, RespondedReason: "none",
		Details: c.details, HiddenDetails: c.hidden, Metadata: c.metadata,
		FactorType: c.factor.kind, URL: url, Links: &challengeLinks{url + "/Notifications"},
	}
}

// challenge finds what the path names and returns it as it is now.
func (x *exchange) challenge() (*entity, *challenge, challenge, *apiError) {
	ent, err := x.entity()
	if err != nil {
		return nil, nil, challenge{}, err
	}
	if rest := x.e.store.find(newKey(x.account.sid, x.route.service, "")); rest != nil && x.e.cfg.Rules.FetchDiscoverable {
		ent = x.discoverable(ent, rest)
	}
	ent.mu.Lock()
	defer ent.mu.Unlock()
	c := ent.bySID[x.route.sid]
	if c != nil && c.options != nil && x.e.cfg.Rules.HidePasskeys {
		c = nil
	}
	if c != nil && x.purged(c) {
		x.e.stats.fault(FaultPurge)
		c = nil
	}
	if c == nil {
		return nil, nil, challenge{}, x.notFound(codeChallengeMissing)
	}
	return ent, c, *c, nil
}

func fetchChallenge(x *exchange) (answer, *apiError) {
	ent, _, now, err := x.challenge()
	if err != nil {
		return answer{}, err
	}
	return answer{
		status: 200, body: x.view(ent, now, x.e.cfg.Now()),
		header: [][2]string{{"Twilio-Verify-Signature-Fields", strings.Join(x.e.cfg.SignatureFields, ",")}},
	}, nil
}

// purged reports whether the challenge has vanished for callers.
func (x *exchange) purged(c *challenge) bool {
	return c.luck.purged(x.e.cfg.Now().Sub(c.made), x.e.faults.Load())
}
