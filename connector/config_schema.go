package connector

import (
	_ "embed"
	"slices"
)

//go:embed config.schema.json
var configSchema []byte

// ConfigSchema returns the JSON Schema (draft 2020-12) of the document that
// ParseConfig reads, with descriptions, defaults and bounds. It judges the
// document as it is written, placeholders included; what lies between two
// fields only Validate can say.
func ConfigSchema() []byte { return slices.Clone(configSchema) }
