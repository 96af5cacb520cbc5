package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Client sends requests to one origin with one set of credentials. It is safe
// for concurrent use. Printing it shows no credentials.
type Client struct {
	base    *url.URL
	dress   func(http.Header) // a closure, because fmt looks into fields but not into functions
	timeout time.Duration     // of a call; zero: none
	maxBody int64
	rt      http.RoundTripper
}

// Answer is what the server said, whatever its status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// RequestID is the API's name of the exchange; empty where it gave none.
func (a *Answer) RequestID() string { return a.Header.Get("Twilio-Request-Id") }

const (
	formType = "application/x-www-form-urlencoded"
	// maxErrorBody bounds the body of an answer that isn't 2xx. Its status is
	// the answer; a body beyond this is no error of the API.
	maxErrorBody = 64 << 10
	// staleTries bounds the repetitions on connections that died while idle.
	staleTries = 3
)

// Get fetches u.
func (c *Client) Get(ctx context.Context, u *url.URL) (*Answer, *Failure) {
	return c.send(ctx, http.MethodGet, u, nil)
}

// Post sends form to u, keys sorted.
func (c *Client) Post(ctx context.Context, u *url.URL, form url.Values) (*Answer, *Failure) {
	return c.send(ctx, http.MethodPost, u, []byte(form.Encode()))
}

// CloseIdleConnections closes the connections that no call uses, where the
// transport can do that.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.rt.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// send makes one exchange. A reused connection may have died before it took
// anything of the request; the exchange is then made anew, with a new request,
// because net/http gives up there on a POST whose body it can't renew.
func (c *Client) send(ctx context.Context, method string, u *url.URL, body []byte) (*Answer, *Failure) {
	if !sameOrigin(u, c.base) {
		return nil, invalid("the URL is not on the configured origin")
	}
	if err := ctx.Err(); err != nil {
		return nil, &Failure{Kind: Canceled, Err: err} // whichever way it ended: nothing was tried
	}
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	for try := 1; ; try++ {
		var e evidence
		resp, err := c.rt.RoundTrip(c.request(e.watch(ctx), method, u, body)) //nolint:bodyclose // receive closes it
		if err == nil {
			return c.receive(ctx, resp)
		}
		if try < staleTries && ctx.Err() == nil && e.stale() {
			continue
		}
		return nil, failure(ctx, e.sent(), err)
	}
}

// request is built by hand, not by http.NewRequest, so that GetBody stays nil:
// see the package doc.
func (c *Client) request(ctx context.Context, method string, u *url.URL, body []byte) *http.Request {
	req := &http.Request{
		Method: method, URL: u, Host: u.Host, Header: make(http.Header, 5),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody,
	}
	c.dress(req.Header)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", formType)
	}
	if len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
	}
	return req.WithContext(ctx)
}

// receive reads the answer's body and closes it.
func (c *Client) receive(ctx context.Context, resp *http.Response) (*Answer, *Failure) {
	defer func() { _ = resp.Body.Close() }() // a body that was read has nothing left to report
	a := &Answer{Status: resp.StatusCode, Header: resp.Header}
	if a.Status < 200 {
		return a, nil // 101: the body is the bare connection, which need not end
	}
	if a.Status >= 300 {
		// The status tells what happened; a body that breaks off adds nothing to it.
		a.Body, _ = readBody(resp, min(c.maxBody, maxErrorBody))
		return a, nil
	}
	body, err := readBody(resp, c.maxBody)
	switch {
	case err == nil:
		a.Body = body
		return a, nil
	case errors.Is(err, errTooLarge):
		return nil, &Failure{Kind: TooLarge, Sent: true, Answer: a, Err: err}
	default:
		f := failure(ctx, true, err)
		f.Answer = a
		return nil, f
	}
}

var errTooLarge = errors.New("the answer is larger than the bound")

// readBody reads up to limit bytes; beyond them it returns them with errTooLarge.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= limit {
		b.Grow(int(n) + bytes.MinRead) // room for the read that meets the end
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if int64(b.Len()) > limit {
		return b.Bytes()[:limit], errTooLarge
	}
	return b.Bytes(), err
}
