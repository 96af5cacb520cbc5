package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/challenge/verdict"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

const (
	letters = "dead"
	group   = "countersign"
	service = "VA5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	factor  = "YF5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	sid     = "YC5a1c0d3e5f7a9b1c3d5e7f90a2b4c6d8"
	person  = "door-4711-north"
)

// story writes requests and what was recorded of them.
type story struct {
	w       *world
	offsets [parts]int64
	seen    time.Time
}

func (w *world) story() *story {
	w.t.Helper()
	if err := w.client.EnsureTopics(w.t.Context(), []kafka.TopicSpec{{Name: letters, Partitions: 1}}); err != nil {
		w.t.Fatal(err)
	}
	return &story{w: w, seen: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)}
}

func (s *story) produce(m kafka.Message) {
	s.w.t.Helper()
	if err := s.w.client.Produce(s.w.t.Context(), []kafka.Message{m}); err != nil {
		s.w.t.Fatal(err)
	}
}

// request writes a request, a second behind the one before, and is where it stands.
func (s *story) request(partition int, value []byte) schemas.Coordinates {
	s.w.t.Helper()
	s.seen = s.seen.Add(time.Second)
	s.produce(kafka.Message{Topic: requests, Partition: &partition, Value: value, Timestamp: s.seen})
	s.offsets[partition]++
	return schemas.Coordinates{Topic: requests, Partition: partition, Offset: s.offsets[partition] - 1, Timestamp: s.seen}
}

// answer writes a result of a request, so long after it.
func (s *story) answer(to schemas.Coordinates, r schemas.Result, after time.Duration) {
	s.w.t.Helper()
	page := 0
	if r.Page != nil {
		page = r.Page.Index
	}
	s.answerAs(schemas.ResultID(group, to, page), to, r, after)
}

// answerAs writes a result with another id than its own.
func (s *story) answerAs(id string, to schemas.Coordinates, r schemas.Result, after time.Duration) {
	s.w.t.Helper()
	r.Request, r.ID = to, id
	value, err := r.Encode()
	if err != nil {
		s.w.t.Fatal(err)
	}
	p := (to.Partition + 1) % parts
	s.produce(kafka.Message{Topic: results, Partition: &p, Value: value, Timestamp: to.Timestamp.Add(after)})
}

func (s *story) letter(to schemas.Coordinates, d schemas.DeadLetter) {
	s.w.t.Helper()
	s.letterWith("x", to, d)
}

func (s *story) letterWith(value string, to schemas.Coordinates, d schemas.DeadLetter) {
	s.w.t.Helper()
	d.Coordinates, d.At = to, to.Timestamp.Add(time.Second)
	s.produce(kafka.Message{Topic: letters, Value: []byte(value), Headers: d.Headers(), Timestamp: to.Timestamp.Add(time.Second)})
}

