package wire

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign/countersign/internal/secret"
)

// Config has the fields of read.Config, in its order, so that one converts to
// the other; they are described there.
type Config struct {
	AccountSID   string
	Username     string
	Password     secret.String
	Region       string
	Edge         string
	BaseURL      string
	Timeout      time.Duration
	MaxBodyBytes int64
	MaxIdleConns int
	Transport    http.RoundTripper
	UserAgent    string
}

const (
	defaultMaxBody = 8 << 20
	highestMaxBody = 1 << 40 // keeps the bound plus one away from overflow
)

// New checks cfg and returns a Client, or a Failure of kind Invalid that joins
// every fault. Nothing is sent and no goroutine started.
func New(cfg Config) (*Client, error) {
	base, err := endpoint(cfg)
	if faults := errors.Join(err, checkCredentials(cfg), checkBounds(cfg)); faults != nil {
		return nil, &Failure{Kind: Invalid, Err: faults}
	}
	c := &Client{base: base, timeout: cfg.Timeout, maxBody: cfg.MaxBodyBytes, rt: cfg.Transport}
	if c.rt == nil {
		c.rt = NewTransport(cfg.MaxIdleConns)
	}
	if c.maxBody == 0 {
		c.maxBody = defaultMaxBody
	}
	c.maxBody = min(c.maxBody, highestMaxBody)
	c.dress = dresser(cfg)
	return c, nil
}

func checkCredentials(cfg Config) error {
	var faults []error
	if !SID("AC", cfg.AccountSID) {
		faults = append(faults, errors.New("account SID: want AC and 32 hexadecimal digits"))
	}
	// A colon ends the user name in HTTP Basic (RFC 7617, section 2).
	for _, r := range cfg.Username {
		if r == ':' || r < ' ' || r == 0x7f {
			faults = append(faults, errors.New("user name: no colon and no control character may stand in it"))
			break
		}
	}
	if cfg.Password.IsZero() {
		faults = append(faults, errors.New("password: the auth token or the API key's secret is missing"))
	}
	return errors.Join(faults...)
}

func checkBounds(cfg Config) error {
	var faults []error
	if cfg.Timeout < 0 || cfg.MaxBodyBytes < 0 || cfg.MaxIdleConns < 0 {
		faults = append(faults, errors.New("timeout, body bound and idle connections can't be negative"))
	}
	for _, r := range cfg.UserAgent {
		if r < ' ' || r > '~' {
			faults = append(faults, fmt.Errorf("user agent: %q may not stand in a header", r))
			break
		}
	}
	return errors.Join(faults...)
}
