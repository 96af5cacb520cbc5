package authority_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/authority"
)

// Two sides that trust the authority agree, and nobody else does.
func TestMutualTLS(t *testing.T) {
	ours, theirs := fresh(t), fresh(t)
	server, client := issue(t, ours, authority.Leaf{Name: "server"}), issue(t, ours, authority.Leaf{Name: "client"})
	stranger := issue(t, theirs, authority.Leaf{Name: "client"})
	expired := issue(t, ours, authority.Leaf{Name: "client", NotAfter: time.Now().Add(-time.Minute)})
	for _, tc := range []struct {
		name  string
		cert  tls.Certificate
		trust *authority.Authority
		ok    bool
	}{
		{"ours", client, ours, true},
		{"a stranger", stranger, ours, false},
		{"expired", expired, ours, false},
		{"a server that is not trusted", client, theirs, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			near, far := net.Pipe()
			accepted := make(chan error, 1)
			go func() {
				conn := tls.Server(far, &tls.Config{
					MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.Pool(),
				})
				accepted <- conn.HandshakeContext(t.Context())
				_ = far.Close()
			}()
			conn := tls.Client(near, &tls.Config{
				MinVersion: tls.VersionTLS12, ServerName: "server", RootCAs: tc.trust.Pool(), Certificates: []tls.Certificate{tc.cert},
			})
			_, err := io.ReadAll(conn)
			if got := err == nil && <-accepted == nil; got != tc.ok {
				t.Errorf("accepted: %v, want %v (%v)", got, tc.ok, err)
			}
			_ = near.Close()
		})
	}
}

func fresh(t *testing.T) *authority.Authority {
	t.Helper()
	a, err := authority.New("test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *authority.Authority, leaf authority.Leaf) tls.Certificate {
	t.Helper()
	pair, err := a.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
