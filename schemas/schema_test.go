package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/schemas"
)

// kinds are the names of everything that has a JSON Schema.
var kinds = []string{"request", "result", "deadletter", "redrive", "ledger", "position"}

// compiled are the JSON Schemas, with formats asserted.
var compiled = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	all := make(map[string]*jsonschema.Schema)
	for _, name := range kinds {
		data, _ := schemas.JSONSchema(name)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource(name, doc); err != nil {
			return nil, err
		}
		if all[name], err = c.Compile(name); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// validate checks a document against the JSON Schema of its kind.
func validate(t testing.TB, kind string, data []byte) error {
	t.Helper()
	all, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("not JSON: %v: %s", err, data)
	}
	return all[kind].Validate(doc)
}

// decode runs the Go decoder of a kind.
func decode(t testing.TB, kind string, data []byte) error {
	t.Helper()
	var err error
	switch kind {
	case "request":
		_, _, err = schemas.DecodeRequest(data)
	case "result":
		_, _, err = schemas.DecodeResult(data)
	case "deadletter":
		_, _, err = schemas.DecodeDeadLetter(headersOf(t, data))
	case "redrive":
		if _, faults := schemas.DecodeRedrive(headersOf(t, data)); len(faults) > 0 {
			err = fmt.Errorf("%v", faults)
		}
	case "ledger":
		_, err = schemas.DecodeLedgerEntry(data)
	case "position":
		_, err = schemas.DecodePosition(data)
	default:
		t.Fatalf("there is no kind %s", kind)
	}
	return err
}

// agree fails unless the decoder and the schema say the same about a document,
// and returns whether they accept it.
func agree(t testing.TB, kind string, data []byte) bool {
	t.Helper()
	byDecoder, bySchema := decode(t, kind, data), validate(t, kind, data)
	if (byDecoder == nil) != (bySchema == nil) {
		t.Fatalf("%s %s\ndecoder: %v\nschema: %v", kind, data, byDecoder, bySchema)
	}
	return byDecoder == nil
}

func TestSchemasAcceptGoldenEvents(t *testing.T) {
	for _, kind := range kinds {
		for name, data := range goldenFiles(t, kind) {
			if !agree(t, kind, data) {
				t.Errorf("%s/%s is refused", kind, name)
			}
		}
	}
}

func TestJSONSchemaNames(t *testing.T) {
	for _, name := range append(slices.Clone(kinds), "audit") {
		data, ok := schemas.JSONSchema(name)
		if !ok || !json.Valid(data) {
			t.Errorf("%s: %v", name, ok)
		}
		clear(data) // a copy: the next call must not see this
		if again, _ := schemas.JSONSchema(name); !json.Valid(again) {
			t.Errorf("%s: the schema can be changed from outside", name)
		}
	}
	for _, name := range []string{"", "Request", "../schemas/request", "request.v1.schema.json", "*"} {
		if _, ok := schemas.JSONSchema(name); ok {
			t.Errorf("%q is a schema", name)
		}
	}
}
