package challenge

import (
	"context"
	"net/url"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
	"github.com/countersign/countersign/connector/challenge/read"
)

// Client reads and writes challenges. It is safe for concurrent use.
type Client struct {
	*read.Client
	post *wire.Client
}

// New returns a Client. It refuses what read.New refuses, with its error.
func New(cfg read.Config) (*Client, error) {
	if cfg.Transport == nil {
		cfg.Transport = wire.NewTransport(cfg.MaxIdleConns) // one pool for both halves
	}
	reader, err := read.New(cfg)
	if err != nil {
		return nil, err
	}
	post, err := wire.New(wire.Config(cfg))
	if err != nil {
		return nil, &read.CallError{Code: read.CodeInvalid, Err: err}
	}
	return &Client{Client: reader, post: post}, nil
}

// Create makes a challenge for a factor of the entity. For a push factor the
// API rings the user's device; for a TOTP factor an AuthPayload is checked at
// once, and the answer's status tells whether it was right. There is no way to
// make a passkeys challenge here: the API has another path for these. How it refuses
// such a factor is not published; what it answers is judged like any other answer.
// After any error ask Classify whether there may be a challenge all the same.
func (c *Client) Create(ctx context.Context, serviceSID, identity string, p CreateParams) (*read.Response, error) {
	form, err := p.form()
	if err != nil {
		return nil, err
	}
	want := read.Want{ServiceSID: serviceSID, Identity: identity, FactorSID: p.FactorSID}
	return c.write(ctx, form, want)
}

// Update answers the challenge with what the user gave, or sets its metadata. A
// passkeys challenge can't be answered here: the API takes an assertion for these
// on another path. What it answers to this one is not published.
func (c *Client) Update(ctx context.Context, serviceSID, identity, sid string, p UpdateParams) (*read.Response, error) {
	if sid == "" {
		return nil, invalid("challenge SID: it is missing")
	}
	form, err := p.form()
	if err != nil {
		return nil, err
	}
	return c.write(ctx, form, read.Want{ServiceSID: serviceSID, Identity: identity, SID: sid})
}

func (c *Client) write(ctx context.Context, form url.Values, want read.Want) (*read.Response, error) {
	u, f := c.post.Challenges(want.ServiceSID, want.Identity, want.SID)
	if f != nil {
		return nil, callError(f)
	}
	a, f := c.post.Post(ctx, u, form)
	if f != nil {
		return nil, callError(f)
	}
	return read.ParseResponse(a.Status, a.Header, a.Body, want)
}

// callError words a failure of the exchange in the type that callers know.
func callError(f *wire.Failure) *read.CallError {
	e := &read.CallError{Code: read.CallCode(f.Kind), Sent: f.Sent, Err: f.Err}
	if f.Answer != nil {
		e.Status, e.RequestID = f.Answer.Status, f.Answer.RequestID()
	}
	return e
}
