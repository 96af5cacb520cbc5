package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	apiverdict "github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// TestOutcomes: what each end of a call makes of a record, how often it is
// called, and whether it becomes a dead letter.
func TestOutcomes(t *testing.T) {
	sent := func(code read.CallCode) error {
		return &read.CallError{Code: code, Sent: true, Err: context.DeadlineExceeded}
	}
	create, fetch := createEvent(t, "r", "identity-1"), fetchEvent(t, "r", "identity-1")
	for _, tc := range []struct {
		name    string
		event   []byte
		ends    []error // of the calls in turn; the last repeats
		outcome schemas.Outcome
		class   schemas.Class
		calls   int
		dead    bool
	}{
		{"create succeeds", create, []error{nil}, schemas.OutcomeSucceeded, "", 1, false},
		{"create refused by the API", create, []error{apiErr(400, 60306)}, schemas.OutcomeRejected, schemas.ClassRejected, 1, false},
		{"create for an unverified factor", create, []error{apiErr(403, 60318)}, schemas.OutcomeRejected, schemas.ClassRejected, 1, false},
		{"creation limit of the factor", create, []error{apiErr(429, 60312)}, schemas.OutcomeRejected, schemas.ClassRejected, 1, false},
		{"create throttled, then made", create, []error{apiErr(429, 20429), nil}, schemas.OutcomeSucceeded, "", 2, false},
		{"create throttled for ever", create, []error{apiErr(429, 20429)}, schemas.OutcomeFailed, schemas.ClassThrottled, 6, true},
		{"create: connection refused, then made", create, []error{refusedConn(), refusedConn(), nil}, schemas.OutcomeSucceeded, "", 3, false},
		{"create: server error without effect, then made", create, []error{apiErr(500, 20500), nil}, schemas.OutcomeSucceeded, "", 2, false},
		{"create: timeout without effect, then made", create, []error{sent(read.CodeTimeout), nil}, schemas.OutcomeSucceeded, "", 2, false},
		{"create: answer that cannot be read, then made", create, []error{sent(read.CodeBadAnswer), nil}, schemas.OutcomeSucceeded, "", 2, false},
		{"create: 408, then made", create, []error{apiErr(408, 0), nil}, schemas.OutcomeSucceeded, "", 2, false},
		{"create: unlisted status, then refused", create, []error{apiErr(418, 0), apiErr(403, 60318)}, schemas.OutcomeRejected, schemas.ClassRejected, 2, false},
		{"create: never with an effect", create, []error{apiErr(500, 20500)}, schemas.OutcomeFailed, schemas.ClassUnavailable, 6, true},
		{"fetch: server error, then made", fetch, []error{apiErr(500, 20500), nil}, schemas.OutcomeSucceeded, "", 2, false},
		{"fetch: not found", fetch, []error{apiErr(404, 20404)}, schemas.OutcomeRejected, schemas.ClassRejected, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.api.answer = func(_ context.Context, _ *schemas.Request, n int) (answer, error) {
					if err := tc.ends[min(n, len(tc.ends))-1]; err != nil {
						return answer{}, err
					}
					return okAnswer(), nil
				}
				r.log.add("key", tc.event, 0)
				r.start()
				pass(4 * time.Minute)
				synctest.Wait()
				r.mustEnd()
				results := r.log.results()
				if len(results) != 1 {
					t.Fatalf("%d results, want 1", len(results))
				}
				got := results[0]
				class := schemas.Class("")
				if got.Error != nil {
					class = got.Error.Class
				}
				if got.Outcome != tc.outcome || class != tc.class {
					t.Errorf("ended as %s/%s, want %s/%s: %+v", got.Outcome, class, tc.outcome, tc.class, got.Error)
				}
				if n := r.api.called("r"); n != tc.calls {
					t.Errorf("%d calls, want %d", n, tc.calls)
				}
				if dead := len(r.log.deadLetters()) == 1; dead != tc.dead {
					t.Errorf("dead letter: %v, want %v", dead, tc.dead)
				}
				if pos := r.log.offset(); pos.Offset != 1 {
					t.Errorf("committed %d, want 1", pos.Offset)
				}
			})
		})
	}
}

