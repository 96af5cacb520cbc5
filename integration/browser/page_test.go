package browser

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/internal/phones"
)

// world is an emulator with two phones and their page, in this process.
type world struct {
	t      *testing.T
	api    *emulator.Emulator
	page   *phones.Page
	phones []phones.Phone
	client *http.Client
	clock  atomic.Int64 // nanoseconds that the API's clock is ahead
}

func newWorld(t *testing.T) *world {
	t.Helper()
	chromium(t) // to be skipped before anything is started
	w := &world{t: t, client: &http.Client{Transport: &http.Transport{}, Timeout: patience}}
	now := func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) }
	var err error
	w.api, err = emulator.New(emulator.Config{Now: now})
	must(t, err)
	must(t, w.api.Start(t.Context()))
	for _, name := range []string{"phone-0001", "phone-0002"} {
		d, err := device.Enrol(t.Context(), device.Config{
			BaseURL: w.api.URL(), ServiceSID: emulator.DefaultServiceSID, Identity: name,
			Username: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, HTTPClient: w.client, Now: now,
		})
		must(t, err)
		w.phones = append(w.phones, phones.Phone{Identity: name, Device: d, Command: "countersign send --identity " + name})
	}
	w.page, err = phones.New(phones.Config{Phones: w.phones, Created: w.api.CreatedAfter, Now: now})
	must(t, err)
	must(t, w.page.Start(t.Context()))
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := errors.Join(w.page.Close(ctx), w.api.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return w
}

