package phones_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/internal/phones"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 30 * time.Second
	hiddenID = "request_id"
)

// world is an emulator, two phones enrolled in it, and a page of both.
type world struct {
	t      *testing.T
	api    *emulator.Emulator
	page   *phones.Page
	phones []phones.Phone
	client *http.Client
	clock  atomic.Int64 // nanoseconds that the API's clock is ahead

	transport *transport
	hook      atomic.Pointer[func(emulator.Operation, *http.Request)]
	base      string
	token     string
}

// transport can forge what the phones answer.
type transport struct {
	http.Transport
	forge atomic.Bool
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.forge.Load() && r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/Challenges/") {
		const forged = "AuthPayload=forged"
		r = r.Clone(r.Context())
		r.Body, r.ContentLength, r.GetBody = io.NopCloser(strings.NewReader(forged)), int64(len(forged)), nil
	}
	return t.Transport.RoundTrip(r)
}

func newWorld(t *testing.T, change func(*phones.Config)) *world {
	t.Helper()
	w := &world{t: t, transport: &transport{}}
	w.client = &http.Client{Transport: w.transport, Timeout: patience}
	now := func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) }
	var err error
	w.api, err = emulator.New(emulator.Config{Now: now, BeforeWork: func(op emulator.Operation, r *http.Request) {
		if hook := w.hook.Load(); hook != nil {
			(*hook)(op, r)
		}
	}})
	w.must(err)
	w.must(w.api.Start(t.Context()))
	for i := range 2 {
		name := fmt.Sprintf("phone-%04d", i+1)
		d, err := device.Enrol(t.Context(), device.Config{
			BaseURL: w.api.URL(), ServiceSID: emulator.DefaultServiceSID, Identity: name,
			Username: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, HTTPClient: w.client, Now: now,
		})
		w.must(err)
		w.phones = append(w.phones, phones.Phone{Identity: name, Device: d, Command: "ring " + name})
	}
	cfg := phones.Config{Phones: w.phones, Created: w.api.CreatedAfter, Hidden: hiddenID, Now: now}
	if change != nil {
		change(&cfg)
	}
	w.page, err = phones.New(cfg)
	w.must(err)
	w.must(w.page.Start(t.Context()))
	w.base = w.page.URL()
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := errors.Join(w.page.Close(ctx), w.api.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	_, body := w.get("")
	found := regexp.MustCompile(`name="token" content="([^"]+)"`).FindStringSubmatch(body)
	if found == nil {
		t.Fatalf("the page has no token: %s", body)
	}
	w.token = found[1]
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(path string) (http.Header, string) {
	w.t.Helper()
	res, err := w.client.Get(w.base + path)
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	if res.StatusCode != 200 {
		w.t.Fatalf("GET %q: %s %s", path, res.Status, body)
	}
	return res.Header, string(body)
}

// post sends JSON with the page's token, after change.
func (w *world) post(path, body string, change func(*http.Request)) (int, map[string]string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.base+path, strings.NewReader(body))
	w.must(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Phones-Token", w.token)
	if change != nil {
		change(req)
	}
	res, err := w.client.Do(req)
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	answer := map[string]string{}
	_ = json.NewDecoder(res.Body).Decode(&answer) // some refusals are text
	return res.StatusCode, answer
}

func (w *world) press(sid, answer string) (int, map[string]string) {
	w.t.Helper()
	return w.post("answer", fmt.Sprintf(`{"sid":%q,"answer":%q}`, sid, answer), nil)
}

// create makes a challenge as a backend would.
func (w *world) create(i int, message string, more url.Values) (sid string) {
	w.t.Helper()
	form := url.Values{"FactorSid": {w.phones[i].Device.Factor().SID}, "Details.Message": {message}}
	maps.Copy(form, more)
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost,
		w.api.URL()+"/v2/Services/"+emulator.DefaultServiceSID+"/Entities/"+w.phones[i].Identity+"/Challenges", strings.NewReader(form.Encode()))
	w.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	res, err := w.client.Do(req)
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	var made struct{ SID string }
	w.must(json.NewDecoder(res.Body).Decode(&made))
	if res.StatusCode != http.StatusCreated || made.SID == "" {
		w.t.Fatalf("create: %s", res.Status)
	}
	return made.SID
}

