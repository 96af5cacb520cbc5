package emulator

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"
)

// grant is what an access token permits: making a factor for one identity.
type grant struct {
	account, service, identity string
	expires                    time.Time
	view                       accessTokenView // without its URL, which is the caller's
}

// tokens holds the live access tokens. They last minutes, and expired ones go
// when the next is made.
type tokens struct {
	mu     sync.Mutex
	grants map[string]grant
}

func (t *tokens) find(token string, now time.Time) (grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.grants[token]
	return g, ok && now.Before(g.expires)
}

// bySID finds a live token by its own SID.
func (t *tokens) bySID(sid string, now time.Time) (grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.grants {
		if g.view.SID == sid && now.Before(g.expires) {
			return g, true
		}
	}
	return grant{}, false
}

func (t *tokens) add(g grant, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for old, g := range t.grants {
		if !now.Before(g.expires) {
			delete(t.grants, old)
		}
	}
	t.grants[g.view.Token] = g
}

type accessTokenView struct {
	SID          string `json:"sid"`
	AccountSID   string `json:"account_sid"`
	ServiceSID   string `json:"service_sid"`
	Identity     string `json:"entity_identity"`
	FactorType   string `json:"factor_type"`
	FriendlyName string `json:"factor_friendly_name"`
	Token        string `json:"token"`
	URL          string `json:"url"`
	TTL          int    `json:"ttl"`
	DateCreated  stamp  `json:"date_created"`
}

// createAccessToken makes the token with which an app enrols a push factor
// without holding the account's credentials.
func createAccessToken(x *exchange) (answer, *apiError) {
	v, err := x.form("Identity", "FactorType", "FactorFriendlyName", "Ttl")
	if err != nil {
		return answer{}, err
	}
	ttl, err := integer(v, "Ttl", 60, 300, 60)
	identity, name := v.Get("Identity"), v.Get("FactorFriendlyName")
	if err != nil || !isIdentity(identity) || v.Get("FactorType") != kindPush || longer(name, maxFriendlyName) {
		return answer{}, &apiError{status: 400, code: codeTokenInvalid, message: "Access Token parameters are invalid"}
	}
	now := x.e.cfg.Now()
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	g := grant{x.account.sid, x.route.service, identity, now.Add(time.Duration(ttl) * time.Second), accessTokenView{
		SID: newSID("YK"), AccountSID: x.account.sid, ServiceSID: x.route.service, Identity: identity, FactorType: kindPush,
		FriendlyName: name, Token: base64.RawURLEncoding.EncodeToString(raw), TTL: ttl, DateCreated: stamp(now),
	}}
	x.e.tokens.add(g, now)
	return x.tokenAnswer(201, g), nil
}

// fetchAccessToken shows a token for as long as it is good.
func fetchAccessToken(x *exchange) (answer, *apiError) {
	g, ok := x.e.tokens.bySID(x.route.sid, x.e.cfg.Now())
	if !ok || g.account != x.account.sid || g.service != x.route.service {
		return answer{}, x.notFound(0)
	}
	return x.tokenAnswer(200, g), nil
}

func (x *exchange) tokenAnswer(status int, g grant) answer {
	view := g.view
	view.URL = x.baseURL() + "/v2/Services/" + g.service + "/AccessTokens/" + view.SID
	return answer{status: status, body: view}
}
