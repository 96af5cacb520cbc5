package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/countersign/countersign/internal/authority"
	"github.com/countersign/countersign/internal/secret"
)

const (
	goodUser     = "connector"
	goodPassword = "correct horse battery staple"
	badPassword  = "Tr0ub4dor&3"
)

// secured is a broker that wants something of its clients, and what they need.
type secured struct {
	t       testing.TB
	addrs   []string
	ours    *authority.Authority
	dir     string
	cluster *kfake.Cluster
	seen    sync.Map // serial numbers of the clients' certificates
	server  atomic.Pointer[tls.Certificate]
}

func startSecured(t testing.TB, clientAuth tls.ClientAuthType, withTLS bool, opts ...kfake.Opt) *secured {
	t.Helper()
	s := &secured{t: t, ours: newAuthority(t), dir: t.TempDir()}
	s.serve(s.ours, authority.Leaf{Name: "localhost", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if withTLS {
		opts = append(opts, kfake.TLS(&tls.Config{
			MinVersion:     tls.VersionTLS12,
			ClientAuth:     clientAuth,
			ClientCAs:      s.ours.Pool(),
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.server.Load(), nil },
			VerifyConnection: func(state tls.ConnectionState) error {
				for _, peer := range state.PeerCertificates {
					s.seen.Store(peer.Subject.CommonName, true)
				}
				return nil
			},
		}))
	}
	cluster, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.SeedTopics(2, "t"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s.cluster, s.addrs = cluster, cluster.ListenAddrs()
	s.write("ca.pem", s.ours.PEM())
	return s
}

func newAuthority(t testing.TB) *authority.Authority {
	t.Helper()
	a, err := authority.New("test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issued(t testing.TB, a *authority.Authority, leaf authority.Leaf) authority.Pair {
	t.Helper()
	pair, err := a.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// serve sets the certificate that the broker shows from now on.
func (s *secured) serve(by *authority.Authority, leaf authority.Leaf) {
	s.t.Helper()
	cert, err := issued(s.t, by, leaf).TLS()
	if err != nil {
		s.t.Fatal(err)
	}
	s.server.Store(&cert)
}

func (s *secured) write(name string, data []byte) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// client writes a pair for mutual TLS.
func (s *secured) clientPair(by *authority.Authority, leaf authority.Leaf) {
	s.t.Helper()
	pair := issued(s.t, by, leaf)
	s.write("client.pem", pair.Cert)
	s.write("client.key", pair.Key)
}

func (s *secured) path(name string) string { return filepath.Join(s.dir, name) }

func (s *secured) tls() TLS { return TLS{Enabled: true, CAFile: s.path("ca.pem")} }

func (s *secured) mutual() TLS {
	c := s.tls()
	c.CertFile, c.KeyFile = s.path("client.pem"), s.path("client.key")
	return c
}

// open makes a client whose connections are counted.
func (s *secured) open(cfg Config) (c *Client, dials *atomic.Int64) {
	s.t.Helper()
	dials = &atomic.Int64{}
	cfg.Brokers = s.addrs
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	c, err := NewClient(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c, dials
}

func scramUser(m Mechanism) kfake.Opt { return kfake.Superuser(string(m), goodUser, goodPassword) }

func user(m Mechanism, password string) SASL {
	return SASL{Mechanism: m, Username: goodUser, Password: secret.String(password)}
}

// Everything that opens connections works under every kind of security: the
// shared transport, metadata of its own, the writer, transactions and the group.
func TestSecuredConnections(t *testing.T) {
	for _, tc := range []struct {
		name    string
		auth    tls.ClientAuthType
		withTLS bool
		opts    []kfake.Opt
		config  func(*secured) Config
	}{
		{"none", 0, false, nil, func(*secured) Config { return Config{} }},
		{"TLS", 0, true, nil, func(s *secured) Config { return Config{TLS: s.tls()} }},
		{"mutual TLS", tls.RequireAndVerifyClientCert, true, nil, func(s *secured) Config { return Config{TLS: s.mutual()} }},
		{"PLAIN", 0, false, []kfake.Opt{kfake.EnableSASL(), scramUser(Plain)}, func(*secured) Config { return Config{SASL: user(Plain, goodPassword)} }},
		{"PLAIN over TLS", 0, true, []kfake.Opt{kfake.EnableSASL(), scramUser(Plain)}, func(s *secured) Config {
			return Config{TLS: s.tls(), SASL: user(Plain, goodPassword)}
		}},
		{"SCRAM-SHA-256", 0, false, []kfake.Opt{kfake.EnableSASL(), scramUser(ScramSHA256)}, func(*secured) Config {
			return Config{SASL: user(ScramSHA256, goodPassword)}
		}},
		{"SCRAM-SHA-512 over mutual TLS, password from a file", tls.RequireAndVerifyClientCert, true, []kfake.Opt{kfake.EnableSASL(), scramUser(ScramSHA512)}, func(s *secured) Config {
			return Config{TLS: s.mutual(), SASL: SASL{Mechanism: ScramSHA512, Username: goodUser, PasswordFile: s.write("password", []byte(goodPassword+"\n"))}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startSecured(t, tc.auth, tc.withTLS, tc.opts...)
			s.clientPair(s.ours, authority.Leaf{Name: "connector"})
			c, _ := s.open(tc.config(s))
			if _, err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Partitions(t.Context(), "t"); err != nil || n != 2 {
				t.Fatalf("%d partitions, %v", n, err)
			}
			if err := c.Produce(t.Context(), []Message{{Topic: "t", Value: []byte("v")}}); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			m := &committer{stop: stop}
			if err := c.RunGroup(ctx, GroupConfig{Group: "g", Topic: "t"}, m); err != nil || m.committed.Load() == 0 {
				t.Errorf("%d commits, %v, not joined because of %v", m.committed.Load(), err, m.unjoined)
			}
		})
	}
}

// committer commits once on its first partition, in a transaction, and leaves.
type committer struct {
	stop      context.CancelFunc
	committed atomic.Int64
	mu        sync.Mutex
	unjoined  []error
}

func (*committer) Assigned(Assignment) {}
func (*committer) Revoked()            {}
func (m *committer) Unjoined(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unjoined = append(m.unjoined, err)
}

func (m *committer) Run(ctx context.Context, s *Session) error {
	defer m.stop()
	err := s.Fence(ctx)
	if err == nil {
		err = s.Transact(ctx, []Message{{Topic: "t", Value: []byte("w")}}, Position{Offset: 1})
	}
	if ctx.Err() != nil {
		return nil // another session was first
	}
	if err == nil {
		m.committed.Add(1)
	}
	return err
}

// Each way of being refused has its code and says what it was, and no more than
// one attempt is made however many want to connect.
func TestRefusals(t *testing.T) {
	day := 24 * time.Hour
	sasl := func(m Mechanism) []kfake.Opt { return []kfake.Opt{kfake.EnableSASL(), scramUser(m)} }
	for _, tc := range []struct {
		name    string
		auth    tls.ClientAuthType
		withTLS bool
		opts    []kfake.Opt
		config  func(*secured) Config
		code    ErrorCode
		says    []string
	}{
		{
			"wrong password, PLAIN", 0, false, sasl(Plain), func(*secured) Config { return Config{SASL: user(Plain, badPassword)} },
			CodeUnauthenticated,
			[]string{`refuses the user "connector"`, "SASL PLAIN"},
		},
		{
			"wrong password, SCRAM-SHA-256", 0, false, sasl(ScramSHA256), func(*secured) Config { return Config{SASL: user(ScramSHA256, badPassword)} },
			CodeUnauthenticated,
			[]string{`refuses the user "connector"`, "SASL SCRAM-SHA-256"},
		},
		{
			"wrong password, SCRAM-SHA-512 over TLS", 0, true, sasl(ScramSHA512), func(s *secured) Config { return Config{TLS: s.tls(), SASL: user(ScramSHA512, badPassword)} },
			CodeUnauthenticated,
			[]string{`refuses the user "connector"`, "SASL SCRAM-SHA-512"},
		},
		{"authority not trusted", 0, true, nil, func(s *secured) Config {
			s.write("ca.pem", newAuthority(t).PEM())
			return Config{TLS: s.tls()}
		}, CodeTLS, []string{"certificate is not accepted", "ca_file"}},
		{"another host's certificate", 0, true, nil, func(s *secured) Config {
			s.serve(s.ours, authority.Leaf{Name: "elsewhere.example.com"})
			return Config{TLS: s.tls()}
		}, CodeTLS, []string{"another host", "server_name"}},
		{"expired server certificate", 0, true, nil, func(s *secured) Config {
			s.serve(s.ours, authority.Leaf{Name: "localhost", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Minute)})
			return Config{TLS: s.tls()}
		}, CodeTLS, []string{"expired"}},
		{
			"no client certificate", tls.RequireAndVerifyClientCert, true, nil, func(s *secured) Config { return Config{TLS: s.tls()} },
			CodeTLS,
			[]string{"wants a client certificate, and none is configured"},
		},
		{"a stranger's client certificate", tls.RequireAndVerifyClientCert, true, nil, func(s *secured) Config {
			s.clientPair(newAuthority(t), authority.Leaf{Name: "connector"})
			return Config{TLS: s.mutual()}
		}, CodeTLS, []string{"refuses the client certificate"}},
		{"an expired client certificate", tls.RequireAndVerifyClientCert, true, nil, func(s *secured) Config {
			s.clientPair(s.ours, authority.Leaf{Name: "connector", NotAfter: time.Now().Add(-day / 24)})
			return Config{TLS: s.mutual()}
		}, CodeTLS, []string{"refuses the client certificate", "expired"}},
		{
			"TLS to a plain port", 0, false, nil, func(s *secured) Config {
				s.addrs = []string{hangsUp(t, nil)}
				return Config{TLS: s.tls()}
			},
			CodeTLS,
			[]string{"does it speak TLS on this port?"},
		},
		{
			"plain to a TLS port", 0, false, nil, func(s *secured) Config {
				s.addrs = []string{hangsUp(t, handshakeFailure)}
				return Config{}
			},
			CodeTLS,
			[]string{"speaks TLS on this port, and TLS is not enabled"},
		},
		{
			"plain to a TLS port that hangs up", 0, true, nil, func(*secured) Config { return Config{} },
			CodeUnavailable,
			[]string{"does it want TLS on this port?"},
		},
		{
			"SASL without TLS to a TLS port", 0, false, nil, func(s *secured) Config {
				s.addrs = []string{hangsUp(t, handshakeFailure)}
				return Config{SASL: user(Plain, goodPassword)}
			},
			CodeTLS,
			[]string{"speaks TLS on this port, and TLS is not enabled"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startSecured(t, tc.auth, tc.withTLS, tc.opts...)
			s.clientPair(s.ours, authority.Leaf{Name: "connector"})
			cfg := tc.config(s)
			var log syncBuffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c, dials := s.open(cfg)
			var calls sync.WaitGroup
			for range 20 {
				calls.Go(func() {
					_, err := c.partitions(t.Context(), "t")
					if CodeOf(err) != tc.code {
						t.Errorf("code %q, want %q: %v", CodeOf(err), tc.code, err)
						return
					}
					for _, part := range tc.says {
						if !strings.Contains(err.Error(), part) {
							t.Errorf("%q does not say %q", err, part)
						}
					}
					if strings.Contains(err.Error(), badPassword) || strings.Contains(err.Error(), goodPassword) {
						t.Error("the password is in the error")
					}
				})
			}
			calls.Wait()
			// Without SASL nothing is asked that would show it before the first request
			// is, so all may have begun at once.
			if n := dials.Load(); n > 1 && (cfg.TLS.Enabled || cfg.SASL.Mechanism != "") && tc.says[0] != "does it want SASL on this port?" {
				t.Errorf("%d connections were opened", n)
			}
			if n := strings.Count(log.String(), "refuses the connection"); n != 1 {
				t.Errorf("%d log lines, want one:\n%s", n, log.String())
			}
		})
	}
}

// handshakeFailure is the alert by which Apache Kafka answers what is no TLS.
var handshakeFailure = []byte{0x15, 3, 3, 0, 2, 2, 40}

// hangsUp is a port that reads a little, says something and closes, as Apache
// Kafka does with TLS on a port without it, and the other way round.
func hangsUp(t testing.TB, says []byte) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write(says)
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// A password that is wrong for ten minutes costs the broker a few dozen
// attempts, whatever goes on here, and one line in the log; the right one is
// taken up at once when its file changes.
func TestWrongPasswordIsNoStorm(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := startCluster(t, kfake.EnableSASL(), scramUser(ScramSHA256), kfake.SeedTopics(2, "t"))
		file := filepath.Join(dir, "password")
		if err := os.WriteFile(file, []byte(badPassword), 0o600); err != nil {
			t.Fatal(err)
		}
		var log syncBuffer
		var dials perAddress
		c, err := NewClient(Config{
			Brokers: w.addrs, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			SASL: SASL{Mechanism: ScramSHA256, Username: goodUser, PasswordFile: file},
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.add(address)
				return w.net.DialContext(ctx, network, address)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		ctx, stop := context.WithCancel(t.Context())
		var busy sync.WaitGroup
		m := &committer{stop: stop}
		busy.Go(func() { _ = c.RunGroup(ctx, GroupConfig{Group: "g", Topic: "t"}, m) })
		for range 4 {
			busy.Go(func() {
				for wait(ctx, 200*time.Millisecond) {
					_, _ = c.Ping(ctx)
					_ = c.Produce(ctx, []Message{{Topic: "t", Value: []byte("v")}})
				}
			})
		}
		const wrong = 10 * time.Minute
		wait(t.Context(), wrong)
		// 1, 2, 4, 8 and 16 s, and then one in 30 s.
		for address, n := range dials.all() {
			if most := 1 + 5 + int(wrong/refusedCap); n > most || n < 10 {
				t.Errorf("%d attempts at %s in %s, want %d at the most", n, address, wrong, most)
			}
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d errors in the log, want one:\n%s", n, log.String())
		}
		before := time.Now()
		if err := os.WriteFile(file, []byte(goodPassword), 0o600); err != nil {
			t.Fatal(err)
		}
		busy.Wait() // the group's member commits and ends all
		if took := time.Since(before); took > 20*time.Second || m.committed.Load() == 0 {
			t.Errorf("%d commits, %s after the password was mended", m.committed.Load(), took)
		}
		if !strings.Contains(log.String(), "no Kafka broker refuses") {
			t.Errorf("the log does not tell that it works again:\n%s", log.String())
		}
	})
}

// That no broker refuses any more is told once, and does not wait for a broker
// that refused what has been replaced since: nobody may need that one again.
func TestRefusalsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		takes string // the stamp of what one of the two brokers takes then
		told  int
	}{
		"the same credentials": {takes: "old", told: 0},
		"other credentials":    {takes: "new", told: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var log syncBuffer
			told := func() int { return strings.Count(log.String(), "no Kafka broker refuses") }
			g := newGate(slog.New(slog.NewTextHandler(&log, nil)))
			one, other := g.door("a:9092"), g.door("b:9092")
			one.accept("old")
			if told() != 0 {
				t.Error("a recovery is told of where nothing was refused")
			}
			for _, d := range []*door{one, other} {
				d.refuse(&refusal{code: CodeUnauthenticated, broker: d.address, text: "it refuses"}, "old")
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
				t.Errorf("%d errors in the log, want one:\n%s", n, log.String())
			}
			one.accept(c.takes)
			if told() != c.told {
				t.Errorf("told %d times with a refusal left, want %d", told(), c.told)
			}
			other.accept(c.takes)
			one.accept(c.takes)
			if told() != 1 {
				t.Errorf("told %d times in the end, want once:\n%s", told(), log.String())
			}
		})
	}
}

// perAddress counts.
type perAddress struct {
	mu sync.Mutex
	n  map[string]int
}

func (p *perAddress) add(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == nil {
		p.n = map[string]int{}
	}
	p.n[address]++
}

func (p *perAddress) all() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.n)
}