type view struct {
	Now    time.Time
	Send   bool
	Phones []struct {
		Identity, Command string
		FactorSID         string `json:"factor_sid"`
		Away              bool
		Older             int
		Open              []struct {
			SID, Message string
			Fields       []struct{ Label, Value string }
			Expires      time.Time
		}
		Past []struct{ SID, Message, Status string }
	}
	Flows []struct {
		Identity, Message string
		Steps             []struct{ Kind, Text string }
	}
}

// steps are those of the newest flow.
func (v view) steps() string {
	if len(v.Flows) == 0 {
		return ""
	}
	var all []string
	for _, s := range v.Flows[0].Steps {
		all = append(all, strings.TrimSuffix(s.Kind+" "+s.Text, " "))
	}
	return strings.Join(all, ", ")
}

// await waits for a state of the page, on its stream of events.
func (w *world) await(what string, fits func(view) bool) view {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"events", nil)
	w.must(err)
	res, err := w.client.Do(req)
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	last := ""
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		last = data
		var v view
		w.must(json.Unmarshal([]byte(data), &v))
		if fits(v) {
			return v
		}
	}
	w.t.Fatalf("no %s: %v; last: %s", what, lines.Err(), last)
	return view{}
}

func open(n int) func(view) bool { return func(v view) bool { return len(v.Phones[0].Open) == n } }

func past(status string) func(view) bool {
	return func(v view) bool { return len(v.Phones[0].Past) > 0 && v.Phones[0].Past[0].Status == status }
}

// TestApproveAndDeny: what a phone shows and what its buttons do, by the API's
// own word.
func TestApproveAndDeny(t *testing.T) {
	w := newWorld(t, nil)
	for _, status := range []string{"approved", "denied"} {
		sid := w.create(0, "Sign in?", url.Values{
			"Details.Fields": {`{"label":"Where","value":"Oslo"}`}, "HiddenDetails": {`{"risk":"not-for-the-eye"}`},
		})
		v := w.await("challenge", open(1))
		c := v.Phones[0].Open[0]
		if c.SID != sid || c.Message != "Sign in?" || len(c.Fields) != 1 || c.Fields[0].Label != "Where" || c.Fields[0].Value != "Oslo" {
			t.Errorf("%+v", c)
		}
		if left := c.Expires.Sub(v.Now); left < 4*time.Minute || left > 5*time.Minute {
			t.Errorf("expires in %v", left)
		}
		if len(v.Phones[1].Open) != 0 || v.Phones[1].Command != "ring phone-0002" || v.Send {
			t.Errorf("%+v", v)
		}
		if _, body := w.get("state"); strings.Contains(body, "not-for-the-eye") || strings.Contains(body, "risk") {
			t.Errorf("hidden details are shown: %s", body)
		}
		if code, answer := w.press(sid, status); code != 200 || answer["status"] != status {
			t.Errorf("%d %v", code, answer)
		}
		v = w.await(status, past(status))
		if v.steps() != "created, answered "+status || v.Flows[0].Message != "Sign in?" || len(v.Phones[0].Open) != 0 {
			t.Errorf("%q, %+v", v.steps(), v)
		}
		if c, err := w.phones[0].Device.Fetch(t.Context(), sid); err != nil || c.Status != status {
			t.Errorf("at the API: %+v, %v", c, err)
		}
	}
	if approved, denied := w.page.Answered(); approved != 1 || denied != 1 {
		t.Errorf("%d approved, %d denied", approved, denied)
	}
}

