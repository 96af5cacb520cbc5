package read

import (
	"net/url"
	"strconv"

	"github.com/countersign/countersign/connector/challenge/internal/wire"
)

// Order is the order of a list, by creation.
type Order string

// The orders of the API.
const (
	OrderAsc  Order = "asc" // the API's default
	OrderDesc Order = "desc"
)

// maxPageSize is the API's.
const maxPageSize = 1000

// ListParams selects challenges of an entity. The zero value selects all.
type ListParams struct {
	FactorSID string // empty: of every factor
	Status    Status // empty: in every status
	Order     Order  // empty: the API's default, asc
	// PageSize is 1 to 1000. Zero: Limit, up to 1000, and without a Limit the
	// API's default of 50. It is never larger than Limit.
	PageSize int
	// Page is passed to the API, which takes it for client state; nil: not sent.
	Page *int
	// PageToken is where to start, from an earlier page's URL; empty: at the beginning.
	PageToken string
	// Limit is how many challenges All gives at most; zero: no limit.
	Limit int
}

// query returns the API's parameters.
func (p ListParams) query() (url.Values, *CallError) {
	switch {
	case p.FactorSID != "" && !wire.SID("YF", p.FactorSID):
		return nil, invalid("factor SID: want YF and 32 hexadecimal digits")
	case p.Status != "" && p.Status != StatusPending && p.Status != StatusExpired && p.Status != StatusApproved && p.Status != StatusDenied:
		return nil, invalid("status: want pending, expired, approved or denied")
	case p.Order != "" && p.Order != OrderAsc && p.Order != OrderDesc:
		return nil, invalid("order: want asc or desc")
	case p.PageSize < 0 || p.PageSize > maxPageSize:
		return nil, invalid("page size: want 1 to %d", maxPageSize)
	case p.Page != nil && *p.Page < 0:
		return nil, invalid("page: it can't be negative")
	case p.Limit < 0:
		return nil, invalid("limit: it can't be negative")
	}
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("FactorSid", p.FactorSID)
	set("Status", string(p.Status))
	set("Order", string(p.Order))
	set("PageToken", p.PageToken)
	if n := p.pageSize(); n > 0 {
		q.Set("PageSize", strconv.Itoa(n))
	}
	if p.Page != nil {
		q.Set("Page", strconv.Itoa(*p.Page))
	}
	return q, nil
}

// pageSize is what the official clients send: as few pages as the limit allows,
// and no item beyond it.
func (p ListParams) pageSize() int {
	switch {
	case p.Limit == 0:
		return p.PageSize
	case p.PageSize == 0:
		return min(p.Limit, maxPageSize)
	default:
		return min(p.PageSize, p.Limit)
	}
}
