package read

import (
	"context"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
)

// Client reads challenges. It is safe for concurrent use.
type Client struct{ wire *wire.Client }

// New returns a Client, or a *CallError with CodeInvalid that names every fault
// of cfg. Credentials over plain http are refused, except to loopback. Nothing
// is sent.
func New(cfg Config) (*Client, error) {
	if cfg.Transport == nil {
		cfg.Transport = wire.NewTransport(cfg.MaxIdleConns)
	}
	cfg.Transport = getOnly{cfg.Transport}
	w, err := wire.New(wire.Config(cfg))
	if err != nil {
		return nil, &CallError{Code: CodeInvalid, Err: err}
	}
	return &Client{wire: w}, nil
}

// Fetch returns one challenge.
func (c *Client) Fetch(ctx context.Context, serviceSID, identity, sid string) (*Response, error) {
	if sid == "" {
		return nil, invalid("challenge SID: it is missing")
	}
	u, f := c.wire.Challenges(serviceSID, identity, sid)
	if f != nil {
		return nil, callError(f)
	}
	a, f := c.wire.Get(ctx, u)
	if f != nil {
		return nil, callError(f)
	}
	return ParseResponse(a.Status, a.Header, a.Body, Want{ServiceSID: serviceSID, Identity: identity, SID: sid})
}

// CloseIdleConnections closes the connections that no call uses. The Client
// can still be used; the next call makes a new connection.
func (c *Client) CloseIdleConnections() { c.wire.CloseIdleConnections() }