// TestTooLate: whoever presses a button that is no good any more is told why.
func TestTooLate(t *testing.T) {
	t.Run("answered before the phone looks", func(t *testing.T) {
		w := newWorld(t, nil)
		sid := w.create(0, "Sign in?", nil)
		w.await("challenge", open(1))
		w.answer(sid, "denied")
		code, answer := w.press(sid, "approved")
		if code != http.StatusConflict || answer["code"] != "answered" || !strings.Contains(answer["error"], "was denied already") {
			t.Errorf("%d %v", code, answer)
		}
		w.await("denied", past("denied"))
	})
	t.Run("answered between look and answer", func(t *testing.T) {
		w := newWorld(t, nil)
		sid := w.create(0, "Sign in?", nil)
		w.await("challenge", open(1))
		var once atomic.Bool
		hook := func(op emulator.Operation, _ *http.Request) {
			if op == emulator.OperationUpdate && once.CompareAndSwap(false, true) {
				w.answer(sid, "approved")
			}
		}
		w.hook.Store(&hook)
		code, answer := w.press(sid, "denied")
		if code != http.StatusConflict || answer["code"] != "answered" || !strings.Contains(answer["error"], "60322") {
			t.Errorf("%d %v", code, answer)
		}
		w.await("approved", past("approved"))
		if code, answer = w.press(sid, "denied"); code != http.StatusConflict || answer["code"] != "answered" {
			t.Errorf("pressed again: %d %v", code, answer)
		}
	})
	t.Run("expired", func(t *testing.T) {
		w := newWorld(t, nil)
		sid := w.create(0, "Sign in?", nil)
		w.await("challenge", open(1))
		w.clock.Store(int64(6 * time.Minute))
		code, answer := w.press(sid, "approved")
		if code != http.StatusConflict || answer["code"] != "expired" || !strings.Contains(answer["error"], "60323") {
			t.Errorf("%d %v", code, answer)
		}
		if v := w.await("expired", past("expired")); v.steps() != "created, answered expired" {
			t.Errorf("%q", v.steps())
		}
	})
	t.Run("unknown", func(t *testing.T) {
		w := newWorld(t, nil)
		if code, answer := w.press("YC"+strings.Repeat("0", 32), "approved"); code != 404 || answer["code"] != "unknown" {
			t.Errorf("%d %v", code, answer)
		}
	})
}

// answer answers beside the page.
func (w *world) answer(sid, status string) {
	c, err := w.phones[0].Device.Fetch(w.t.Context(), sid)
	if err == nil {
		err = w.phones[0].Device.Answer(w.t.Context(), c, status)
	}
	if err != nil {
		w.t.Error(err) // also called by the emulator's goroutines
	}
}

// TestSeenElsewhere: what was answered, has expired or has vanished without the
// page leaves its phone by itself.
func TestSeenElsewhere(t *testing.T) {
	w := newWorld(t, nil)
	sid := w.create(0, "Sign in?", nil)
	w.await("challenge", open(1))
	w.answer(sid, "approved")
	w.await("approved", past("approved"))

	w.create(0, "Pay?", nil)
	w.await("challenge", open(1))
	w.clock.Store(int64(6 * time.Minute))
	w.await("expired", past("expired"))

	w.create(0, "Leave?", nil)
	w.await("challenge", open(1))
	w.must(w.api.SetFaults(emulator.Faults{PurgeAge: time.Second}))
	w.clock.Add(int64(time.Minute))
	w.await("gone", past("gone"))
}

// TestAway: an API that does not answer is told, and taken up again.
func TestAway(t *testing.T) {
	w := newWorld(t, nil)
	for _, begin := range []func(){
		func() { w.must(w.api.Outage(time.Hour)) },
		func() {
			res, err := w.client.Post(w.api.URL()+"/_emulator/outage?for=1h&kind=503", "", nil)
			w.must(err)
			_ = res.Body.Close()
		},
	} {
		sid := w.create(0, "Sign in?", nil)
		w.await("challenge", open(1))
		begin()
		code, answer := w.press(sid, "approved")
		if code != http.StatusBadGateway || answer["code"] != "away" {
			t.Errorf("%d %v", code, answer)
		}
		w.await("away", func(v view) bool { return v.Phones[0].Away && len(v.Phones[0].Open) == 1 })
		w.api.EndOutage()
		w.await("back", func(v view) bool { return !v.Phones[0].Away })
		if code, answer := w.press(sid, "approved"); code != 200 {
			t.Errorf("%d %v", code, answer)
		}
	}
}

