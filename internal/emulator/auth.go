package emulator

import (
	"crypto/subtle"
	"time"
)

// deviceUser is the Basic user that the mobile SDKs send with a token as
// password.
const deviceUser = "token"

// account is one set of credentials in the form that calls need.
type account struct {
	sid      string
	services map[string]bool // nil: every well-formed SID exists
	inflight gauge
}

// login is one accepted pair of user and password.
type login struct {
	password string
	account  *account
}

// logins indexes accounts by SID and by API key.
func logins(accounts []Account) (map[string]login, map[string]*account) {
	users, bySID := map[string]login{}, map[string]*account{}
	for _, a := range accounts {
		acc := &account{sid: a.SID}
		for _, s := range a.Services {
			if acc.services == nil {
				acc.services = map[string]bool{}
			}
			acc.services[s] = true
		}
		bySID[a.SID] = acc
		users[a.SID] = login{a.AuthToken, acc}
		for key, value := range a.APIKeys {
			users[key] = login{value, acc}
		}
	}
	return users, bySID
}

// authenticate finds out who calls: an account, or a device of one.
func (x *exchange) authenticate() *apiError {
	user, password, ok := x.r.BasicAuth()
	if !ok {
		return unauthorized()
	}
	if user == deviceUser {
		return x.authenticateDevice(password)
	}
	l, ok := x.e.users[user]
	if !ok || subtle.ConstantTimeCompare([]byte(l.password), []byte(password)) != 1 {
		return unauthorized()
	}
	x.account = l.account
	return nil
}

// authenticateDevice takes a JWT that a factor's key signed, or an access
// token for making a factor. Either is good for its own entity alone.
func (x *exchange) authenticateDevice(password string) *apiError {
	x.fromDevice = true
	if grant, ok := x.e.tokens.find(password, x.start); ok {
		x.account = x.e.accounts[grant.account]
		if x.route.place != placeFactors || x.r.Method != "POST" || grant.service != x.route.service ||
			x.e.store.key("", "", grant.identity) != x.e.store.key("", "", x.route.identity) {
			return forbidden(codeFactorForeign, "Unauthorized factor creation")
		}
		return nil
	}
	token, ok := parseJWS(password)
	if !ok {
		return unauthorized()
	}
	f := x.e.store.byCredential(token.keyID)
	if f == nil || !token.signedBy(f.push.key) {
		return unauthorized()
	}
	var claims struct {
		Subject   string `json:"sub"`
		Expires   int64  `json:"exp"`
		NotBefore int64  `json:"nbf"`
	}
	own := f.entity.key
	if !token.claims(&claims) || claims.Subject != own.account ||
		!x.start.Before(time.Unix(claims.Expires, 0)) || x.start.Before(time.Unix(claims.NotBefore, 0)) ||
		x.key(own.account) != own {
		return unauthorized()
	}
	x.account = x.e.accounts[own.account]
	return nil
}
