package emulator_test

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/internal/device"
	"github.com/countersign/countersign/internal/emulator"
)

func TestFaultsValidate(t *testing.T) {
	second := time.Second
	for name, tc := range map[string]struct {
		f  emulator.Faults
		ok bool
	}{
		"zero":                {emulator.Faults{}, true},
		"every call":          {emulator.Faults{ResetAfterRate: 1, SlowBodyRate: 1, Latency: emulator.Latency{TailRate: 1, AfterShare: 1}}, true},
		"rates that fill one": {emulator.Faults{ThrottleRate: 0.1, ServerErrorRate: 0.2, ServerErrorAfterRate: 0.3, ResetBeforeRate: 0.1, ResetAfterRate: 0.1, GarbledRate: 0.2}, true},
		"rates above one":     {emulator.Faults{ThrottleRate: 0.5, GarbledRate: 0.51}, false},
		"negative rate":       {emulator.Faults{ThrottleRate: -0.1}, false},
		"rate above one":      {emulator.Faults{SlowBodyRate: 1.1}, false},
		"rate not a number":   {emulator.Faults{ResetBeforeRate: math.NaN()}, false},
		"share above one":     {emulator.Faults{Latency: emulator.Latency{AfterShare: 1.1}}, false},
		"tail rate":           {emulator.Faults{Latency: emulator.Latency{TailRate: 1.1}}, false},
		"negative latency":    {emulator.Faults{Latency: emulator.Latency{Fixed: -1}}, false},
		"negative tail":       {emulator.Faults{Latency: emulator.Latency{Tail: -1}}, false},
		"min above max":       {emulator.Faults{Latency: emulator.Latency{Min: second}}, false},
		"min at max":          {emulator.Faults{Latency: emulator.Latency{Min: second, Max: second}}, true},
		"negative retry":      {emulator.Faults{RetryAfter: -1}, false},
		"negative slow body":  {emulator.Faults{SlowBody: -1}, false},
		"negative list lag":   {emulator.Faults{ListLag: -1}, false},
		"negative late":       {emulator.Faults{LateMin: -1}, false},
		"late backwards":      {emulator.Faults{LateMin: second}, false},
		"late rate":           {emulator.Faults{LateRate: 1.1}, false},
		"late rates":          {emulator.Faults{LateRate: 0.6, ResetLateRate: 0.6}, false},
		"lag from to":         {emulator.Faults{ListLag: second, ListLagMax: second, ListLagRate: 1}, true},
		"lag backwards":       {emulator.Faults{ListLag: second, ListLagMax: 1}, false},
		"lag rate":            {emulator.Faults{ListLagRate: -1}, false},
		"negative purge":      {emulator.Faults{PurgeAge: -1}, false},
		"purge rate":          {emulator.Faults{PurgeRate: 1.1}, false},
		"status 499":          {emulator.Faults{ServerErrorStatus: 499}, false},
		"status 500":          {emulator.Faults{ServerErrorStatus: 500}, true},
		"status 599":          {emulator.Faults{ServerErrorStatus: 599}, true},
		"status 600":          {emulator.Faults{ServerErrorStatus: 600}, false},
		"concurrency":         {emulator.Faults{Concurrency: -1}, false},
		"operations":          {emulator.Faults{Operations: []emulator.Operation{"create", "list"}}, true},
		"other operation":     {emulator.Faults{Operations: []emulator.Operation{emulator.OperationCreateFactor}}, false},
	} {
		err := tc.f.Validate()
		if tc.ok && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !tc.ok {
			wantCode(t, name, err, emulator.CodeFaults)
		}
	}
}

func TestSetFaultsKeepsWhatWasThereOnAnError(t *testing.T) {
	a := handled(t, emulator.Config{Faults: emulator.Faults{ThrottleRate: 0.25}})
	wantCode(t, "set", a.e.SetFaults(emulator.Faults{ThrottleRate: 2}), emulator.CodeFaults)
	if f := a.e.Faults(); f.ThrottleRate != 0.25 {
		t.Errorf("%+v", f)
	}
}

func TestFaultsAsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, name))
		}
		f := emulator.Faults{
			Operations:        rapid.SliceOf(rapid.SampledFrom([]emulator.Operation{"create", "fetch", "list", "update"})).Draw(t, "operations"),
			Devices:           rapid.Bool().Draw(t, "devices"),
			ThrottleRate:      rapid.Float64Range(0, 0.13).Draw(t, "throttle"),
			RetryAfter:        duration("retry"),
			ServerErrorRate:   rapid.Float64Range(0, 0.13).Draw(t, "error"),
			ServerErrorStatus: rapid.SampledFrom([]int{0, 500, 503, 599}).Draw(t, "status"),
			ResetBeforeRate:   rapid.Float64Range(0, 0.13).Draw(t, "before"),
			ResetAfterRate:    rapid.Float64Range(0, 0.13).Draw(t, "after"),
			GarbledRate:       rapid.Float64Range(0, 0.13).Draw(t, "garbled"),
			SlowBodyRate:      rapid.Float64Range(0, 1).Draw(t, "slow"),
			SlowBody:          duration("slow body"),
			LateRate:          rapid.Float64Range(0, 0.13).Draw(t, "late"),
			ResetLateRate:     rapid.Float64Range(0, 0.03).Draw(t, "reset late"),
			LateMax:           duration("late max"),
			ListLag:           duration("lag"),
			ListLagRate:       rapid.Float64Range(0, 1).Draw(t, "lag rate"),
			PurgeAge:          duration("purge"),
			PurgeRate:         rapid.Float64Range(0, 1).Draw(t, "purge rate"),
			Concurrency:       rapid.IntRange(0, 100).Draw(t, "concurrency"),
			Latency: emulator.Latency{
				Fixed: duration("fixed"), Max: duration("max"), Tail: duration("tail"),
				TailRate: rapid.Float64Range(0, 1).Draw(t, "tail rate"), AfterShare: rapid.Float64Range(0, 1).Draw(t, "share"),
			},
		}
		f.ServerErrorAfterRate = f.ServerErrorRate
		f.ListLagMax, f.LateMin = f.ListLag+duration("more lag"), f.LateMax/2
		if len(f.Operations) == 0 {
			f.Operations = nil
		}
		data, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		back, err := emulator.DecodeFaults(strings.NewReader(string(data)))
		if err != nil || !reflect.DeepEqual(back, f) {
			t.Fatalf("%s\n%+v\n%+v\n%v", data, back, f, err)
		}
	})
	if data, err := json.Marshal(emulator.Faults{}); err != nil || string(data) != "{}" {
		t.Errorf("%s, %v", data, err)
	}
	data, err := json.Marshal(emulator.Faults{ThrottleRate: 0.5, RetryAfter: 1500 * time.Millisecond, Latency: emulator.Latency{Fixed: time.Second}})
	if want := `{"latency":{"fixed":"1s"},"throttle_rate":0.5,"retry_after":"1.5s"}`; err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
	for _, bad := range []string{"", "[]", `{"throttle":1}`, `{"throttle_rate":2}`, `{"slow_body":1}`, `{"latency":{"fixed":"x"}}`, `{} {}`} {
		_, err := emulator.DecodeFaults(strings.NewReader(bad))
		wantCode(t, bad, err, emulator.CodeFaults)
	}
}

func FuzzDecodeFaults(f *testing.F) {
	f.Add(`{"operations":["create"],"throttle_rate":0.5,"latency":{"fixed":"1s"}}`)
	f.Add(`{"server_error_rate":1e308}`)
	f.Fuzz(func(t *testing.T, doc string) {
		faults, err := emulator.DecodeFaults(strings.NewReader(doc))
		if err != nil {
			return
		}
		if err := faults.Validate(); err != nil {
			t.Errorf("decoded, but %v", err)
		}
	})
}

// fate is what a caller saw of a create.
func fate(a *api, factorSID string) string {
	a.t.Helper()
	r, err := a.try(a.request(http.MethodPost, challenges(identity), pushForm(factorSID)))
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF), err != nil:
		a.t.Fatalf("neither an answer nor a reset: %v", err)
	case r.body == nil:
		return "no JSON"
	}
	return http.StatusText(r.status)
}

