package emulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The account and service that serve where Config names none. The token is
// alphanumeric because twilio-go sends nothing else.
const (
	DefaultAccountSID = "AC00000000000000000000000000000001"
	DefaultAuthToken  = "emulatortoken00000000000000000001"
	DefaultServiceSID = "VA00000000000000000000000000000001"
)

// Config is what an Emulator is made of. The zero value serves the default
// account with any service SID on a free loopback port, without faults.
type Config struct {
	// Addr is host:port for Start. Empty: 127.0.0.1:0.
	Addr string
	// PublicURL is what the URLs inside answers begin with. Empty: http:// and
	// the listener's address, or the request's Host where only Handler is used.
	PublicURL string
	// Accounts may call. Empty: DefaultAccountSID with DefaultAuthToken.
	Accounts []Account
	// Now is the API's clock. Nil: time.Now. It must be safe for concurrent use.
	Now func() time.Time
	// Seed decides which calls the rates of Faults hit.
	Seed uint64
	// Faults are in force from the start; SetFaults replaces them.
	Faults Faults
	// Rules decides what the API's description leaves open.
	Rules Rules
	// SignatureFields are the names in the Twilio-Verify-Signature-Fields header:
	// the top-level properties of a challenge that a device signs. Empty: the nine of
	// DefaultSignatureFields. The live API's list is not published.
	SignatureFields []string
	// LogLimit keeps at least this many of the newest Created entries and may
	// drop older ones. Zero: all are kept.
	LogLimit int
	// BeforeWork is called after the faults that strike first and before a
	// request is carried out; AfterWork before its answer is written. Both may block, and
	// Close waits for them. Nil: nothing is called.
	BeforeWork, AfterWork func(Operation, *http.Request)
}

// Account is one set of credentials.
type Account struct {
	SID       string            // ^AC[0-9a-fA-F]{32}$
	AuthToken string            // not empty
	APIKeys   map[string]string // key SID (^SK...) to its secret
	Services  []string          // the VA SIDs that exist; empty: every well-formed one
}

// DefaultSignatureFields returns the names that a device signs by default.
func DefaultSignatureFields() []string {
	return []string{
		"sid", "account_sid", "service_sid", "identity", "factor_sid",
		"date_created", "expiration_date", "details", "hidden_details",
	}
}

// withDefaults fills in what zero values stand for. It copies what it changes.
func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.Accounts) == 0 {
		c.Accounts = []Account{{SID: DefaultAccountSID, AuthToken: DefaultAuthToken}}
	}
	if len(c.SignatureFields) == 0 {
		c.SignatureFields = DefaultSignatureFields()
	}
	c.Rules = c.Rules.withIncluded()
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	return c
}

// validate reports the first fault of a Config with its defaults filled in.
func (c Config) validate() error {
	if err := validateAccounts(c.Accounts); err != nil {
		return err
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme == "" || u.Host == "" || u.RawQuery != "" {
			return failf(CodeConfig, "PublicURL %q is not an absolute URL", c.PublicURL)
		}
	}
	names := challengeProperties()
	for _, name := range c.SignatureFields {
		if !slices.Contains(names, name) {
			return failf(CodeConfig, "SignatureFields: a challenge has no property %q", name)
		}
	}
	if c.LogLimit < 0 {
		return failf(CodeConfig, "LogLimit is negative")
	}
	return c.Faults.Validate()
}

func validateAccounts(accounts []Account) error {
	users := map[string]bool{deviceUser: true}
	claim := func(user string) error {
		if users[user] {
			return failf(CodeConfig, "user %q is given twice", user)
		}
		users[user] = true
		return nil
	}
	for _, a := range accounts {
		if !isSID(a.SID, "AC") {
			return failf(CodeConfig, "account SID %q is not AC and 32 hex digits", a.SID)
		}
		if a.AuthToken == "" {
			return failf(CodeConfig, "account %s has no auth token", a.SID)
		}
		if err := claim(a.SID); err != nil {
			return err
		}
		for key, value := range a.APIKeys {
			if !isSID(key, "SK") || value == "" {
				return failf(CodeConfig, "account %s: API key %q is not SK and 32 hex digits with a secret", a.SID, key)
			}
			if err := claim(key); err != nil {
				return err
			}
		}
		for _, sid := range a.Services {
			if !isSID(sid, "VA") {
				return failf(CodeConfig, "account %s: service SID %q is not VA and 32 hex digits", a.SID, sid)
			}
		}
	}
	return nil
}
