package clients

import (
	"slices"
	"strings"
	"time"

	verify "github.com/twilio/twilio-go/rest/verify/v2"

	"github.com/countersign/countersign/internal/emulator"
)

func (w *world) list(p *verify.ListChallengeParams) (sids []string) {
	w.Helper()
	items, err := w.api.ListChallenge(service, identity, p)
	must(w, err)
	for _, item := range items {
		sids = append(sids, *item.Sid)
	}
	return sids
}

// askMany makes challenges, a second apart.
func (w *world) askMany(f push, n int) (sids []string) {
	w.Helper()
	for range n {
		sids = append(sids, w.ask(f))
		w.clock.move(time.Second)
	}
	return sids
}

func listFilters(w *world) {
	first, second := w.push(), w.push()
	expired := w.ask(first)
	w.clock.move(5 * time.Minute)
	approved, denied, pending, other := w.ask(first), w.ask(first), w.ask(first), w.ask(second)
	for sid, status := range map[string]string{approved: "approved", denied: "denied"} {
		_, err := w.answer(sid, w.signed(first, sid, status))
		must(w, err)
	}
	for _, tc := range []struct {
		factor, status string
		want           []string
	}{
		{"", "", []string{expired, approved, denied, pending, other}},
		{first.sid, "", []string{expired, approved, denied, pending}},
		{second.sid, "", []string{other}},
		{"", "pending", []string{pending, other}},
		{first.sid, "pending", []string{pending}},
		{"", "expired", []string{expired}},
		{"", "approved", []string{approved}},
		{"", "denied", []string{denied}},
		{second.sid, "denied", nil},
	} {
		p := &verify.ListChallengeParams{}
		if tc.factor != "" {
			p.SetFactorSid(tc.factor)
		}
		if tc.status != "" {
			p.SetStatus(tc.status)
		}
		if got := w.list(p); !slices.Equal(got, tc.want) {
			w.Errorf("%q, %q: %v, want %v", tc.factor, tc.status, got, tc.want)
		}
	}
}

func listOrder(w *world) {
	want := w.askMany(w.push(), 5)
	if got := w.list(&verify.ListChallengeParams{}); !slices.Equal(got, want) {
		w.Errorf("by default %v, want %v", got, want)
	}
	if got := w.list((&verify.ListChallengeParams{}).SetOrder("asc")); !slices.Equal(got, want) {
		w.Errorf("asc %v, want %v", got, want)
	}
	slices.Reverse(want)
	if got := w.list((&verify.ListChallengeParams{}).SetOrder("desc").SetPageSize(2)); !slices.Equal(got, want) {
		w.Errorf("desc %v, want %v", got, want)
	}
}

// listPageSizeAndLimit: twilio-go asks for no more than it was told to give, and
// for no page that it does not need.
func listPageSizeAndLimit(w *world) {
	all := w.askMany(w.push(), 7)
	for _, tc := range []struct {
		size, limit int // zero: not given
		items       int
		pages       int64
	}{
		{0, 0, 7, 1}, {2, 0, 7, 4}, {7, 0, 7, 1}, {3, 4, 4, 2}, {2, 4, 4, 2}, {0, 3, 3, 1}, {1, 0, 7, 7}, {1000, 0, 7, 1}, {0, 20, 7, 1},
	} {
		p := &verify.ListChallengeParams{}
		if tc.size > 0 {
			p.SetPageSize(tc.size)
		}
		if tc.limit > 0 {
			p.SetLimit(tc.limit)
		}
		before := w.calls(emulator.OperationList)
		if got := w.list(p); !slices.Equal(got, all[:tc.items]) {
			w.Errorf("%+v: %v", tc, got)
		}
		if pages := w.calls(emulator.OperationList) - before; pages != tc.pages {
			w.Errorf("%+v: %d pages read", tc, pages)
		}
	}
}

func listStreamsManyPages(w *world) {
	want := w.askMany(w.push(), 120)
	stream, failed := w.api.StreamChallenge(service, identity, (&verify.ListChallengeParams{}).SetPageSize(7))
	var got []string
	for item := range stream {
		got = append(got, *item.Sid)
	}
	must(w, <-failed)
	if !slices.Equal(got, want) {
		w.Errorf("%d of %d streamed, or in another order", len(got), len(want))
	}
	if pages := w.calls(emulator.OperationList); pages != 18 {
		w.Errorf("%d pages read, want 18", pages)
	}
}

func listStreamEndsAtLimit(w *world) {
	want := w.askMany(w.push(), 30)
	stream, failed := w.api.StreamChallenge(service, identity, (&verify.ListChallengeParams{}).SetPageSize(7).SetLimit(10))
	var got []string
	for item := range stream {
		got = append(got, *item.Sid)
	}
	must(w, <-failed)
	if !slices.Equal(got, want[:10]) || w.calls(emulator.OperationList) != 2 {
		w.Errorf("%d streamed over %d pages", len(got), w.calls(emulator.OperationList))
	}
}

// listPages: the page of twilio-go has the API's own URLs; a page is asked for
// by token and number.
func listPages(w *world) {
	f := w.push()
	want := w.askMany(f, 5)
	p := (&verify.ListChallengeParams{}).SetPageSize(2).SetFactorSid(f.sid).SetStatus("pending").SetOrder("asc")
	first, err := w.api.PageChallenge(service, identity, p, "", "")
	must(w, err)
	if len(first.Challenges) != 2 || *first.Challenges[0].Sid != want[0] || first.Meta.Key != "challenges" || first.Meta.PageSize != 2 || first.Meta.Page != 0 {
		w.Errorf("%+v", first.Meta)
	}
	if first.Meta.PreviousPageUrl != nil || first.Meta.NextPageUrl == nil || !strings.HasPrefix(*first.Meta.NextPageUrl, w.e.URL()) {
		w.Fatalf("%+v", first.Meta)
	}
	for _, kept := range []string{"FactorSid=" + f.sid, "Status=pending", "Order=asc", "PageSize=2", "Page=1", "PageToken=DN" + want[1]} {
		if !strings.Contains(*first.Meta.NextPageUrl, kept) {
			w.Errorf("%q has no %s", *first.Meta.NextPageUrl, kept)
		}
	}
	second, err := w.api.PageChallenge(service, identity, p, "DN"+want[1], "1")
	must(w, err)
	if len(second.Challenges) != 2 || *second.Challenges[0].Sid != want[2] || second.Meta.Page != 1 || second.Meta.PreviousPageUrl == nil {
		w.Errorf("%+v", second.Meta)
	}
	last, err := w.api.PageChallenge(service, identity, p, "DN"+want[3], "2")
	must(w, err)
	if len(last.Challenges) != 1 || *last.Challenges[0].Sid != want[4] || last.Meta.NextPageUrl != nil {
		w.Errorf("%+v", last.Meta)
	}
}

func listEmpty(w *world) {
	w.push()
	if got := w.list(nil); len(got) != 0 {
		w.Errorf("%v", got)
	}
}

func listPageSizeClamped(w *world) {
	want := w.askMany(w.push(), 3)
	if got := w.list((&verify.ListChallengeParams{}).SetPageSize(1001)); !slices.Equal(got, want) {
		w.Errorf("%v, want %v", got, want)
	}
	page, err := w.api.PageChallenge(service, identity, (&verify.ListChallengeParams{}).SetPageSize(1001), "", "")
	if must(w, err); page.Meta.PageSize != 1000 {
		w.Errorf("%+v", page.Meta)
	}
}
