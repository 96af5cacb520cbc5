package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

type doc = map[string]any

// badEvents breaks each limit of the Challenge API's parameters, one at a time
// and a few together. The value names every path that the result must name.
func badEvents(service, factor, sid string) map[string]struct {
	event doc
	paths []string
} {
	create := func(change doc) doc {
		body := doc{"factor_sid": factor}
		maps.Copy(body, change)
		return doc{"operation": "create", "service_sid": service, "identity": "identity-0000", "create": body}
	}
	with := func(d doc, change doc) doc {
		out := maps.Clone(d)
		maps.Copy(out, change)
		return out
	}
	fields := func(n int) []any {
		return slices.Repeat([]any{doc{"label": "l", "value": "v"}}, n)
	}
	update := func(body doc) doc {
		return doc{"operation": "update", "service_sid": service, "identity": "identity-0000", "challenge_sid": sid, "update": body}
	}
	list := func(body doc) doc {
		return doc{"operation": "list", "service_sid": service, "identity": "identity-0000", "list": body}
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	type bad = struct {
		event doc
		paths []string
	}
	one := func(d doc, paths ...string) bad { return bad{d, paths} }
	return map[string]bad{
		"operation":             one(with(create(nil), doc{"operation": "delete"}), "$.operation"),
		"service pattern":       one(with(create(nil), doc{"service_sid": "VA12"}), "$.service_sid"),
		"identity too short":    one(with(create(nil), doc{"identity": "short"}), "$.identity"),
		"identity too long":     one(with(create(nil), doc{"identity": long(65)}), "$.identity"),
		"identity characters":   one(with(create(nil), doc{"identity": "some_identity"}), "$.identity"),
		"factor pattern":        one(create(doc{"factor_sid": "YF"}), "$.create.factor_sid"),
		"message":               one(create(doc{"details": doc{"message": long(257)}}), "$.create.details.message"),
		"too many fields":       one(create(doc{"details": doc{"message": "m", "fields": fields(21)}}), "$.create.details.fields"),
		"label":                 one(create(doc{"details": doc{"message": "m", "fields": []any{doc{"label": long(37), "value": "v"}}}}), "$.create.details.fields[0].label"),
		"value":                 one(create(doc{"details": doc{"message": "m", "fields": []any{doc{"label": "l", "value": long(129)}}}}), "$.create.details.fields[0].value"),
		"hidden details values": one(create(doc{"hidden_details": doc{"ip": 1}}), "$.create.hidden_details.ip"),
		"hidden details size":   one(create(doc{"hidden_details": doc{"ip": long(1024)}}), "$.create.hidden_details"),
		"reserved marker":       one(create(doc{"hidden_details": doc{"countersign": "x"}}), "$.create.hidden_details.countersign"),
		"code too short":        one(create(doc{"auth_payload": "12"}), "$.create.auth_payload"),
		"code too long":         one(create(doc{"auth_payload": "123456789"}), "$.create.auth_payload"),
		"expiration format":     one(create(doc{"expiration_date": "tomorrow"}), "$.create.expiration_date"),
		"expiration too far":    one(create(doc{"expiration_date": time.Now().Add(2 * time.Hour).Format(time.RFC3339)}), "$.create.expiration_date"),
		"challenge sid":         one(doc{"operation": "fetch", "service_sid": service, "identity": "identity-0000", "challenge_sid": "YC1"}, "$.challenge_sid"),
		"no challenge sid":      one(doc{"operation": "fetch", "service_sid": service, "identity": "identity-0000"}, "$.challenge_sid"),
		"payload of an update":  one(update(doc{"auth_payload": long(5457)}), "$.update.auth_payload"),
		"metadata values":       one(update(doc{"metadata": doc{"os": []any{}}}), "$.update.metadata.os"),
		"metadata size":         one(update(doc{"metadata": doc{"os": long(1025)}}), "$.update.metadata"),
		"page size zero":        one(list(doc{"page_size": 0}), "$.list.page_size"),
		"page size":             one(list(doc{"page_size": 1001}), "$.list.page_size"),
		"status":                one(list(doc{"status": "open"}), "$.list.status"),
		"order":                 one(list(doc{"order": "up"}), "$.list.order"),
		"page":                  one(list(doc{"page": -1}), "$.list.page"),
		"limit":                 one(list(doc{"limit": 0}), "$.list.limit"),
		"not_after":             one(with(create(nil), doc{"not_after": "soon"}), "$.not_after"),
		"several": one(with(create(doc{"factor_sid": 1, "auth_payload": "1"}), doc{"service_sid": nil, "identity": ""}),
			"$.service_sid", "$.identity", "$.create.factor_sid", "$.create.auth_payload"),
	}
}

// TestBadEventsAreRejectedWithEveryFieldNamed and cost no call.
func TestBadEventsAreRejectedWithEveryFieldNamed(t *testing.T) {
	w := newWorld(t, emulator.Config{})
	m := w.run(w.config())
	bad := badEvents(w.factors[0].ServiceSID, w.factors[0].SID, "YC"+strings.Repeat("a", 32))
	for name, b := range bad {
		b.event["version"], b.event["id"] = "1.0", name
		value, err := json.Marshal(b.event)
		must(t, err)
		w.sendRaw(kafka.Message{Topic: w.topics.Requests, Key: []byte(name), Value: value})
	}
	got := w.awaitAll()
	must(t, m.leave())
	w.auditsClean(t)
	if n := got.outcomes[schemas.OutcomeRejected]; n != len(bad) || len(got.deadLetters) != 0 {
		t.Errorf("outcomes %v and %d dead letters of %d bad events", got.outcomes, len(got.deadLetters), len(bad))
	}
	for _, rs := range got.results {
		r := rs[0]
		var named []string
		for _, f := range r.Error.Faults {
			named = append(named, f.Path)
			if strings.Contains(f.Message, "123456789") {
				t.Errorf("%s: a fault shows the code: %s", r.RequestID, f.Message)
			}
		}
		for _, want := range bad[r.RequestID].paths {
			if !slices.Contains(named, want) {
				t.Errorf("%s: the result names %v, not %s", r.RequestID, named, want)
			}
		}
	}
	if calls := w.api.Stats().Calls; len(calls) != 0 {
		t.Errorf("bad events cost calls: %v", fmt.Sprint(calls))
	}
}