// TestBadRecords: what no call can be made for costs none, gets a result
// where one can be formed and a dead letter where none can.
func TestBadRecords(t *testing.T) {
	for _, tc := range []struct {
		name    string
		value   string
		outcome schemas.Outcome // "" = none
		class   schemas.Class
		dead    bool
		fault   string
	}{
		{"not JSON", "not json", "", schemas.ClassNotJSON, true, ""},
		{"tombstone", "", "", schemas.ClassNotJSON, true, ""},
		{"an array", "[1]", "", schemas.ClassNoID, true, ""},
		{"no id", `{"version":"1.0","operation":"create"}`, "", schemas.ClassNoID, true, ""},
		{
			"another major version", `{"version":"2.0","id":"x","operation":"create"}`,
			schemas.OutcomeFailed, schemas.ClassVersion, true, "$.version",
		},
		{
			"another major version without an operation", `{"version":"2.0","id":"x"}`,
			"", schemas.ClassVersion, true, "",
		},
		{
			"several faults", `{"version":"1.0","id":"x","operation":"create","service_sid":"VA1","identity":"a","create":{"factor_sid":"bad"}}`,
			schemas.OutcomeRejected, schemas.ClassInvalid, false, "$.create.factor_sid",
		},
		{
			"an account that nobody configured",
			`{"version":"1.0","id":"x","operation":"list","account":"other","service_sid":"` + testService + `","identity":"identity-1"}`,
			schemas.OutcomeRejected, schemas.ClassAccount, false, "$.account",
		},
		{
			"expires after more than 60 minutes",
			`{"version":"1.0","id":"x","operation":"create","service_sid":"` + testService + `","identity":"identity-1","create":{"factor_sid":"` +
				testFactor + `","expiration_date":"2099-01-01T00:00:00Z"}}`,
			schemas.OutcomeRejected, schemas.ClassInvalid, false, "$.create.expiration_date",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				offset := r.log.add("key", []byte(tc.value), 3)
				r.start()
				pass(time.Second)
				synctest.Wait()
				r.mustEnd()
				if r.api.total() != 0 {
					t.Error("a bad record was called")
				}
				results, dead := r.log.results(), r.log.deadLetters()
				if tc.outcome == "" != (len(results) == 0) || tc.dead != (len(dead) == 1) {
					t.Fatalf("%d results and %d dead letters", len(results), len(dead))
				}
				if len(results) == 1 {
					got := results[0]
					if got.Outcome != tc.outcome || got.Error.Class != tc.class || got.RequestID != "x" {
						t.Errorf("got %+v with error %+v", got, got.Error)
					}
					paths := ""
					for _, f := range got.Error.Faults {
						paths += f.Path + " "
					}
					if !strings.Contains(paths, tc.fault) {
						t.Errorf("the faults %s do not name %s", paths, tc.fault)
					}
				}
				if len(dead) == 1 {
					d, _, err := schemas.DecodeDeadLetter(dead[0].Headers)
					if err != nil {
						t.Fatal(err)
					}
					if d.Offset != offset || d.Class != tc.class || d.HasResult != (tc.outcome != "") || !bytes.Equal(dead[0].Value, []byte(tc.value)) {
						t.Errorf("dead letter %+v with value %q", d, dead[0].Value)
					}
				}
			})
		})
	}
}