// event is a request as a producer writes it.
func event(t *testing.T, r schemas.Request) []byte {
	t.Helper()
	if r.ID == "" {
		r.ID = "a"
	}
	if r.ServiceSID == "" {
		r.ServiceSID, r.Identity = service, person
	}
	switch r.Operation {
	case schemas.OperationCreate:
		if r.Create == nil {
			r.Create = &schemas.Create{FactorSID: factor, AuthPayload: "918273"}
		}
	case schemas.OperationUpdate:
		r.Update = &schemas.Update{AuthPayload: "918273"}
	}
	if r.Operation == schemas.OperationUpdate || r.Operation == schemas.OperationFetch {
		if r.ChallengeSID == "" {
			r.ChallengeSID = sid
		}
	}
	value, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// resource is a challenge as the API gives it.
func resource(change func(c map[string]any)) json.RawMessage {
	c := map[string]any{"sid": sid, "service_sid": service, "identity": person, "factor_sid": factor, "status": "pending"}
	if change != nil {
		change(c)
	}
	out, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return out
}

// told is a recorded result of a request, by its outcome and error.
func told(op schemas.Operation, outcome schemas.Outcome, e *schemas.Error) schemas.Result {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	r := schemas.Result{
		RequestID: "a", Operation: op, Outcome: outcome, ServiceSID: service, Identity: person, Error: e, Attempts: 1,
		Times: schemas.Times{Received: at, Called: &at, Completed: at},
	}
	if op == schemas.OperationUpdate || op == schemas.OperationFetch {
		r.ChallengeSID = sid
	}
	if outcome == schemas.OutcomeSucceeded || outcome == schemas.OutcomeAdopted {
		if r.Challenge = resource(nil); op == schemas.OperationList {
			r.Challenge, r.Challenges = nil, []json.RawMessage{resource(nil)}
		}
	}
	return r
}

func checkConfig() CheckConfig {
	return CheckConfig{Requests: requests, Results: results, DeadLetters: letters, Group: group}
}

func (w *world) check(cfg CheckConfig) CheckReport {
	w.t.Helper()
	r, err := Check(w.t.Context(), w.client, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Same+r.Differs+r.NotReplayable+r.Unanswered != r.Requests {
		w.t.Errorf("the sum is not right: %+v", r)
	}
	return r
}

func golden(t *testing.T, kind string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", "schemas", "testdata", kind, "*.json"))
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d golden events, %v", len(paths), err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".json")] = data
	}
	return all
}

// Every golden request, answered by what its operation answers with, is the same
// today.
func TestCheckGoldenRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.story()
		all := golden(t, "request")
		for _, name := range slices.Sorted(maps.Keys(all)) {
			req, _, err := schemas.DecodeRequest(all[name])
			if err != nil {
				t.Fatal(err)
			}
			r := told(req.Operation, schemas.OutcomeSucceeded, nil)
			r.RequestID, r.Account, r.ServiceSID, r.Identity, r.ChallengeSID = req.ID, req.Account, req.ServiceSID, req.Identity, req.ChallengeSID
			r.Challenge, r.Challenges = resource(func(c map[string]any) { c["identity"] = req.Identity }), nil
			if req.Operation == schemas.OperationList {
				r.Challenge, r.Challenges = nil, []json.RawMessage{}
			}
			s.answer(s.request(len(name)%parts, all[name]), r, time.Second)
		}
		r := w.check(checkConfig())
		if r.Same != int64(len(all)) || len(r.Differences) > 0 {
			t.Errorf("%+v", r)
		}
		for _, p := range r.Partitions {
			if p.Next != p.To {
				t.Errorf("%+v", p)
			}
		}
	})
}

