package wire

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct {
		region, edge, base string
		want               string // empty: refused
	}{
		{"", "", "", "https://verify.twilio.com"},
		{"ie1", "", "", "https://verify.ie1.twilio.com"},
		{"", "dublin", "", "https://verify.dublin.us1.twilio.com"},
		{"ie1", "dublin", "", "https://verify.dublin.ie1.twilio.com"},
		{"ie1", "dublin", "https://gateway.example/", "https://gateway.example"},
		{"", "", "https://gateway.example:8443/verify/", "https://gateway.example:8443/verify"},
		{"", "", "https://gateway.example/a%2Fb/", "https://gateway.example/a%2Fb"},
		{"", "", "http://127.0.0.1:4010", "http://127.0.0.1:4010"},
		{"", "", "http://127.9.8.7", "http://127.9.8.7"},
		{"", "", "http://[::1]:4010", "http://[::1]:4010"},
		{"", "", "http://[::ffff:127.0.0.1]:4010", "http://[::ffff:127.0.0.1]:4010"},
		{"", "", "http://LocalHost:4010", "http://LocalHost:4010"},
		{"evil.example/", "", "", ""},
		{"", "-dublin", "", ""},
		{"IE1", "", "", ""},
		{"", "", "http://gateway.example", ""},
		{"", "", "http://128.0.0.1", ""},
		{"", "", "http://localhost.example", ""},
		{"", "", "http://127.0.0.1.example", ""},
		{"", "", "ftp://127.0.0.1", ""},
		{"", "", "https://", ""},
		{"", "", "gateway.example", ""},
		{"", "", "https://user:pass@gateway.example", ""},
		{"", "", "https://gateway.example/?a=b", ""},
		{"", "", "https://gateway.example/#a", ""},
		{"", "", "https://gateway.example/%zz", ""},
	} {
		u, err := endpoint(Config{Region: tc.region, Edge: tc.edge, BaseURL: tc.base})
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("%+v: taken as %s, want it refused", tc, u)
		case tc.want != "" && (err != nil || u.String() != tc.want):
			t.Errorf("%+v: got %v, %v", tc, u, err)
		}
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Config{AccountSID: "AC1", Username: "a:b", Timeout: -1, UserAgent: "a\nb", BaseURL: "http://gateway.example"})
	var f *Failure
	if !errors.As(err, &f) || f.Kind != Invalid || f.Sent {
		t.Fatalf("got %v, want an Invalid failure", err)
	}
	for _, name := range []string{"account SID", "user name", "password", "negative", "user agent", "base URL"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("the error doesn't name %s: %v", name, err)
		}
	}
}

func TestChallengesURL(t *testing.T) {
	c := newClient(t, "https://gateway.example/verify", Config{})
	all, f := c.Challenges(testService, testIdentity, "")
	if want := "https://gateway.example/verify/v2/Services/" + testService + "/Entities/" + testIdentity + "/Challenges"; f != nil || all.String() != want {
		t.Errorf("got %v, %v, want %s", all, f, want)
	}
	one, f := c.Challenges(testService, testIdentity, testSID)
	if f != nil || one.String() != all.String()+"/"+testSID {
		t.Errorf("got %v, %v", one, f)
	}
	for _, bad := range [][3]string{
		{"VA123", testIdentity, ""},
		{testSID, testIdentity, ""},
		{testService, "short", ""},
		{testService, "../../../../etc", ""},
		{testService, "user name", ""},
		{testService, testIdentity, "YC123"},
		{testService, testIdentity, testService},
	} {
		u, f := c.Challenges(bad[0], bad[1], bad[2])
		if f == nil || f.Kind != Invalid || f.Sent {
			t.Errorf("%q: got %v, %v, want an Invalid failure", bad, u, f)
			continue
		}
		if strings.Contains(f.Error(), bad[1]) {
			t.Errorf("the error shows the identity: %v", f)
		}
	}
}

func TestSIDAndIdentityAgreeWithPatterns(t *testing.T) {
	sid := regexp.MustCompile(`^YC[0-9a-fA-F]{32}$`)
	identity := regexp.MustCompile(`^[0-9A-Za-z]+(-[0-9A-Za-z]+)*$`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(
			rapid.StringMatching(`YC[0-9a-fA-F]{31,33}`),
			rapid.StringMatching(`[YC][A-Z][0-9a-g]{32}`),
			rapid.StringMatching(`[0-9A-Za-z_é-]{6,66}`),
			rapid.StringMatching(`([0-9a-z]{1,9}-){1,8}[0-9a-z]{0,2}`),
		).Draw(t, "s")
		if got, want := SID("YC", s), sid.MatchString(s); got != want {
			t.Errorf("SID(%q) is %v, the pattern says %v", s, got, want)
		}
		want := len(s) >= 8 && len(s) <= 64 && identity.MatchString(s)
		if got := Identity(s); got != want {
			t.Errorf("Identity(%q) is %v, the pattern says %v", s, got, want)
		}
	})
}

func TestPage(t *testing.T) {
	plain := newClient(t, "https://verify.example", Config{})
	prefixed := newClient(t, "http://127.0.0.1:4010/verify", Config{})
	for _, tc := range []struct {
		c    *Client
		raw  string
		want string // empty: refused
	}{
		{plain, "https://verify.example/v2/A?b=2&a=1", "https://verify.example/v2/A?a=1&b=2"},
		{plain, "https://VERIFY.example:443/v2/A", "https://verify.example/v2/A"},
		{plain, "/v2/A?Page=1", "https://verify.example/v2/A?Page=1"},
		{plain, "https://verify.example/v2/A#part", "https://verify.example/v2/A"},
		{prefixed, "http://127.0.0.1:4010/verify/v2/A", "http://127.0.0.1:4010/verify/v2/A"},
		{prefixed, "http://127.0.0.1:4010/v2/A?Page=1", "http://127.0.0.1:4010/verify/v2/A?Page=1"},
		{plain, "http://verify.example/v2/A", ""},
		{plain, "https://verify.example:8443/v2/A", ""},
		{plain, "https://other.example/v2/A", ""},
		{plain, "//other.example/v2/A", ""},
		{plain, "https://verify.example@other.example/v2/A", ""},
		{plain, "https://user@verify.example/v2/A", ""},
		{plain, "https://verify.example/v1/A", ""},
		{plain, "https://verify.example/v2/../admin", ""},
		{plain, "https://verify.example/%zz", ""},
		{plain, "", ""},
		{prefixed, "http://127.0.0.1:4010/other/v2/A", ""},
		{prefixed, "http://localhost:4010/verify/v2/A", ""},
	} {
		u, err := tc.c.Page(tc.raw)
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("%q: taken as %s, want it refused", tc.raw, u)
		case tc.want != "" && (err != nil || u.String() != tc.want):
			t.Errorf("%q: got %v, %v, want %s", tc.raw, u, err, tc.want)
		}
	}
}
