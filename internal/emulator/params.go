package emulator

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxBody bounds a request's body. The documented limits stay far below it.
const maxBody = 1 << 20

// readBody takes the body off the connection before any latency passes: what
// has arrived is carried out even where the caller then goes away.
func (x *exchange) readBody() *apiError {
	if x.r.Method != http.MethodPost {
		return nil
	}
	want := "application/x-www-form-urlencoded"
	if x.route.place.takesJSON() {
		want = "application/json"
	}
	if x.r.ContentLength != 0 {
		kind, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
		if err != nil || kind != want {
			return badRequest("The body is not " + want)
		}
	}
	x.r.Body = http.MaxBytesReader(x.w, x.r.Body, maxBody)
	if x.route.place.takesJSON() {
		if x.r.ContentLength == 0 {
			return nil
		}
		var err error
		if x.json, err = io.ReadAll(x.r.Body); err != nil {
			return badRequest("The body can't be read")
		}
		return nil
	}
	if err := x.r.ParseForm(); err != nil {
		return badRequest("The body can't be read as a form")
	}
	return nil
}

// form returns the parameters of a POST. known are the operation's own.
func (x *exchange) form(known ...string) (url.Values, *apiError) {
	return x.checked(x.r.PostForm, known)
}

// query reads the parameters of a GET.
func (x *exchange) query(known ...string) (url.Values, *apiError) {
	v, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query can't be read")
	}
	return x.checked(v, known)
}

func (x *exchange) checked(v url.Values, known []string) (url.Values, *apiError) {
	for name, values := range v {
		if x.e.cfg.Rules.RefuseUnknownParameters && !slices.Contains(known, name) {
			x.decided("refuse-unknown-parameters")
			return nil, invalid(name, "is not known")
		}
		for _, value := range values {
			if !utf8.ValidString(value) {
				return nil, invalid(name, "is not UTF-8")
			}
		}
	}
	return v, nil
}

// longer reports whether s has more than limit characters.
func longer(s string, limit int) bool {
	return len(s) > limit && utf8.RuneCountInString(s) > limit
}

// integer reads an optional number within bounds.
func integer(v url.Values, name string, least, most, absent int) (int, *apiError) {
	if !v.Has(name) {
		return absent, nil
	}
	n, err := strconv.Atoi(v.Get(name))
	if err != nil || n < least || n > most {
		return 0, invalid(name, "is not a number within %d and %d", least, most)
	}
	return n, nil
}

// oneOf reads an optional word of a closed set.
func oneOf(v url.Values, name string, words ...string) (string, *apiError) {
	if !v.Has(name) {
		return "", nil
	}
	word := v.Get(name)
	if !slices.Contains(words, word) {
		return "", invalid(name, "is not one of %q", words)
	}
	return word, nil
}

// maxStringMap is the longest HiddenDetails or Metadata as it is sent.
const maxStringMap = 1024

// stringMap reads a parameter that is a JSON object of string values. raw is
// what answers show, in the order of sending; it is nil where there is none.
func (x *exchange) stringMap(v url.Values, name string) (raw json.RawMessage, values map[string]string, fault *apiError) {
	if !v.Has(name) {
		return nil, nil, nil
	}
	text := v.Get(name)
	if x.e.cfg.Rules.AcceptQuotedJSON {
		var inner string
		if json.Unmarshal([]byte(text), &inner) == nil {
			text = inner
			x.decided("accept-quoted-json")
		}
	}
	if longer(text, maxStringMap) {
		return nil, nil, invalid(name, "is longer than %d characters", maxStringMap)
	}
	var object map[string]any
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		return nil, nil, invalid(name, "is not a JSON object")
	}
	values = make(map[string]string, len(object))
	for key, value := range object {
		s, ok := value.(string)
		if !ok {
			return nil, nil, invalid(name, "has a value that is not a string")
		}
		values[key] = s
	}
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(text)) != nil {
		return nil, nil, invalid(name, "is not a JSON object")
	}
	return compact.Bytes(), values, nil
}

// instant reads an ISO 8601 date-time with seconds and a zone: Z or an offset
// with or without its colon.
func instant(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// stamp is a time in answers: UTC, whole seconds, null where zero.
type stamp time.Time

func (s stamp) MarshalJSON() ([]byte, error) {
	t := time.Time(s)
	if t.IsZero() {
		return []byte("null"), nil
	}
	b := make([]byte, 0, 22)
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	return append(b, '"'), nil
}