// TestExpired: a record past its time is never called, whichever wait made it
// late.
func TestExpired(t *testing.T) {
	soon := func(r *schemas.Request, d time.Duration) { at := time.Now().Add(d); r.NotAfter = &at }
	base := func() schemas.Request {
		return schemas.Request{
			ID: "r", Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1",
			Create: &schemas.Create{FactorSID: testFactor},
		}
	}
	for _, tc := range []struct {
		name  string
		event func() schemas.Request
		setup func(*rig)
		calls int
	}{
		{"late on arrival", func() schemas.Request { r := base(); soon(&r, -time.Second); return r }, nil, 0},
		{"its own expiration date has passed while it waited", func() schemas.Request {
			r := base()
			at := time.Now().Add(3 * time.Second)
			r.Create.ExpirationDate = &at
			return r
		}, func(r *rig) { r.limiter.Penalize(10 * time.Second) }, 0},
		{
			"late after the rate limit", func() schemas.Request { r := base(); soon(&r, 3*time.Second); return r },
			func(r *rig) { r.limiter.Penalize(time.Hour) }, 0,
		},
		{"late after throttled attempts", func() schemas.Request { r := base(); soon(&r, 3*time.Second); return r }, func(r *rig) {
			r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
				return answer{}, &read.APIError{Status: 429, Code: 20429, RetryAfter: 5 * time.Second, HasRetryAfter: true}
			}
		}, 1},
		{
			"late by the API's clock only", func() schemas.Request { r := base(); soon(&r, time.Minute); return r },
			func(r *rig) {
				for range 2 { // one odd answer proves nothing
					r.acct.clock.saw(time.Now().Add(5*time.Minute), time.Now(), time.Now())
				}
			}, 0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.limiter = r.acct.limiter
				if tc.setup != nil {
					tc.setup(r)
				}
				r.log.add("key", encodeRequest(t, tc.event()), 0)
				r.start()
				pass(time.Minute)
				synctest.Wait()
				r.mustEnd()
				results := r.log.results()
				if len(results) != 1 || results[0].Outcome != schemas.OutcomeExpired {
					t.Fatalf("got %+v, want one expired result", results)
				}
				if n := r.api.called("r"); n > tc.calls {
					t.Errorf("%d calls, want at most %d", n, tc.calls)
				}
				if len(r.log.deadLetters()) != 0 {
					t.Error("an expired record became a dead letter")
				}
			})
		})
	}
}

