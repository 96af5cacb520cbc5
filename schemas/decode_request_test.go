package schemas_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

// head is what every request needs, for one operation.
func head(op string) string {
	return `{"version":"1.0","id":"signin-4711","operation":"` + op + `","service_sid":"` + serviceSID + `","identity":"` + identity + `"`
}

// refuse decodes a request that must not pass.
func refuse(t *testing.T, data string) (*schemas.DecodeError, []schemas.Warning) {
	t.Helper()
	r, warnings, err := schemas.DecodeRequest([]byte(data))
	var refused *schemas.DecodeError
	if !errors.As(err, &refused) {
		t.Fatalf("%s\ndecodes as %+v, %v", data, r, err)
	}
	if r != nil || len(refused.Faults) == 0 {
		t.Errorf("%s\nrequest %v beside the error, faults %v", data, r, refused.Faults)
	}
	return refused, warnings
}

// lines writes faults or warnings one a line.
func lines[T fmt.Stringer](list []T) (all []string) {
	for _, one := range list {
		all = append(all, one.String())
	}
	return all
}

func expect(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got\t%s\nwant\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestDecodeRequestReportsEveryFault(t *testing.T) {
	refused, _ := refuse(t, `{
		"version": "1", "id": "signin-4711", "operation": "create", "account": "a b", "service_sid": "YF`+strings.Repeat("0", 32)+`",
		"identity": "short", "challenge_sid": 5, "update": null, "not_after": "tomorrow",
		"create": {
			"factor_sid": 7, "expiration_date": "2026-02-30T00:00:00Z", "auth_payload": "12",
			"details": {"message": "", "fields": [{"label": "", "value": "ok"}, "x", {"value": null}, {"label": "l", "value": "`+strings.Repeat("v", 129)+`"}]},
			"hidden_details": {"ip": 1, "countersign": "mine", "odd name": [], "ok": "ok"}
		}}`)
	if refused.Code != schemas.CodeInvalid || refused.ID != "signin-4711" || refused.Operation != schemas.OperationCreate {
		t.Errorf("%s, id %q, operation %q", refused.Code, refused.ID, refused.Operation)
	}
	const when = "must be a date and time as in 2026-01-02T15:04:05Z (RFC 3339, capital T and Z or an offset)"
	expect(t, "faults", lines(refused.Faults), []string{
		`$.version must be 1. and a minor version, such as "1.0"`,
		`$.account must have 1 to 64 letters, digits, dots, dashes or underscores`,
		`$.service_sid must be VA and 32 hexadecimal digits; it starts with YF`,
		`$.identity must have 8 to 64 letters and digits, in groups separated by single dashes`,
		`$.challenge_sid must not be there: only fetch and update name a challenge`,
		`$.not_after ` + when,
		`$.create.factor_sid must be a string, not a number`,
		`$.create.expiration_date ` + when,
		`$.create.details.message must have 1 to 256 characters; it has 0`,
		`$.create.details.fields[0].label must have 1 to 36 characters; it has 0`,
		`$.create.details.fields[1] must be an object, not a string`,
		`$.create.details.fields[2].label is required`,
		`$.create.details.fields[2].value must be a string, not null; a field without a value is left out`,
		`$.create.details.fields[3].value must have 0 to 128 characters; it has 129`,
		`$.create.hidden_details.ip must be a string, not a number`,
		`$.create.hidden_details.countersign is reserved for Countersign's own marker`,
		`$.create.hidden_details["odd name"] must be a string, not an array`,
		`$.create.auth_payload must have 3 to 8 characters; it has 2`,
		`$.update must not be there: belongs to operation update, not create`,
	})
}

func TestDecodeRequestFaults(t *testing.T) {
	for _, c := range []struct {
		name, event string
		want        []string
	}{
		{"list bounds", head("list") + `,"list":{"factor_sid":"","status":"open","order":1,"page_size":1001,"page":-1,"page_token":"","limit":0}}`, []string{
			`$.list.factor_sid must be YF and 32 hexadecimal digits; it has 0 characters`,
			`$.list.status must be one of pending, expired, approved, denied, not "open"`,
			`$.list.order must be a string, not a number`,
			`$.list.page_size must be a whole number from 1 to 1000`,
			`$.list.page must be a whole number from 0 to 2147483647`,
			`$.list.page_token must not be empty; a field without a value is left out`,
			`$.list.limit must be a whole number from 1 to 2147483647`,
		}},
		{"fractions", head("list") + `,"list":{"page_size":1.5,"page":"1","limit":1e-1}}`, []string{
			`$.list.page_size must be a whole number from 1 to 1000`,
			`$.list.page must be a number, not a string`,
			`$.list.limit must be a whole number from 1 to 2147483647`,
		}},
		{"create without its object", head("create") + `}`, []string{`$.create is required`}},
		{"fetch without a challenge", head("fetch") + `}`, []string{`$.challenge_sid is required`}},
		{"update without anything", head("update") + `}`, []string{`$.challenge_sid is required`, `$.update is required`}},
		{"update payload", head("update") + `,"challenge_sid":"` + challengeSID + `","update":{"auth_payload":"` + strings.Repeat("x", 5457) + `","metadata":[]}}`, []string{
			`$.update.auth_payload must have 3 to 5456 characters; it has 5457`,
			`$.update.metadata must be an object, not an array`,
		}},
		{"no operation: each object is still looked into", `{"version":"1.0","id":"a","operation":"crate","service_sid":"` + serviceSID + `","identity":"` + identity + `","create":{},"list":{"limit":0}}`, []string{
			`$.operation must be one of create, fetch, list, update, not "crate"`,
			`$.create.factor_sid is required`,
			`$.list.limit must be a whole number from 1 to 2147483647`,
		}},
		{"repeated", head("list") + `,"operation":"create","operation":"fetch","list":{"limit":1,"limit":2},"future":1,"future":2}`, []string{
			`$.operation appears more than once`,
			`$.future appears more than once`,
			`$.list.limit appears more than once`,
		}},
		{"repeated inside", head("list") + `,"future":{"a":[{"b":1,"b":2}]},"list":{"x":{"a":1,"a":1}}}`, []string{
			`$.future holds a repeated member name`,
			`$.list.x holds a repeated member name`,
		}},
		{"repeated text", head("create") + `,"create":{"factor_sid":"` + factorSID + `","hidden_details":{"a":"1","b":"2","a":"3"}}}`, []string{
			`$.create.hidden_details.a appears more than once`,
		}},
		{"repeated among many", head("list") + `,"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"\u0061":2,"identity":"other-name"}`, []string{
			`$.a appears more than once`,
			`$.identity appears more than once`,
		}},
		{"not UTF-8", head("create") + ",\"account\":\"\xff\",\"f\":\"\xff\",\"\xff\":1,\"create\":{\"factor_sid\":\"" + factorSID + "\",\"hidden_details\":{\"\xc3\":\"\",\"a\":\"\\ud800\",\"\\ude00\":\"\"}}}", []string{
			`$.f holds text that is not valid UTF-8`,
			`$["\xff"] has a name that is not valid Unicode`,
			`$.account holds text that is not valid UTF-8`,
			`$.create.hidden_details["\xc3"] has a name that is not valid Unicode`,
			`$.create.hidden_details.a holds half of a surrogate pair`,
			`$.create.hidden_details["�"] has a name that is not valid Unicode`,
		}},
		{"too many fields", head("create") + `,"create":{"factor_sid":"` + factorSID + `","details":{"fields":[` + strings.Repeat(`{"label":"a","value":""},`, 20) + `{"label":"","value":""}]}}}`, []string{
			`$.create.details.fields must have at most 20 items; it has 21`,
			`$.create.details.fields[20].label must have 1 to 36 characters; it has 0`,
		}},
		{"misspelled", `{"version":"1.0","id":"a","operation":"create","ServiceSid":"` + serviceSID + `","Identity":"` + identity + `","create":{"factorSID":"` + factorSID + `"}}`, []string{
			`$.service_sid is required; is it the one written as "ServiceSid"?`,
			`$.identity is required; is it the one written as "Identity"?`,
			`$.create.factor_sid is required; is it the one written as "factorSID"?`,
		}},
	} {
		refused, _ := refuse(t, c.event)
		expect(t, c.name, lines(refused.Faults), c.want)
	}
}

func TestDecodeRequestCodes(t *testing.T) {
	for _, c := range []struct {
		event string
		code  schemas.ErrorCode
		class schemas.Class
		id    string
		op    schemas.Operation
	}{
		{``, schemas.CodeNotJSON, schemas.ClassNotJSON, "", ""},
		{head("list"), schemas.CodeNotJSON, schemas.ClassNotJSON, "", ""},
		{"\xef\xbb\xbf" + head("list") + `}`, schemas.CodeNotJSON, schemas.ClassNotJSON, "", ""},
		{head("list") + `,"f":` + strings.Repeat(`[`, 64) + strings.Repeat(`]`, 64) + `}`, schemas.CodeNotJSON, schemas.ClassNotJSON, "", ""},
		{`null`, schemas.CodeNoID, schemas.ClassNoID, "", ""},
		{`[{"id":"a"}]`, schemas.CodeNoID, schemas.ClassNoID, "", ""},
		{`{}`, schemas.CodeNoID, schemas.ClassNoID, "", ""},
		{`{"id":7,"operation":"list"}`, schemas.CodeNoID, schemas.ClassNoID, "", "list"},
		{`{"id":""}`, schemas.CodeNoID, schemas.ClassNoID, "", ""},
		{`{"id":" a"}`, schemas.CodeNoID, schemas.ClassNoID, "", ""},
		{`{"id":"a","id":"a"}`, schemas.CodeNoID, schemas.ClassNoID, "", ""},
		{`{"id":"` + strings.Repeat("a", 129) + `"}`, schemas.CodeNoID, schemas.ClassNoID, "", ""},
		{`{"id":"a"}`, schemas.CodeInvalid, schemas.ClassInvalid, "a", ""},
		{`{"version":"2.0","id":"a","operation":"list"}`, schemas.CodeVersion, schemas.ClassVersion, "a", "list"},
		{`{"version":"0.9","ID":"a"}`, schemas.CodeVersion, schemas.ClassVersion, "", ""},
		{`{"version":2,"id":"a"}`, schemas.CodeInvalid, schemas.ClassInvalid, "a", ""},
		{`{"version":"1.0","version":"2.0","id":"a"}`, schemas.CodeInvalid, schemas.ClassInvalid, "a", ""},
		{head("list") + `,"f":"` + strings.Repeat("x", schemas.MaxEventBytes) + `"}`, schemas.CodeTooLarge, schemas.ClassTooLarge, "", ""},
	} {
		refused, _ := refuse(t, c.event)
		shown := c.event[:min(len(c.event), 60)]
		if refused.Code != c.code || refused.ID != c.id || refused.Operation != c.op || refused.Class() != c.class {
			t.Errorf("%s: %s %s %q %q, want %s %s %q %q", shown, refused.Code, refused.Class(), refused.ID, refused.Operation, c.code, c.class, c.id, c.op)
		}
	}
}

// Of another major version nothing else is said: its rules are not known.
func TestDecodeRequestRefusesAnotherMajorWhole(t *testing.T) {
	refused, warnings := refuse(t, `{"future":1,"id":"a","operation":"delete","version":"2.1","identity":7}`)
	expect(t, "faults", lines(refused.Faults), []string{"$.version is 2.1; only 1.x is read here"})
	expect(t, "warnings", lines(warnings), nil)
	refused, _ = refuse(t, `{"id":"a","version":"`+strings.Repeat("9", 500)+`"}`)
	expect(t, "long", lines(refused.Faults), []string{"$.version is another major version than 1, which is the one read here"})
}

func TestDecodeRequestAcceptsTheLargest(t *testing.T) {
	room := schemas.MaxEventBytes - len(head("list")) - len(`,"f":""}`)
	if _, _, err := schemas.DecodeRequest([]byte(head("list") + `,"f":"` + strings.Repeat("x", room) + `"}`)); err != nil {
		t.Error(err)
	}
	depth := strings.Repeat(`[`, schemas.MaxDepth-1) + strings.Repeat(`]`, schemas.MaxDepth-1)
	if _, _, err := schemas.DecodeRequest([]byte(head("list") + `,"f":` + depth + `}`)); err != nil {
		t.Error(err)
	}
}

func TestDecodeRequestBoundsItsReport(t *testing.T) {
	bad := strings.TrimSuffix(strings.Repeat(`{},`, 100_000), ",")
	refused, _ := refuse(t, head("create")+`,"create":{"factor_sid":"`+factorSID+`","details":{"fields":[`+bad+`]}}}`)
	last := refused.Faults[len(refused.Faults)-1]
	if len(refused.Faults) != schemas.MaxFaults+1 || last.String() != "$ has 199745 more faults" {
		t.Errorf("%d faults, the last: %s", len(refused.Faults), last)
	}
	if text := refused.Error(); len(text) > 2000 || !strings.HasSuffix(text, "and 249 more") {
		t.Errorf("error text of %d bytes: %s", len(text), text)
	}
	var unknown strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&unknown, `,"field_%d%s":0`, i, strings.Repeat("x", 20))
	}
	_, warnings, err := schemas.DecodeRequest([]byte(head("list") + unknown.String() + `}`))
	if err != nil || len(warnings) != schemas.MaxFaults+1 || warnings[schemas.MaxFaults].String() != "$ has 19744 more unknown fields" {
		t.Errorf("%v, %d warnings", err, len(warnings))
	}
}

// The request shares no memory with the event.
func TestDecodeRequestCopies(t *testing.T) {
	data, _ := goldenRequests["create-push"].Encode()
	r, _, err := schemas.DecodeRequest(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if again, err := r.Encode(); err != nil || !strings.Contains(string(again), "Rotterdam") {
		t.Errorf("%s, %v", again, err)
	}
}
