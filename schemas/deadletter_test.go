package schemas_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
)

// with sets headers, or leaves those out whose value is "-".
func with(changes map[string]string) []schemas.Header {
	var list []schemas.Header
	for _, h := range goldenDeadLetters["throttled"].Headers() {
		switch v, ok := changes[h.Key]; {
		case !ok:
			list = append(list, h)
		case v != "-":
			list = append(list, schemas.Header{Key: h.Key, Value: []byte(v)})
		}
	}
	return list
}

func TestDecodeDeadLetterFaults(t *testing.T) {
	for _, c := range []struct {
		changes map[string]string
		want    []string
	}{
		{map[string]string{schemas.HeaderClass: "-", schemas.HeaderAt: "now", schemas.HeaderOffset: "-1", schemas.HeaderAttempts: "01"}, []string{
			`$["countersign-class"] is required`,
			`$["countersign-offset"] must be a decimal number of at most 18 digits`,
			`$["countersign-attempts"] must be a decimal number of at most 9 digits`,
			`$["countersign-at"] must be a date and time as in 2026-01-02T15:04:05Z (RFC 3339, capital T and Z or an offset)`,
		}},
		{map[string]string{schemas.HeaderHasResult: "yes", schemas.HeaderRedrivable: "", schemas.HeaderTopic: ""}, []string{
			`$["countersign-topic"] must not be empty; a field without a value is left out`,
			`$["countersign-has-result"] must be one of true, false, not "yes"`,
			`$["countersign-redrivable"] must be one of true, false; it is empty`,
		}},
		{map[string]string{schemas.HeaderMessage: "\xff", schemas.HeaderVersion: "1"}, []string{
			`$["countersign-version"] must be 1. and a minor version, such as "1.0"`,
			`$["countersign-message"] holds text that is not valid UTF-8`,
		}},
	} {
		_, _, err := schemas.DecodeDeadLetter(with(c.changes))
		var refused *schemas.DecodeError
		if !errors.As(err, &refused) || refused.Code != schemas.CodeInvalid || refused.ID != "signin-4711" {
			t.Errorf("%v: %v", c.changes, err)
			continue
		}
		expect(t, "faults", lines(refused.Faults), c.want)
	}
}

func TestDecodeDeadLetterCodes(t *testing.T) {
	for name, c := range map[string]struct {
		headers []schemas.Header
		code    schemas.ErrorCode
		id      string
	}{
		"none":          {nil, schemas.CodeInvalid, ""},
		"another major": {with(map[string]string{schemas.HeaderVersion: "2.0", schemas.HeaderClass: "new"}), schemas.CodeVersion, "signin-4711"},
		"no usable id":  {with(map[string]string{schemas.HeaderRequestID: "\n"}), schemas.CodeInvalid, ""},
		"too large":     {append(with(nil), schemas.Header{Key: "k", Value: make([]byte, schemas.MaxEventBytes)}), schemas.CodeTooLarge, ""},
	} {
		d, _, err := schemas.DecodeDeadLetter(c.headers)
		var refused *schemas.DecodeError
		if !errors.As(err, &refused) || refused.Code != c.code || refused.ID != c.id || d != nil || len(refused.Faults) == 0 {
			t.Errorf("%s: %v %v", name, d, err)
		}
	}
}

// The record's own headers stand before ours, older ones of ours among them: a
// record that is set aside twice says what happened last.
func TestDecodeDeadLetterTakesTheLast(t *testing.T) {
	first := &schemas.DeadLetter{
		Class: schemas.ClassThrottled, Code: 20429, Message: "busy", RequestID: "a", HasResult: true, Redrivable: true, Attempts: 3, Redrives: 1, At: record,
		Coordinates: schemas.Coordinates{Topic: "t", Partition: 1, Offset: 2, Timestamp: record},
	}
	second := &schemas.DeadLetter{Version: "1.0", Class: schemas.ClassTooLarge, At: *after(1), Coordinates: schemas.Coordinates{Topic: "t", Timestamp: record}}
	list := []schemas.Header{
		{Key: schemas.HeaderTraceparent, Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
		{Key: "binary", Value: []byte{0xff, 0}},
		{Key: schemas.HeaderNotAfter, Value: []byte("2026-01-02T15:04:05Z")},
	}
	list = append(append(list, first.Headers()...), second.Headers()...)
	got, warnings, err := schemas.DecodeDeadLetter(list)
	if err != nil || len(warnings) > 0 || !reflect.DeepEqual(got, second) {
		t.Errorf("%+v, %v, %v", got, warnings, err)
	}
}

func TestDecodeDeadLetterWarns(t *testing.T) {
	list := append(with(map[string]string{schemas.HeaderCode: "-", schemas.HeaderMessage: "-", schemas.HeaderRequestID: "-"}),
		schemas.Header{Key: "countersign-Class"}, schemas.Header{Key: "countersign-tenant"}, schemas.Header{Key: "countersign-tenant"},
		schemas.Header{Key: "countersign-" + strings.Repeat("x", 100)})
	d, warnings, err := schemas.DecodeDeadLetter(list)
	if err != nil || d.Code != 0 || d.RequestID != "" {
		t.Fatalf("%+v, %v", d, err)
	}
	const ignored = " is not a header of version 1 and is ignored"
	expect(t, "warnings", lines(warnings), []string{
		`$["countersign-Class"]` + ignored + "; did you mean countersign-class?",
		`$["countersign-tenant"]` + ignored,
		`$["countersign-` + strings.Repeat("x", 52) + `…"]` + ignored,
	})
}

// What Headers writes, DecodeDeadLetter reads back.
func TestDeadLettersDecodeEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &schemas.DeadLetter{
			Version: "1.0",
			Class:   rapid.SampledFrom(classes).Draw(t, "class"),
			Code:    rapid.IntRange(0, 999_999_999).Draw(t, "code"),
			Message: rapid.String().Draw(t, "message"),
			Coordinates: schemas.Coordinates{
				Topic: rapid.StringN(1, 40, -1).Draw(t, "topic"), Partition: rapid.IntRange(0, 999_999_999).Draw(t, "partition"),
				Offset: rapid.Int64Range(0, 999_999_999_999_999_999).Draw(t, "offset"), Timestamp: timeGen.Draw(t, "timestamp"),
			},
			RequestID: either(t, "request_id", idGen),
			HasResult: rapid.Bool().Draw(t, "has_result"), Redrivable: rapid.Bool().Draw(t, "redrivable"),
			Attempts: rapid.IntRange(0, 1000).Draw(t, "attempts"), Redrives: rapid.IntRange(0, 1000).Draw(t, "redrives"),
			At: timeGen.Draw(t, "at"),
		}
		headers := d.Headers()
		back, warnings, err := schemas.DecodeDeadLetter(headers)
		if err != nil || len(warnings) > 0 || !reflect.DeepEqual(back, d) {
			t.Fatalf("%+v, %v, %v", back, warnings, err)
		}
		for _, h := range headers {
			if !strings.HasPrefix(h.Key, schemas.HeaderPrefix) {
				t.Fatalf("header %s", h.Key)
			}
		}
	})
}
