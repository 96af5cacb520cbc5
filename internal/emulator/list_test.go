package emulator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// listed is one page as a caller sees it.
type listed struct {
	sids             []string
	page, size       int
	first, url       string
	next, previous   string // empty: null
	nextSet, prevSet bool
}

func (a *api) list(target string) listed {
	a.t.Helper()
	return readPage(a.t, a.want(a.get(target), 200, 0), "challenges")
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func readPage(t fataler, r reply, key string) listed {
	t.Helper()
	items, ok1 := r.body[key].([]any)
	meta, ok2 := r.body["meta"].(map[string]any)
	if !ok1 || !ok2 || meta["key"] != key || len(meta) != 7 {
		t.Fatalf("not a page of %s: %s", key, r.raw)
	}
	out := listed{first: meta["first_page_url"].(string), url: meta["url"].(string)} //nolint:forcetypeassert // the test would fail
	for _, item := range items {
		out.sids = append(out.sids, item.(map[string]any)["sid"].(string)) //nolint:forcetypeassert // as above
	}
	out.page, out.size = int(meta["page"].(float64)), int(meta["page_size"].(float64)) //nolint:forcetypeassert // as above
	out.next, out.nextSet = meta["next_page_url"].(string)
	out.previous, out.prevSet = meta["previous_page_url"].(string)
	return out
}

func TestListShowsFiltersAndTokensInItsURLs(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, PublicURL: "https://api.example"})
	key := newKey(t)
	f, err := a.e.AddPushFactor("USER-0001-abcd", &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var sids []string
	for range 5 {
		sids = append(sids, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
	}
	base := "https://api.example" + challenges("user-0001-abcd") + "?FactorSid=" + f.SID + "&Status=pending&Order=desc&PageSize=2&Page="
	path := challenges("User-0001-abcd") + "?Order=desc&PageSize=2&Status=pending&FactorSid=" + f.SID
	p0 := a.list(path)
	if !slices.Equal(p0.sids, []string{sids[4], sids[3]}) || p0.first != base+"0" || p0.url != base+"0" ||
		p0.next != base+"1&PageToken=DN"+sids[3] || p0.prevSet || p0.page != 0 || p0.size != 2 {
		t.Fatalf("%+v", p0)
	}
	follow := func(u string) listed { return a.list(strings.Replace(u, "https://api.example", a.base, 1)) }
	p1 := follow(p0.next)
	if !slices.Equal(p1.sids, []string{sids[2], sids[1]}) || p1.first != base+"0" || p1.url != p0.next ||
		p1.next != base+"2&PageToken=DN"+sids[1] || p1.previous != base+"0" || p1.page != 1 {
		t.Fatalf("%+v", p1)
	}
	p2 := follow(p1.next)
	if !slices.Equal(p2.sids, []string{sids[0]}) || p2.nextSet || p2.previous != p1.url {
		t.Fatalf("%+v", p2)
	}
	if plain := a.list(challenges(identity)); !slices.Equal(plain.sids, sids) || plain.size != 50 ||
		plain.url != "https://api.example"+challenges("user-0001-abcd")+"?PageSize=50&Page=0" {
		t.Fatalf("%+v", plain)
	}
}

func TestListParametersAtTheirBounds(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, _ := a.pushFactor()
	sid := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid")
	for query, ok := range map[string]bool{
		"PageSize=1": true, "PageSize=1000": true, "PageSize=0": false, "PageSize=1001": false, "PageSize=-1": false, "PageSize=x": false, "PageSize=": false,
		"Page=0": true, "Page=7": true, "Page=-1": false, "Page=x": false,
		"PageToken=DN" + sid: true, "PageToken=" + sid: false, "PageToken=DNYC" + noSID: false, "PageToken=PB" + sid: false, "PageToken=": true,
		"Order=asc": true, "Order=desc": true, "Order=ASC": false, "Order=": false,
		"Status=pending": true, "Status=expired": true, "Status=approved": true, "Status=denied": true, "Status=open": false,
		"FactorSid=" + f.SID: true, "FactorSid=YF" + noSID: true, "FactorSid=YF": false, "FactorSid=": false,
	} {
		r := a.get(challenges(identity) + "?" + query)
		if (r.status == 200) != ok || !ok && (r.status != 400 || r.code() != 60306) {
			t.Errorf("%s: %s", query, r.raw)
		}
	}
	b := handled(t, emulator.Config{Rules: emulator.Rules{ClampPageSize: true}})
	b.pushFactor()
	if p := b.list(challenges(identity) + "?PageSize=5000"); p.size != 1000 {
		t.Errorf("clamped to %d", p.size)
	}
}

func TestListByStatus(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, key := a.pushFactor()
	late := a.pushed(f.SID)
	c.move(5 * time.Minute)
	yes, no, open := a.pushed(f.SID), a.pushed(f.SID), a.pushed(f.SID)
	a.want(a.answer(yes, yes.sign(t, key, "approved")), 200, 0)
	a.want(a.answer(no, no.sign(t, key, "denied")), 200, 0)
	for status, p := range map[string]pushed{"expired": late, "approved": yes, "denied": no, "pending": open} {
		got := a.list(challenges(identity) + "?Status=" + status)
		if len(got.sids) != 1 || !strings.HasSuffix(p.path, got.sids[0]) {
			t.Errorf("%s: %v", status, got.sids)
		}
	}
}

func TestListOrderSurvivesAClockThatStepsBack(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now})
	f, _ := a.pushFactor()
	sid := func() string { return a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid") }
	first := sid()
	c.move(-time.Minute)
	earlier := sid()
	c.move(time.Minute)
	last := sid()
	if got := a.list(challenges(identity)).sids; !slices.Equal(got, []string{earlier, first, last}) {
		t.Errorf("%v, want %v", got, []string{earlier, first, last})
	}
}

