package wire

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/internal/secret"
)

// TestConnectionsAreReused makes calls with every kind of answer that leaves a
// connection usable.
func TestConnectionsAreReused(t *testing.T) {
	answers := []struct {
		status int
		body   string
	}{{200, "{}"}, {201, strings.Repeat(" ", 100_000)}, {204, ""}, {400, "{}"}, {404, ""}, {503, "<html>"}}
	synctest.Test(t, func(t *testing.T) {
		var turn atomic.Int64
		p := servePipes(t, func(w http.ResponseWriter, _ *http.Request) {
			a := answers[turn.Add(1)-1]
			w.WriteHeader(a.status)
			_, _ = io.WriteString(w, a.body)
		})
		c := newClient(t, "http://127.0.0.1:1", Config{Transport: newTransport(0, p.dial)})
		for _, want := range answers {
			a, f := post(t.Context(), t, c, "1")
			if f != nil || a.Status != want.status || string(a.Body) != want.body {
				t.Fatalf("got %+v, %v, want status %d", a, f, want.status)
			}
		}
		if n := p.dials.Load(); n != 1 {
			t.Errorf("%d connections for calls one after another, want 1", n)
		}
	})
}

// TestManyAtOnceAreKept makes many calls at once, twice: the second time on the
// connections of the first.
func TestManyAtOnceAreKept(t *testing.T) {
	const calls = 200
	synctest.Test(t, func(t *testing.T) {
		p := servePipes(t, func(http.ResponseWriter, *http.Request) { <-time.After(time.Second) })
		c := newClient(t, "http://127.0.0.1:1", Config{Transport: newTransport(0, p.dial)})
		for range 2 {
			var wg sync.WaitGroup
			for range calls {
				wg.Go(func() {
					if _, f := post(t.Context(), t, c, "1"); f != nil {
						t.Error(f)
					}
				})
			}
			wg.Wait()
		}
		if n := p.dials.Load(); n != calls {
			t.Errorf("%d connections, want %d", n, calls)
		}
	})
}

func TestRedirectIsNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other server got %s %s", r.Method, r.URL)
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(other.URL, status))
		c := newClient(t, s.URL, Config{})
		a, f := post(t.Context(), t, c, "1")
		if f != nil || a.Status != status {
			t.Errorf("got %+v, %v, want the %d itself", a, f, status)
		}
		c.CloseIdleConnections()
		s.Close()
	}
}

func TestCredentialsStayOnTheOrigin(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other server got %s %s", r.Method, r.URL)
	}))
	defer other.Close()
	c := newClient(t, "http://127.0.0.1:1", Config{})
	u, err := url.Parse(other.URL + "/v2/Services")
	if err != nil {
		t.Fatal(err)
	}
	_, f := c.Get(t.Context(), u)
	wantFailure(t, f, Invalid, false)
}

func TestCredentialsAreNotShown(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1", Config{Username: "SK" + strings.Repeat("d", 32)})
	h := http.Header{}
	c.dress(h)
	basic := strings.TrimPrefix(h.Get("Authorization"), "Basic ")
	if basic == "" {
		t.Fatal("no credentials are sent")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		shown := fmt.Sprintf(verb, c) + fmt.Sprintf(verb, *c)
		for _, hidden := range []string{testToken, basic, fmt.Sprintf("%x", testToken)} {
			if strings.Contains(shown, hidden) {
				t.Errorf("%s shows the credentials: %s", verb, shown)
			}
		}
	}
}

func TestRequestHeaders(t *testing.T) {
	got := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r }))
	defer s.Close()
	for _, tc := range []struct {
		cfg         Config
		user, agent string
	}{
		{Config{}, testAccount, "countersign/" + version()},
		{Config{Username: "SK1", UserAgent: "other/1"}, "SK1", "other/1"},
	} {
		if _, f := post(t.Context(), t, newClient(t, s.URL, tc.cfg), "1"); f != nil {
			t.Fatal(f)
		}
		r := <-got
		user, password, ok := r.BasicAuth()
		if !ok || user != tc.user || secret.String(password).Reveal() != testToken {
			t.Errorf("credentials of %q, want of %q", user, tc.user)
		}
		if r.UserAgent() != tc.agent || r.Header.Get("Accept") != "application/json" || r.Header.Get("Content-Type") != formType {
			t.Errorf("headers %v", r.Header)
		}
		for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "Expect"} {
			if r.Header.Get(name) != "" {
				t.Errorf("%s is sent", name)
			}
		}
	}
}

func TestHighestBodyBound(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer s.Close()
	a, f := post(t.Context(), t, newClient(t, s.URL, Config{MaxBodyBytes: math.MaxInt64}), "1")
	if f != nil || string(a.Body) != "{}" {
		t.Errorf("got %+v, %v", a, f)
	}
}

// TestBodyCannotBeRenewed holds the condition under which net/http leaves a
// POST alone.
func TestBodyCannotBeRenewed(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1", Config{})
	r := c.request(t.Context(), http.MethodPost, c.base, []byte("a=b"))
	if r.GetBody != nil || r.ContentLength != 3 {
		t.Error("net/http could send the body again")
	}
	if r := c.request(t.Context(), http.MethodPost, c.base, nil); r.Body != http.NoBody || r.ContentLength != 0 {
		t.Error("an empty form must be an empty body")
	}
}