// TestRefused: what the API says of an answer that it does not take is passed on.
func TestRefused(t *testing.T) {
	w := newWorld(t, nil)
	sid := w.create(0, "Sign in?", nil)
	w.await("challenge", open(1))
	w.transport.forge.Store(true)
	code, answer := w.press(sid, "approved")
	if code != http.StatusBadGateway || answer["code"] != "refused" || !strings.Contains(answer["error"], "(60324)") {
		t.Errorf("%d %v", code, answer)
	}
	if c, err := w.phones[0].Device.Fetch(t.Context(), sid); err != nil || c.Status != "pending" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestWhoGetsIn: other hosts, origins and tokens change nothing and learn
// nothing.
func TestWhoGetsIn(t *testing.T) {
	w := newWorld(t, nil)
	sid := w.create(0, "Sign in?", nil)
	w.await("challenge", open(1))
	body := fmt.Sprintf(`{"sid":%q,"answer":"approved"}`, sid)
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   int
	}{
		"another host":        {func(r *http.Request) { r.Host = "rebound.example" }, http.StatusMisdirectedRequest},
		"another host's port": {func(r *http.Request) { r.Host = "rebound.example:80" }, http.StatusMisdirectedRequest},
		"no token":            {func(r *http.Request) { r.Header.Del("X-Phones-Token") }, http.StatusForbidden},
		"another start":       {func(r *http.Request) { r.Header.Set("X-Phones-Token", strings.ToLower(w.token)) }, http.StatusForbidden},
		"another origin":      {func(r *http.Request) { r.Header.Set("Origin", "http://rebound.example") }, http.StatusForbidden},
		"another site":        {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, http.StatusForbidden},
		"a form":              {func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, http.StatusUnsupportedMediaType},
		"a PUT":               {func(r *http.Request) { r.Method = http.MethodPut }, http.StatusMethodNotAllowed},
		"a body without end": {func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"sid":"`+strings.Repeat("x", 20<<10))), -1
		}, http.StatusBadRequest},
		"an answer of its own": {func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"sid":"`+sid+`","answer":"expired"}`)), -1
		}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if code, answer := w.post("answer", body, c.change); code != c.want {
				t.Errorf("%d %v, want %d", code, answer, c.want)
			}
		})
	}
	for _, path := range []string{"", "state", "events", "main.js"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+path, nil)
		w.must(err)
		req.Host = "rebound.example"
		res, err := w.client.Do(req)
		w.must(err)
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusMisdirectedRequest || bytes.Contains(text, []byte(w.token)) || bytes.Contains(text, []byte("Sign in?")) {
			t.Errorf("GET %q: %s %s", path, res.Status, text)
		}
	}
	if c, err := w.phones[0].Device.Fetch(t.Context(), sid); err != nil || c.Status != "pending" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, host := range []string{"localhost", "localhost:1", "[::1]:4011", "192.0.2.7:80"} {
		if code, answer := w.post("answer", `{"sid":"x","answer":"approved"}`, func(r *http.Request) { r.Host = host }); code != 404 || answer["code"] != "unknown" {
			t.Errorf("%s: %d %v", host, code, answer)
		}
	}
}

// TestFiles: everything that the page needs is here, with the types that the
// browser asks for, and under a policy that lets nothing else in.
func TestFiles(t *testing.T) {
	w := newWorld(t, nil)
	_, body := w.get("")
	for _, inline := range []string{"<style", "style=", "onclick", "http://", "https://"} {
		if strings.Contains(body, inline) {
			t.Errorf("the page has %q", inline)
		}
	}
	names := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(body, -1)
	if len(names) < 3 {
		t.Fatalf("%q", names)
	}
	names = append(names, []string{"", "view.js"}, []string{"", "format.js"})
	for _, m := range names {
		header, text := w.get(m[1])
		want := map[string]string{"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[m[1][strings.LastIndex(m[1], ".")+1:]]
		if !strings.HasPrefix(header.Get("Content-Type"), want) || want == "" {
			t.Errorf("%s is %q", m[1], header.Get("Content-Type"))
		}
		policy := header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", m[1], header)
		}
		if strings.Contains(text, "innerHTML") || strings.Contains(text, "insertAdjacentHTML") {
			t.Errorf("%s writes markup", m[1])
		}
	}
	for _, path := range []string{"index.html", "web/main.js", "..", "other"} {
		res, err := w.client.Get(w.base + path)
		w.must(err)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNotFound && path != ".." {
			t.Errorf("GET %s: %s", path, res.Status)
		}
	}
}

// TestFlow: request, create, result and answer of one request become one line,
// in whatever order they are seen.
func TestFlow(t *testing.T) {
	asked := make(chan phones.Ask, 1)
	w := newWorld(t, func(c *phones.Config) {
		c.Send = func(_ context.Context, a phones.Ask) error { asked <- a; return nil }
	})
	factor := w.phones[0].Device.Factor().SID
	if code, answer := w.post("send", fmt.Sprintf(`{"factor_sid":%q,"message":" Sign in? ","expires":60}`, factor), nil); code != http.StatusAccepted {
		t.Fatalf("%d %v", code, answer)
	}
	if a := <-asked; a != (phones.Ask{Identity: "phone-0001", FactorSID: factor, Message: "Sign in?", Expires: time.Minute}) {
		t.Errorf("%+v", a)
	}
	request := phones.Requested{Ref: "0@1", ID: "r-1", Identity: "phone-0001", FactorSID: factor, Message: "Sign in?", At: time.Now()}
	hidden := url.Values{"HiddenDetails": {`{"` + hiddenID + `":"r-1"}`}}
	sids := map[string]string{}
	events := map[string]func(){
		"q": func() { w.page.Requested(request) },
		"c": func() { sids["c"] = w.create(0, "Sign in?", hidden); w.await("challenge", open(1)) },
		"r": func() { w.page.Result(result(request.Ref, sids["c"], "succeeded")) },
	}
	for i, order := range []string{"qcr", "cqr", "crq"} {
		request.Ref, request.ID = fmt.Sprintf("0@%d", i), fmt.Sprintf("r-%d", i)
		hidden.Set("HiddenDetails", fmt.Sprintf(`{"%s":"r-%d"}`, hiddenID, i))
		for _, e := range order {
			events[string(e)]()
		}
		if code, answer := w.press(sids["c"], "approved"); code != 200 {
			t.Fatalf("%d %v", code, answer)
		}
		v := w.await("flow", func(v view) bool { return len(v.Flows) == i+1 && len(v.Flows[0].Steps) == 4 })
		if v.steps() != "requested, created, result succeeded, answered approved" {
			t.Errorf("%s: %q", order, v.steps())
		}
	}
	// Without an id in the hidden details, the result joins request and challenge.
	request.Ref, request.ID = "1@7", "r-7"
	w.page.Requested(request)
	sid := w.create(0, "Sign in?", nil)
	w.await("two lines", func(v view) bool { return len(v.Flows) == 5 })
	w.page.Result(result("1@7", sid, "adopted"))
	if v := w.await("one line", func(v view) bool { return len(v.Flows) == 4 }); v.steps() != "requested, created, result adopted" {
		t.Errorf("%q", v.steps())
	}
	// Others are not shown.
	w.page.Requested(phones.Requested{Ref: "9@9", Identity: "customer-0001", FactorSID: "YF"})
	w.page.Result(phones.Result{Ref: "9@9", Identity: "customer-0001", Says: "failed"})
	if _, body := w.get("state"); strings.Contains(body, "customer-0001") || strings.Contains(body, "failed") {
		t.Errorf("%s", body)
	}
}

func result(ref, sid, says string) phones.Result {
	return phones.Result{Ref: ref, Identity: "phone-0001", SID: sid, Says: says}
}

// TestDrain: a request that is being sent is waited for, and none comes after it.
func TestDrain(t *testing.T) {
	sending, send := make(chan struct{}), make(chan struct{})
	sent := 0
	w := newWorld(t, func(c *phones.Config) {
		c.Send = func(context.Context, phones.Ask) error {
			close(sending)
			<-send
			sent++
			return nil
		}
	})
	ask := fmt.Sprintf(`{"factor_sid":%q,"message":"Sign in?","expires":60}`, w.phones[0].Device.Factor().SID)
	first := make(chan int, 1)
	go func() {
		code, _ := w.post("send", ask, nil)
		first <- code
	}()
	<-sending
	drained := make(chan int, 1)
	go func() {
		w.page.Drain()
		drained <- sent
	}()
	close(send)
	if n := <-drained; n != 1 {
		t.Errorf("drained with %d of 1 requests sent", n)
	}
	if code := <-first; code != http.StatusAccepted {
		t.Errorf("the request before: %d", code)
	}
	if code, answer := w.post("send", ask, nil); code != http.StatusServiceUnavailable || answer["code"] != "draining" || sent != 1 {
		t.Errorf("%d %v, %d sent", code, answer, sent)
	}
	if _, state := w.get("state"); !strings.Contains(state, "phone-0001") {
		t.Errorf("the page itself: %s", state)
	}
}

func TestSendRefuses(t *testing.T) {
	w := newWorld(t, func(c *phones.Config) {
		c.Send = func(context.Context, phones.Ask) error { return errors.New("the broker is away") }
	})
	factor := w.phones[0].Device.Factor().SID
	for name, c := range map[string]struct {
		factor, message string
		expires, want   int
	}{
		"another phone": {"YF1", "Sign in?", 60, 400},
		"no message":    {factor, "  ", 60, 400},
		"long message":  {factor, strings.Repeat("ä", 257), 60, 400},
		"no time":       {factor, "Sign in?", 0, 400},
		"too much time": {factor, "Sign in?", 3601, 400},
		"broker":        {factor, strings.Repeat("ä", 256), 3600, 502},
	} {
		code, answer := w.post("send", fmt.Sprintf(`{"factor_sid":%q,"message":%q,"expires":%d}`, c.factor, c.message, c.expires), nil)
		if code != c.want || answer["error"] == "" {
			t.Errorf("%s: %d %v, want %d", name, code, answer, c.want)
		}
	}
	none := newWorld(t, nil)
	if code, _ := none.post("send", `{}`, nil); code != 404 {
		t.Errorf("without a topic: %d", code)
	}
}

// TestBounded: a flood is cut, and what is cut is said.
func TestBounded(t *testing.T) {
	w := newWorld(t, nil)
	const flood = 130
	var making sync.WaitGroup
	for range 4 {
		making.Go(func() {
			for range flood / 4 {
				w.create(0, "Sign in?", nil)
			}
		})
	}
	making.Wait()
	made := flood / 4 * 4
	v := w.await("the newest", func(v view) bool { return len(v.Phones[0].Open) == 50 && v.Phones[0].Older == made-50 })
	if len(v.Flows) != 100 {
		t.Errorf("%d lines of the flow", len(v.Flows))
	}
	for i := range 12 {
		if code, answer := w.press(v.Phones[0].Open[i].SID, "denied"); code != 200 {
			t.Fatalf("%d %v", code, answer)
		}
	}
	if v := w.await("less", open(38)); len(v.Phones[0].Past) != 8 {
		t.Errorf("%d past ones", len(v.Phones[0].Past))
	}
}

// TestClose: streams end, and so do the phones.
func TestClose(t *testing.T) {
	w := newWorld(t, nil)
	res, err := w.client.Get(w.base + "events")
	w.must(err)
	defer func() { _ = res.Body.Close() }()
	w.must(w.page.Close(t.Context()))
	w.must(w.page.Close(t.Context()))
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
	if _, err := w.client.Get(w.base); err == nil {
		t.Error("it still answers")
	}
	if err := w.page.Start(t.Context()); !is(err, phones.CodeState) {
		t.Errorf("started again: %v", err)
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t, nil)
	for name, cfg := range map[string]phones.Config{
		"no phone":   {Created: w.api.CreatedAfter},
		"no log":     {Phones: w.phones},
		"no device":  {Phones: []phones.Phone{{Identity: "phone-0001"}}, Created: w.api.CreatedAfter},
		"no one":     {Phones: []phones.Phone{{Device: w.phones[0].Device}}, Created: w.api.CreatedAfter},
		"all is nil": {},
	} {
		if _, err := phones.New(cfg); !is(err, phones.CodeConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	taken, err := phones.New(phones.Config{Addr: strings.TrimSuffix(strings.TrimPrefix(w.base, "http://"), "/"), Phones: w.phones, Created: w.api.CreatedAfter})
	w.must(err)
	if err := taken.Start(t.Context()); !is(err, phones.CodeListen) || taken.URL() != "" {
		t.Errorf("%v", err)
	}
	w.must(taken.Close(t.Context()))
}

func is(err error, code phones.Code) bool {
	e, ok := errors.AsType[*phones.Error](err)
	return ok && e.Code == code && strings.Contains(err.Error(), string(code))
}
