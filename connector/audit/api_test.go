package audit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

const someIdentity = "door-4711-north"

// apiWorld is an emulated API, and a reading client of it that fails the test
// where anything but GET leaves it.
type apiWorld struct {
	t      *testing.T
	e      *emulator.Emulator
	factor string
	client *read.Client

	mu   sync.Mutex
	sent map[string]int // requests by method
	// change alters an answer's resource before the client sees it. Nil: not.
	change func(c map[string]any)
}

// withAPI runs a test with virtual time and the API's handler in the place of a
// network.
func withAPI(t *testing.T, test func(t *testing.T, w *apiWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e, err := emulator.New(emulator.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close(context.Background()) })
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		f, err := e.AddPushFactor(someIdentity, &key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		w := &apiWorld{t: t, e: e, factor: f.SID, sent: map[string]int{}}
		w.client, err = read.New(read.Config{
			AccountSID: emulator.DefaultAccountSID, Password: emulator.DefaultAuthToken, BaseURL: "http://127.0.0.1:1", Transport: w,
		})
		if err != nil {
			t.Fatal(err)
		}
		test(t, w)
	})
}

// RoundTrip implements http.RoundTripper for the client under test.
func (w *apiWorld) RoundTrip(r *http.Request) (res *http.Response, err error) {
	w.mu.Lock()
	w.sent[r.Method]++
	w.mu.Unlock()
	if r.Method != http.MethodGet {
		w.t.Errorf("%s %s was sent", r.Method, r.URL.Path)
	}
	defer func() {
		if recover() != nil { // how a handler resets a connection
			res, err = nil, io.ErrUnexpectedEOF
		}
	}()
	rec := httptest.NewRecorder()
	w.e.ServeHTTP(rec, r)
	if w.change != nil && rec.Code == http.StatusOK {
		var c map[string]any
		if json.Unmarshal(rec.Body.Bytes(), &c) == nil {
			w.change(c)
			data, _ := json.Marshal(c)
			rec.Body.Reset()
			rec.Body.Write(data)
		}
	}
	return rec.Result(), r.Context().Err()
}

// create makes a challenge, as the connector would, and is what its result says.
func (w *apiWorld) create(i int) Recorded {
	w.t.Helper()
	form := url.Values{
		"FactorSid": {w.factor}, "Details.Message": {"Sign in?"}, "Details.Fields": {`{"label":"Place","value":"Lisbon"}`},
		"HiddenDetails": {`{"case":"private"}`}, "ExpirationDate": {time.Now().Add(10 * time.Minute).UTC().Format(time.RFC3339)},
	}
	path := "http://127.0.0.1:1/v2/Services/" + emulator.DefaultServiceSID + "/Entities/" + someIdentity + "/Challenges"
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(emulator.DefaultAccountSID, emulator.DefaultAuthToken)
	rec := httptest.NewRecorder()
	w.e.ServeHTTP(rec, r)
	if rec.Code != http.StatusCreated {
		w.t.Fatalf("create: %d %s", rec.Code, rec.Body)
	}
	return recordedAt(i, rec.Body.Bytes())
}

func recordedAt(i int, challenge []byte) Recorded {
	var c struct {
		SID string `json:"sid"`
	}
	_ = json.Unmarshal(challenge, &c)
	return Recorded{
		SID: c.SID, ServiceSID: emulator.DefaultServiceSID, Identity: someIdentity, RequestID: fmt.Sprintf("r%d", i),
		Operation: schemas.OperationCreate, Challenge: challenge,
		Request: Place{Topic: "requests", Offset: int64(i)}, Result: Place{Topic: "results", Offset: int64(2 * i)},
	}
}

// with is rec with another recorded resource.
func with(rec Recorded, change func(c map[string]any)) Recorded {
	var c map[string]any
	if err := json.Unmarshal(rec.Challenge, &c); err != nil {
		panic(err)
	}
	change(c)
	rec.Challenge, _ = json.Marshal(c)
	return rec
}

