package challenge

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/countersign/countersign/connector/challenge/read"
)

// form returns the body of a create. Each field is one JSON text under the
// repeated key Details.Fields; the hidden details are one JSON text.
func (p *CreateParams) form() (url.Values, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	v := url.Values{"FactorSid": {p.FactorSID}}
	if !p.ExpirationDate.IsZero() {
		// UTC, because some parsers of this parameter drop the offset.
		v.Set("ExpirationDate", p.ExpirationDate.UTC().Format(time.RFC3339))
	}
	if p.Message != "" {
		v.Set("Details.Message", p.Message)
	}
	for _, f := range p.Fields {
		v.Add("Details.Fields", encode(f))
	}
	if !p.AuthPayload.IsZero() {
		v.Set("AuthPayload", p.AuthPayload.Reveal())
	}
	if err := setProperties(v, "HiddenDetails", p.HiddenDetails); err != nil {
		return nil, err
	}
	return v, nil
}

// form returns the body of an update.
func (p *UpdateParams) form() (url.Values, error) {
	if err := checkText("auth payload", p.AuthPayload.Reveal(), 0, MaxAuthPayload); err != nil {
		return nil, err
	}
	v := url.Values{}
	if !p.AuthPayload.IsZero() {
		v.Set("AuthPayload", p.AuthPayload.Reveal())
	}
	if err := setProperties(v, "Metadata", p.Metadata); err != nil {
		return nil, err
	}
	return v, nil
}

func setProperties(v url.Values, name string, m map[string]string) *read.CallError {
	if len(m) == 0 {
		return nil
	}
	for key, value := range m {
		for _, text := range []string{key, value} {
			if err := checkText(name, text, 0, MaxProperties); err != nil {
				return err
			}
		}
	}
	text := encode(m)
	if err := checkText(name+" as JSON", text, 0, MaxProperties); err != nil {
		return err
	}
	v.Set(name, text)
	return nil
}

// encode writes a field or a map of texts as JSON: keys sorted, so that equal
// maps make equal requests, and <, > and & as they are, because the escaped
// forms cost five characters each of what the API allows.
func encode[T read.Field | map[string]string](value T) string {
	if text, ok := plainly(value); ok {
		return text
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // neither type can fail, nor can the buffer
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// plainly writes what needs no escapes, as nearly everything does, without the
// cost of an encoder.
func plainly(value any) (string, bool) {
	b := make([]byte, 0, 128)
	switch v := value.(type) {
	case read.Field:
		if !isPlain(v.Label) || !isPlain(v.Value) {
			return "", false
		}
		b = append(append(b, `{"label":"`...), v.Label...)
		b = append(append(b, `","value":"`...), v.Value...)
		b = append(b, '"')
	case map[string]string:
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if !isPlain(name) || !isPlain(v[name]) {
				return "", false
			}
			b = append(b, "{,"[min(i, 1)], '"')
			b = append(append(b, name...), `":"`...)
			b = append(append(b, v[name]...), '"')
		}
	}
	return string(append(b, '}')), len(b) > 0
}

// isPlain reports that a text stands in JSON as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
