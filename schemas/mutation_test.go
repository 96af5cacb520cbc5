package schemas_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// place is a value inside a generic JSON document, with a way to replace it.
type place struct {
	path    string
	value   any
	replace func(v any) // with absent: leave it out
	rename  func(to string)
}

type absent struct{}

// places lists every member and item of a document, outer ones first.
func places(doc any, path string) (all []place) {
	switch doc := doc.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(doc)) {
			p := path + "." + name
			all = append(all, place{
				path: p, value: doc[name],
				replace: func(v any) {
					if v == (absent{}) {
						delete(doc, name)
						return
					}
					doc[name] = v
				},
				rename: func(to string) { doc[to] = doc[name]; delete(doc, name) },
			})
			if name != "challenge" && name != "challenges" { // the API's own: not looked into
				all = append(all, places(doc[name], p)...)
			}
		}
	case []any:
		for i := range doc {
			p := fmt.Sprintf("%s[%d]", path, i)
			all = append(all, place{path: p, value: doc[i], replace: func(v any) {
				if v != (absent{}) {
					doc[i] = v
				}
			}})
			all = append(all, places(doc[i], p)...)
		}
	}
	return all
}

// raw is JSON text that an encoder can't be made to write.
type raw = json.RawMessage

// otherTypes are values of every JSON type.
var otherTypes = []any{nil, true, 0, 1, -1, 1.5, "", "x", "12", []any{}, []any{"a"}, map[string]any{}, map[string]any{"a": "b"}, map[string]any{"a": 1}, raw("1.0"), raw("1e1"), raw("-0"), raw("1e-1"), raw("1e400"), raw("9007199254740993"), raw("9223372036854775808")}

// otherTexts are texts at, within and beyond the bounds of all texts.
func otherTexts(s string) (all []string) {
	for _, n := range []int{1, 2, 3, 7, 8, 9, 32, 36, 37, 64, 65, 128, 129, 256, 257, 5456, 5457} {
		all = append(all, strings.Repeat("a", n), strings.Repeat("é", n))
	}
	if s != "" {
		all = append(all, s+"a", s+"\n", s+" ", " "+s, s[:len(s)-1], s[1:], strings.ToUpper(s), strings.ToLower(s), "-"+s, s+"-", s+"--a", s+"-a", s+"_", s+".", s+"\x00", s+"\x7f", s[:len(s)/2]+"-"+s[len(s)/2:], s[:len(s)-1]+"g")
	}
	return append(all,
		"1.0", "1.", "1.12", "1.x", "01.0", "1.0.0", "2.0", "0.9", "1", "v1.0", "10.0",
		"create", "fetch", "list", "update", "delete", "Create",
		"pending", "expired", "approved", "denied", "asc", "desc", "succeeded", "adopted", "duplicate", "rejected", "failed",
		"2026-02-28T00:00:00Z", "2026-02-29T00:00:00Z", "2028-02-29T23:59:59.123456789+23:59", "2026-02-28T00:00:00.1234567890Z",
		"2026-02-28t00:00:00Z", "2026-02-28T00:00:00z", "2026-02-28 00:00:00Z", "2026-02-28T24:00:00Z", "2026-12-31T23:59:60Z", "2026-02-28T12:00:60Z",
		"2026-02-28T00:00:00", "2026-02-28T00:00:00,5Z", "2026-02-28T00:00:00.Z", "2026-02-28T00:00:00+24:00", "2026-02-28T00:00:00+0100",
		"2026-2-28T00:00:00Z", "2026-00-28T00:00:00Z", "2026-13-28T00:00:00Z", "2026-04-31T00:00:00Z", "2026-04-00T00:00:00Z",
		"2026-02-28T0:00:00Z", "2026-02-28", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "02026-02-28T00:00:00Z", "1900-02-29T00:00:00Z",
		"true", "false", "True", "0", "00", "123456789", "1234567890", "123456789012345678", "1234567890123456789",
		serviceSID, challengeSID, factorSID, identity, "VA"+strings.Repeat("g", 32),
	)
}

// otherCounts are arrays around the bound of the one that has one.
func otherCounts(v []any) (all []any) {
	if len(v) == 0 {
		return nil
	}
	for _, n := range []int{19, 20, 21} {
		all = append(all, slices.Repeat([]any{v[0]}, n))
	}
	return all
}

