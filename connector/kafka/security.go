package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/countersign/countersign/internal/secret"
)

// TLS says how the connections to the brokers are encrypted. The zero value
// encrypts nothing. The files are read again for every connection, so what
// replaces them counts from the next one on; files that do not fit together, as
// while they are being written, leave what was read before in force.
type TLS struct {
	Enabled bool
	// CAFile holds, in PEM, the certificates of the authorities that may sign a
	// broker's. Empty: the system's.
	CAFile string
	// CertFile and KeyFile hold, in PEM, the certificate that this client shows,
	// with its chain, and the key of it. Both or neither.
	CertFile, KeyFile string
	// ServerName is whom a broker's certificate must be for. Empty: the host that
	// is connected to.
	ServerName string
}

// Mechanism is a way to authenticate by SASL.
type Mechanism string

// The mechanisms.
const (
	Plain       Mechanism = "PLAIN"
	ScramSHA256 Mechanism = "SCRAM-SHA-256"
	ScramSHA512 Mechanism = "SCRAM-SHA-512"
)

// SASL says as whom to authenticate. The zero value authenticates nobody.
type SASL struct {
	Mechanism Mechanism // empty: none
	Username  string
	Password  secret.String
	// PasswordFile holds the password instead, without its line end. It is read
	// again for every connection.
	PasswordFile string
	// AllowPlaintext lets PLAIN send the password over a connection that is
	// neither encrypted nor within this machine.
	AllowPlaintext bool
}

// greetTimeout bounds what follows the connection's opening: TLS, SASL and the
// first answer.
const greetTimeout = 5 * time.Second

// security opens connections that are ready for requests: encrypted and
// authenticated where that is configured. kafka-go could do both itself, but in
// three ways that tell refusals apart badly, and without an end to its trying.
type security struct {
	via      DialFunc
	clientID string
	tls      TLS
	sasl     SASL
	files    *files
	gate     *gate
}

func newSecurity(cfg Config) (*security, error) {
	dial, log := cfg.Dial, cfg.Logger
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.SASL.Mechanism != "" {
		if _, err := cfg.SASL.mechanism(cfg.SASL.Password.Reveal()); err != nil {
			return nil, errors.New("sasl: the mechanism is not known, or the user name or the password holds a character that it cannot take")
		}
	}
	files, err := newFiles(cfg.TLS, cfg.SASL, log)
	if err != nil {
		return nil, err
	}
	return &security{via: dial, clientID: cfg.ClientID, tls: cfg.TLS, sasl: cfg.SASL, files: files, gate: newGate(log)}, nil
}

// dial is a DialFunc.
func (s *security) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return s.gate.pass(ctx, address, s.files.stamp, func(d *door) (net.Conn, error) {
		conn, err := s.via(ctx, network, address)
		if err != nil {
			return nil, err
		}
		out, err := s.secure(ctx, conn, address, d)
		if err != nil {
			_ = conn.Close()
			if ctx.Err() != nil {
				// Whoever gave up has not been refused.
				return nil, context.Cause(ctx)
			}
			return nil, err
		}
		return out, nil
	})
}

// secure makes conn ready for requests. It does not close it.
func (s *security) secure(ctx context.Context, conn net.Conn, address string, d *door) (net.Conn, error) {
	stamp := s.files.stamp()
	refuse := func(r *refusal) { d.refuse(r, stamp) }
	accept := func() { d.accept(stamp) }
	watch := func(conn net.Conn, accept func(), known func() bool) *watched {
		return &watched{Conn: conn, address: address, plain: !s.tls.Enabled, refuse: refuse, accept: accept, known: known}
	}
	if !s.tls.Enabled && s.sasl.Mechanism == "" {
		return watch(conn, accept, d.known), nil
	}
	creds := s.files.read()
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	// Closing is the only way to end a read that is under way.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if !s.tls.Enabled {
		// SASL tells by itself what becomes of it.
		out := watch(conn, func() {}, func() bool { return true })
		if err := s.mayGoPlain(conn, address); err != nil {
			return nil, err
		}
		if err := s.authenticate(ctx, out, d, creds.password); err != nil {
			return nil, err
		}
		accept()
		return out, nil
	}
	shown := &shown{has: creds.pair != nil}
	out := tls.Client(conn, s.config(address, creds, shown))
	if err := out.HandshakeContext(ctx); err != nil {
		return nil, tlsRefusal(d, err, shown)
	}
	var err error
	if s.sasl.Mechanism == "" {
		// In TLS 1.3 the handshake is over for us before the broker has judged our
		// certificate; its first answer is what shows that it took it.
		err = s.firstAnswer(out, address)
	} else {
		err = s.authenticate(ctx, out, d, creds.password)
	}
	if err != nil {
		return nil, tlsRefusal(d, err, shown)
	}
	if s.sasl.Mechanism == "" {
		return watch(out, accept, d.known), nil
	}
	accept()
	return out, nil
}

// shown is what became of the client's certificate in one handshake.
type shown struct{ asked, has bool }

func (s *security) config(address string, creds credentials, shown *shown) *tls.Config {
	name := s.tls.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(address) // NewClient and the brokers' answers have it
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: name,
		RootCAs:    creds.roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// It is shown whatever authorities the broker names: its refusal says
			// more than having shown nothing.
			shown.asked = true
			if creds.pair == nil {
				return &tls.Certificate{}, nil
			}
			return creds.pair, nil
		},
	}
}

// mayGoPlain refuses to send a password where others can read it.
func (s *security) mayGoPlain(conn net.Conn, address string) error {
	if s.sasl.Mechanism != Plain || s.sasl.AllowPlaintext {
		return nil
	}
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsLoopback() {
		return nil
	}
	return &refusal{code: CodeUnauthenticated, broker: address, text: "it is not sent the password: PLAIN needs TLS, or allow_plaintext"}
}