func yielding(all ...Recorded) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (w *apiWorld) compare(cfg CompareConfig, all ...Recorded) (Comparison, error) {
	if cfg.Accounts == nil {
		cfg.Accounts = map[string]Challenges{"": w.client}
	}
	if cfg.Budget == 0 {
		cfg.Budget = 100
	}
	out, err := Compare(w.t.Context(), cfg, yielding(all...))
	if got := int64(w.sent[http.MethodGet]); got > cfg.Budget {
		w.t.Errorf("%d calls were made, the budget is %d", got, cfg.Budget)
	} else if out.API.Calls != got {
		w.t.Errorf("%d calls were made, the report says %d", got, out.API.Calls)
	}
	return out, err
}

func TestCompareFindsNothingWhereNothingChanged(t *testing.T) {
	withAPI(t, func(t *testing.T, w *apiWorld) {
		one, two, three := w.create(1), w.create(2), w.create(3)
		// Other spellings of the same.
		two = with(two, func(c map[string]any) {
			c["identity"] = strings.ToUpper(someIdentity)
			c["hidden_details"] = `{"case":"private"}`
			c["metadata"] = map[string]any{}
			delete(c, "links")
			delete(c, "factor_type") // not recorded: proves nothing
			c["expiration_date"] = strings.Replace(c["expiration_date"].(string), "Z", "+00:00", 1)
			c["later_addition"] = "x"
		})
		out, err := w.compare(CompareConfig{}, one, two, three, one)
		if err != nil || len(out.Findings) > 0 || out.API.Challenges != 3 || out.API.Compared != 3 || out.API.Failed != 0 || len(out.API.Moves) != 0 {
			t.Errorf("%+v %v", out, err)
		}
	})
}

func TestCompareStatus(t *testing.T) {
	for _, c := range []struct {
		was, is     string
		move, found bool
	}{
		{"pending", "pending", false, false},
		{"pending", "approved", true, false},
		{"pending", "denied", true, false},
		{"pending", "expired", true, false},
		{"approved", "approved", false, false},
		{"approved", "pending", false, true},
		{"approved", "denied", false, true},
		{"expired", "approved", false, true},
		{"denied", "expired", false, true},
		{"pending", "strange", false, true},
		{"strange", "approved", false, true},
	} {
		t.Run(c.was+" to "+c.is, func(t *testing.T) {
			withAPI(t, func(t *testing.T, w *apiWorld) {
				rec := with(w.create(1), func(m map[string]any) { m["status"] = c.was })
				w.change = func(m map[string]any) { m["status"] = c.is }
				out, err := w.compare(CompareConfig{}, rec)
				if err != nil {
					t.Fatal(err)
				}
				if n := out.API.Moves[c.was+" to "+c.is]; (n == 1) != c.move {
					t.Errorf("moves %v", out.API.Moves)
				}
				if got := out.ByKind[KindAPIStatus] == 1; got != c.found || len(out.Findings) != int(out.ByKind[KindAPIStatus]) {
					t.Errorf("findings %+v", out.Findings)
				}
				for _, f := range out.Findings {
					if strings.Contains(f.Text, "strange") || f.Detail != DetailStatusDrift {
						t.Errorf("%+v", f)
					}
				}
			})
		})
	}
}

