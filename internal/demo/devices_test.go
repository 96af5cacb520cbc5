package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

// testAPI is an emulator on loopback with people enrolled in it.
func testAPI(t *testing.T, people int) (*emulator.Emulator, []*person, *deviceCalls) {
	t.Helper()
	calls := &deviceCalls{}
	api, err := emulator.New(emulator.Config{BeforeWork: calls.see})
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := api.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	all, err := enrol(t.Context(), identities(1, people), api.URL(), client)
	if err != nil {
		t.Fatal(err)
	}
	return api, all, calls
}

// post and get call the API with the account's credentials and return a
// challenge.
func call(t *testing.T, method, target string, form url.Values) (sid, status string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ SID, Status string }
	if err := json.Unmarshal(body, &c); err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %s %v", method, target, resp.StatusCode, body, err)
	}
	return c.SID, c.Status
}

func challengesURL(api *emulator.Emulator, p *person) string {
	return api.URL() + "/v2/Services/" + emulator.DefaultServiceSID + "/Entities/" + p.identity + "/Challenges"
}

// push makes a push challenge for a request id.
func push(t *testing.T, api *emulator.Emulator, p *person, requestID string) (sid string) {
	t.Helper()
	sid, _ = call(t, http.MethodPost, challengesURL(api, p), url.Values{
		"FactorSid": {p.phone.Factor().SID}, "Details.Message": {"?"}, "HiddenDetails": {`{"` + hiddenID + `":"` + requestID + `"}`},
	})
	return sid
}

// requestThat is a request id to which the seed's user reacts so.
func requestThat(seed uint64, want device.Decision) string {
	for i := 0; ; i++ {
		id := fmt.Sprintf("r-%d", i)
		if d, _ := reaction(seed, id); d == want {
			return id
		}
	}
}

// TestPhones: each challenge is answered as its user decides, also one that was
// made last, and the API counts the calls of devices apart.
func TestPhones(t *testing.T) {
	api, people, calls := testAPI(t, 2)
	p := newPhones(1, people, api.CreatedAfter)
	want := map[string]string{}
	for decision, status := range map[device.Decision]string{
		device.Approve: "approved", device.Deny: "denied", device.Ignore: "pending",
	} {
		id := requestThat(1, decision)
		for _, who := range people {
			want[challengesURL(api, who)+"/"+push(t, api, who, id)] = status
		}
	}
	// A challenge of another factor rings nowhere.
	sid, _ := call(t, http.MethodPost, challengesURL(api, people[0]), url.Values{"FactorSid": {people[0].app.Factor().SID}})
	want[challengesURL(api, people[0])+"/"+sid] = "pending"

	last := make(chan struct{})
	close(last)
	p.run(t.Context(), last)
	if p.approved.Load() != 2 || p.denied.Load() != 2 || p.ignored.Load() != 2 || p.unsettled.Load() != 0 {
		t.Errorf("%d approved, %d denied, %d ignored, %d unsettled", p.approved.Load(), p.denied.Load(), p.ignored.Load(), p.unsettled.Load())
	}
	before := calls.n.Load()
	for target, status := range want {
		if _, got := call(t, http.MethodGet, target, nil); got != status {
			t.Errorf("%s is %s, want %s", target, got, status)
		}
	}
	// Each answer was a fetch, an update and a fetch; ours are nobody's devices.
	if before != 4*3 || calls.n.Load() != before {
		t.Errorf("%d calls of devices, later %d", before, calls.n.Load())
	}
}

// TestPhonesThroughAnOutage: a phone goes on until the API is back.
func TestPhonesThroughAnOutage(t *testing.T) {
	api, people, _ := testAPI(t, 1)
	sid := push(t, api, people[0], requestThat(1, device.Approve))
	if err := api.Outage(time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := answer(t.Context(), people[0].phone, sid, device.Approve); err == nil || final(err) {
		t.Fatalf("an answer in an outage: %v", err)
	}
	p := newPhones(1, people, api.CreatedAfter)
	last := make(chan struct{})
	close(last)
	ended := make(chan struct{})
	go func() { defer close(ended); p.run(t.Context(), last) }()
	api.EndOutage()
	<-ended
	if p.approved.Load() != 1 {
		t.Errorf("%d approved, %d unsettled", p.approved.Load(), p.unsettled.Load())
	}
}

// TestPhonesHangUp: when the context ends nobody is waited for.
func TestPhonesHangUp(t *testing.T) {
	api, people, _ := testAPI(t, 1)
	push(t, api, people[0], requestThat(1, device.Deny))
	if err := api.Outage(time.Minute); err != nil {
		t.Fatal(err)
	}
	ctx, hangUp := context.WithCancel(t.Context())
	p := newPhones(1, people, func(seen uint64, n int) ([]emulator.Created, uint64) {
		entries, last := api.CreatedAfter(seen, n)
		if len(entries) > 0 {
			defer hangUp()
		}
		return entries, last
	})
	p.run(ctx, nil)
	if p.denied.Load() != 0 {
		t.Error("a phone that hung up has answered")
	}
}

func TestFinalAnswers(t *testing.T) {
	cases := []struct {
		err  error
		want bool
	}{
		{errors.New("anything"), false},
		{&device.Error{Code: device.CodeTransport}, false},
		{&device.Error{Code: device.CodeRefused, Status: 503}, false},
		{&device.Error{Code: device.CodeRefused, Status: 429}, false},
		{&device.Error{Code: device.CodeRefused, Status: 403}, true},
		{&device.Error{Code: device.CodeNotPending}, true},
	}
	for _, c := range cases {
		if got := final(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestReactions(t *testing.T) {
	seen := map[device.Decision]int{}
	for i := range 400 {
		id := requestID(1, i)
		d, pause := reaction(1, id)
		if again, p := reaction(1, id); again != d || p != pause {
			t.Fatal("the same request gets another reaction")
		}
		if pause < 0 || pause > time.Second {
			t.Errorf("a pause of %v", pause)
		}
		seen[d]++
	}
	if seen[device.Approve] < 150 || seen[device.Deny] < 50 || seen[device.Ignore] < 20 {
		t.Errorf("reactions %v", seen)
	}
}

func TestIdentities(t *testing.T) {
	a := identities(5, 40)
	if !slices.Equal(a, identities(5, 40)) || slices.Equal(a, identities(6, 40)) {
		t.Error("identities do not depend on the seed alone")
	}
	slices.Sort(a)
	if len(slices.Compact(a)) != 40 {
		t.Error("two people share an identity")
	}
}

func TestEnrolFailures(t *testing.T) {
	if _, err := enrol(t.Context(), identities(1, 2), "http://127.0.0.1:1", &http.Client{Transport: &http.Transport{}}); err == nil {
		t.Error("people enrolled without an API")
	}
}
