package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign/countersign/schemas"
)

func FuzzDecodeRequest(f *testing.F) {
	for _, data := range goldenFiles(f, "request") {
		f.Add(data)
	}
	f.Add([]byte(`{"version":"1.0","id":"a","operation":"create","create":{"auth_payload":"12","Auth_Payload":"735192","details":{"fields":[{}]}}}`))
	f.Add([]byte(`{"version":"2.0","id":"a","update":{"auth_payload":["7351926"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		r, warnings, err := schemas.DecodeRequest(data)
		if !bytes.Equal(before, data) {
			t.Fatal("the event was changed")
		}
		checkError(t, err)
		checkAgainstSchema(t, "request", data, err)
		checkSecrecy(t, data, warnings, err)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("accepted, but not encoded: %v", err)
		}
		back, warnings, err := schemas.DecodeRequest(again)
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(r, back) {
			t.Fatalf("%s\nencodes as %s: %v %v", data, again, warnings, err)
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	for _, data := range goldenFiles(f, "result") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, _, err := schemas.DecodeResult(data)
		checkError(t, err)
		checkAgainstSchema(t, "result", data, err)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("accepted, but not encoded: %v", err)
		}
		back, warnings, err := schemas.DecodeResult(again)
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(r, back) {
			t.Fatalf("%s\nencodes as %s: %v %v", data, again, warnings, err)
		}
	})
}

// Headers are fuzzed as lines of a key, an equals sign and a value.
func FuzzDecodeDeadLetter(f *testing.F) {
	for _, d := range goldenDeadLetters {
		var b bytes.Buffer
		for _, h := range d.Headers() {
			b.WriteString(h.Key + "=" + string(h.Value) + "\n")
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var list []schemas.Header
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			key, value, _ := bytes.Cut(line, []byte("="))
			list = append(list, schemas.Header{Key: string(key), Value: value})
		}
		d, _, err := schemas.DecodeDeadLetter(list)
		checkError(t, err)
		if err != nil {
			return
		}
		back, warnings, err := schemas.DecodeDeadLetter(d.Headers())
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(d, back) {
			t.Fatalf("%q: %+v, then %+v, %v %v", data, d, back, warnings, err)
		}
	})
}

// usableID is the contract's pattern of an id.
var usableID = regexp.MustCompile(`^[!-~]([ -~]{0,126}[!-~])?$`)

// checkError checks what holds for every DecodeError.
func checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var refused *schemas.DecodeError
	if !errors.As(err, &refused) {
		t.Fatalf("a %T", err)
	}
	if refused.ID != "" && !usableID.MatchString(refused.ID) {
		t.Fatalf("unusable id %q", refused.ID)
	}
	switch refused.Code {
	case schemas.CodeNotJSON, schemas.CodeNoID, schemas.CodeTooLarge:
		if refused.ID != "" {
			t.Fatalf("%s with an id", refused.Code)
		}
	}
	if len(refused.Faults) == 0 || len(refused.Faults) > schemas.MaxFaults+1 {
		t.Fatalf("%d faults", len(refused.Faults))
	}
	for _, f := range refused.Faults {
		if !strings.HasPrefix(f.Path, "$") || f.Message == "" || !utf8.ValidString(f.String()) {
			t.Fatalf("fault %q", f)
		}
	}
}

// surrogates and wideExponents leave documents out that the schema's validator
// misreads or can't finish.
var (
	surrogates    = regexp.MustCompile(`(?i)\\ud[89a-f]`)
	wideExponents = regexp.MustCompile(`(?i)[0-9]e[+-]?[0-9]{4}`)
)

// checkAgainstSchema compares with the JSON Schema, where that can judge.
func checkAgainstSchema(t *testing.T, kind string, data []byte, err error) {
	t.Helper()
	var refused *schemas.DecodeError
	if errors.As(err, &refused) && (refused.Code == schemas.CodeTooLarge || refused.Code == schemas.CodeNotJSON) {
		if refused.Code == schemas.CodeNotJSON && json.Valid(data) && !strings.Contains(err.Error(), "nested too deep") {
			t.Fatalf("%q is JSON, but %v", data, err)
		}
		return
	}
	if !json.Valid(data) {
		t.Fatalf("%q is no JSON, but %v", data, err)
	}
	if !utf8.Valid(data) {
		if err == nil {
			t.Fatalf("%q is not UTF-8, but accepted", data)
		}
		return
	}
	if surrogates.Match(data) || wideExponents.Match(data) {
		return
	}
	if repeats(data) && (kind == "result" || err != nil) {
		return
	}
	if bySchema := validate(t, kind, data); (bySchema == nil) != (err == nil) {
		t.Fatalf("%s\ndecoder: %v\nschema: %v", data, err, bySchema)
	}
	if repeats(data) {
		t.Fatalf("%s is accepted with a repeated name", data)
	}
}

// repeats reports whether an object of the text has a name twice.
func repeats(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var walk func() bool
	walk = func() bool {
		token, err := d.Token()
		if err != nil {
			return false
		}
		found := false
		switch token {
		case json.Delim('{'):
			seen := make(map[any]bool)
			for d.More() {
				name, _ := d.Token()
				found = found || seen[name]
				seen[name] = true
				found = walk() || found
			}
		case json.Delim('['):
			for d.More() {
				found = walk() || found
			}
		default:
			return false
		}
		_, _ = d.Token()
		return found
	}
	return walk()
}

var plainPayload = regexp.MustCompile(`^[0-9A-Za-z]+$`)

// checkSecrecy swaps each auth_payload for another of its length: what is
// reported must not change by a letter.
func checkSecrecy(t *testing.T, data []byte, warnings []schemas.Warning, err error) {
	t.Helper()
	var event map[string]json.RawMessage
	if json.Unmarshal(data, &event) != nil {
		return
	}
	for _, op := range []string{"create", "update"} {
		var body map[string]any
		if json.Unmarshal(event[op], &body) != nil {
			continue
		}
		payload, _ := body["auth_payload"].(string)
		if !plainPayload.MatchString(payload) || bytes.Count(data, []byte(payload)) != 1 {
			continue
		}
		swapped := bytes.Replace(data, []byte(payload), bytes.Repeat([]byte("q"), len(payload)), 1)
		_, others, otherErr := schemas.DecodeRequest(swapped)
		if !reflect.DeepEqual(warnings, others) || fmt.Sprintf("%#v", err) != fmt.Sprintf("%#v", otherErr) {
			t.Fatalf("%s\nreported: %v %v\nwith another payload: %v %v", data, warnings, err, others, otherErr)
		}
	}
}
