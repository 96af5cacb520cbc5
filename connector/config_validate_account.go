package connector

import (
	"net"
	"net/url"
	"regexp"
	"time"
)

const (
	maxCallTimeout    = 5 * time.Minute
	maxRate           = 1e6
	maxBurst          = 1e6
	maxConcurrency    = 65536
	maxBreakerFailure = 1000
	maxBreakerTime    = time.Hour
)

var (
	accountSIDPattern = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	apiKeyPattern     = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	// hostLabelPattern is one label of a host name; region and edge become such labels.
	hostLabelPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

func (a AccountConfig) validate(v *configCheck, path string) {
	v.pattern(path+".account_sid", a.AccountSID, accountSIDPattern, "must be AC and 32 hexadecimal digits")
	a.validateCredentials(v, path)
	if a.Region != "" {
		v.pattern(path+".region", a.Region, hostLabelPattern, "must be lower-case letters, digits and inner dashes, as in ie1")
	}
	if a.Edge != "" {
		v.pattern(path+".edge", a.Edge, hostLabelPattern, "must be lower-case letters, digits and inner dashes, as in dublin")
	}
	if a.BaseURL != "" {
		if rule := baseURLFault(a.BaseURL); rule != "" {
			v.add(path+".base_url", "%s", rule)
		}
		if a.Region != "" || a.Edge != "" {
			v.add(path+".base_url", "replaces the whole host, so region and edge must be empty beside it")
		}
	}
	v.duration(path+".timeout", a.Timeout, minTimeout, maxCallTimeout)
	checkNumber(v, path+".rate.per_second", a.Rate.PerSecond, 0, maxRate)
	checkNumber(v, path+".rate.burst", a.Rate.Burst, 1, maxBurst)
	checkNumber(v, path+".rate.concurrency", a.Rate.Concurrency, 1, maxConcurrency)
	checkNumber(v, path+".breaker.failures", a.Breaker.Failures, 1, maxBreakerFailure)
	if !(a.Breaker.Ratio > 0 && a.Breaker.Ratio <= 1) {
		v.add(path+".breaker.ratio", "must be above 0 and at most 1, is %v", a.Breaker.Ratio)
	}
	v.duration(path+".breaker.window", a.Breaker.Window, minTimeout, maxBreakerTime)
	v.duration(path+".breaker.open", a.Breaker.Open, minTimeout, maxBreakerTime)
}

// validateCredentials asks for exactly one complete set.
func (a AccountConfig) validateCredentials(v *configCheck, path string) {
	token, key, keySecret := !a.AuthToken.IsZero(), a.APIKey != "", !a.APISecret.IsZero()
	switch {
	case !token && !key && !keySecret:
		v.add(path, "needs auth_token, or api_key with api_secret")
	case token && (key || keySecret):
		v.add(path, "must have either auth_token or api_key with api_secret, and has both")
	case key && !keySecret:
		v.add(path+".api_secret", "must be set, because api_key is")
	case keySecret && !key:
		v.add(path+".api_key", "must be set, because api_secret is")
	}
	if key {
		v.pattern(path+".api_key", a.APIKey, apiKeyPattern, "must be SK and 32 hexadecimal digits")
	}
}

// baseURLFault returns the rule that the URL breaks, or nothing.
func baseURLFault(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.Hostname() == "":
		return "must be an absolute URL, as in https://verify.twilio.com"
	case u.User != nil:
		return "must hold no user name and password: credentials have their own fields"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must hold no query and no fragment"
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return ""
	default:
		return "must begin with https://, or with http:// where the host is this machine (127.0.0.0/8, ::1, localhost), " +
			"because credentials are sent to it"
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
