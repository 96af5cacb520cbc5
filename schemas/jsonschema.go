package schemas

import "embed"

//go:embed *.v1.schema.json
var schemaFiles embed.FS

// JSONSchema returns the JSON Schema (draft 2020-12) of an event: "request",
// "result" or "deadletter". The last describes the record headers of a dead
// letter, as an object of texts. It reports false for any other name.
//
// Patterns say everything about dates but the days of a month; a validator that
// asserts formats checks those too.
func JSONSchema(name string) ([]byte, bool) {
	data, err := schemaFiles.ReadFile(name + ".v1.schema.json")
	return data, err == nil
}