// Every golden result beside a request that it would answer.
func TestCheckGoldenResults(t *testing.T) {
	notReplayable := map[string]Reason{
		"create-adopted": ReasonLookedUp, "update-adopted": ReasonLookedUp, "create-duplicate": ReasonLedger, "fetch-duplicate": ReasonLedger,
		"list-duplicate": ReasonLedger, "update-duplicate": ReasonLedger, "create-expired": ReasonClock, "fetch-expired": ReasonClock,
		"list-expired": ReasonClock, "update-expired": ReasonClock, "create-failed": ReasonNoAnswer, "list-failed": ReasonTooLarge,
		"update-failed": ReasonNoAnswer, "rejected-account": ReasonConfiguration, "rejected-guard": ReasonConfiguration,
		"rejected-id-conflict": ReasonLedger,
	}
	// Their texts are none of ours.
	differs := map[string][]What{"create-rejected": {WhatLimit}, "rejected-invalid": {WhatFaults}}
	for name, data := range golden(t, "result") {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := w.story()
				recorded, _, err := schemas.DecodeResult(data)
				if err != nil {
					t.Fatal(err)
				}
				req := schemas.Request{
					ID: recorded.RequestID, Operation: recorded.Operation, Account: recorded.Account, ServiceSID: recorded.ServiceSID,
					Identity: recorded.Identity, ChallengeSID: recorded.ChallengeSID,
				}
				var value []byte
				switch name {
				case "rejected-invalid":
					value = []byte(`{"version":"1.0","id":"signin-4711"}`)
				case "failed-version":
					value = []byte(`{"version":"2.0","id":"signin-4711","operation":"create"}`)
				default:
					value = event(t, req)
				}
				at := s.request(1, value)
				if name == "list-succeeded-page1" {
					first := *recorded
					first.Page = &schemas.Page{Index: 0}
					s.answer(at, first, time.Second)
				}
				s.answer(at, *recorded, time.Second)
				r := w.check(checkConfig())
				switch reason, what := notReplayable[name], differs[name]; {
				case r.Requests != 1:
					t.Errorf("%+v", r)
				case reason != "":
					if r.Reasons[reason] != 1 || r.NotReplayable != 1 {
						t.Errorf("%+v", r)
					}
				case what != nil:
					if r.Differs != 1 || !slices.Equal(r.Differences[0].What, what) {
						t.Errorf("%+v", r)
					}
				case r.Same != 1:
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// ends are the API's answers, at least one of each class, with what they are of.
var ends = []struct {
	op           schemas.Operation
	status, code int
}{
	{schemas.OperationCreate, 429, 20429},
	{schemas.OperationCreate, 429, 60312},
	{schemas.OperationCreate, 400, 60306},
	{schemas.OperationCreate, 403, 60318},
	{schemas.OperationUpdate, 403, 60322},
	{schemas.OperationUpdate, 404, 20404},
	{schemas.OperationUpdate, 500, 20500},
	{schemas.OperationFetch, 503, 0},
	{schemas.OperationFetch, 404, 20404},
	{schemas.OperationList, 404, 60390},
	{schemas.OperationList, 408, 0},
	{schemas.OperationFetch, 429, 0},
}

// tellEnds records each of the ends as today's code ends it.
func (s *story) tellEnds() {
	for i, end := range ends {
		write := end.op == schemas.OperationCreate || end.op == schemas.OperationUpdate
		err := &read.APIError{Status: end.status, Code: end.code, Message: "said by the API"}
		by := verdict.EndingOf(verdict.Classify(write, err), err)
		at := s.request(i%parts, event(s.w.t, schemas.Request{Operation: end.op}))
		s.answer(at, told(end.op, by.Outcome, by.Error), time.Second)
		if by.DeadLetter {
			s.letter(at, schemas.DeadLetter{Class: by.Error.Class, RequestID: "a", HasResult: true, Redrivable: by.Redrivable})
		}
	}
}

func TestCheckClasses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.story()
		s.tellEnds()
		if r := w.check(checkConfig()); r.Same != int64(len(ends)) {
			t.Errorf("%+v", r)
		}
		// With another table the answers that it judges in another way differ, and
		// no others.
		cfg := checkConfig()
		cfg.Classify = func(write bool, err error) verdict.Verdict {
			v := verdict.Classify(write, err)
			if api, ok := err.(*read.APIError); ok && api.Code == 60318 { //nolint:errorlint // made by us
				v.Class = verdict.ClassThrottled
			}
			return v
		}
		r := w.check(cfg)
		if r.Differs != 1 || r.Same != int64(len(ends))-1 || r.What[WhatOutcome] != 1 || r.What[WhatClass] != 1 || r.What[WhatLimit] != 0 {
			t.Fatalf("%+v", r)
		}
		d := r.Differences[0]
		want := Difference{
			Request: "requests/0@1", Result: d.Result, RequestID: "a", Operation: schemas.OperationCreate, What: []What{WhatOutcome, WhatClass},
			Recorded: Told{Outcome: schemas.OutcomeRejected, Class: schemas.ClassRejected, Status: 403, Code: 60318},
			Today:    Told{Outcome: schemas.OutcomeFailed, Class: schemas.ClassThrottled, Status: 403, Code: 60318},
		}
		if fmt.Sprint(d) != fmt.Sprint(want) {
			t.Errorf("%+v", d)
		}
	})
}

