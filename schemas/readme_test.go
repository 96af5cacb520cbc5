package schemas_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

// Every example of the README is accepted, without a warning.
func TestReadmeExamples(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1) {
		data := block[1]
		kind := "request"
		switch {
		case bytes.Contains(data, []byte(`"id_hash"`)):
			kind = "ledger"
		case bytes.Contains(data, []byte(`"partitions"`)):
			kind = "position"
		case bytes.Contains(data, []byte(`"outcome"`)):
			kind = "result"
		case bytes.Contains(data, []byte(`"countersign-class"`)):
			kind = "deadletter"
		case bytes.Contains(data, []byte(`"countersign-redrives"`)):
			kind = "redrive"
		}
		kinds[kind]++
		if !agree(t, kind, data) {
			t.Errorf("refused: %s", data)
		}
		if kind == "request" {
			r, warnings, err := schemas.DecodeRequest(data)
			if err != nil || len(warnings) > 0 || len(r.Check(record)) > 0 {
				t.Errorf("%s\n%v %v", data, err, warnings)
			}
			kinds[string(r.Operation)]++
		}
	}
	for _, kind := range []string{"create", "fetch", "list", "update", "result", "deadletter", "redrive", "ledger", "position"} {
		if kinds[kind] == 0 {
			t.Errorf("no example of a %s", kind)
		}
	}
}

// Every field that the schemas have is described in the README, and every value
// of their closed lists.
func TestReadmeIsComplete(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if props, ok := v["properties"].(map[string]any); ok {
				for name := range props {
					if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "."+name+"`") {
						t.Errorf("the README doesn't mention `%s`", name)
					}
				}
			}
			if list, ok := v["enum"].([]any); ok {
				for _, value := range list {
					if !strings.Contains(text, "`"+value.(string)+"`") {
						t.Errorf("the README doesn't mention `%s`", value)
					}
				}
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	for _, name := range kinds {
		schema, _ := schemas.JSONSchema(name)
		var doc any
		if err := json.Unmarshal(schema, &doc); err != nil {
			t.Fatal(err)
		}
		walk(doc)
	}
}
