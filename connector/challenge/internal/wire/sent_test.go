package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func post(ctx context.Context, t *testing.T, c *Client, id string) (*Answer, *Failure) {
	t.Helper()
	u, f := c.Challenges(testService, testIdentity, "")
	if f != nil {
		t.Fatal(f)
	}
	return c.Post(ctx, u, url.Values{"id": {id}})
}

func wantFailure(t *testing.T, f *Failure, kind Kind, sent bool) {
	t.Helper()
	if f == nil || f.Kind != kind || f.Sent != sent {
		t.Fatalf("got %+v, want %s with sent %v", f, kind, sent)
	}
}

func TestNotSentWithoutConnection(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		_, f := post(t.Context(), t, newClient(t, "http://"+closedPort(t), Config{}), "1")
		wantFailure(t, f, NotSent, false)
	})
	t.Run("refused, other transport", func(t *testing.T) {
		_, f := post(t.Context(), t, newClient(t, "http://"+closedPort(t), Config{Transport: &http.Transport{}}), "1")
		wantFailure(t, f, NotSent, false)
	})
	t.Run("no such host", func(t *testing.T) {
		missing := &net.DNSError{Err: "no such host", IsNotFound: true}
		tr := newTransport(1, func(context.Context, string, string) (net.Conn, error) { return nil, missing })
		_, f := post(t.Context(), t, newClient(t, "https://verify.example", Config{Transport: tr}), "1")
		wantFailure(t, f, NotSent, false)
		if !errors.Is(f, missing) {
			t.Errorf("the cause is lost: %v", f)
		}
	})
	t.Run("untrusted certificate", func(t *testing.T) {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		defer s.Close()
		_, f := post(t.Context(), t, newClient(t, s.URL, Config{}), "1")
		wantFailure(t, f, NotSent, false)
	})
	t.Run("no handshake", func(t *testing.T) {
		base := rawServer(t, func(net.Conn, int) {})
		_, f := post(t.Context(), t, newClient(t, strings.Replace(base, "http", "https", 1), Config{}), "1")
		wantFailure(t, f, NotSent, false)
	})
}

func TestOtherTransports(t *testing.T) {
	broken := errors.New("broken")
	c := newClient(t, "http://127.0.0.1:1", Config{Transport: roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, broken })})
	_, f := post(t.Context(), t, c, "1")
	wantFailure(t, f, NoAnswer, true) // it says nothing of connections: the worst is assumed
	if !errors.Is(f, broken) {
		t.Errorf("the cause is lost: %v", f)
	}
	base := rawServer(t, func(conn net.Conn, _ int) { readRequest(t, conn) })
	_, f = post(t.Context(), t, newClient(t, base, Config{Transport: &http.Transport{}}), "1")
	wantFailure(t, f, NoAnswer, true)
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestContextEndedBefore(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
	defer s.Close()
	c := newClient(t, s.URL, Config{})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, f := post(canceled, t, c, "1")
	wantFailure(t, f, Canceled, false)
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	_, f = post(expired, t, c, "1")
	wantFailure(t, f, Canceled, false)
	if !errors.Is(f, context.DeadlineExceeded) {
		t.Errorf("the cause is lost: %v", f)
	}
}

func TestCanceledWhileWaiting(t *testing.T) {
	why := errors.New("the lease is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	base := rawServer(t, func(conn net.Conn, _ int) {
		readRequest(t, conn)
		cancel(why)
		_, _ = io.Copy(io.Discard, conn) // until the client leaves
	})
	_, f := post(ctx, t, newClient(t, base, Config{}), "1")
	wantFailure(t, f, Canceled, true)
	if !errors.Is(f, context.Canceled) || !errors.Is(f, why) {
		t.Errorf("want the context's error and its cause, got %v", f)
	}
}

func TestCanceledInsideOfTheBody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan struct{})
	base := rawServer(t, func(conn net.Conn, _ int) {
		readRequest(t, conn)
		say(conn, "HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n{")
		<-got
		cancel()
		_, _ = io.Copy(io.Discard, conn)
	})
	tr := NewTransport(1)
	c := newClient(t, base, Config{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := tr.RoundTrip(r)
		close(got) // the headers are here; the body never will be
		return resp, err
	})})
	_, f := post(ctx, t, c, "1")
	wantFailure(t, f, Canceled, true)
	if statusOf(f.Answer) != 201 {
		t.Errorf("the status that had come is lost: %+v", f)
	}
}

func TestCanceledWhileDialing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	tr := newTransport(1, func(context.Context, string, string) (net.Conn, error) {
		cancel()
		<-release // the dial outlives the call, as net/http has it
		return nil, io.ErrUnexpectedEOF
	})
	defer close(release)
	_, f := post(ctx, t, newClient(t, "https://verify.example", Config{Transport: tr}), "1")
	wantFailure(t, f, Canceled, false)
}

// TestTimeouts runs on virtual time: connections are pipes.
func TestTimeouts(t *testing.T) {
	silent := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	slow := func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		for _, part := range []string{"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n", "{", " ", " "} {
			if _, err := io.WriteString(conn, part); err != nil {
				return
			}
			<-time.After(4 * time.Second)
		}
		silent(conn)
	}
	for _, tc := range []struct {
		name     string
		serve    func(net.Conn) // nil: the dial never ends
		timeout  time.Duration  // of the client
		deadline time.Duration  // of the context
		sent     bool
	}{
		{"no answer", silent, 10 * time.Second, 0, true},
		{"no answer by the context", silent, 0, 10 * time.Second, true},
		{"the earlier of both", silent, time.Hour, 10 * time.Second, true},
		{"slow body", slow, 10 * time.Second, 0, true},
		{"no connection", nil, 10 * time.Second, 0, false},
		{"no connection by the context", nil, 0, 10 * time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransport(1, func(ctx context.Context, _, _ string) (net.Conn, error) {
					if tc.serve == nil {
						<-time.After(time.Minute)
						return nil, context.DeadlineExceeded
					}
					near, far := net.Pipe()
					go func() {
						defer func() { _ = far.Close() }()
						tc.serve(far)
					}()
					return near, nil
				})
				c := newClient(t, "http://127.0.0.1:1", Config{Transport: tr, Timeout: tc.timeout})
				ctx := t.Context()
				if tc.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.deadline)
					defer cancel()
				}
				begin := time.Now()
				_, f := post(ctx, t, c, "1")
				wantFailure(t, f, Timeout, tc.sent)
				if !errors.Is(f, context.DeadlineExceeded) {
					t.Errorf("the cause is lost: %v", f)
				}
				if took := time.Since(begin); took != 10*time.Second {
					t.Errorf("it took %v, want 10s", took)
				}
				c.CloseIdleConnections()
				<-time.After(time.Hour) // lets dial and server end
			})
		})
	}
}

// TestEvidenceThroughTLS finds the counting connection below crypto/tls.
func TestEvidenceThroughTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("the request came as %s", r.Proto)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	tr := NewTransport(1)
	tr.pool.TLSClientConfig = &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	c := newClient(t, s.URL, Config{Transport: tr})
	u, f := c.Challenges(testService, testIdentity, "")
	if f != nil {
		t.Fatal(f)
	}
	var e evidence
	resp, err := tr.RoundTrip(c.request(e.watch(t.Context()), http.MethodGet, u, nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if e.conn == nil || e.conn.written.Load() <= e.start || !e.sent() {
		t.Errorf("the connection's count isn't seen: %+v", &e)
	}
}