// TestListIsSplitBySize: a list too large for one record becomes pages, each
// within the limit, none lost, the last one marked.
func TestListIsSplitBySize(t *testing.T) {
	ev := events{group: "g", topics: TopicsConfig{Results: "results"}, limit: 4096}
	var all []json.RawMessage
	for i := range 50 {
		all = append(all, json.RawMessage(fmt.Sprintf(`{"sid":"YC%032d","pad":%q}`, i, strings.Repeat("x", 300))))
	}
	e := &entry{rec: kafka.Record{Topic: "requests", Offset: 3, Key: []byte("k")}, received: time.Now()}
	outputs, err := ev.records(outcome{
		entry: e, outcome: schemas.OutcomeSucceeded, requestID: "r", operation: schemas.OperationList,
		answer: answer{challenges: all}, ended: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(outputs) < 4 {
		t.Fatalf("%d records for %d bytes in records of %d", len(outputs), 50*350, ev.limit)
	}
	n, ids := 0, map[string]bool{}
	for i, o := range outputs {
		if len(o.msg.Value) > ev.limit {
			t.Errorf("page %d takes %d bytes, the limit is %d", i, len(o.msg.Value), ev.limit)
		}
		r, _, err := schemas.DecodeResult(o.msg.Value)
		if err != nil {
			t.Fatal(err)
		}
		if r.Page == nil || r.Page.Index != i || r.Page.Last != (i == len(outputs)-1) {
			t.Errorf("page %d says %+v", i, r.Page)
		}
		for _, c := range r.Challenges {
			if !bytes.Equal(c, all[n]) {
				t.Errorf("challenge %d is %s", n, c)
			}
			n++
		}
		ids[r.ID] = true
	}
	if n != len(all) || len(ids) != len(outputs) {
		t.Errorf("%d challenges of %d in %d ids", n, len(all), len(ids))
	}
}

// TestTooLarge: what cannot be published as it is leaves a trace all the same.
func TestTooLarge(t *testing.T) {
	ev := events{group: "g", topics: TopicsConfig{Results: "results", DeadLetters: "deadletters"}, limit: 2048}
	big := bytes.Repeat([]byte("x"), 4096)
	e := &entry{rec: kafka.Record{Topic: "requests", Offset: 3, Value: big}, received: time.Now()}
	unreadable, _, _ := apiverdict.EndingOfUnreadable(errors.New("nonsense"))
	o := outcome{entry: e, ended: time.Now()}.ending(unreadable)
	outputs, err := ev.records(o)
	if err != nil || len(outputs) != 1 {
		t.Fatalf("%d records, %v", len(outputs), err)
	}
	d, _, err := schemas.DecodeDeadLetter(outputs[0].msg.Headers)
	if err != nil {
		t.Fatal(err)
	}
	if d.Redrivable || d.Offset != 3 || len(outputs[0].msg.Value) > 100 || !bytes.HasPrefix(outputs[0].msg.Value, []byte("sha256:")) {
		t.Errorf("the substitute is %+v with value %.80q", d, outputs[0].msg.Value)
	}
	ok := outcome{
		entry: e, outcome: schemas.OutcomeSucceeded, requestID: "r", operation: schemas.OperationFetch, ended: time.Now(),
		answer: answer{challenge: json.RawMessage(`{"sid":"` + testSID + `","pad":"` + string(big) + `"}`)},
	}
	if outputs, err = ev.records(ok); err != nil || len(outputs) != 1 {
		t.Fatalf("%d records, %v", len(outputs), err)
	}
	if len(outputs[0].msg.Value) > ev.limit {
		t.Errorf("a result of %d bytes is published, the limit is %d", len(outputs[0].msg.Value), ev.limit)
	}
	r, _, err := schemas.DecodeResult(outputs[0].msg.Value)
	if err != nil {
		t.Fatal(err)
	}
	if r.RequestID != "r" || !bytes.Contains(r.Challenge, []byte(testSID)) {
		t.Errorf("got %+v with challenge %s", r, r.Challenge)
	}
}

// TestHeadersAndKeysPassThrough, trace context included.
func TestHeadersAndKeysPassThrough(t *testing.T) {
	ev := events{group: "g", topics: TopicsConfig{Results: "results", DeadLetters: "deadletters"}, limit: defaultEventLimit}
	headers := []schemas.Header{{Key: "traceparent", Value: []byte("00-1-2-01")}, {Key: "own", Value: nil}}
	req := schemas.Request{ID: "r", Operation: schemas.OperationCreate, ServiceSID: testService, Identity: "identity-1", Create: &schemas.Create{FactorSID: testFactor}}
	e := &entry{rec: kafka.Record{Topic: "requests", Value: []byte("v"), Headers: headers}, req: &req, received: time.Now()}
	outputs, err := ev.records(outcome{
		entry: e, outcome: schemas.OutcomeFailed, deadLetter: true, ended: time.Now(),
		err: &schemas.Error{Class: schemas.ClassAmbiguous, Message: "m"},
	})
	if err != nil || len(outputs) != 2 {
		t.Fatalf("%d records, %v", len(outputs), err)
	}
	result, dead := outputs[0].msg, outputs[1].msg
	if string(result.Key) != "identity-1" || dead.Key != nil || string(dead.Value) != "v" {
		t.Errorf("result key %q, dead letter key %q value %q", result.Key, dead.Key, dead.Value)
	}
	if len(result.Headers) != 2 || result.Headers[0].Key != "traceparent" || len(dead.Headers) < 4 || dead.Headers[0].Key != "traceparent" {
		t.Errorf("headers: result %+v, dead letter %+v", result.Headers, dead.Headers)
	}
}
