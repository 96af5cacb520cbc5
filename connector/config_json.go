package connector

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// jsonNodes reads a JSON document into the nodes that YAML would make of it.
// The YAML parser can't do that itself: it knows neither \/ nor a character
// that JSON writes as two \u escapes. doc must be valid JSON.
func jsonNodes(doc []byte) (*yaml.Node, error) {
	r := jsonReader{Decoder: json.NewDecoder(bytes.NewReader(doc)), doc: doc, line: 1}
	r.UseNumber()
	return r.node()
}

type jsonReader struct {
	*json.Decoder
	doc    []byte
	line   int // of the byte at offset
	offset int64
}

func (r *jsonReader) node() (*yaml.Node, error) {
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	at := r.InputOffset()
	r.line += bytes.Count(r.doc[r.offset:at], []byte("\n"))
	r.offset = at
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line}
	switch token := token.(type) {
	case string:
		n.Tag, n.Style, n.Value = "!!str", yaml.DoubleQuotedStyle, token
	case json.Number:
		n.Tag, n.Value = "!!int", token.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(token)
	case nil:
		n.Tag, n.Value = "!!null", "null"
	case json.Delim:
		return n, r.items(n, token)
	}
	return n, nil
}

// items reads what stands between two brackets. A mapping's keys and values
// come in turns, as a yaml.Node has them.
func (r *jsonReader) items(n *yaml.Node, opening json.Delim) error {
	n.Kind, n.Style = yaml.SequenceNode, yaml.FlowStyle
	if opening == '{' {
		n.Kind = yaml.MappingNode
	}
	for r.More() {
		item, err := r.node()
		if err != nil {
			return err
		}
		n.Content = append(n.Content, item)
	}
	_, err := r.Token()
	return err
}
