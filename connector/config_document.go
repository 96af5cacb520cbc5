package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxConfigBytes is the longest document that is read.
const MaxConfigBytes = 1 << 20

// ConfigError says why a document is no Config. It holds every fault that was
// found, and no secret.
type ConfigError struct {
	// Violations is never empty. The Path of a fault of the document as a whole
	// is empty.
	Violations []Violation
}

// Error lists the violations, one a line.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString("the configuration is not valid:")
	for _, v := range e.Violations {
		b.WriteString("\n  ")
		if v.Path != "" {
			b.WriteString(v.Path + ": ")
		}
		b.WriteString(v.Message)
	}
	return b.String()
}

// loadDocument reads YAML, of which JSON is a part, into nodes. It returns nil
// for a document without a value.
func loadDocument(doc []byte) (*yaml.Node, []Violation) {
	whole := func(message string) (*yaml.Node, []Violation) {
		return nil, []Violation{{Message: message}}
	}
	if len(doc) > MaxConfigBytes {
		return whole(fmt.Sprintf("the document must be %d bytes at most, is %d", MaxConfigBytes, len(doc)))
	}
	if json.Valid(doc) {
		top, err := jsonNodes(doc)
		if err != nil {
			return whole("the document can't be read")
		}
		return mapping(top)
	}
	var root, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(doc))
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return whole("the document is neither YAML nor JSON: " + syntaxFault(err))
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return whole("there must be one document, without a second one behind a line of ---")
	}
	if line := aliasLine(&root); line > 0 {
		return whole(fmt.Sprintf("line %d: anchors and aliases (& and *) are not read, write the value out", line))
	}
	return mapping(root.Content[0])
}

// mapping returns the top of a document if it is one.
func mapping(top *yaml.Node) (*yaml.Node, []Violation) {
	switch {
	case isNull(top):
		return nil, nil
	case top.Kind != yaml.MappingNode:
		return nil, []Violation{{Message: "the document must be a mapping of keys to values"}}
	default:
		return top, nil
	}
}

// quoted is a piece of the document in an error of the YAML parser. Three
// characters and fewer are punctuation that it expected.
var quoted = regexp.MustCompile(`'[^'\s]{4,}'`)

// syntaxFault is the parser's message without what it quotes from the document.
func syntaxFault(err error) string {
	return quoted.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), "…")
}

// aliasLine returns the line of the first anchor or alias, or zero.
func aliasLine(n *yaml.Node) int {
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		return n.Line
	}
	for _, child := range n.Content {
		if line := aliasLine(child); line > 0 {
			return line
		}
	}
	return 0
}

// walkScalars visits every text that is a value, with its path.
func walkScalars(n *yaml.Node, path string, visit func(path string, n *yaml.Node)) {
	switch {
	case n == nil:
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			walkScalars(n.Content[i+1], childPath(path, n.Content[i].Value), visit)
		}
	case n.Kind == yaml.SequenceNode:
		for i, item := range n.Content {
			walkScalars(item, fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case n.ShortTag() == "!!str":
		visit(path, n)
	}
}

// isNull reports whether a value was left empty, which counts as not written.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describeNode says what was written.
func describeNode(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		switch n.ShortTag() {
		case "!!int", "!!float":
			return "a number"
		case "!!bool":
			return "true or false"
		case "!!str":
			return "a text"
		case "!!timestamp":
			return "a date"
		default:
			return "something else"
		}
	}
}