// model is what a list must show, in creation order.
type model struct{ sid, factor, status string }

// TestPagesAreTheList walks random lists by their own URLs: the pages, joined, are the filtered
// list in order, each full but the last, and previous leads back.
func TestPagesAreTheList(t *testing.T) {
	c := newClock()
	e, err := emulator.New(emulator.Config{Now: c.now, PublicURL: "http://emulator.test"})
	if err != nil {
		t.Fatal(err)
	}
	a := &api{t: t, e: e, user: emulator.DefaultAccountSID, pass: emulator.DefaultAuthToken, base: "http://emulator.test"}
	a.do = func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		return w.Result(), nil
	}
	count := 0
	rapid.Check(t, func(rt *rapid.T) {
		count++
		id := fmt.Sprintf("identity-%d", count)
		all := fill(a, rt, c, id)
		status := rapid.SampledFrom([]string{"", "pending", "approved", "expired"}).Draw(rt, "status")
		factor := rapid.SampledFrom([]string{"", all.factors[0], all.factors[1]}).Draw(rt, "factor")
		desc := rapid.Bool().Draw(rt, "desc")
		size := rapid.IntRange(1, 12).Draw(rt, "size")
		var want []string
		for _, m := range all.made {
			if (status == "" || m.status == status) && (factor == "" || m.factor == factor) {
				want = append(want, m.sid)
			}
		}
		query := url.Values{"PageSize": {strconv.Itoa(size)}}
		if status != "" {
			query.Set("Status", status)
		}
		if factor != "" {
			query.Set("FactorSid", factor)
		}
		if desc {
			slices.Reverse(want)
			query.Set("Order", "desc")
		}
		walk(a, rt, challenges(id)+"?"+query.Encode(), size, want)
	})
}

type filled struct {
	factors []string
	made    []model
}

