package main

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// eventJSON is the record's value on one line, its auth payloads masked.
func eventJSON(rec kafka.Record) string {
	value, ok := maskedLine(rec.Value)
	if !ok {
		return encode(struct {
			NotJSON   bool   `json:"not_json"`
			Topic     string `json:"topic"`
			Partition int    `json:"partition"`
			Offset    int64  `json:"offset"`
			Bytes     int    `json:"bytes"`
		}{true, rec.Topic, rec.Partition, rec.Offset, len(rec.Value)})
	}
	return string(value)
}

// deadLetterJSON is what was said of the record and the record itself. A value
// that is no JSON is left out: nothing could be masked in it.
func deadLetterJSON(rec kafka.Record) string {
	headers := map[string]string{}
	for _, h := range rec.Headers {
		if strings.HasPrefix(h.Key, schemas.HeaderPrefix) {
			headers[h.Key] = string(h.Value)
		}
	}
	value, ok := maskedLine(rec.Value)
	if !ok {
		value = nil
	}
	return encode(struct {
		Headers map[string]string `json:"headers"`
		Value   json.RawMessage   `json:"value"`
		Bytes   int               `json:"value_bytes"`
	}{headers, value, len(rec.Value)})
}

func encode(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic("countersign: output can't be encoded: " + err.Error()) // texts, numbers and valid JSON always can
	}
	return strings.TrimSuffix(b.String(), "\n")
}
