package main

import (
	"bytes"
	"encoding/json"
	"strings"
)

const (
	payloadKey = "auth_payload"
	payloadGap = `"[redacted]"`
)

// maskedLine returns a JSON text on one line, with the value of every
// auth_payload in it replaced, however deep it stands and however its name is
// spelt. Nothing else changes. It reports false for what is no JSON text.
func maskedLine(value []byte) ([]byte, bool) {
	if !json.Valid(value) {
		return nil, false
	}
	var masked bytes.Buffer
	if err := json.Compact(&masked, maskPayloads(value)); err != nil {
		return nil, false
	}
	return masked.Bytes(), true
}

// maskPayloads copies a valid JSON text piece by piece, without decoding it, so
// that numbers and escapes stay as they are.
func maskPayloads(value []byte) []byte {
	m := masker{in: value, dec: json.NewDecoder(bytes.NewReader(value))}
	m.dec.UseNumber()
	for {
		token, err := m.dec.Token()
		if err != nil {
			return append(m.out, m.in[m.copied:]...)
		}
		if !m.take(token) {
			return m.out // the rest is left out rather than shown unmasked
		}
	}
}

type masker struct {
	in, out []byte
	copied  int64 // how much of in is in out
	dec     *json.Decoder
	open    []container
}

// container is an object or array that the decoder is in.
type container struct {
	object bool
	key    bool // of an object: a key comes next, or its end
}

// take follows the decoder by one token. It reports false where it can't go on.
func (m *masker) take(token json.Token) bool {
	switch delim, _ := token.(json.Delim); delim {
	case '{', '[':
		m.open = append(m.open, container{object: delim == '{', key: delim == '{'})
		return true
	case '}', ']':
		m.open = m.open[:len(m.open)-1]
		m.valueEnded()
		return true
	}
	if name, ok := token.(string); ok && len(m.open) > 0 && m.open[len(m.open)-1].key {
		m.open[len(m.open)-1].key = false
		return !strings.EqualFold(name, payloadKey) || m.replace()
	}
	m.valueEnded()
	return true
}

func (m *masker) valueEnded() {
	if n := len(m.open); n > 0 && m.open[n-1].object {
		m.open[n-1].key = true
	}
}

// replace swallows the value that comes next.
func (m *masker) replace() bool {
	var value json.RawMessage
	if m.dec.Decode(&value) != nil {
		return false
	}
	end := m.dec.InputOffset()
	m.out = append(append(m.out, m.in[m.copied:end-int64(len(value))]...), payloadGap...)
	m.copied = end
	m.valueEnded()
	return true
}