// One finding each, for one deviation each.
func TestCheckFinds(t *testing.T) {
	invalidEvent := []byte(`{"version":"1.0","id":"a","operation":"create"}`)
	create := func(t *testing.T) []byte { return event(t, schemas.Request{Operation: schemas.OperationCreate}) }
	invalid := func() schemas.Result {
		by, id, op := verdict.EndingOfUnreadable(func() error { _, _, err := schemas.DecodeRequest(invalidEvent); return err }())
		r := told(op, by.Outcome, by.Error)
		r.RequestID, r.ServiceSID, r.Identity = id, "", ""
		return r
	}
	for name, c := range map[string]struct {
		value  func(t *testing.T) []byte
		result func() schemas.Result
		letter *schemas.DeadLetter
		what   []What // nil: none
	}{
		"as it was": {create, func() schemas.Result { return told("create", "succeeded", nil) }, nil, nil},
		"answer of another challenge": {create, func() schemas.Result {
			r := told("create", "succeeded", nil)
			r.Challenge = resource(func(c map[string]any) { c["factor_sid"] = "YF" + strings.Repeat("9", 32) })
			return r
		}, nil, []What{WhatOutcome, WhatClass}},
		"no challenge": {create, func() schemas.Result {
			r := told("create", "succeeded", nil)
			r.Challenge = json.RawMessage(`{"a":1}`)
			return r
		}, nil, []What{WhatOutcome, WhatClass}},
		"another identity": {create, func() schemas.Result { r := told("create", "succeeded", nil); r.Identity = "somebody-else"; return r }, nil, []What{WhatDecode}},
		"another id":       {create, func() schemas.Result { r := told("create", "succeeded", nil); r.RequestID = "b"; return r }, nil, []What{WhatDecode}},
		"limit": {create, func() schemas.Result {
			return told("create", "rejected", &schemas.Error{Class: schemas.ClassRejected, Status: 429, Code: 60312, Message: "x", Limit: "10 a day"})
		}, nil, []What{WhatLimit}},
		"class": {create, func() schemas.Result {
			return told("create", "failed", &schemas.Error{Class: schemas.ClassUnavailable, Status: 429, Code: 20429, Message: "x"})
		}, nil, []What{WhatClass}},
		"credentials": {create, func() schemas.Result {
			return told("create", "rejected", &schemas.Error{Class: schemas.ClassRejected, Status: 401, Code: 20003, Message: "x"})
		}, nil, []What{WhatOutcome, WhatClass}},
		"redrivable": {create, func() schemas.Result {
			return told("create", "failed", &schemas.Error{Class: schemas.ClassThrottled, Status: 429, Code: 20429, Message: "x"})
		}, &schemas.DeadLetter{Class: schemas.ClassThrottled, RequestID: "a", HasResult: true}, []What{WhatRedrivable}},
		"invalid": {func(*testing.T) []byte { return invalidEvent }, invalid, nil, nil},
		"other faults": {func(*testing.T) []byte { return invalidEvent }, func() schemas.Result {
			r := invalid()
			r.Error.Faults = r.Error.Faults[1:]
			return r
		}, nil, []What{WhatFaults}},
		"invalid then": {create, func() schemas.Result {
			return told("create", "rejected", &schemas.Error{Class: schemas.ClassInvalid, Message: "x", Faults: []schemas.Fault{{Path: "$.create", Message: "x"}}})
		}, nil, []What{WhatDecode, WhatOutcome}},
		"invalid today":                  {func(*testing.T) []byte { return invalidEvent }, func() schemas.Result { return told("create", "succeeded", nil) }, nil, []What{WhatDecode, WhatOutcome, WhatClass}},
		"letter alone":                   {func(*testing.T) []byte { return []byte("no") }, nil, &schemas.DeadLetter{Class: schemas.ClassNotJSON}, nil},
		"letter alone, of another class": {func(*testing.T) []byte { return []byte("no") }, nil, &schemas.DeadLetter{Class: schemas.ClassNoID}, []What{WhatClass}},
		"letter alone, redrivable":       {func(*testing.T) []byte { return []byte("no") }, nil, &schemas.DeadLetter{Class: schemas.ClassNotJSON, Redrivable: true}, []What{WhatRedrivable}},
		"letter alone of a good request": {create, nil, &schemas.DeadLetter{Class: schemas.ClassNotJSON}, []What{WhatDecode}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := w.story()
				at := s.request(0, c.value(t))
				if c.letter != nil {
					s.letter(at, *c.letter)
				}
				if c.result != nil {
					s.answer(at, c.result(), time.Second)
				}
				r := w.check(checkConfig())
				if c.what == nil {
					if r.Same != 1 {
						t.Errorf("%+v", r)
					}
					return
				}
				if r.Differs != 1 || !slices.Equal(r.Differences[0].What, c.what) {
					t.Errorf("%+v", r)
				}
				if text := fmt.Sprintf("%+v", r); strings.Contains(text, "918273") || strings.Contains(text, person) {
					t.Errorf("it tells too much: %s", text)
				}
			})
		})
	}
}

