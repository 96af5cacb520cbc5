package emulator

import (
	"encoding/json"
	"maps"
	"slices"
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
	atOnce        bool   // approved by its creation
	metadata      json.RawMessage
	attempts      int // wrong TOTP codes
	forgiven      int // wrong codes that are not among the attempts
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
	return slices.Sorted(maps.Keys(properties(challengeView{})))
}

// view shows a copy of a challenge, so that no lock is held while it is
// encoded.
func (x *exchange) view(ent *entity, c challenge, now time.Time) any {
	if c.options != nil {
		return x.viewPasskeys(ent, c, now)
	}
	url := x.baseURL() + ent.path() + "/Challenges/" + c.sid
	v := challengeView{
		SID: c.sid, AccountSID: ent.key.account, ServiceSID: ent.key.service, EntitySID: ent.sid, Identity: ent.identity,
		FactorSID:   c.factor.sid,
		DateCreated: stamp(c.created), DateUpdated: stamp(x.shownUpdate(&c, now)), DateResponded: stamp(c.responded),
		ExpirationDate: stamp(c.expires), Status: c.status(now), RespondedReason: c.reason(x.e.cfg.Rules, now),
		Details: c.details, HiddenDetails: c.hidden, Metadata: c.metadata,
		FactorType: c.factor.kind, URL: url, Links: &challengeLinks{url + "/Notifications"},
	}
	if x.e.cfg.Rules.FillDateResponded && c.responded.IsZero() {
		v.DateResponded = v.DateCreated
		x.decided("fill-date-responded")
	}
	x.countReason(v.RespondedReason)
	x.countIdentity(ent)
	return x.asShown(v)
}

// shownUpdate is date_updated: of the last change, or of the expiration.
func (x *exchange) shownUpdate(c *challenge, now time.Time) time.Time {
	if c.status(now) != statusExpired {
		return c.updated
	}
	if x.e.cfg.Rules.KeepDateUpdated {
		x.decided("keep-date-updated")
		return c.updated
	}
	return c.expires
}

// reason is responded_reason.
func (c *challenge) reason(r Rules, now time.Time) string {
	switch {
	case r.OtherRespondedReasons && c.atOnce:
		return "not_needed"
	case r.OtherRespondedReasons && c.status(now) == statusExpired:
		return "not_requested"
	}
	return "none"
}

// countReason counts a reason that only a rule gives.
func (x *exchange) countReason(reason string) {
	if reason != "none" {
		x.decided("other-responded-reasons")
	}
}

// countIdentity counts an identity that a rule has put into lower case.
func (x *exchange) countIdentity(ent *entity) {
	if ent.lowered {
		x.decided("lower-case-identity")
	}
}

// asShown leaves out what is null where the rules say so.
func (x *exchange) asShown(view any) any {
	if !x.e.cfg.Rules.OmitNulls {
		return view
	}
	all := properties(view)
	for name, value := range all {
		if string(value) == "null" {
			delete(all, name)
			x.decided("omit-nulls")
		}
	}
	return all
}

// properties are a view's, by name.
func properties(view any) map[string]json.RawMessage {
	data, err := json.Marshal(view)
	if err != nil {
		panic("emulator: a view can't be encoded: " + err.Error()) // plain fields and valid raw JSON
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		panic("emulator: a view can't be decoded: " + err.Error())
	}
	return object
}

// challenge finds what the path names and returns it as it is now.
func (x *exchange) challenge() (*entity, *challenge, challenge, *apiError) {
	ent, err := x.entity()
	if err != nil {
		return nil, nil, challenge{}, err
	}
	if rest := x.e.store.find(x.e.store.key(x.account.sid, x.route.service, "")); rest != nil && x.e.cfg.Rules.FetchDiscoverable {
		if owner := x.discoverable(ent, rest); owner != ent {
			ent = owner
			x.decided("fetch-discoverable")
		}
	}
	ent.mu.Lock()
	defer ent.mu.Unlock()
	c := ent.bySID[x.route.sid]
	if c != nil && c.options != nil && x.e.cfg.Rules.HidePasskeys {
		c = nil
		x.decided("hide-passkeys")
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
	view := x.view(ent, now, x.e.cfg.Now())
	return answer{
		status: 200, body: view,
		header: [][2]string{{"Twilio-Verify-Signature-Fields", strings.Join(x.signed(view), ",")}},
	}, nil
}

// signed names what a device signs of a challenge: nothing that is not shown.
func (x *exchange) signed(view any) []string {
	names := x.e.cfg.SignatureFields
	if x.e.cfg.Rules.SignAllFields {
		names = challengeProperties()
		x.decided("sign-all-fields")
	}
	if !x.e.cfg.Rules.OmitNulls {
		return names
	}
	shown := properties(view)
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, ok := shown[name]; return !ok })
}

// purged reports whether the challenge has vanished for callers.
func (x *exchange) purged(c *challenge) bool {
	return c.luck.purged(x.e.cfg.Now().Sub(c.made), x.e.faults.Load())
}
