package kafka

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// credentials is what one connection is made with.
type credentials struct {
	roots    *x509.CertPool // nil: the system's
	pair     *tls.Certificate
	password string
}

// files reads the files that TLS and SASL name, again for each connection, and
// keeps the last that could be used.
type files struct {
	tls  TLS
	sasl SASL
	log  *slog.Logger

	mu    sync.Mutex
	good  credentials
	from  contents // what good was made of
	tried contents // what was looked at last
}

// contents is what the files hold; a file that cannot be read, its fault.
type contents struct{ ca, cert, key, password string }

// FileError names a file that cannot be used. It holds nothing of what is in it.
type FileError struct {
	Path string
	Why  string // e.g. "does not exist"
}

// Error implements error.
func (e *FileError) Error() string { return fmt.Sprintf("file %s %s", e.Path, e.Why) }

// newFiles reads all for the first time.
func newFiles(t TLS, s SASL, log *slog.Logger) (*files, error) {
	f := &files{tls: t, sasl: s, log: log}
	f.tried = f.contents()
	var err error
	f.good, err = f.parse(f.tried)
	f.from = f.tried
	return f, err
}

// read gives the newest credentials that can be used.
func (f *files) read() credentials {
	now := f.contents()
	f.mu.Lock()
	defer f.mu.Unlock()
	if now == f.from || now == f.tried {
		return f.good
	}
	f.tried = now
	creds, err := f.parse(now)
	if err != nil {
		f.log.Warn("the credentials for Kafka have changed and cannot be used: those read before stay in force", "error", err)
		return f.good
	}
	f.log.Info("the credentials for Kafka have changed: new connections use the new ones")
	f.good, f.from = creds, now
	return creds
}

// stamp tells credentials apart without giving them away.
func (f *files) stamp() string {
	f.read()
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.New()
	for _, part := range []string{f.from.ca, f.from.cert, f.from.key, f.from.password} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// unreadable begins the contents of a file that could not be read; no PEM and
// no password holds a zero byte.
const unreadable = "\x00"

func (f *files) contents() contents {
	load := func(path string) string {
		if path == "" {
			return ""
		}
		data, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return unreadable + "does not exist"
		case errors.Is(err, fs.ErrPermission):
			return unreadable + "may not be read by this user"
		case err != nil:
			return unreadable + "can't be read"
		}
		return string(data)
	}
	var c contents
	if f.tls.Enabled {
		c = contents{ca: load(f.tls.CAFile), cert: load(f.tls.CertFile), key: load(f.tls.KeyFile)}
	}
	if f.sasl.Mechanism != "" {
		c.password = load(f.sasl.PasswordFile)
	}
	return c
}

// parse makes credentials of what the files hold. The error, where there is
// one, joins a *FileError for each file that cannot be used.
func (f *files) parse(c contents) (credentials, error) {
	out := credentials{password: f.sasl.Password.Reveal()}
	var faults []error
	unfit := func(path, why string) { faults = append(faults, &FileError{path, why}) }
	usable := func(path, held string) bool {
		why, bad := strings.CutPrefix(held, unreadable)
		if bad {
			unfit(path, why)
		}
		return path != "" && !bad
	}
	if f.tls.Enabled && usable(f.tls.CAFile, c.ca) {
		out.roots = x509.NewCertPool()
		if !out.roots.AppendCertsFromPEM([]byte(c.ca)) {
			unfit(f.tls.CAFile, "holds no certificate in PEM")
		}
	}
	cert, key := f.tls.Enabled && usable(f.tls.CertFile, c.cert), f.tls.Enabled && usable(f.tls.KeyFile, c.key)
	if cert && key {
		pair, err := tls.X509KeyPair([]byte(c.cert), []byte(c.key))
		if err != nil {
			unfit(f.tls.CertFile, "and the key in "+f.tls.KeyFile+" are no pair in PEM: "+err.Error())
		}
		out.pair = &pair
	}
	if f.sasl.Mechanism != "" && usable(f.sasl.PasswordFile, c.password) {
		out.password = strings.TrimSuffix(strings.TrimSuffix(c.password, "\n"), "\r")
		if out.password == "" {
			unfit(f.sasl.PasswordFile, "is empty")
		}
	}
	return out, errors.Join(faults...)
}

// FileFaults reads the files that the configuration names and returns a fault for
// each that cannot be used.
func (cfg Config) FileFaults() []*FileError {
	f := &files{tls: cfg.TLS, sasl: cfg.SASL}
	_, err := f.parse(f.contents())
	joined, _ := err.(interface{ Unwrap() []error })
	if joined == nil {
		return nil
	}
	var out []*FileError
	for _, e := range joined.Unwrap() {
		if file, ok := errors.AsType[*FileError](e); ok {
			out = append(out, file)
		}
	}
	return out
}