// create makes a challenge as a backend would.
func (w *world) create(i int, message string) (sid string) {
	w.t.Helper()
	form := url.Values{
		"FactorSid": {w.phones[i].Device.Factor().SID}, "Details.Message": {message},
		"Details.Fields": {`{"label":"Place","value":"<b>Oslo</b>"}`}, "HiddenDetails": {`{"risk":"not-for-the-eye"}`},
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost,
		w.api.URL()+"/v2/Services/"+emulator.DefaultServiceSID+"/Entities/"+w.phones[i].Identity+"/Challenges", strings.NewReader(form.Encode()))
	must(w.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	res, err := w.client.Do(req)
	must(w.t, err)
	defer func() { _ = res.Body.Close() }()
	var made struct{ SID string }
	must(w.t, json.NewDecoder(res.Body).Decode(&made))
	if made.SID == "" {
		w.t.Fatal(res.Status)
	}
	return made.SID
}

// status is how the API shows a challenge.
func (w *world) status(sid string) string {
	w.t.Helper()
	c, err := w.phones[0].Device.Fetch(w.t.Context(), sid)
	must(w.t, err)
	return c.Status
}

const shown = "document.querySelectorAll('.challenge').length"

// TestPage: a challenge appears by itself, counts down, is denied by a click
// and approved by keyboard; who listens hears of it; nothing is written as markup.
func TestPage(t *testing.T) {
	w := newWorld(t)
	b := newTab(t, 1280, 860)
	b.do(chromedp.Navigate(w.page.URL()))
	b.await("live page", "document.querySelector('#link').textContent === 'Live' && document.querySelectorAll('.phone').length === 2")
	if body := b.text("body"); !strings.Contains(body, "phone-0001") || !strings.Contains(body, "No challenge is waiting.") || strings.Contains(body, "Send a request") {
		t.Errorf("%s", body)
	}

	denied := w.create(0, "Pay 20 EUR?")
	b.await("challenge", shown+" === 1")
	text := b.text(".challenge")
	for _, want := range []string{"Pay 20 EUR?", "Place", "<b>Oslo</b>", "Expires in ", "Approve", "Deny"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	if html := eval[string](b, "document.documentElement.outerHTML"); strings.Contains(html, "not-for-the-eye") || strings.Contains(html, "<b>") {
		t.Error("hidden details, or markup of a stranger, are in the page")
	}
	b.await("news for who listens", "document.querySelector('#news[aria-live]').textContent === 'New challenge on phone-0001: Pay 20 EUR?'")
	if title := eval[string](b, "document.title"); !strings.HasPrefix(title, "(1) ") {
		t.Errorf("title %q", title)
	}
	before := seconds(t, b.text(".left"))
	b.await("countdown", "document.querySelector('.left').innerText !== "+strconv.Quote(b.text(".left")))
	if after := seconds(t, b.text(".left")); after >= before {
		t.Errorf("from %d to %d seconds", before, after)
	}

	b.do(chromedp.Click(chromedp.CSS(".deny")))
	b.await("denied", shown+" === 0 && document.querySelector('.past').innerText.includes('Denied')")
	if got := w.status(denied); got != "denied" {
		t.Errorf("the API says %s", got)
	}
	b.await("news of it", "document.querySelector('#news').textContent === 'Denied: Pay 20 EUR?'")

	// By keyboard alone, from the top of the page. A second challenge waits.
	approved := w.create(0, "Sign in?")
	b.await("challenge", shown+" === 1")
	other := w.create(0, "Leave?")
	b.await("challenges", shown+" === 2")
	b.do(chromedp.Navigate(w.page.URL()))
	b.await("challenges", shown+" === 2")
	passed := b.tabTo("Approve: Sign in?")
	if len(passed) != 2 || !strings.Contains(passed[0], "Approve: Leave?") || !strings.Contains(passed[1], "Deny: Leave?") {
		t.Errorf("Tab passed %q", passed)
	}
	b.do(chromedp.KeyEvent("\r"))
	b.await("approved", shown+" === 1 && document.querySelector('.past').innerText.includes('Approved')")
	if got := w.status(approved); got != "approved" {
		t.Errorf("the API says %s", got)
	}
	if got := b.focused(); !strings.Contains(got, "phone-0001") {
		t.Errorf("the focus went to %q", got)
	}
	b.do(chromedp.KeyEvent("\r")) // a second press answers nothing else
	if got := w.status(other); got != "pending" {
		t.Errorf("the API says %s of the other challenge", got)
	}
	b.await("flow", "document.querySelectorAll('#flow > li').length === 3 && document.querySelector('#flow').innerText.includes('Approved')")
	b.quiet()
}

// seconds reads a countdown.
func seconds(t *testing.T, text string) int {
	t.Helper()
	minutes, rest, ok := strings.Cut(strings.TrimPrefix(text, "Expires in "), ":")
	m, err := strconv.Atoi(minutes)
	s, err2 := strconv.Atoi(rest)
	if err := errors.Join(err, err2); err != nil || !ok {
		t.Fatalf("%q: %v", text, err)
	}
	return 60*m + s
}

// TestPageTellsWhatWentWrong: what cannot be answered says why, where it was
// pressed.
func TestPageTellsWhatWentWrong(t *testing.T) {
	w := newWorld(t)
	b := newTab(t, 1280, 860)
	b.do(chromedp.Navigate(w.page.URL()))
	sid := w.create(0, "Sign in?")
	b.await("challenge", shown+" === 1")

	must(t, w.api.Outage(time.Hour))
	b.do(chromedp.Click(chromedp.CSS(".approve")))
	b.await("alarm", "document.querySelector('[role=alert]').innerText.includes('The API does not answer')")
	b.await("notice", "document.querySelector('.notice').innerText.includes('Trying again')")
	w.api.EndOutage()
	b.await("no notice", "document.querySelector('.notice').innerText === ''")
	b.tabTo("Dismiss")
	b.do(chromedp.KeyEvent("\r"))
	b.await("no alarm", "document.querySelector('.alarm') === null")

	// Expired between the last look of the page and the button.
	eval[bool](b, `(() => {
		const real = window.fetch;
		window.fetch = (...args) => new Promise((go) => { window.letGo = go; }).then(() => real(...args));
		return true;
	})()`)
	b.do(chromedp.Click(chromedp.CSS(".approve")))
	b.await("busy", "document.querySelector('.busy') !== null && typeof window.letGo === 'function'")
	w.clock.Store(int64(10 * time.Minute))
	eval[bool](b, "(window.letGo(), true)")
	b.await("too late", "document.querySelector('[role=alert]').innerText.includes('has expired')")
	b.await("past", shown+" === 0 && document.querySelector('.past').innerText.includes('Expired')")
	if got := w.status(sid); got != "expired" {
		t.Errorf("the API says %s", got)
	}
	b.quiet("status of 409", "status of 502")
}

// contrasts lists every text whose contrast to what is behind it is below what
// WCAG 2.2 wants at AA.
const contrasts = `(() => {
	const rgb = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => {
		const [r, g, b] = rgb(c).slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const clear = (c) => { const v = rgb(c); return v.length === 4 && v[3] === 0; };
	const behind = (el) => { for (; el; el = el.parentElement) { const c = getComputedStyle(el).backgroundColor; if (!clear(c)) return c; } };
	const low = [];
	let seen = 0;
	for (const el of document.querySelectorAll('body *')) {
		if (![...el.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !el.checkVisibility() || el.closest('.unseen')) continue;
		seen++;
		const [a, b] = [light(getComputedStyle(el).color), light(behind(el))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) low.push(el.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
	}
	return seen < 15 ? ['only ' + seen + ' texts were seen'] : low;
})()`

// TestPageSuits: light and dark, a narrow window, and people who want no motion.
func TestPageSuits(t *testing.T) {
	w := newWorld(t)
	b := newTab(t, 1280, 860)
	b.do(chromedp.Navigate(w.page.URL()))
	w.create(0, "Sign in?")
	b.await("challenge", shown+" === 1")
	b.do(chromedp.Click(chromedp.CSS(".deny")))
	b.await("past", shown+" === 0")
	w.create(0, "Sign in?")
	w.create(1, "Pay 1000000000000000000000000000000000000000000000000000000000 EUR?")
	b.await("challenges", shown+" === 2")

	grounds := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b.media(map[string]string{"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"})
		for _, low := range eval[[]string](b, contrasts) {
			t.Errorf("%s: contrast of %s", scheme, low)
		}
		grounds[scheme] = eval[string](b, "getComputedStyle(document.body).backgroundColor")
	}
	if grounds["light"] == grounds["dark"] {
		t.Errorf("both have the ground %s", grounds["light"])
	}
	motion := "getComputedStyle(document.querySelector('.challenge')).animationName"
	if got := eval[string](b, motion); got != "none" {
		t.Errorf("it moves: %s", got)
	}
	b.media(map[string]string{"prefers-reduced-motion": "no-preference"})
	if got := eval[string](b, motion); got == "none" {
		t.Error("the check of the motion sees nothing")
	}
	for _, width := range []int64{320, 600, 1000} {
		b.do(chromedp.EmulateViewport(width, 700))
		if over := eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
			t.Errorf("at %d pixels the page is %d too wide", width, over)
		}
	}
	b.quiet()
}

// TestPageComesBack: a page that is left open finds a server that was started
// anew, and takes its token.
func TestPageComesBack(t *testing.T) {
	w := newWorld(t)
	b := newTab(t, 800, 600)
	b.do(chromedp.Navigate(w.page.URL()))
	b.await("live page", "document.querySelector('#link').textContent === 'Live'")
	must(t, w.page.Close(t.Context()))
	b.await("lost page", "document.querySelector('#link').textContent === 'Not connected'")
	address := strings.TrimSuffix(strings.TrimPrefix(w.page.URL(), "http://"), "/")
	var err error
	w.page, err = phones.New(phones.Config{Addr: address, Phones: w.phones, Created: w.api.CreatedAfter})
	must(t, err)
	must(t, w.page.Start(t.Context()))
	sid := w.create(0, "Sign in?")
	b.await("challenge", shown+" === 1")
	b.do(chromedp.Click(chromedp.CSS(".approve")))
	b.await("approved", shown+" === 0")
	if got := w.status(sid); got != "approved" {
		t.Errorf("the API says %s", got)
	}
}