// A certificate, its key and the authorities are replaced under a running
// client. What is half written changes nothing.
func TestRotation(t *testing.T) {
	s := startSecured(t, tls.RequireAndVerifyClientCert, true)
	s.clientPair(s.ours, authority.Leaf{Name: "first"})
	var log syncBuffer
	c, _ := s.open(Config{TLS: s.mutual(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	// Partitions is asked on a connection of its own.
	connect := func() error {
		_, err := c.partitions(t.Context(), "t")
		return err
	}
	want := func(name string) {
		t.Helper()
		s.seen.Clear()
		if err := connect(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, ok := s.seen.Load(name); !ok {
			t.Errorf("the broker was not shown the certificate %s", name)
		}
	}
	want("first")
	next := issued(t, s.ours, authority.Leaf{Name: "second"})
	s.write("client.pem", next.Cert)
	want("first") // the key is still the first one's
	want("first")
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("%d warnings of the pair that does not match, want one:\n%s", n, log.String())
	}
	s.write("client.key", next.Key)
	want("second")
	s.write("client.key", []byte("half a k"))
	want("second")
	if err := os.Remove(s.path("ca.pem")); err != nil {
		t.Fatal(err)
	}
	want("second")
	s.write("client.key", next.Key)
	// The brokers move to another authority, and both are trusted meanwhile.
	other := newAuthority(t)
	s.write("ca.pem", append(s.ours.PEM(), other.PEM()...))
	want("second")
	s.serve(other, authority.Leaf{Name: "localhost", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	want("second")
	s.write("ca.pem", s.ours.PEM())
	if err := connect(); CodeOf(err) != CodeTLS {
		t.Errorf("the former authority alone: %v", err)
	}
	s.write("ca.pem", other.PEM())
	want("second")
}

// A password in clear goes to this machine only, unless that is allowed.
func TestPlainNeedsTLS(t *testing.T) {
	s := startSecured(t, 0, false, kfake.EnableSASL(), scramUser(Plain))
	elsewhere := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return foreign{conn}, err
	}
	for _, allowed := range []bool{false, true} {
		sasl := user(Plain, goodPassword)
		sasl.AllowPlaintext = allowed
		c, err := NewClient(Config{Brokers: s.addrs, SASL: sasl, Dial: elsewhere})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Ping(t.Context())
		if _ = c.Close(); (err == nil) != allowed {
			t.Errorf("allowed: %v, got %v", allowed, err)
		}
	}
}

// foreign is a connection to another machine.
type foreign struct{ net.Conn }

func (foreign) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9092} }

func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Brokers: []string{"127.0.0.1:9092"},
		TLS:     TLS{Enabled: true, CAFile: junk, CertFile: filepath.Join(dir, "none"), KeyFile: junk},
		SASL:    SASL{Mechanism: Plain, Username: "u", PasswordFile: empty},
	}
	var got []string
	for _, fault := range cfg.FileFaults() {
		got = append(got, filepath.Base(fault.Path)+" "+fault.Why)
	}
	if want := "junk holds no certificate in PEM|none does not exist|empty is empty"; strings.Join(got, "|") != want {
		t.Errorf("faults %q, want %q", got, want)
	}
	_, err := NewClient(cfg)
	if _, named := errors.AsType[*FileError](err); !named || CodeOf(err) != CodeInvalid {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error shows what is in a file")
	}
	if _, err := NewClient(Config{Brokers: cfg.Brokers, SASL: SASL{Mechanism: "GSSAPI"}}); CodeOf(err) != CodeInvalid {
		t.Errorf("unknown mechanism: %v", err)
	}
}