// otherNumbers are numbers around the bounds of all numbers.
var otherNumbers = []any{0, 1, 99, 100, 101, 599, 600, 999, 1000, 1001, raw("2147483647"), raw("2147483648"), raw("9223372036854775807"), raw("1000.0"), raw("1.001e3"), raw("1.0001e3")}

// mutations changes one place of a document at a time, and hands each version
// over as bytes. Texts are only varied at paths that were not seen before.
func mutations(t *testing.T, data []byte, seen map[string]bool, each func(what string, mutated []byte)) {
	t.Helper()
	parse := func() (doc map[string]any) {
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	for i, original := range places(parse(), "$") {
		try := func(what string, change func(p place)) {
			doc := parse()
			change(places(doc, "$")[i])
			mutated, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			each(original.path+" "+what, mutated)
		}
		try("absent", func(p place) { p.replace(absent{}) })
		if original.rename != nil {
			try("renamed", func(p place) { p.rename("future_field") })
			try("reserved", func(p place) { p.rename("countersign") })
		}
		values := slices.Concat(otherTypes, otherNumbers)
		if s, ok := original.value.(string); ok && !seen[original.path] {
			for _, text := range otherTexts(s) {
				values = append(values, text)
			}
		}
		if list, ok := original.value.([]any); ok {
			values = append(values, otherCounts(list)...)
		}
		seen[original.path] = true
		for _, v := range values {
			try(fmt.Sprint("set to ", v), func(p place) { p.replace(v) })
		}
	}
}

// Every field of every golden event, missing, of a wrong type, at a bound, beyond
// it and off its pattern: decoder and schema agree.
func TestDecoderAndSchemasAgreeOnMutations(t *testing.T) {
	// One event stands for others that have the same fields.
	kinds := map[string][]string{
		"request":    {"create-push", "create-totp", "fetch", "list-full", "update-push"},
		"result":     {"create-rejected", "create-duplicate", "fetch-succeeded", "list-succeeded-page0", "update-failed", "rejected-invalid", "create-adopted"},
		"deadletter": {"throttled"},
		"redrive":    {"looked-up"},
		"ledger":     {"succeeded"},
		"position":   {"held"},
	}
	for kind, names := range kinds {
		files := goldenFiles(t, kind)
		accepted, refused, seen := 0, 0, make(map[string]bool)
		for _, name := range names {
			mutations(t, files[name], seen, func(_ string, mutated []byte) {
				if (kind == "deadletter" || kind == "redrive") && !texts(mutated) {
					return // headers are texts, nothing else
				}
				if agree(t, kind, mutated) {
					accepted++
				} else {
					refused++
				}
			})
		}
		least := 50
		if kind == "redrive" {
			least = 20 // of three texts not many can be taken
		}
		if accepted < least || refused < 200 {
			t.Errorf("%s: %d accepted, %d refused: the mutations are lopsided", kind, accepted, refused)
		}
	}
}

func texts(data []byte) bool {
	var m map[string]string
	// null decodes into a text without an error, but is none.
	return json.Unmarshal(data, &m) == nil && !strings.Contains(string(data), ":null")
}

// Fields that belong to another operation are refused by both.
func TestDecoderAndSchemasAgreeOnForeignFields(t *testing.T) {
	files := goldenFiles(t, "request")
	donors := []string{"create-push", "fetch", "list-full", "update-push"}
	for _, to := range donors {
		for _, from := range donors {
			var host, guest map[string]any
			if json.Unmarshal(files[to], &host) != nil || json.Unmarshal(files[from], &guest) != nil {
				t.Fatal("bad golden file")
			}
			for _, field := range []string{"create", "list", "update", "challenge_sid", "operation"} {
				v, ok := guest[field]
				if !ok {
					continue
				}
				mixed := maps.Clone(host)
				mixed[field] = v
				data, err := json.Marshal(mixed)
				if err != nil {
					t.Fatal(err)
				}
				_, own := host[field]
				if accepted := agree(t, "request", data); accepted && !own {
					t.Errorf("%s with %s of %s is accepted", to, field, from)
				}
			}
		}
	}
}
