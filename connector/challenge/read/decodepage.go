package read

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

var errPageLoop = errors.New("the list leads back to a page that it already gave")

// pageBody is a list answer. What must be there is told from what may be null.
type pageBody struct {
	Challenges []json.RawMessage `json:"challenges"`
	Meta       *struct {
		Meta
		Next json.RawMessage `json:"next_page_url"` // shadows Meta's
	} `json:"meta"`
}

// parsePage reads a list answer. One that lacks its challenges, or doesn't say
// whether there is a next page, proves nothing and is an error.
func parsePage(status int, header http.Header, body []byte, want Want) (*Page, error) {
	if status < 200 || status > 299 {
		return nil, parseError(status, header, body)
	}
	p := &Page{
		want: want, Status: status,
		RequestID:          header.Get(headerRequestID),
		Date:               headerDate(header),
		ConcurrentRequests: headerCount(header),
	}
	if err := p.fill(body); err != nil {
		err.Status, err.RequestID = status, p.RequestID
		return nil, err
	}
	return p, nil
}

func (p *Page) fill(body []byte) *CallError {
	var b pageBody
	if err := json.Unmarshal(body, &b); err != nil {
		return badAnswer("not a list of challenges: %w", err)
	}
	if b.Challenges == nil {
		return badAnswer("challenges: the list is missing")
	}
	if b.Meta == nil || b.Meta.Next == nil {
		return badAnswer("meta.next_page_url: it is missing")
	}
	p.Meta = b.Meta.Meta
	if err := json.Unmarshal(b.Meta.Next, &p.Meta.NextPageURL); err != nil {
		return badAnswer("meta.next_page_url: %w", err)
	}
	p.Challenges = make([]Challenge, 0, len(b.Challenges))
	for i, raw := range b.Challenges {
		c, err := parseChallenge(raw, p.want)
		if err != nil {
			err.Err = fmt.Errorf("challenges[%d]: %w", i, err.Err)
			return err
		}
		p.Challenges = append(p.Challenges, c)
	}
	return nil
}
