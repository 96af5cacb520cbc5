package read

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
)

type countingTransport struct{ calls, closes int }

func (c *countingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	c.calls++
	return nil, io.EOF
}

func (c *countingTransport) CloseIdleConnections() { c.closes++ }

func TestGetOnly(t *testing.T) {
	next := &countingTransport{}
	for _, tc := range []struct {
		method, body string
		passes       bool
	}{
		{"GET", "", true},
		{"GET", "a body", false},
		{"", "", false}, // net/http would send it as GET; this package names its method
		{"get", "", false},
		{"HEAD", "", false},
		{"POST", "", false},
		{"POST", "a=b", false},
		{"PUT", "", false},
		{"PATCH", "", false},
		{"DELETE", "", false},
		{"OPTIONS", "", false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1:1", strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Method = tc.method
		before := next.calls
		_, err = getOnly{next}.RoundTrip(req)
		var refused methodError
		if errors.As(err, &refused) == tc.passes || (next.calls > before) != tc.passes {
			t.Errorf("%q with body %q: %v, passed on: %v", tc.method, tc.body, err, next.calls > before)
		}
	}
}

// TestNothingButGetLeaves takes the HTTP layer out of a Client, as a mistake in
// this package could, and writes with it.
func TestNothingButGetLeaves(t *testing.T) {
	c, s := newTest(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the server got a %s", r.Method) })
	u, err := url.Parse(s.URL + "/v2/Services")
	if err != nil {
		t.Fatal(err)
	}
	_, f := c.wire.Post(t.Context(), u, url.Values{"FactorSid": {testFactor}})
	var refused methodError
	if f == nil || !errors.As(f, &refused) || string(refused) != "POST" {
		t.Fatalf("got %v, want the refusal of POST", f)
	}
	if f.Kind == wire.Invalid {
		t.Errorf("got %+v", f)
	}
}

func TestGetOnlyForwardsClosing(t *testing.T) {
	next := &countingTransport{}
	c, err := New(Config{AccountSID: testAccount, Password: "t", Transport: next})
	if err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections()
	if next.closes != 1 {
		t.Errorf("%d closes, want 1", next.closes)
	}
	getOnly{roundTripFunc(nil)}.CloseIdleConnections() // nothing to forward to
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