func TestCompareFields(t *testing.T) {
	set := func(name string, value any) func(map[string]any) { return func(c map[string]any) { c[name] = value } }
	for name, c := range map[string]struct {
		recorded, now func(map[string]any)
		want          []string
	}{
		"details":          {nil, set("details", map[string]any{"message": "Transfer?"}), []string{"details"}},
		"details gone":     {nil, set("details", nil), []string{"details"}},
		"hidden details":   {nil, set("hidden_details", map[string]any{"case": "else"}), []string{"hidden_details"}},
		"dates":            {nil, func(c map[string]any) { c["date_created"], c["expiration_date"] = "2001-01-01T00:00:00Z", nil }, []string{"date_created", "expiration_date"}},
		"owner":            {nil, set("entity_sid", "YE00000000000000000000000000000009"), []string{"entity_sid"}},
		"factor":           {nil, set("factor_sid", "YF00000000000000000000000000000009"), []string{"factor_sid"}},
		"type":             {nil, set("factor_type", "totp"), []string{"factor_type"}},
		"updated":          {nil, set("date_updated", "2031-01-01T00:00:00Z"), nil},
		"url":              {nil, set("url", "https://else.example"), nil},
		"metadata set":     {nil, set("metadata", map[string]any{"os": "x"}), nil},
		"metadata changed": {set("metadata", map[string]any{"os": "x"}), set("metadata", map[string]any{"os": "y"}), []string{"metadata"}},
		"metadata removed": {set("metadata", map[string]any{"os": "x"}), set("metadata", nil), []string{"metadata"}},
		"responded": {nil, func(c map[string]any) {
			c["date_responded"], c["responded_reason"] = "2031-01-01T00:00:00Z", "not_needed"
		}, nil},
		"responded anew":       {func(c map[string]any) { c["status"], c["date_responded"] = "approved", "2030-01-01T00:00:00Z" }, func(c map[string]any) { c["status"], c["date_responded"] = "approved", "2031-01-01T00:00:00Z" }, []string{"date_responded"}},
		"responded pending":    {set("date_responded", "2030-01-01T00:00:00Z"), set("date_responded", "2031-01-01T00:00:00Z"), nil},
		"recorded without":     {func(c map[string]any) { delete(c, "details") }, set("details", nil), nil},
		"recorded unreadable":  {func(c map[string]any) { delete(c, "status") }, set("details", nil), nil},
		"recorded null change": {set("details", nil), nil, []string{"details"}},
	} {
		t.Run(name, func(t *testing.T) {
			withAPI(t, func(t *testing.T, w *apiWorld) {
				rec := w.create(7)
				if c.recorded != nil {
					rec = with(rec, c.recorded)
				}
				w.change = c.now
				out, err := w.compare(CompareConfig{Identity: func(string) string { return "hashed" }}, rec)
				if err != nil {
					t.Fatal(err)
				}
				if c.want == nil {
					if len(out.Findings) > 0 {
						t.Errorf("found %+v", out.Findings)
					}
					return
				}
				if len(out.Findings) != 1 {
					t.Fatalf("found %+v", out.Findings)
				}
				f := out.Findings[0]
				if f.Kind != KindAPIChanged || f.Text != "Fields differ from what was recorded: "+strings.Join(c.want, ", ")+"." ||
					f.Request.Offset != 7 || f.Request.ID != "r7" || f.Request.Identity != "hashed" || f.Records[0].Offset != 14 || f.ChallengeSID != rec.SID {
					t.Errorf("%+v of %+v", f, f.Request)
				}
			})
		})
	}
}

// The latest state that was recorded counts, in whatever order it is told.
func TestCompareTakesTheLatest(t *testing.T) {
	withAPI(t, func(t *testing.T, w *apiWorld) {
		pending := w.create(1)
		approved := with(pending, func(c map[string]any) { c["status"] = "approved" })
		later := with(pending, func(c map[string]any) { c["status"], c["date_updated"] = "denied", "2031-01-01T00:00:00Z" })
		broken := pending
		broken.Challenge = json.RawMessage(`{}`)
		for _, order := range [][]Recorded{{pending, approved}, {approved, pending}, {approved, pending, broken}, {broken, pending, approved}} {
			out, err := w.compare(CompareConfig{}, order...)
			if err != nil || out.ByKind[KindAPIStatus] != 1 || !strings.Contains(out.Findings[0].Text, "recorded as approved") {
				t.Errorf("%+v %v", out, err)
			}
			w.sent = map[string]int{}
		}
		for _, order := range [][]Recorded{{later, approved, pending}, {pending, approved, later}} {
			out, err := w.compare(CompareConfig{}, order...)
			if err != nil || out.ByKind[KindAPIStatus] != 1 || !strings.Contains(out.Findings[0].Text, "recorded as denied") {
				t.Errorf("%+v %v", out, err)
			}
			w.sent = map[string]int{}
		}
	})
}

