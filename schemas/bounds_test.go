package schemas_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// missing leaves a field out.
type missing struct{}

// eventWith is a request of that operation with one value put somewhere.
func eventWith(t *testing.T, op schemas.Operation, path string, value any) []byte {
	t.Helper()
	data, err := request(op, nil).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(path, ".")
	at := doc
	for _, step := range steps[:len(steps)-1] {
		inner, ok := at[step].(map[string]any)
		if !ok {
			inner = map[string]any{}
			at[step] = inner
		}
		at = inner
	}
	if last := steps[len(steps)-1]; value == (missing{}) {
		delete(at, last)
	} else {
		at[last] = value
	}
	if data, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRequestBounds: each parameter of the API in an event, accepted at its bound
// and refused beyond it. docs/challenge-api.md cites the cases by name.
func TestRequestBounds(t *testing.T) {
	hex := strings.Repeat("0aF", 10) + "bc"
	sids := func(prefix string) (accepted, refused []any) {
		return []any{prefix + hex, prefix + strings.ToUpper(hex)},
			[]any{prefix + hex[1:], prefix + hex + "0", prefix + hex[1:] + "g", "XX" + hex, strings.ToLower(prefix) + hex, "", 1, nil, missing{}}
	}
	text := func(n int) string { return strings.Repeat("é", n) }
	pairs := func(n int) any { return map[string]any{"k": text(n - len(`{"k":""}`))} }
	date := func(ahead time.Duration) any { return record.Add(ahead).Format(time.RFC3339) }
	list := func(n int, label, value any) any {
		return slices.Repeat([]any{map[string]any{"label": label, "value": value}}, n)
	}
	optional := func(all []any) []any { return all[:len(all)-1] } // what may be missing
	service, noService := sids("VA")
	challenge, noChallenge := sids("YC")
	factor, noFactor := sids("YF")
	const create, fetch, update, read = schemas.OperationCreate, schemas.OperationFetch, schemas.OperationUpdate, schemas.OperationList
	for _, tc := range []struct {
		name              string
		op                schemas.Operation
		path              string
		accepted, refused []any
	}{
		{"service sid", fetch, "service_sid", service, noService},
		{"identity", fetch, "identity", []any{strings.Repeat("a", 8), strings.Repeat("Z", 64), "a1-B2-c3"}, []any{
			strings.Repeat("a", 7), strings.Repeat("a", 65), "under_score", "-leading1", "trailing-", "two--dashes", "with space", missing{},
		}},
		{"fetch sid", fetch, "challenge_sid", challenge, noChallenge},
		{"update sid", update, "challenge_sid", challenge, noChallenge},
		{"create factor sid", create, "create.factor_sid", factor, noFactor},
		{"create expiration date", create, "create.expiration_date", []any{date(time.Second), date(time.Hour), "2026-01-02T17:04:05+01:00", missing{}}, []any{
			date(0), date(time.Hour + time.Second), "2026-01-02T15:10:05", "2026-01-03", "soon", 1767366305,
		}},
		{"create message", create, "create.details.message", []any{"x", text(256), missing{}}, []any{"", text(257), 1}},
		{"create fields", create, "create.details.fields", []any{[]any{}, list(20, "l", "v"), missing{}}, []any{list(21, "l", "v"), list(1, 1, "v"), "x"}},
		{"create label", create, "create.details.fields", []any{list(1, text(36), "v")}, []any{list(1, text(37), "v"), list(1, "", "v")}},
		{"create value", create, "create.details.fields", []any{list(1, "l", text(128)), list(1, "l", "")}, []any{list(1, "l", text(129)), list(1, "l", 1)}},
		{"create hidden details length", create, "create.hidden_details", []any{pairs(1024 - schemas.MarkerReserve), map[string]any{}, missing{}}, []any{pairs(1025 - schemas.MarkerReserve)}},
		{"create hidden details values", create, "create.hidden_details", []any{map[string]any{"ip": "172.168.1.234"}}, []any{
			map[string]any{"n": 1}, map[string]any{"n": nil}, map[string]any{"n": map[string]any{"m": "o"}}, "{}", []any{},
		}},
		{"create auth payload", create, "create.auth_payload", []any{"123", "12345678", missing{}}, []any{"12", "123456789", 123456}},
		{"update auth payload", update, "update.auth_payload", []any{"123", text(5456), missing{}}, []any{"12", text(5457), 123456}},
		{"update metadata length", update, "update.metadata", []any{pairs(1024), map[string]any{}, missing{}}, []any{pairs(1025)}},
		{"update metadata values", update, "update.metadata", []any{map[string]any{"os": "Android"}}, []any{map[string]any{"os": 1}, map[string]any{"os": nil}, "{}"}},
		{"list factor sid", read, "list.factor_sid", append(factor, missing{}), optional(noFactor)},
		{"list status", read, "list.status", []any{"pending", "expired", "approved", "denied", missing{}}, []any{"open", "Pending", ""}},
		{"list order", read, "list.order", []any{"asc", "desc", missing{}}, []any{"ASC", "up", ""}},
		{"list page size", read, "list.page_size", []any{1, 1000, missing{}}, []any{0, 1001, -1, 1.5, "50"}},
		{"list page", read, "list.page", []any{0, 7, missing{}}, []any{-1, 0.5, "1"}},
		{"list page token", read, "list.page_token", []any{"DN" + challengeSID, missing{}}, []any{"", 1}},
		{"list limit", read, "list.limit", []any{1, 5000, missing{}}, []any{0, -1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, value := range tc.accepted {
				r, warnings, err := schemas.DecodeRequest(eventWith(t, tc.op, tc.path, value))
				if err != nil || len(warnings) > 0 {
					t.Errorf("%v: %v, %v", value, err, warnings)
				} else if faults := r.Check(record); len(faults) > 0 {
					t.Errorf("%v: %v", value, faults)
				}
			}
			for _, value := range tc.refused {
				r, _, err := schemas.DecodeRequest(eventWith(t, tc.op, tc.path, value))
				text := fmt.Sprint(err)
				if err == nil {
					text = fmt.Sprint(r.Check(record))
				}
				if !strings.Contains(text, "$."+tc.path) {
					t.Errorf("%v is not refused at $.%s: %s", value, tc.path, text)
				}
			}
		})
	}
}
