package emulator_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

// admin makes an administration call, without credentials.
func (a *api) admin(method, call, body string) (int, map[string]any) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.base+"/_emulator/"+call, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	var out map[string]any
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &out); err != nil {
			a.t.Fatalf("%s: %v", raw, err)
		}
	}
	return resp.StatusCode, out
}

func TestAdminStatsAndHealth(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, _ := a.pushFactor()
	a.post(challenges(identity), pushForm(f.SID))
	a.post(challenges(identity), pushForm("x"))
	a.get("/v2/nowhere")
	if err := a.e.Script(emulator.OperationList, emulator.FaultThrottle); err != nil {
		t.Fatal(err)
	}
	a.get(challenges(identity))
	if status, body := a.admin("GET", "healthz", ""); status != 200 || body["status"] != "ok" {
		t.Errorf("%d %v", status, body)
	}
	_, got := a.admin("GET", "stats", "")
	want := `{"calls":{"create":2,"list":1,"unknown":1},"concurrent":0,"concurrent_max":1,"creates":1,` +
		`"faults":{"throttle":1},"rules":{},"statuses":{"201":1,"400":1,"404":1,"429":1}}`
	if data, err := json.Marshal(got); err != nil || string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
}

func TestAdminCreatedIsPaged(t *testing.T) {
	a := handled(t, emulator.Config{})
	f, _ := a.pushFactor()
	var want []string
	for range 7 {
		form := with(pushForm(f.SID), "HiddenDetails", `{"n":"1"}`)
		want = append(want, a.want(a.post(challenges(identity), form), 201, 0).text("sid"))
	}
	var got []string
	for after := 0; ; {
		_, page := a.admin("GET", "created?limit=3&after="+strconv.Itoa(after), "")
		entries, _ := page["created"].([]any)
		if page["last"] != 7.0 {
			t.Fatalf("%v", page)
		}
		if len(entries) == 0 {
			break
		}
		for _, entry := range entries {
			c := entry.(map[string]any) //nolint:forcetypeassert // the test would fail
			if c["answered"] != true || c["factor_sid"] != f.SID || c["identity"] != identity || c["hidden_details"].(map[string]any)["n"] != "1" {
				t.Errorf("%v", c)
			}
			got = append(got, c["sid"].(string)) //nolint:forcetypeassert // as above
		}
		after = int(page["next_after"].(float64)) //nolint:forcetypeassert // as above
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"created?after=-1", "created?after=x", "created?limit=0", "created?limit=10001", "created?limit=x"} {
		if status, body := a.admin("GET", bad, ""); status != 400 || body["error"] == "" {
			t.Errorf("%s: %d %v", bad, status, body)
		}
	}
	if status, _ := a.admin("GET", "created?limit=10000", ""); status != 200 {
		t.Errorf("limit at its bound: %d", status)
	}
}

func TestAdminFaults(t *testing.T) {
	a := handled(t, emulator.Config{})
	status, body := a.admin("POST", "faults", `{"throttle_rate":1,"retry_after":"2s"}`)
	if status != 200 || body["throttle_rate"] != 1.0 || body["retry_after"] != "2s" {
		t.Errorf("%d %v", status, body)
	}
	a.want(a.get(challenges(identity)), 429, 20429)
	for _, bad := range []string{`{"throttle_rate":2}`, `{"thunder":1}`, `x`, strings.Repeat(" ", 64<<10) + "{}"} {
		if status, body := a.admin("POST", "faults", bad); status != 400 || body["error"] == "" {
			t.Errorf("%.20s: %d %v", bad, status, body)
		}
	}
	if _, body = a.admin("GET", "faults", ""); body["throttle_rate"] != 1.0 {
		t.Errorf("%v", body)
	}
	a.admin("POST", "faults", `{}`)
	a.want(a.get(challenges(identity)), 404, 20404)
	for _, call := range []string{"nothing", "", "stats/"} {
		if status, _ := a.admin("GET", call, ""); status != 404 {
			t.Errorf("%q: %d", call, status)
		}
	}
	if status, _ := a.admin("PUT", "faults", "{}"); status != 404 {
		t.Errorf("PUT: %d", status)
	}
}

func TestAdminOutage(t *testing.T) {
	a := started(t, emulator.Config{})
	a.pushFactor()
	for _, bad := range []string{"outage", "outage?for=x&kind=503", "outage?for=-1s&kind=503", "outage?for=25h&kind=503", "outage?for=1s&kind=soft", "outage?for=1s"} {
		if status, _ := a.admin("POST", bad, ""); status != 400 {
			t.Errorf("%s: %d", bad, status)
		}
	}
	if status, body := a.admin("POST", "outage?for=24h&kind=503", ""); status != 202 || body["kind"] != "503" || body["for"] != "24h0m0s" {
		t.Fatalf("%d %v", status, body)
	}
	a.want(a.get(challenges(identity)), 503, 20503)
	if status, _ := a.admin("POST", "outage?for=1h&kind=graceful", ""); status != 409 {
		t.Errorf("second outage: %d", status)
	}
	if status, _ := a.admin("DELETE", "outage", ""); status != 204 {
		t.Errorf("its end: %d", status)
	}
	a.want(a.get(challenges(identity)), 200, 0)
	for _, kind := range []string{"graceful", "hard"} {
		b := a.own(false)
		if status, _ := b.admin("POST", "outage?for=1h&kind="+kind, ""); status != 202 {
			t.Fatalf("%s: %d", kind, status)
		}
		if err := waitRefused(b); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		a.e.EndOutage()
		b.want(b.get(challenges(identity)), 200, 0)
	}
}

// waitRefused calls until it is refused: the answer to a hard outage leaves
// before the outage begins.
func waitRefused(a *api) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := a.try(a.request(http.MethodGet, challenges(identity), nil))
		if refused(err) {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

func TestLogLimit(t *testing.T) {
	a := handled(t, emulator.Config{LogLimit: 5})
	f, _ := a.pushFactor()
	var sids []string
	for range 23 {
		sids = append(sids, a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid"))
	}
	kept := a.e.Created()
	if len(kept) < 5 || len(kept) > 9 {
		t.Fatalf("%d kept", len(kept))
	}
	for i, c := range kept {
		n := len(sids) - len(kept) + i
		if c.SID != sids[n] || c.Seq != uint64(n)+1 || !c.Answered {
			t.Errorf("entry %d is %+v", i, c)
		}
	}
	page, last := a.e.CreatedAfter(2, 3) // what was dropped is passed over
	if last != 23 || len(page) != 3 || page[0].SID != kept[0].SID {
		t.Errorf("%v %d", page, last)
	}
	if page, last = a.e.CreatedAfter(23, 3); last != 23 || len(page) != 0 {
		t.Errorf("%v %d", page, last)
	}
}