// fill makes challenges of two factors that are pending, approved or expired.
func fill(a *api, rt *rapid.T, c *clock, id string) filled {
	a.t.Helper()
	var out filled
	for range 2 {
		f, err := a.e.AddTOTPFactor(id, "")
		if err != nil {
			rt.Fatal(err)
		}
		out.factors = append(out.factors, f.SID+" "+f.Secret)
	}
	add := func(status string) {
		factor := rapid.SampledFrom(out.factors).Draw(rt, "of")
		sid, secret, _ := strings.Cut(factor, " ")
		form := url.Values{"FactorSid": {sid}}
		if status == "approved" {
			code, err := device.TOTP(secret, "sha1", 30*time.Second, 6, c.now())
			if err != nil {
				rt.Fatal(err)
			}
			form.Set("AuthPayload", code)
		}
		r := a.want(a.post(challenges(id), form), 201, 0)
		out.made = append(out.made, model{r.text("sid"), sid, status})
		c.move(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "pause")) * time.Millisecond)
	}
	for range rapid.IntRange(0, 12).Draw(rt, "expired") {
		add("expired")
	}
	c.move(6 * time.Minute)
	for range rapid.IntRange(0, 20).Draw(rt, "rest") {
		add(rapid.SampledFrom([]string{"pending", "approved"}).Draw(rt, "made"))
	}
	for i, f := range out.factors {
		out.factors[i], _, _ = strings.Cut(f, " ")
	}
	return out
}

func walk(a *api, rt *rapid.T, target string, size int, want []string) {
	var got []string
	var pages []listed
	for {
		p := readPage(rt, a.want(a.get(target), 200, 0), "challenges")
		if p.page != len(pages) {
			rt.Fatalf("page %d says it is %d", len(pages), p.page)
		}
		if p.nextSet && len(p.sids) != size {
			rt.Fatalf("a page of %d of %d that is not the last", len(p.sids), size)
		}
		got, pages = append(got, p.sids...), append(pages, p)
		if !p.nextSet {
			break
		}
		if len(pages) > len(want)+1 {
			rt.Fatalf("pages without end")
		}
		target = p.next
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("got %v, want %v", got, want)
	}
	for i := len(pages) - 1; i > 0; i-- {
		back := readPage(rt, a.want(a.get(pages[i].previous), 200, 0), "challenges")
		if !slices.Equal(back.sids, pages[i-1].sids) {
			rt.Fatalf("previous of page %d is %v, want %v", i, back.sids, pages[i-1].sids)
		}
	}
	if pages[0].prevSet {
		rt.Fatalf("the first page has a previous one")
	}
}

// A list that is walked while challenges are added, in ascending order, misses and repeats none.
func TestPagesWhileTheListGrows(t *testing.T) {
	a := handled(t, emulator.Config{PublicURL: "http://emulator.test"})
	f, _ := a.pushFactor()
	var want, got []string
	grow := func() {
		for range 3 {
			want = append(want, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
		}
	}
	grow()
	for target := challenges(identity) + "?PageSize=2"; target != ""; {
		p := a.list(target)
		got, target = append(got, p.sids...), p.next
		if len(want) < 20 {
			grow()
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestListsOfFactorsAndEntities(t *testing.T) {
	a := handled(t, emulator.Config{PublicURL: "http://emulator.test"})
	var entities, made []string
	for i := range 7 {
		id := fmt.Sprintf("identity-%d", i)
		r := a.want(a.post("/v2/Services/"+service+"/Entities", url.Values{"Identity": {id}}), 201, 0)
		entities = append(entities, r.text("sid"))
		r = a.want(a.post(factors("identity-0"), with(newTOTP(), "Binding.Secret")), 201, 0)
		made = append(made, r.text("sid"))
	}
	a.want(a.post("/v2/Services/VA"+noSID+"/Entities", url.Values{"Identity": {identity}}), 201, 0) // of another service
	for key, want := range map[string][]string{"entities": entities, "factors": made} {
		target := map[string]string{"entities": "/v2/Services/" + service + "/Entities", "factors": factors("Identity-0")}[key]
		var got []string
		for target += "?PageSize=3"; target != ""; {
			p := readPage(t, a.want(a.get(target), 200, 0), key)
			got, target = append(got, p.sids...), p.next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
		base := map[string]string{"entities": "/v2/Services/" + service + "/Entities", "factors": factors("identity-0")}[key]
		a.want(a.get(base+"?PageToken=DNYE"+noSID), 400, 60306)
	}
}