// An event of another form, of another group, of no form at all, and none.
func TestCheckAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		s := w.story()
		value := event(t, schemas.Request{Operation: schemas.OperationFetch})
		ok := told("fetch", "succeeded", nil)
		raw := func(at schemas.Coordinates, change func(text string) string) {
			r := ok
			r.Request, r.ID = at, schemas.ResultID(group, at, 0)
			text, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			p := 0
			s.produce(kafka.Message{Topic: results, Partition: &p, Value: []byte(change(string(text))), Timestamp: at.Timestamp.Add(time.Second)})
		}
		raw(s.request(0, value), func(text string) string { return strings.Replace(text, `{"version"`, ` { "version"`, 1) })         // same
		raw(s.request(1, value), func(text string) string { return strings.Replace(text, `"attempts"`, `"later":1,"attempts"`, 1) }) // form
		raw(s.request(2, value), func(text string) string { return strings.Replace(text, `"succeeded"`, `"perhaps"`, 1) })           // unreadable
		raw(s.request(0, value), func(text string) string {
			return strings.Replace(text, schemas.ResultID(group, schemas.Coordinates{Topic: requests, Offset: 1}, 0), strings.Repeat("0", 32), 1)
		}) // of another group
		s.request(1, value) // not answered
		s.produce(kafka.Message{Topic: results, Value: []byte("no"), Timestamp: s.seen})
		r := w.check(checkConfig())
		if r.Same != 1 || r.Differs != 1 || r.What[WhatForm] != 1 || r.Unreadable != 1 || r.Unanswered != 3 {
			t.Errorf("%+v", r)
		}
	})
}

// However few are held at once, however late and in whatever order the answers
// come: each request meets its own.
func TestCheckHoldsFew(t *testing.T) {
	for _, held := range []int{1, 2, 7, 100} {
		t.Run(fmt.Sprintf("%d at once", held), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				s := w.story()
				type late struct {
					at    schemas.Coordinates
					after time.Duration
				}
				var all []late
				for i := range 60 {
					at := s.request(i%parts, event(t, schemas.Request{Operation: schemas.OperationFetch}))
					switch i % 10 {
					case 3: // never answered
					case 5:
						all = append(all, late{at, 5 * time.Hour})
					case 7:
						all = append(all, late{at, -3 * time.Minute}) // clocks differ
					default:
						all = append(all, late{at, time.Duration(i%4) * time.Minute})
					}
					if i == 30 {
						s.seen = s.seen.Add(10 * time.Hour) // a quiet time
					}
				}
				slices.SortStableFunc(all, func(a, b late) int { return a.at.Timestamp.Add(a.after).Compare(b.at.Timestamp.Add(b.after)) })
				for _, l := range all {
					s.answer(l.at, told("fetch", "succeeded", nil), l.after)
				}
				cfg := checkConfig()
				cfg.held = held
				var last Progress
				cfg.Progress = func(p Progress) { last = p }
				r := w.check(cfg)
				if r.Same != 54 || r.Unanswered != 6 || last.Done != 60 || last.Total != 60 {
					t.Errorf("%+v, %+v", r, last)
				}
				cfg.Ahead = time.Hour
				if r := w.check(cfg); r.Same != 48 || r.Unanswered != 12 {
					t.Errorf("an hour ahead: %+v", r)
				}
				cfg.Window = Window{Offsets: []Span{{1, 2, 5}}}
				cfg.Ahead = 0
				if r := w.check(cfg); r.Requests != 3 || r.Unanswered != 1 {
					t.Errorf("of a window: %+v", r)
				}
			})
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.story()
		for _, change := range []func(c *CheckConfig){
			func(c *CheckConfig) { c.Requests = "" }, func(c *CheckConfig) { c.Results = requests }, func(c *CheckConfig) { c.DeadLetters = results },
			func(c *CheckConfig) { c.Group = "" }, func(c *CheckConfig) { c.Ahead = -1 }, func(c *CheckConfig) { c.Window = Window{Offsets: []Span{{0, 1, 1}}} },
		} {
			cfg := checkConfig()
			change(&cfg)
			_, err := Check(t.Context(), w.client, cfg)
			wantCode(t, err, CodeInvalid)
		}
		cfg := checkConfig()
		cfg.Results = "absent"
		_, err := Check(t.Context(), w.client, cfg)
		wantCode(t, err, CodeKafka)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = Check(ctx, w.client, checkConfig())
		wantCode(t, err, CodeInterrupted)
	})
}