func TestCompareMissing(t *testing.T) {
	withAPI(t, func(t *testing.T, w *apiWorld) {
		one := w.create(1)
		gone := with(w.create(2), func(map[string]any) {})
		gone.SID = "YC" + strings.Repeat("9", 32)
		out, err := w.compare(CompareConfig{}, gone, one)
		if err != nil || out.ByKind[KindAPIMissing] != 1 || out.Findings[0].ChallengeSID != gone.SID || out.API.Compared != 2 || out.API.Failed != 0 {
			t.Errorf("%+v %v", out, err)
		}
		if out.Findings[0].Request.Identity != "" {
			t.Error("an identity is told that nobody asked for")
		}
	})
}

// A throttled call waits as long as it is told to and costs of the budget; an ill
// API is tried a few times.
func TestCompareRepeats(t *testing.T) {
	withAPI(t, func(t *testing.T, w *apiWorld) {
		rec := w.create(1)
		if err := w.e.SetFaults(emulator.Faults{RetryAfter: 7 * time.Second}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := w.e.Script(emulator.OperationFetch, emulator.FaultThrottle, emulator.FaultServerError, emulator.FaultResetBefore); err != nil {
			t.Fatal(err)
		}
		out, err := w.compare(CompareConfig{}, rec)
		if err != nil || out.API.Compared != 1 || out.API.Calls != 4 || out.API.Failed != 0 {
			t.Errorf("%+v %v", out, err)
		}
		if took := time.Since(began); took < 8*time.Second || took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	withAPI(t, func(t *testing.T, w *apiWorld) {
		rec, other := w.create(1), w.create(2)
		if err := w.e.SetFaults(emulator.Faults{ServerErrorRate: 1, ServerErrorStatus: 503}); err != nil {
			t.Fatal(err)
		}
		out, err := w.compare(CompareConfig{}, rec, other)
		wantCode(t, err, CodeAPI)
		if out.API.Failed != 2 || out.API.Calls != 2*fetchTries || out.API.Compared != 0 || len(out.API.Failures) != 1 {
			t.Errorf("%+v", out)
		}
	})
}

func TestCompareKeepsToItsBudget(t *testing.T) {
	withAPI(t, func(t *testing.T, w *apiWorld) {
		var all []Recorded
		for i := range 40 {
			all = append(all, with(w.create(i), func(c map[string]any) { c["details"] = nil }))
		}
		bySHA := slices.Clone(all)
		slices.SortFunc(bySHA, func(a, b Recorded) int {
			x, y := rankOf(a.SID), rankOf(b.SID)
			return slices.Compare(x[:], y[:])
		})
		sids := func(findings []Finding) (out []string) {
			for _, f := range findings {
				out = append(out, f.ChallengeSID)
			}
			slices.Sort(out)
			return out
		}
		var want []string
		for _, r := range bySHA[:10] {
			want = append(want, r.SID)
		}
		slices.Sort(want)
		began := time.Now()
		out, err := w.compare(CompareConfig{Budget: 10, Rate: 2}, all...)
		if err != nil || out.API.Challenges != 40 || out.API.Compared != 10 || out.API.Calls != 10 || !slices.Equal(sids(out.Findings), want) {
			t.Errorf("%+v %v", out.API, err)
		}
		if took := time.Since(began); took < 4500*time.Millisecond || took > 6*time.Second {
			t.Errorf("ten calls at two a second took %s", took)
		}
		// In another order the same ones.
		slices.Reverse(all)
		w.sent = map[string]int{}
		again, err := w.compare(CompareConfig{Budget: 10, MaxFindings: 3}, all...)
		if err != nil || len(again.Findings) != 3 || again.ByKind[KindAPIChanged] != 10 {
			t.Errorf("%+v %v", again, err)
		}
		for i, f := range again.Findings {
			if !slices.ContainsFunc(out.Findings, func(o Finding) bool { return o.ChallengeSID == f.ChallengeSID }) || f.ChallengeSID != out.Findings[i].ChallengeSID {
				t.Errorf("finding %d is another one: %+v", i, f)
			}
		}
		// Repeated calls are calls.
		if err := w.e.SetFaults(emulator.Faults{ThrottleRate: 1}); err != nil {
			t.Fatal(err)
		}
		w.sent = map[string]int{}
		none, err := w.compare(CompareConfig{Budget: 5}, all...)
		wantCode(t, err, CodeAPI)
		if none.API.Calls != 5 || none.API.Compared != 0 {
			t.Errorf("%+v", none.API)
		}
	})
}

func TestCompareAccounts(t *testing.T) {
	withAPI(t, func(t *testing.T, w *apiWorld) {
		bad, err := read.New(read.Config{AccountSID: emulator.DefaultAccountSID, Password: "wrong", BaseURL: "http://127.0.0.1:1", Transport: w})
		if err != nil {
			t.Fatal(err)
		}
		one, two, three, four := w.create(1), w.create(2), w.create(3), w.create(4)
		two.Account, three.Account, four.Account = "absent", "bad", "bad"
		out, err := w.compare(CompareConfig{Accounts: map[string]Challenges{"": w.client, "bad": bad}}, one, two, three, four)
		wantCode(t, err, CodeAPI)
		if out.API.Compared != 1 || out.API.Failed != 3 || out.API.Failures[`account "absent" is not configured`] != 1 ||
			out.API.Failures[`the credentials of account "bad" are refused`] != 2 {
			t.Errorf("%+v", out)
		}
		w.sent = map[string]int{}
		out, err = w.compare(CompareConfig{}, one, two)
		if err != nil || out.API.Failed != 1 {
			t.Errorf("%+v %v", out, err)
		}
	})
}

func TestCompareEnds(t *testing.T) {
	withAPI(t, func(t *testing.T, w *apiWorld) {
		var all []Recorded
		for i := range 50 {
			all = append(all, w.create(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var last int64
		cfg := CompareConfig{
			Accounts: map[string]Challenges{"": w.client}, Budget: 50, Rate: 2, Progress: func(done, total int64) { last = done },
		}
		out, err := Compare(ctx, cfg, yielding(all...))
		wantCode(t, err, CodeInterrupted)
		if out.API.Compared == 0 || out.API.Compared > 8 || last != out.API.Compared || out.API.Failed > 0 {
			t.Errorf("%+v, %d told", out.API, last)
		}
		broken := errors.New("broken")
		_, err = Compare(t.Context(), cfg, func(yield func(Recorded, error) bool) { yield(Recorded{}, broken) })
		if !errors.Is(err, broken) {
			t.Error(err)
		}
		for _, bad := range []CompareConfig{{}, {Budget: -1}, {Budget: mostBudget + 1}, {Budget: 1, Rate: -1}, {Budget: 1, MaxFindings: -1}} {
			_, err := Compare(t.Context(), bad, yielding())
			wantCode(t, err, CodeInvalid)
		}
	})
}

// Beyond what is counted exactly the number is near, and needs no more room.
func TestNumberOfMany(t *testing.T) {
	s := newSmallest[struct{}](4096)
	const n = 200_000
	for range 2 {
		for i := range n {
			s.put(rankOf(fmt.Sprintf("YC%032x", i)), func(struct{}, bool) struct{} { return struct{}{} })
		}
	}
	if got := s.number(); got < n*95/100 || got > n*105/100 || len(s.kept) != 4096 || len(s.heap) != 4096 {
		t.Errorf("%d of %d, %d kept", got, n, len(s.kept))
	}
}
