package emulator_test

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// TestAPIBounds: paths, lists and updates at their bounds and beyond. Creates have
// TestCreateParametersAtTheirBounds. docs/challenge-api.md cites the cases by name.
func TestAPIBounds(t *testing.T) {
	a := handled(t, emulator.Config{PublicURL: "http://emulator.test"})
	f, _ := a.pushFactor()
	push := a.pushed(f.SID)
	sid := push.path[len(push.path)-34:]
	totp := a.totpFactor()
	text := func(n int) string { return strings.Repeat("é", n) }
	// bad lists what is no SID of that prefix.
	bad := func(prefix string) []string {
		hex := strings.Repeat("0", 32)
		return []string{prefix + hex[1:], prefix + hex + "0", prefix + hex[1:] + "g", "XX" + hex, strings.ToLower(prefix) + hex}
	}
	get := func(path string) func(v string) reply {
		return func(v string) reply { return a.get(fmt.Sprintf(path, url.PathEscape(v))) }
	}
	list := func(name string) func(v string) reply {
		return func(v string) reply { return a.get(challenges(identity) + "?" + name + "=" + url.QueryEscape(v)) }
	}
	update := func(path, name string) func(v string) reply {
		return func(v string) reply { return a.post(path, url.Values{name: {v}}) }
	}
	// code answers a challenge of its own, because the attempts of one are limited.
	code := func(v string) reply {
		open := a.want(a.post(challenges(identity), url.Values{"FactorSid": {totp.SID}}), 201, 0).text("sid")
		return a.post(challenges(identity)+"/"+open, url.Values{"AuthPayload": {v}})
	}
	for _, tc := range []struct {
		name              string
		call              func(v string) reply
		accepted, refused []string
	}{
		{"service sid", get("/v2/Services/%s/Entities"), []string{service, "VA" + strings.Repeat("aF", 16)}, bad("VA")},
		{"identity", get("/v2/Services/" + service + "/Entities/%s"), []string{strings.Repeat("a", 8), strings.Repeat("Z", 64), "a1-B2-c3"}, []string{
			strings.Repeat("a", 7), strings.Repeat("a", 65), "under_score", "-leading1", "trailing-", "two--dashes", "with space",
		}},
		{"fetch sid", get(challenges(identity) + "/%s"), []string{sid, "YC" + strings.Repeat("aF", 16)}, bad("YC")},
		{"update sid", func(v string) reply {
			return a.post(challenges(identity)+"/"+v, url.Values{"Metadata": {`{}`}})
		}, []string{sid, "YC" + strings.Repeat("aF", 16)}, bad("YC")},
		{"list factor sid", list("FactorSid"), []string{f.SID, "YF" + strings.Repeat("aF", 16)}, append(bad("YF"), "")},
		{"list status", list("Status"), []string{"pending", "expired", "approved", "denied"}, []string{"open", "Pending", ""}},
		{"list order", list("Order"), []string{"asc", "desc"}, []string{"ASC", "up", ""}},
		{"list page size", list("PageSize"), []string{"1", "1000"}, []string{"0", "1001", "-1", "1.5", "x", ""}},
		{"list page", list("Page"), []string{"0", "7"}, []string{"-1", "x", ""}},
		{"list page token", list("PageToken"), []string{"DN" + sid}, []string{sid, "PB" + sid, "DNYC" + noSID}},
		{"update auth payload of push", update(push.path, "AuthPayload"), []string{"x", text(5456)}, []string{"", text(5457)}},
		{"update auth payload of totp", code, []string{"123", "12345678"}, []string{"", "12", "123456789"}},
		{"update metadata length", update(push.path, "Metadata"), []string{"{}", jsonMap(1024, "日")}, []string{"", jsonMap(1025, "x")}},
		{"update metadata values", update(push.path, "Metadata"), []string{`{"os":"Android"}`}, []string{
			`{"os":1}`, `{"os":null}`, `{"os":{"n":"x"}}`, `[]`, `null`, `os`, `"{}"`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// What is well formed may be missing, or prove nothing: that is another answer.
			for _, v := range tc.accepted {
				if r := tc.call(v); r.status == 400 || r.status >= 500 {
					t.Errorf("%q: %s", v, r.raw)
				}
			}
			for _, v := range tc.refused {
				if r := tc.call(v); r.status != 400 || r.code() != 60306 {
					t.Errorf("%q: %d %s", v, r.status, r.raw)
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "http://emulator.test"})
	f, _ := a.pushFactor()
	var made []string
	for range 51 {
		made = append(made, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
	}
	page := a.list(challenges(identity))
	t.Run("expiration date", func(t *testing.T) {
		r := a.want(a.get(challenges(identity)+"/"+made[0]), 200, 0)
		if r.text("date_created") != "2026-03-04T05:06:07Z" || r.text("expiration_date") != "2026-03-04T05:11:07Z" {
			t.Errorf("%s", r.raw)
		}
	})
	t.Run("page size", func(t *testing.T) {
		if page.size != 50 || len(page.sids) != 50 || !page.nextSet {
			t.Errorf("%+v", page)
		}
	})
	t.Run("order", func(t *testing.T) {
		if !slices.Equal(page.sids, made[:50]) {
			t.Errorf("%v, made %v", page.sids, made)
		}
	})
	t.Run("page", func(t *testing.T) {
		if page.page != 0 || a.list(challenges(identity)+"?Page=7").page != 7 {
			t.Errorf("%+v", page)
		}
	})
}

// TestResourceProperties: each property of the challenges that the emulator shows
// has the form that the description gives it, and each value of an enumeration is
// to be had. docs/challenge-api.md cites the cases by name.
func TestResourceProperties(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "https://api.example", Rules: emulator.Rules{OtherRespondedReasons: true}})
	f, key := a.pushFactor()
	totp := a.totpFactor()
	a.passkeysFactor()
	approve, deny := a.pushed(f.SID), a.pushed(f.SID)
	a.want(a.post(approve.path, url.Values{"AuthPayload": {approve.sign(t, key, "approved")}, "Metadata": {`{"os":"Any"}`}}), 200, 0)
	a.want(a.answer(deny, deny.sign(t, key, "denied")), 200, 0)
	code, err := device.TOTP(rfcSecret20, "sha1", 30*time.Second, 6, c.now())
	if err != nil {
		t.Fatal(err)
	}
	a.want(a.post(challenges(identity), url.Values{"FactorSid": {totp.SID}, "AuthPayload": {code}}), 201, 0)
	a.pushed(f.SID)
	c.move(5 * time.Minute)
	a.want(a.post(challenges(identity), url.Values{"FactorSid": {totp.SID}}), 201, 0)
	a.want(a.postJSON(passkeys+"Challenges", `{"identity":"`+identity+`"}`), 201, 0)
	items, _ := a.want(a.get(challenges(identity)), 200, 0).body["challenges"].([]any)
	if len(items) != 6 {
		t.Fatalf("%d challenges", len(items))
	}
	sid := func(prefix string) string { return "^" + prefix + "[0-9a-fA-F]{32}$" }
	const date, null, object = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, "^<nil>$", `^map\[`
	for name, tc := range map[string]struct {
		form   string
		values []string // that are to be seen; nil: whatever has the form
	}{
		"sid":              {sid("YC"), nil},
		"account_sid":      {sid("AC"), nil},
		"service_sid":      {sid("VA"), nil},
		"entity_sid":       {sid("YE"), nil},
		"identity":         {"^" + identity + "$", []string{identity}},
		"factor_sid":       {sid("YF") + "|^$", nil}, // empty: a passkeys challenge of no factor
		"date_created":     {date, nil},
		"date_updated":     {date, nil},
		"date_responded":   {date + "|" + null, []string{"<nil>"}},
		"expiration_date":  {date + "|" + null, []string{"<nil>"}},
		"status":           {"^(pending|expired|approved|denied)$", []string{"approved", "denied", "expired", "pending"}},
		"responded_reason": {"^(none|not_needed|not_requested)$", []string{"none", "not_needed", "not_requested"}},
		"details":          {object + "|" + null, []string{"<nil>"}},
		"hidden_details":   {object + "|" + null, []string{"<nil>", "map[ip:10.0.0.1]"}},
		"metadata":         {object + "|" + null, []string{"<nil>", "map[os:Any]"}},
		"factor_type":      {"^(push|totp|passkeys)$", []string{"passkeys", "push", "totp"}},
		"url":              {"^https://api.example/v2/Services/" + service, nil},
		"links":            {`^map\[notifications:https://api.example/.*/Notifications\]$|` + null, []string{"<nil>"}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for _, item := range items {
				all, _ := item.(map[string]any)
				value, ok := all[name]
				text := fmt.Sprint(value)
				if seen[text] = true; !ok || !regexp.MustCompile(tc.form).MatchString(text) {
					t.Errorf("%s of %v", text, all["sid"])
				}
			}
			for _, value := range tc.values {
				if !seen[value] {
					t.Errorf("%q is never shown, but %v", value, slices.Sorted(maps.Keys(seen)))
				}
			}
		})
	}
}

// TestListEnvelope: each part of a list's answer has the form of the description's
// example, on a page that has neighbours on both sides. docs/challenge-api.md cites
// the cases by name.
func TestListEnvelope(t *testing.T) {
	a := handled(t, emulator.Config{PublicURL: "https://api.example"})
	f, _ := a.pushFactor()
	var made []string
	for range 5 {
		made = append(made, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
	}
	base := "https://api.example" + challenges(identity) + "?PageSize=2&Page="
	r := a.want(a.get(challenges(identity)+"?PageSize=2&Page=1&PageToken=DN"+made[1]), 200, 0)
	meta, _ := r.body["meta"].(map[string]any)
	items, _ := r.body["challenges"].([]any)
	if len(r.body) != 2 || len(meta) != 7 {
		t.Errorf("%s", r.raw)
	}
	t.Run("challenges", func(t *testing.T) {
		for i, sid := range made[2:4] {
			item, _ := items[i].(map[string]any)
			if fetched := a.want(a.get(challenges(identity)+"/"+sid), 200, 0); !reflect.DeepEqual(item, fetched.body) {
				t.Errorf("item %d is %v, fetched %s", i, item, fetched.raw)
			}
		}
		if len(items) != 2 {
			t.Errorf("%d items", len(items))
		}
	})
	for name, want := range map[string]any{
		"page":              1.0,
		"page_size":         2.0,
		"first_page_url":    base + "0",
		"previous_page_url": base + "0",
		"url":               base + "1&PageToken=DN" + made[1],
		"next_page_url":     base + "2&PageToken=DN" + made[3],
		"key":               "challenges",
	} {
		t.Run(name, func(t *testing.T) {
			if meta[name] != want {
				t.Errorf("%v, want %v", meta[name], want)
			}
		})
	}
}

// TestPropertyBounds: what the reference bounds in an answer, as the challenge of a
// request at the bound shows it. docs/challenge-api.md cites the cases by name.
func TestPropertyBounds(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, _ := a.pushFactor()
	t.Run("metadata", func(t *testing.T) {
		text := jsonMap(1024, "日")
		p := a.pushed(f.SID)
		if r := a.want(a.post(p.path, url.Values{"Metadata": {text}}), 200, 0); !strings.Contains(string(r.raw), `"metadata":`+text) {
			t.Errorf("%s", r.raw)
		}
		a.want(a.post(p.path, url.Values{"Metadata": {jsonMap(1025, "日")}}), 400, 60306)
	})
	for name, tc := range map[string]struct{ asked, shown string }{
		"expiration date left out":    {"", "2026-03-04T05:11:07Z"},
		"expiration date at the most": {"2026-03-04T06:06:07Z", "2026-03-04T06:06:07Z"},
	} {
		t.Run(name, func(t *testing.T) {
			form := pushForm(f.SID)
			if tc.asked != "" {
				form.Set("ExpirationDate", tc.asked)
			}
			if r := a.want(a.post(challenges(identity), form), 201, 0); r.text("expiration_date") != tc.shown {
				t.Errorf("%s", r.raw)
			}
		})
	}
}