func TestEachFaultAsACallerSeesIt(t *testing.T) {
	a := started(t, emulator.Config{Faults: emulator.Faults{RetryAfter: 1200 * time.Millisecond}})
	f, _ := a.pushFactor()
	for _, tc := range []struct {
		kind     emulator.FaultKind
		fate     string
		made     bool
		answered bool
	}{
		{emulator.FaultNone, "Created", true, true},
		{emulator.FaultThrottle, "Too Many Requests", false, false},
		{emulator.FaultServerError, "Internal Server Error", false, false},
		{emulator.FaultServerErrorAfter, "Internal Server Error", true, true},
		{emulator.FaultResetBefore, "reset", false, false},
		{emulator.FaultResetAfter, "reset", true, false},
		{emulator.FaultGarbled, "no JSON", true, true},
		{emulator.FaultSlowBody, "Created", true, true},
	} {
		if err := a.e.Script(emulator.OperationCreate, tc.kind); err != nil {
			t.Fatal(err)
		}
		before := len(a.e.Created())
		got := fate(a, f.SID)
		created := a.e.Created()[before:]
		if got != tc.fate || (len(created) == 1) != tc.made {
			t.Errorf("%s: %s, made %d", tc.kind, got, len(created))
		}
		if tc.made && tc.kind == emulator.FaultResetAfter && created[0].Answered {
			t.Errorf("%s: a reset counts as answered", tc.kind)
		}
		if n := a.e.Stats().Faults[tc.kind]; tc.kind != emulator.FaultNone && n != 1 {
			t.Errorf("%s: counted %d", tc.kind, n)
		}
	}
	if err := a.e.Script(emulator.OperationList, emulator.FaultThrottle); err != nil {
		t.Fatal(err)
	}
	if r := a.want(a.get(challenges(identity)), 429, 20429); r.header.Get("Retry-After") != "2" || r.text("message") != "Too many requests" {
		t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
	}
	a.want(a.get(challenges(identity)), 200, 0) // a script hits once
}

func TestServerErrorStatuses(t *testing.T) {
	a := handled(t, emulator.Config{})
	for status, code := range map[int]int{0: 20500, 500: 20500, 503: 20503, 502: 0, 504: 0} {
		if err := a.e.SetFaults(emulator.Faults{ServerErrorRate: 1, ServerErrorStatus: status}); err != nil {
			t.Fatal(err)
		}
		r := a.get(challenges(identity))
		if want := max(status, 500); r.status != want || r.code() != code || (r.header.Get("Content-Type") == "text/html") != (code == 0) {
			t.Errorf("status %d: %d %v %s", status, r.status, r.header, r.raw)
		}
	}
}

func TestFaultsHitOnlyWhatTheyAreFor(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Faults: emulator.Faults{
		ThrottleRate: 1, Operations: []emulator.Operation{emulator.OperationCreate, emulator.OperationFetch},
	}})
	f, key := a.pushFactor()
	a.want(a.post(challenges(identity), pushForm(f.SID)), 429, 20429)
	a.want(a.get(challenges(identity)+"/YC"+noSID), 429, 20429)
	a.want(a.get(challenges(identity)), 200, 0)
	a.want(a.get(factors(identity)), 200, 0)
	a.want(a.post(challenges(identity)+"/YC"+noSID, with(nil, "Metadata", "{}")), 404, 20404)
	token, err := device.Token(key, f.CredentialSID, f.AccountSID, c.now())
	if err != nil {
		t.Fatal(err)
	}
	a.user, a.pass = "token", token
	a.want(a.get(challenges(identity)+"/YC"+noSID), 404, 20404) // a device is spared
	if err := a.e.SetFaults(emulator.Faults{ThrottleRate: 1, Devices: true}); err != nil {
		t.Fatal(err)
	}
	a.want(a.get(challenges(identity)+"/YC"+noSID), 429, 20429)
	a.pass = "wrong"
	a.want(a.get(challenges(identity)), 401, 20003) // refused before any fault
}

