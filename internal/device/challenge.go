package device

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Challenge is a push challenge as a device sees it.
type Challenge struct {
	SID            string            `json:"sid"`
	FactorSID      string            `json:"factor_sid"`
	Identity       string            `json:"identity"`
	Status         string            `json:"status"`
	DateCreated    time.Time         `json:"date_created"`
	ExpirationDate time.Time         `json:"expiration_date"`
	Details        *Details          `json:"details"`
	HiddenDetails  map[string]string `json:"hidden_details"`

	fields []string // what is to be signed; nil: not fetched by itself
	body   []byte   // as it came
}

// Details are what a device shows to its user.
type Details struct {
	Message string  `json:"message"`
	Fields  []Field `json:"fields"`
}

// Field is one line of Details.
type Field struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Pending returns the factor's pending challenges, oldest first, over all
// pages. They must be fetched before they are answered.
func (d *Device) Pending(ctx context.Context) ([]Challenge, error) {
	var all []Challenge
	filters := url.Values{"FactorSid": {d.factor.SID}, "Status": {"pending"}, "Order": {"asc"}}
	query := filters.Encode()
	asked := map[string]bool{}
	for {
		asked[query] = true
		body, _, err := d.call(ctx, http.MethodGet, d.cfg.entityURL()+"/Challenges?"+query, nil)
		if err != nil {
			return nil, err
		}
		var list struct {
			Challenges []Challenge `json:"challenges"`
			Meta       struct {
				Next string `json:"next_page_url"`
			} `json:"meta"`
		}
		if err := decode(body, &list); err != nil {
			return nil, err
		}
		all = append(all, list.Challenges...)
		if list.Meta.Next == "" {
			return all, nil
		}
		// Only the query is taken out of the URL, so that credentials go where the
		// configuration says. Pages may be told by a token or by their number alone.
		next, err := url.Parse(list.Meta.Next)
		if err != nil {
			return nil, &Error{Code: CodeAnswer, Message: "the next page's URL can't be read", Err: err}
		}
		page := next.Query()
		maps.Copy(page, filters)
		if query = page.Encode(); asked[query] {
			return nil, failf(CodeAnswer, "the list of pending challenges leads back to a page that it already gave")
		}
	}
}

// Fetch reads one challenge together with what has to be signed.
func (d *Device) Fetch(ctx context.Context, sid string) (Challenge, error) {
	body, header, err := d.call(ctx, http.MethodGet, d.cfg.entityURL()+"/Challenges/"+url.PathEscape(sid), nil)
	if err != nil {
		return Challenge{}, err
	}
	var c Challenge
	if err := decode(body, &c); err != nil {
		return Challenge{}, err
	}
	c.body = json.RawMessage(body)
	for name := range strings.SplitSeq(header.Get("Twilio-Verify-Signature-Fields"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			c.fields = append(c.fields, name)
		}
	}
	return c, nil
}

// Answer signs and sends StatusApproved or StatusDenied for a challenge that
// Fetch returned, then reads the challenge again to see that it stands.
func (d *Device) Answer(ctx context.Context, c Challenge, status string) error {
	if c.Status != "pending" {
		return failf(CodeNotPending, "challenge %s is %s", c.SID, c.Status)
	}
	payload, err := SignChallenge(d.key, c.fields, c.body, status)
	if err != nil {
		return err
	}
	target := d.cfg.entityURL() + "/Challenges/" + url.PathEscape(c.SID)
	if _, _, err := d.call(ctx, http.MethodPost, target, url.Values{"AuthPayload": {payload}}); err != nil {
		return err
	}
	after, err := d.Fetch(ctx, c.SID)
	if err != nil {
		return err
	}
	if after.Status != status {
		return failf(CodeUnsettled, "challenge %s is %s after the answer %s", c.SID, after.Status, status)
	}
	return nil
}
