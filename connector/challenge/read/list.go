package read

import (
	"context"
	"iter"
	"net/url"
	"time"
)

// Page is one page of a list.
type Page struct {
	Challenges []Challenge
	Meta       Meta
	// RequestID, Date, Status and ConcurrentRequests are as in Response.
	RequestID          string
	Date               time.Time
	Status             int
	ConcurrentRequests int

	want Want   // what every challenge of the list is about
	self string // the URL that gave this page
}

// Meta is what a page says of itself. A URL that the API gave as null is empty.
type Meta struct {
	Page            int    `json:"page"`
	PageSize        int    `json:"page_size"`
	FirstPageURL    string `json:"first_page_url"`
	PreviousPageURL string `json:"previous_page_url"`
	URL             string `json:"url"`
	NextPageURL     string `json:"next_page_url"` // empty: this is the last page
	Key             string `json:"key"`
}

// List returns the first page, or the one that p names. Limit only makes it
// smaller.
func (c *Client) List(ctx context.Context, serviceSID, identity string, p ListParams) (*Page, error) {
	q, err := p.query()
	if err != nil {
		return nil, err
	}
	u, f := c.wire.Challenges(serviceSID, identity, "")
	if f != nil {
		return nil, callError(f)
	}
	u.RawQuery = q.Encode()
	return c.page(ctx, u, Want{ServiceSID: serviceSID, Identity: identity, FactorSID: p.FactorSID})
}

// NextPage returns the page after p. Where p is the last one, that is a
// *CallError with CodeInvalid; where its URL can't be followed (another origin,
// or p itself), one with CodeBadAnswer, and nothing was sent.
func (c *Client) NextPage(ctx context.Context, p *Page) (*Page, error) {
	if p == nil || p.Meta.NextPageURL == "" {
		return nil, invalid("there is no next page")
	}
	u, err := c.wire.Page(p.Meta.NextPageURL)
	if err != nil {
		return nil, &CallError{Code: CodeBadAnswer, Err: err}
	}
	if u.String() == p.self {
		return nil, errLoop()
	}
	return c.page(ctx, u, p.want)
}

func errLoop() *CallError {
	return &CallError{Code: CodeBadAnswer, Err: errPageLoop}
}

func (c *Client) page(ctx context.Context, u *url.URL, want Want) (*Page, error) {
	a, f := c.wire.Get(ctx, u)
	if f != nil {
		return nil, callError(f)
	}
	p, err := parsePage(a.Status, a.Header, a.Body, want)
	if err != nil {
		return nil, err
	}
	p.self = u.String()
	return p, nil
}

// All gives every challenge that p selects, page after page, and asks for a
// page only when the one before is used up. It ends at p.Limit, at the last
// page, or with one error beside a zero Challenge. A page URL that comes again
// is such an error (CodeBadAnswer): the list has no end then. Stopping early
// sends nothing more.
func (c *Client) All(ctx context.Context, serviceSID, identity string, p ListParams) iter.Seq2[Challenge, error] {
	return func(yield func(Challenge, error) bool) {
		left := p.Limit // from 0 it never comes to 0 again: no limit
		seen := map[string]bool{}
		page, err := c.List(ctx, serviceSID, identity, p)
		for err == nil {
			for i := range page.Challenges {
				if !yield(page.Challenges[i], nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
			if page.Meta.NextPageURL == "" {
				return
			}
			if seen[page.self] = true; c.again(page, seen) {
				err = errLoop()
				break
			}
			page, err = c.NextPage(ctx, page)
		}
		yield(Challenge{}, err)
	}
}

// again reports whether the page after p was already given. The API may name a
// page differently from how it was asked for, so its own name counts too.
func (c *Client) again(p *Page, seen map[string]bool) bool {
	if u, err := c.wire.Page(p.Meta.URL); err == nil {
		seen[u.String()] = true
	}
	next, err := c.wire.Page(p.Meta.NextPageURL)
	return err == nil && seen[next.String()]
}