// fates makes n creates and returns a letter for each.
func fates(t *testing.T, seed uint64, f emulator.Faults, n int) string {
	t.Helper()
	a := handled(t, emulator.Config{Seed: seed, Faults: f})
	factor, _ := a.pushFactor()
	var out strings.Builder
	for range n {
		switch r := a.post(challenges(identity), pushForm(factor.SID)); {
		case r.status == 201 && r.body != nil:
			out.WriteByte('.')
		case r.status == 201:
			out.WriteByte('g')
		case r.status == 429:
			out.WriteByte('t')
		default:
			out.WriteByte('e')
		}
	}
	return out.String()
}

func TestRatesAreKeptAndRepeatable(t *testing.T) {
	f := emulator.Faults{ThrottleRate: 0.2, ServerErrorRate: 0.1, ServerErrorAfterRate: 0.1, GarbledRate: 0.1}
	const n = 2000
	one := fates(t, 7, f, n)
	if one != fates(t, 7, f, n) {
		t.Error("the same seed gives other fates")
	}
	if one == fates(t, 8, f, n) {
		t.Error("another seed gives the same fates")
	}
	for letter, rate := range map[string]float64{".": 0.5, "t": 0.2, "e": 0.2, "g": 0.1} {
		got := float64(strings.Count(one, letter)) / n
		if sigma := math.Sqrt(rate * (1 - rate) / n); math.Abs(got-rate) > 5*sigma {
			t.Errorf("%q: rate %v, want %v", letter, got, rate)
		}
	}
	// Latency draws must not move the fates of other calls.
	f.Latency = emulator.Latency{Max: 1, TailRate: 0.5}
	if one != fates(t, 7, f, n) {
		t.Error("latency reshuffles the fates")
	}
}

func TestScriptFaults(t *testing.T) {
	a := handled(t, emulator.Config{})
	wantCode(t, "operation", a.e.Script(emulator.OperationCreateFactor, emulator.FaultThrottle), emulator.CodeFaults)
	wantCode(t, "kind", a.e.Script(emulator.OperationCreate, "thunder"), emulator.CodeFaults)
	wantCode(t, "unscriptable", a.e.Script(emulator.OperationCreate, emulator.FaultTail), emulator.CodeFaults)
	a.pushFactor()
	if err := a.e.Script(emulator.OperationList, emulator.FaultThrottle, emulator.FaultNone, emulator.FaultServerError); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{429, 200, 500, 200} {
		if r := a.get(challenges(identity)); r.status != status {
			t.Errorf("%d, want %d", r.status, status)
		}
	}
}

func TestListLag(t *testing.T) {
	c := newClock()
	a := handled(t, emulator.Config{Now: c.now, Faults: emulator.Faults{ListLag: 2 * time.Second}})
	f, _ := a.pushFactor()
	sid := a.want(a.post(challenges(identity), pushForm(f.SID)), 201, 0).text("sid")
	for i, visible := range []int{0, 0, 1} {
		if got := a.list(challenges(identity)).sids; len(got) != visible {
			t.Errorf("after %d s: %v", i, got)
		}
		a.want(a.get(challenges(identity)+"/"+sid), 200, 0)
		c.move(time.Second)
	}
}

func TestConcurrencyLimit(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	a := started(t, emulator.Config{
		Faults:     emulator.Faults{Concurrency: 2},
		BeforeWork: func(emulator.Operation, *http.Request) { entered <- struct{}{}; <-leave },
	})
	f, _ := a.pushFactor()
	done := make(chan string)
	for range 2 {
		go func() { done <- fate(a, f.SID) }()
		<-entered
	}
	if got := fate(a, f.SID); got != "Too Many Requests" {
		t.Errorf("the third of two: %s", got)
	}
	close(leave)
	for range 2 {
		if got := <-done; got != "Created" {
			t.Errorf("one of two: %s", got)
		}
	}
	// A request counts until its handler has returned, and its client may be faster.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(10 * time.Second); a.e.Stats().Concurrent != 0; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("a request counts for ever")
		}
	}
	s := a.e.Stats()
	if s.ConcurrentMax != 3 || s.Faults[emulator.FaultConcurrency] != 1 {
		t.Errorf("%+v", s)
	}
}
