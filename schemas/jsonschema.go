package schemas

import "embed"

//go:embed *.v1.schema.json
var schemaFiles embed.FS

// JSONSchema returns the JSON Schema (draft 2020-12) of an event, "request" or
// "result", of a record of Countersign's own memory, "ledger" or "position",
// of record headers as an object of texts, "deadletter" or "redrive", or of an
// audit's report, "audit". It reports false for any other name.
//
// Patterns say everything about dates but the days of a month; a validator that
// asserts formats checks those too.
func JSONSchema(name string) ([]byte, bool) {
	data, err := schemaFiles.ReadFile(name + ".v1.schema.json")
	return data, err == nil
}
