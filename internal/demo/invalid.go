package demo

import (
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// mistake is one way to get an event wrong, and the path of the fault that has
// to be named for it.
type mistake struct {
	path string
	op   schemas.Operation // of the event that it is made in
	make func(m object, w *writer)
}

// mistakes lists every kind of field that an event alone, or its record's
// timestamp, can get wrong; the last one makes several at once.
func mistakes() []mistake {
	const (
		create = schemas.OperationCreate
		update = schemas.OperationUpdate
		fetch  = schemas.OperationFetch
		list   = schemas.OperationList
	)
	set := func(path string, value any) func(object, *writer) {
		return func(m object, _ *writer) { put(m, path, value) }
	}
	ahead := func(d time.Duration) func(object, *writer) {
		return func(m object, w *writer) { put(m, "create.expiration_date", w.now.Add(d).UTC().Format(time.RFC3339)) }
	}
	field := func(label, value string) object { return object{"label": label, "value": value} }
	return []mistake{
		{"$.service_sid", create, set("service_sid", "VA123")},
		{"$.identity", create, set("identity", "short")},
		{"$.identity", fetch, set("identity", strings.Repeat("x", schemas.MaxIdentity+1))},
		{"$.identity", list, set("identity", "two--dashes-in-a-row")},
		{"$.create.factor_sid", create, set("create.factor_sid", "YC"+strings.Repeat("0", 32))},
		{"$.create.details.message", create, set("create.details.message", strings.Repeat("m", schemas.MaxMessage+1))},
		{"$.create.details.fields", create, set("create.details.fields", repeated(schemas.MaxFields+1, field("Label", "value")))},
		{
			"$.create.details.fields[0].label", create,
			set("create.details.fields", repeated(1, field(strings.Repeat("l", schemas.MaxLabel+1), "value"))),
		},
		{
			"$.create.details.fields[1].value", create,
			set("create.details.fields", append(repeated(1, field("Label", "value")), field("Label", strings.Repeat("v", schemas.MaxValue+1)))),
		},
		{"$.create.hidden_details.amount", create, set("create.hidden_details", object{"amount": 12.5})},
		{"$.create.hidden_details", create, set("create.hidden_details", object{"note": strings.Repeat("h", schemas.MaxSerialised)})},
		{"$.create.hidden_details." + schemas.MarkerKey, create, set("create.hidden_details", object{schemas.MarkerKey: "mine"})},
		{"$.create.auth_payload", create, set("create.auth_payload", "12")},
		{"$.create.auth_payload", create, set("create.auth_payload", "123456789")},
		{"$.create.expiration_date", create, ahead(-time.Minute)},
		{"$.create.expiration_date", create, ahead(schemas.MaxExpiration + time.Hour)},
		{"$.create.expiration_date", create, set("create.expiration_date", "tomorrow")},
		{"$.create", create, func(m object, _ *writer) { delete(m, "create") }},
		{"$.update", create, set("update", object{})},
		{"$.challenge_sid", fetch, set("challenge_sid", "YC1")},
		{"$.challenge_sid", update, func(m object, _ *writer) { delete(m, "challenge_sid") }},
		{"$.update.auth_payload", update, set("update.auth_payload", strings.Repeat("a", schemas.MaxUpdateAuthPayload+1))},
		{"$.update.metadata", update, set("update.metadata", object{"note": strings.Repeat("n", schemas.MaxSerialised)})},
		{"$.update.metadata.count", update, set("update.metadata", object{"count": 1})},
		{"$.list.page_size", list, set("list", object{"page_size": schemas.MaxPageSize + 1})},
		{"$.list.page_size", list, set("list", object{"page_size": 0})},
		{"$.list.limit", list, set("list", object{"limit": 0})},
		{"$.list.page", list, set("list", object{"page": -1})},
		{"$.list.status", list, set("list", object{"status": "open"})},
		{"$.list.order", list, set("list", object{"order": "newest"})},
		{"$.operation", list, set("operation", "cancel")},
		{"$.version", list, func(m object, _ *writer) { delete(m, "version") }},
		{"$.not_after", list, set("not_after", "in five minutes")},
		{"$.account", list, set("account", "nobody")},
		{"$.create.details.message", create, func(m object, _ *writer) {
			put(m, "identity", "short")
			put(m, "service_sid", true)
			put(m, "create.factor_sid", nil)
			put(m, "create.details.message", "")
			put(m, "create.hidden_details", []any{})
		}},
	}
}

// invalid makes the mistakes in turn, each in an event that is right but for
// it.
func (w *writer) invalid() ([]byte, error) {
	all := mistakes()
	m := all[w.form%len(all)]
	var r *schemas.Request
	switch m.op {
	case schemas.OperationFetch:
		r = w.about(m.op, w.unknownSID("YC"))
	case schemas.OperationUpdate:
		r = w.about(m.op, w.unknownSID("YC"))
		r.Update = &schemas.Update{AuthPayload: w.code}
	case schemas.OperationList:
		r = w.about(m.op, "")
	default:
		r = w.push()
		r.Create.ExpirationDate = nil
	}
	return w.altered(r, func(o object) { m.make(o, w) })
}

// put sets the value at a path of names with dots between them.
func put(m object, path string, value any) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		m, _ = m[name].(object)
	}
	m[names[len(names)-1]] = value
}

func repeated(n int, v any) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = v
	}
	return out
}
