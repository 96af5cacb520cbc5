package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// endpoint returns where the API is: scheme and host, and a path without a
// trailing slash. The official clients build the host as
// verify[.edge][.region].twilio.com, and an edge alone implies the region us1.
func endpoint(cfg Config) (*url.URL, error) {
	if cfg.BaseURL != "" {
		return parseBase(cfg.BaseURL)
	}
	labels := []string{"verify"}
	region := cfg.Region
	if cfg.Edge != "" {
		labels = append(labels, cfg.Edge)
		if region == "" {
			region = "us1"
		}
	}
	if region != "" {
		labels = append(labels, region)
	}
	for _, l := range labels {
		if !hostLabel(l) {
			return nil, fmt.Errorf("region or edge %q: want lower-case letters, digits and inner dashes", l)
		}
	}
	return &url.URL{Scheme: "https", Host: strings.Join(append(labels, "twilio.com"), ".")}, nil
}

func hostLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("base URL: it can't be parsed") // the error would quote it, user info included
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("base URL: want https, or http to a loopback address")
	case u.Hostname() == "":
		return nil, errors.New("base URL: the host is missing")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("base URL: no user info, query or fragment may stand in it")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("base URL: credentials go over plain http to a loopback address only")
	}
	return &url.URL{
		Scheme: u.Scheme, Host: u.Host,
		Path: strings.TrimRight(u.Path, "/"), RawPath: strings.TrimRight(u.RawPath, "/"),
	}, nil
}

// loopback reports whether host is 127.0.0.0/8, ::1 or localhost.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	default:
		return "80"
	}
}

// Challenges returns the URL of an entity's challenges, or of one of them where
// sid isn't empty. A parameter that can't be one is an Invalid failure, which
// names it without showing it.
func (c *Client) Challenges(serviceSID, identity, sid string) (*url.URL, *Failure) {
	switch {
	case !SID("VA", serviceSID):
		return nil, invalid("service SID: want VA and 32 hexadecimal digits")
	case !Identity(identity):
		return nil, invalid("identity: want 8 to 64 letters and digits in groups separated by single dashes")
	case sid != "" && !SID("YC", sid):
		return nil, invalid("challenge SID: want YC and 32 hexadecimal digits")
	}
	path := "/v2/Services/" + url.PathEscape(serviceSID) + "/Entities/" + url.PathEscape(identity) + "/Challenges"
	if sid != "" {
		path += "/" + url.PathEscape(sid)
	}
	return c.at(path), nil
}

// at returns the base URL with an escaped path below its own. It is not
// url.JoinPath, which leaves the first slash out where the base has no path.
func (c *Client) at(path string) *url.URL {
	u := *c.base
	u.RawPath = c.base.EscapedPath() + path
	u.Path, _ = url.PathUnescape(u.RawPath) // both parts come from EscapedPath or PathEscape
	return &u
}

// Page resolves a page URL that the API gave. It must be on the configured
// origin and within version 2 of the API; a path without the base URL's prefix,
// as an API behind a prefix-stripping gateway writes it, gets the prefix. The
// query's keys are sorted, so that equal pages have equal URLs.
func (c *Client) Page(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("page URL can't be parsed")
	}
	u = c.base.ResolveReference(u)
	if u.User != nil || !sameOrigin(u, c.base) {
		return nil, errors.New("page URL is not on the configured origin")
	}
	path := u.EscapedPath()
	prefix := c.base.EscapedPath()
	switch {
	case strings.HasPrefix(path, prefix+"/v2/"):
		path = path[len(prefix):]
	case !strings.HasPrefix(path, "/v2/"):
		return nil, errors.New("page URL is not of version 2 of the API")
	}
	page := c.at(path)
	page.RawQuery = u.Query().Encode()
	return page, nil
}
