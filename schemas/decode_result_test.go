package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// edit changes the top level of a golden result.
func edit(t *testing.T, name string, changes map[string]string) []byte {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(goldenFiles(t, "result")[name], &doc); err != nil {
		t.Fatal(err)
	}
	for field, value := range changes {
		if value == "" {
			delete(doc, field)
			continue
		}
		doc[field] = json.RawMessage(value)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecodeResultFaults(t *testing.T) {
	for _, c := range []struct {
		name, event string
		changes     map[string]string
		want        []string
	}{
		{"success with an error", "create-succeeded", map[string]string{"error": `{"class":"odd","message":1,"code":0,"status":99}`}, []string{
			`$.error.class must be one of invalid, version, rejected, throttled, unavailable, ambiguous, credentials, expired, id_conflict, account, too_large, guard, not_json, no_id, not "odd"`,
			`$.error.code must be a whole number from 1 to 2147483647`,
			`$.error.message must be a string, not a number`,
			`$.error.status must be a whole number from 100 to 599`,
			`$.error must not be there for outcome succeeded`,
		}},
		{"rejection without an error", "fetch-rejected", map[string]string{"error": ""}, []string{`$.error is required for outcome rejected`}},
		{"success without a challenge", "update-succeeded", map[string]string{"challenge": ""}, []string{`$.challenge is required for outcome succeeded`}},
		{"list without challenges", "list-succeeded", map[string]string{"challenges": ""}, []string{`$.challenges is required for outcome succeeded`}},
		{"list with a challenge", "list-succeeded", map[string]string{"challenge": "{}"}, []string{`$.challenge must not be there for operation list`}},
		{"fetch with a page", "fetch-succeeded", map[string]string{"challenges": "[]", "page": `{"index":0}`}, []string{
			`$.page.last is required`,
			`$.challenges must not be there for operation other than list`,
			`$.page must not be there for operation other than list`,
		}},
		{"adopted read", "fetch-succeeded", map[string]string{"outcome": `"adopted"`}, []string{`$.outcome must not be adopted: a fetch changes nothing that could be adopted`}},
		{"no operation", "create-expired", map[string]string{"operation": ""}, []string{`$.operation is required for outcome expired`}},
		{"original of no duplicate", "create-failed", map[string]string{"original": `{"result_id":"x","topic":"","partition":-1,"offset":1.5}`}, []string{
			`$.original.result_id must have 32 lower-case hexadecimal digits`,
			`$.original.topic must not be empty; a field without a value is left out`,
			`$.original.partition must be a whole number from 0 to 2147483647`,
			`$.original.offset must be a whole number from 0 to 9223372036854775807`,
			`$.original must not be there for outcome failed`,
		}},
		{"no coordinates", "create-succeeded", map[string]string{"request": "", "times": "{}", "attempts": "", "request_id": ""}, []string{
			`$.request_id is required`, `$.attempts is required`, `$.request is required`, `$.times.received is required`, `$.times.completed is required`,
		}},
		{"resources of the wrong type", "list-succeeded", map[string]string{"challenges": `[{},null,[]]`}, []string{
			`$.challenges[1] must be an object, not null; a field without a value is left out`, `$.challenges[2] must be an object, not an array`,
		}},
		{"headers", "fetch-succeeded", map[string]string{"headers": `{"A":1,"B":["x"]}`}, []string{
			`$.headers.A must be a string, not a number`, `$.headers.B must be a string, not an array`,
		}},
	} {
		r, _, err := schemas.DecodeResult(edit(t, c.event, c.changes))
		var refused *schemas.DecodeError
		if !errors.As(err, &refused) {
			t.Errorf("%s: decodes as %+v, %v", c.name, r, err)
			continue
		}
		expect(t, c.name, lines(refused.Faults), c.want)
		if refused.Code != schemas.CodeInvalid || len(refused.ID) != 32 {
			t.Errorf("%s: %s, id %q", c.name, refused.Code, refused.ID)
		}
	}
}

func TestDecodeResultCodes(t *testing.T) {
	for event, want := range map[string]schemas.ErrorCode{
		``:   schemas.CodeNotJSON,
		`[]`: schemas.CodeNoID,
		`{}`: schemas.CodeNoID,
		string(edit(t, "fetch-succeeded", map[string]string{"version": `"2.0"`})): schemas.CodeVersion,
		string(edit(t, "fetch-succeeded", map[string]string{"id": `"ABC"`})):      schemas.CodeNoID,
		strings.Repeat(" ", schemas.MaxEventBytes+1):                              schemas.CodeTooLarge,
	} {
		_, _, err := schemas.DecodeResult([]byte(event))
		var refused *schemas.DecodeError
		if !errors.As(err, &refused) || refused.Code != want {
			t.Errorf("%.60s: %v, want %s", event, err, want)
		}
	}
}

// The API's resource passes as it came, however odd, but without its white space.
func TestResultKeepsResources(t *testing.T) {
	const odd = `{ "sid" : "a \/ \u003c <b> & ` + "\u2028" + `" , "n" : [1.50, 1E2, -0], "half":"\ud83d", "half":1 }`
	const compact = `{"sid":"a \/ \u003c <b> & ` + "\u2028" + `","n":[1.50,1E2,-0],"half":"\ud83d","half":1}`
	r := result(schemas.OperationFetch, schemas.OutcomeSucceeded, func(r *schemas.Result) { r.Challenge = json.RawMessage(odd) })
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(`"challenge":`+compact)) {
		t.Errorf("written as %s", data)
	}
	spaced := bytes.Replace(data, []byte(compact), []byte(odd), 1)
	back, warnings, err := schemas.DecodeResult(spaced)
	if err != nil || len(warnings) > 0 || string(back.Challenge) != compact {
		t.Errorf("read as %s, %v, %v", back.Challenge, err, warnings)
	}
	clear(spaced)
	if string(back.Challenge) != compact {
		t.Error("the resource shares the event's memory")
	}
	bad := bytes.Replace(data, []byte("half"), []byte("ha\xfff"), 1)
	_, _, err = schemas.DecodeResult(bad)
	var refused *schemas.DecodeError
	if !errors.As(err, &refused) {
		t.Fatalf("not UTF-8: %v", err)
	}
	expect(t, "not UTF-8", lines(refused.Faults), []string{"$.challenge holds text that is not valid UTF-8"})
}

// An outcome is never lost over what somebody else put into its report.
func TestResultEncodeIsTotal(t *testing.T) {
	r := result(schemas.OperationCreate, schemas.OutcomeRejected, func(r *schemas.Result) {
		r.Request.Timestamp = time.UnixMilli(1767366245000000) // microseconds taken for milliseconds
		r.Error = &schemas.Error{Class: schemas.ClassRejected, Message: "bad \xff byte"}
		r.Challenge = json.RawMessage("{\"a\":\"\xff\"}")
		r.Headers = map[string]string{"A": "\xfe", "B": "b"}
		r.Version = ""
	})
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := schemas.DecodeResult(data)
	if err != nil {
		t.Fatal(err)
	}
	if back.Version != schemas.Version || back.Error.Message != "bad \uFFFD byte" || string(back.Challenge) != "{\"a\":\"\uFFFD\"}" ||
		!maps.Equal(back.Headers, map[string]string{"A": "\uFFFD", "B": "b"}) || back.Request.Timestamp.Year() != 9999 {
		t.Errorf("%+v", back)
	}
}

func TestResultEncodeRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 62) + "{}" + strings.Repeat("}", 62)
	for _, c := range []struct {
		name   string
		change func(r *schemas.Result)
		code   schemas.ErrorCode
		want   []string
	}{
		{"no JSON", func(r *schemas.Result) { r.Challenge = json.RawMessage(`{"a"}`) }, schemas.CodeInvalid, []string{"$.challenge is not JSON: at byte 4, a colon is due"}},
		{"empty", func(r *schemas.Result) { r.Challenge = json.RawMessage{} }, schemas.CodeInvalid, []string{"$.challenge is not JSON: at byte 0, the text ends where a value is due"}},
		{"no object", func(r *schemas.Result) { r.Challenges = []json.RawMessage{[]byte(`{}`), []byte(`1`), nil} }, schemas.CodeInvalid, []string{
			"$.challenges[1] must be an object, not a number", "$.challenges[2] is not JSON: at byte 0, the text ends where a value is due",
		}},
		{"too deep in a list", func(r *schemas.Result) { r.Challenges = []json.RawMessage{[]byte(deep)} }, schemas.CodeInvalid, []string{"$.challenges[0] is not JSON: at byte 310, it is nested too deep"}},
		{"too large", func(r *schemas.Result) {
			r.Challenge = json.RawMessage(`{"a":"` + strings.Repeat("x", schemas.MaxEventBytes) + `"}`)
		}, schemas.CodeTooLarge, nil},
	} {
		data, err := result(schemas.OperationList, schemas.OutcomeSucceeded, c.change).Encode()
		var refused *schemas.EncodeError
		if !errors.As(err, &refused) || refused.Code != c.code || data != nil {
			t.Errorf("%s: %v, %d bytes", c.name, err, len(data))
			continue
		}
		if c.want != nil {
			expect(t, c.name, lines(refused.Faults), c.want)
		}
	}
	// One level up there is room for the same resource.
	fits := result(schemas.OperationFetch, schemas.OutcomeSucceeded, func(r *schemas.Result) { r.Challenge = json.RawMessage(deep) })
	data, err := fits.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := schemas.DecodeResult(data); err != nil {
		t.Error(err)
	}
}

// A succeeded list always has its challenges, even where the caller has nil.
func TestResultOfAnEmptyList(t *testing.T) {
	data, err := result(schemas.OperationList, schemas.OutcomeSucceeded, nil).Encode()
	if err != nil || !bytes.HasSuffix(data, []byte(`"challenges":[]}`)) {
		t.Errorf("%s, %v", data, err)
	}
}
