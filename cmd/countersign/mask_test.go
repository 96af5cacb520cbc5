package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestMaskedLine(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"request":         {`{"id":"a","create":{"auth_payload":"123456","factor_sid":"YF"}}`, `{"id":"a","create":{"auth_payload":"[redacted]","factor_sid":"YF"}}`},
		"number":          {`{"auth_payload": 123456 , "n": 1.50e3}`, `{"auth_payload":"[redacted]","n":1.50e3}`},
		"object":          {`{"auth_payload":{"a":["1"]},"b":2}`, `{"auth_payload":"[redacted]","b":2}`},
		"after a scalar":  {`{"a":1,"b":"c","auth_payload":"123456"}`, `{"a":1,"b":"c","auth_payload":"[redacted]"}`},
		"null":            {`{"auth_payload":null}`, `{"auth_payload":"[redacted]"}`},
		"last":            {`[{"x":[{"Auth_Payload":true}]}]`, `[{"x":[{"Auth_Payload":"[redacted]"}]}]`},
		"escaped name":    {`{"auth\u005fpayload":"123456"}`, `{"auth\u005fpayload":"[redacted]"}`},
		"twice":           {`{"auth_payload":"1","auth_payload":"2"}`, `{"auth_payload":"[redacted]","auth_payload":"[redacted]"}`},
		"as a value":      {`{"a":"auth_payload","b":"123456"}`, `{"a":"auth_payload","b":"123456"}`},
		"in an array":     {`["auth_payload","123456"]`, `["auth_payload","123456"]`},
		"after an array":  {`{"a":[1,{"b":2}],"auth_payload":"3","c":[]}`, `{"a":[1,{"b":2}],"auth_payload":"[redacted]","c":[]}`},
		"several lines":   {"{\n  \"a\": 1\n}\n", `{"a":1}`},
		"nothing to mask": {`{"a":"<\u2028>","b":1e400}`, `{"a":"<\u2028>","b":1e400}`},
		"scalar":          {`"auth_payload"`, `"auth_payload"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := maskedLine([]byte(c.in))
			if !ok || string(got) != c.want {
				t.Errorf("got %s (%v), want %s", got, ok, c.want)
			}
		})
	}
	for _, text := range []string{"", "{", `{"auth_payload":"1"`, "{} {}", "hello"} {
		if got, ok := maskedLine([]byte(text)); ok {
			t.Errorf("%q passes for JSON: %s", text, got)
		}
	}
}

// Whatever the text, everything but the payloads stays, and no payload does.
func FuzzMaskedLine(f *testing.F) {
	for _, seed := range []string{`{"auth_payload":"1"}`, `[{"a":{"AUTH_PAYLOAD":[1,2]}},3]`, `{"a":"auth_payload"}`, `1`, `{"auth_payload":0}`, `{"a":1,"auth_payload":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		masked, ok := maskedLine(text)
		if ok != json.Valid(text) {
			t.Fatalf("JSON %v, masked %v", json.Valid(text), ok)
		}
		if !ok {
			return
		}
		var before, after any
		if json.Unmarshal(text, &before) != nil {
			return // valid and too large a number
		}
		if err := json.Unmarshal(masked, &after); err != nil {
			t.Fatalf("%s: %v", masked, err)
		}
		if want := redact(before); !reflect.DeepEqual(want, after) {
			t.Errorf("%s became %s, want %v", text, masked, want)
		}
		if strings.ContainsAny(string(masked), "\n\r") {
			t.Errorf("not one line: %q", masked)
		}
	})
}

// redact is what the mask means, on decoded values.
func redact(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if v[key] = redact(value); strings.EqualFold(key, "auth_payload") {
				v[key] = "[redacted]"
			}
		}
	case []any:
		for i := range v {
			v[i] = redact(v[i])
		}
	}
	return v
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2Jb\nc\u202ed é"); got != "a\uFFFD[2Jb\uFFFDc\uFFFDd é" {
		t.Errorf("%q", got)
	}
}
