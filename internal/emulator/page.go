package emulator

import (
	"net/url"
	"strconv"
	"strings"
)

const (
	maxPageSize     = 1000
	defaultPageSize = 50
	tokenPrefix     = "DN" // followed by the SID of the last item already seen
	opaqueMark      = "behind:"
)

// pageRequest is the paging part of a list's query.
type pageRequest struct {
	size    int
	number  int         // echoed only: the API calls it client state
	after   string      // SID out of the token; empty: from the start
	skipped int         // items of the pages before, where they are told by number
	filters [][2]string // kept in the page URLs, in this order
}

// page reads the paging parameters and the filters that are to be kept.
func (x *exchange) page(v url.Values, filters ...string) (pageRequest, *apiError) {
	if size, err := strconv.Atoi(v.Get("PageSize")); err == nil && size > maxPageSize && x.e.cfg.Rules.ClampPageSize {
		v.Set("PageSize", strconv.Itoa(maxPageSize))
		x.decided("clamp-page-size")
	}
	size, err := integer(v, "PageSize", 1, maxPageSize, defaultPageSize)
	if err != nil {
		return pageRequest{}, err
	}
	number, err := integer(v, "Page", 0, 1<<31-1, 0)
	if err != nil {
		return pageRequest{}, err
	}
	p := pageRequest{size: size, number: number}
	if x.e.cfg.Rules.PagesWithoutToken {
		if p.skipped = size * number; p.skipped > 0 {
			x.decided("pages-without-token")
		}
	}
	if token := v.Get("PageToken"); token != "" {
		sid, ok := x.readToken(token)
		if !ok {
			return p, invalid("PageToken", "is not one that was given out")
		}
		p.after = sid
	}
	for _, name := range filters {
		if v.Has(name) {
			p.filters = append(p.filters, [2]string{name, v.Get(name)})
		}
	}
	return p, nil
}

// token names the page behind an item.
func (x *exchange) token(sid string) string {
	if x.e.cfg.Rules.OpaquePageTokens {
		x.decided("opaque-page-tokens")
		return base64url.EncodeToString([]byte(opaqueMark + sid))
	}
	return tokenPrefix + sid
}

func (x *exchange) readToken(token string) (sid string, ok bool) {
	if !x.e.cfg.Rules.OpaquePageTokens {
		return strings.CutPrefix(token, tokenPrefix)
	}
	text, err := base64url.DecodeString(token)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(text), opaqueMark)
}

// sequence is a list to be paged, in its order, without being copied.
type sequence[T any] struct {
	length  int
	at      func(i int) T
	matches func(T) bool
	sid     func(T) string
}

// window is one page and the tokens of its neighbours.
type window[T any] struct {
	items    []T
	next     string // SID for the next page's token; empty: this is the last page
	previous string // SID for the previous page's token; empty: that is the first page
	first    bool
}

// skip returns the index behind the next n items from start.
func (s sequence[T]) skip(start, n int) int {
	for ; n > 0 && start < s.length; start++ {
		if s.matches(s.at(start)) {
			n--
		}
	}
	return start
}

// cut takes the page that starts at index start.
func (s sequence[T]) cut(start, size int) window[T] {
	w := window[T]{items: []T{}, first: start == 0}
	for i := start; i < s.length; i++ {
		item := s.at(i)
		if !s.matches(item) {
			continue
		}
		if len(w.items) == size {
			w.next = s.sid(w.items[size-1])
			break
		}
		w.items = append(w.items, item)
	}
	for i, seen := start-1, 0; i >= 0; i-- {
		if item := s.at(i); s.matches(item) {
			if seen++; seen > size {
				w.previous = s.sid(item)
				break
			}
		}
	}
	return w
}

// meta is the envelope's description of a page.
type meta struct {
	Page            int     `json:"page"`
	PageSize        int     `json:"page_size"`
	FirstPageURL    string  `json:"first_page_url"`
	PreviousPageURL *string `json:"previous_page_url"`
	URL             string  `json:"url"`
	NextPageURL     *string `json:"next_page_url"`
	Key             string  `json:"key"`
}

// envelope wraps a page. path is that of the list.
func envelope[T any](x *exchange, key, path string, p pageRequest, w window[T], items any) answer {
	at := func(number int, after string) string {
		var b strings.Builder
		b.WriteString(x.baseURL() + path + "?")
		for _, f := range p.filters {
			b.WriteString(f[0] + "=" + url.QueryEscape(f[1]) + "&")
		}
		b.WriteString("PageSize=" + strconv.Itoa(p.size) + "&Page=" + strconv.Itoa(number))
		switch {
		case after == "":
		case x.e.cfg.Rules.PagesWithoutToken:
			x.decided("pages-without-token")
		default:
			b.WriteString("&PageToken=" + x.token(after))
		}
		return b.String()
	}
	m := meta{Page: p.number, PageSize: p.size, FirstPageURL: at(0, ""), URL: at(p.number, p.after), Key: key}
	if w.next != "" {
		next := at(p.number+1, w.next)
		m.NextPageURL = &next
	}
	switch {
	case !w.first:
		previous := at(max(p.number-1, 0), w.previous)
		m.PreviousPageURL = &previous
	case x.e.cfg.Rules.PreviousOfFirst:
		x.decided("previous-of-first")
		m.PreviousPageURL = &m.FirstPageURL
	}
	return answer{status: 200, body: map[string]any{key: items, "meta": m}}
}
