package challenge_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/secret"
)

// TestParameterBounds: each parameter of the API as an argument of the client,
// sent at its bound and refused beyond it before anything is sent. Where the API
// alone can judge, the client refuses only what no request can carry.
// docs/challenge-api.md cites the cases by name.
func TestParameterBounds(t *testing.T) {
	var arrived atomic.Int64
	c := newTest(t, func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/Challenges") {
			_, _ = fmt.Fprint(w, `{"challenges":[],"meta":{"next_page_url":null}}`)
			return
		}
		_, asked, _ := strings.Cut(r.URL.Path, "/Challenges/")
		_, _ = fmt.Fprintf(w, `{"sid":%q,"status":"pending"}`, cmp.Or(asked, sid))
	})
	create := func(change func(p *challenge.CreateParams, v string)) func(v string) error {
		return func(v string) error {
			p := challenge.CreateParams{FactorSID: factor}
			change(&p, v)
			_, err := c.Create(t.Context(), service, identity, p)
			return err
		}
	}
	update := func(p func(v string) challenge.UpdateParams) func(v string) error {
		return func(v string) error {
			_, err := c.Update(t.Context(), service, identity, sid, p(v))
			return err
		}
	}
	list := func(change func(p *read.ListParams, v string)) func(v string) error {
		return func(v string) error {
			var p read.ListParams
			change(&p, v)
			_, err := c.List(t.Context(), service, identity, p)
			return err
		}
	}
	at := func(serviceSID, id, challengeSID string) error {
		_, err := c.Fetch(t.Context(), serviceSID, id, challengeSID)
		return err
	}
	number := func(v string) int { n, _ := strconv.Atoi(v); return n }
	text := func(n int) string { return strings.Repeat("é", n) }
	pair := func(v string) map[string]string { return map[string]string{"k": v} } // takes eight characters beside v
	hex := strings.Repeat("0aF", 10) + "bc"
	sids := func(prefix string) (accepted, refused []string) {
		return []string{prefix + hex, prefix + strings.ToUpper(hex)},
			[]string{prefix + hex[1:], prefix + hex + "0", prefix + hex[1:] + "g", "XX" + hex}
	}
	services, noServices := sids("VA")
	challenges, noChallenges := sids("YC")
	factors, noFactors := sids("YF")
	for _, tc := range []struct {
		name              string
		call              func(v string) error
		accepted, refused []string
	}{
		{"service sid", func(v string) error { return at(v, identity, sid) }, services, append(noServices, "")},
		{"identity", func(v string) error { return at(service, v, sid) }, []string{strings.Repeat("a", 8), strings.Repeat("Z", 64), "a1-B2-c3"}, []string{
			strings.Repeat("a", 7), strings.Repeat("a", 65), "under_score", "-leading1", "trailing-", "two--dashes", "with space", "",
		}},
		{"fetch sid", func(v string) error { return at(service, identity, v) }, challenges, append(noChallenges, "")},
		{"update sid", func(v string) error {
			_, err := c.Update(t.Context(), service, identity, v, challenge.UpdateParams{})
			return err
		}, challenges, append(noChallenges, "")},
		{"create factor sid", create(func(p *challenge.CreateParams, v string) { p.FactorSID = v }), factors, append(noFactors, "")},
		{"create expiration date", create(func(p *challenge.CreateParams, v string) {
			p.ExpirationDate = time.Date(number(v), 1, 1, 0, 0, 0, 0, time.UTC)
		}), []string{"2026", "9999"}, []string{"10000"}},
		{"create message", create(func(p *challenge.CreateParams, v string) { p.Message = v }), []string{"", text(256)}, []string{text(257), "\xff"}},
		{"create fields", create(func(p *challenge.CreateParams, v string) {
			p.Fields = slices.Repeat([]read.Field{{Label: "l", Value: "v"}}, number(v))
		}), []string{"0", "20"}, []string{"21"}},
		{"create label", create(func(p *challenge.CreateParams, v string) { p.Fields = []read.Field{{Label: v, Value: "v"}} }), []string{text(36)}, []string{text(37)}},
		{"create value", create(func(p *challenge.CreateParams, v string) { p.Fields = []read.Field{{Label: "l", Value: v}} }), []string{"", text(128)}, []string{text(129)}},
		{"create hidden details", create(func(p *challenge.CreateParams, v string) { p.HiddenDetails = pair(v) }), []string{"", text(1016)}, []string{text(1017), "\xff"}},
		{"create auth payload", create(func(p *challenge.CreateParams, v string) { p.AuthPayload = secret.String(v) }), []string{"", "123", "12345678"}, []string{"12", "123456789"}},
		{"update auth payload", update(func(v string) challenge.UpdateParams {
			return challenge.UpdateParams{AuthPayload: secret.String(v)}
		}), []string{"", "123", text(5456)}, []string{text(5457)}},
		{"update metadata", update(func(v string) challenge.UpdateParams { return challenge.UpdateParams{Metadata: pair(v)} }), []string{"", text(1016)}, []string{text(1017), "\xff"}},
		{"list factor sid", list(func(p *read.ListParams, v string) { p.FactorSID = v }), append(factors, ""), noFactors},
		{"list status", list(func(p *read.ListParams, v string) { p.Status = read.Status(v) }), []string{"", "pending", "expired", "approved", "denied"}, []string{"open", "Pending"}},
		{"list order", list(func(p *read.ListParams, v string) { p.Order = read.Order(v) }), []string{"", "asc", "desc"}, []string{"ASC", "up"}},
		{"list page size", list(func(p *read.ListParams, v string) { p.PageSize = number(v) }), []string{"0", "1", "1000"}, []string{"-1", "1001"}},
		{"list page", list(func(p *read.ListParams, v string) { p.Page = new(number(v)) }), []string{"0", "7"}, []string{"-1"}},
		{"list limit", list(func(p *read.ListParams, v string) { p.Limit = number(v) }), []string{"0", "1", "5000"}, []string{"-1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if len(tc.accepted) == 0 || len(tc.refused) == 0 {
				t.Error("one direction is missing")
			}
			for _, v := range tc.accepted {
				before := arrived.Load()
				if err := tc.call(v); err != nil || arrived.Load() != before+1 {
					t.Errorf("%q: %v, %d requests", v, err, arrived.Load()-before)
				}
			}
			for _, v := range tc.refused {
				before := arrived.Load()
				wantInvalid(t, strconv.Quote(v), tc.call(v))
				if arrived.Load() != before {
					t.Errorf("%q was sent", v)
				}
			}
		})
	}
}

// What nobody sets is not sent: the API's defaults are the API's.
func TestDefaultsAreLeftToTheAPI(t *testing.T) {
	var query, form []string
	c := newTest(t, func(w http.ResponseWriter, r *http.Request) {
		query = append(query, r.URL.RawQuery)
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form = append(form, r.PostForm.Encode())
		if r.Method == http.MethodGet {
			_, _ = fmt.Fprint(w, `{"challenges":[],"meta":{"next_page_url":null}}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"sid":%q,"status":"pending"}`, sid)
	})
	if _, err := c.List(t.Context(), service, identity, read.ListParams{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Create(t.Context(), service, identity, challenge.CreateParams{FactorSID: factor}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(query, []string{"", ""}) || !slices.Equal(form, []string{"", "FactorSid=" + factor}) {
		t.Errorf("sent %q and %q", query, form)
	}
}
