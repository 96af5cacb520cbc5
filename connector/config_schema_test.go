package connector_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/connector"
)

// walkConfig visits every value of the Config's type by its yaml keys; the
// entries of a map have the key "*".
func walkConfig(t reflect.Type, path []string, visit func(path []string, leaf reflect.Type)) {
	switch t.Kind() {
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(t) {
			walkConfig(field.Type, append(slices.Clip(path), field.Tag.Get("yaml")), visit)
		}
	case reflect.Map:
		walkConfig(t.Elem(), append(slices.Clip(path), "*"), visit)
	default:
		visit(path, t)
	}
}

// reached is a value inside a Config. One inside a map is a copy until stored.
type reached struct {
	value reflect.Value
	store func()
}

func (r reached) CanInt() bool   { return r.value.CanInt() }
func (r reached) CanFloat() bool { return r.value.CanFloat() }

// reach goes to the value at path; "*" is the account called main.
func reach(v reflect.Value, path []string) reached {
	store := func() {}
	for _, key := range path {
		if key == "*" {
			m, name := v, reflect.ValueOf("main")
			v = reflect.New(m.Type().Elem()).Elem()
			v.Set(m.MapIndex(name))
			entry := v
			store = func() { m.SetMapIndex(name, entry) }
			continue
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("yaml") == key {
				v = v.Field(i)
				break
			}
		}
	}
	return reached{value: v, store: store}
}

// schemaNode is one object of the schema, with its $ref and anyOf followed.
type schemaNode map[string]any

func (root schemaNode) resolve(n schemaNode) schemaNode {
	merged := maps.Clone(n)
	if ref, ok := n["$ref"].(string); ok {
		target := root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		for key, value := range root.resolve(target) {
			if _, own := merged[key]; !own {
				merged[key] = value
			}
		}
	}
	if choices, ok := n["anyOf"].([]any); ok {
		maps.Copy(merged, choices[0].(map[string]any))
	}
	return merged
}

func (root schemaNode) at(path []string) (schemaNode, error) {
	n := root.resolve(root)
	for _, key := range path {
		var next any
		if key == "*" {
			next = n["additionalProperties"]
		} else {
			properties, _ := n["properties"].(map[string]any)
			next = properties[key]
		}
		node, ok := next.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the schema has no %s", strings.Join(path, "."))
		}
		n = root.resolve(node)
	}
	return n, nil
}

func parsedSchema(t testing.TB) schemaNode {
	t.Helper()
	var root schemaNode
	if err := json.Unmarshal(connector.ConfigSchema(), &root); err != nil {
		t.Fatal(err)
	}
	return root
}

func compiledSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(connector.ConfigSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("config.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// The struct and the schema have the same keys of the same types, and the
// schema's defaults are those that WithDefaults fills in.
func TestSchemaAgreesWithTheStruct(t *testing.T) {
	root := parsedSchema(t)
	defaults := connector.Config{Accounts: map[string]connector.AccountConfig{"main": {}}}.WithDefaults()
	known := map[string]bool{}
	walkConfig(reflect.TypeFor[connector.Config](), nil, func(path []string, leaf reflect.Type) {
		name := strings.Join(path, ".")
		known[name] = true
		n, err := root.at(path)
		if err != nil {
			t.Error(err)
			return
		}
		if description, _ := n["description"].(string); description == "" {
			t.Errorf("%s has no description", name)
		}
		if want := schemaType(leaf); n["type"] != want {
			t.Errorf("%s is of the type %v in the schema, want %s", name, n["type"], want)
		}
		if secret := leaf == reflect.TypeFor[connector.Secret](); secret != (n["writeOnly"] == true) {
			t.Errorf("%s: secret is %v, writeOnly is %v", name, secret, n["writeOnly"])
		}
		checkDefault(t, name, n["default"], reach(reflect.ValueOf(&defaults).Elem(), path).value)
	})
	for _, name := range schemaLeaves(root, root, "") {
		if !known[name] {
			t.Errorf("the schema has %s, the struct has not", name)
		}
	}
}

func schemaType(leaf reflect.Type) string {
	switch {
	case leaf == reflect.TypeFor[time.Duration](), leaf.Kind() == reflect.String:
		return "string"
	case leaf.Kind() == reflect.Float64:
		return "number"
	case leaf.Kind() == reflect.Bool:
		return "boolean"
	case leaf.Kind() == reflect.Slice:
		return "array"
	default:
		return "integer"
	}
}

// checkDefault compares a default of the schema with the value that a Config
// gets. What must be written has none.
func checkDefault(t *testing.T, name string, got any, want reflect.Value) {
	t.Helper()
	var ok bool
	switch {
	case strings.HasSuffix(name, ".burst"):
		ok = got == 0.0 // stands for one second's worth
	case strings.HasSuffix(name, ".deployment"):
		ok = got == "" && want.String() == "countersign" // stands for the group
	case want.Type() == reflect.TypeFor[time.Duration]():
		text, _ := got.(string)
		d, err := time.ParseDuration(text)
		ok = err == nil && d == time.Duration(want.Int())
	case want.CanInt():
		ok = got == float64(want.Int())
	case want.Kind() == reflect.String && want.String() == "":
		ok = got == nil || got == ""
	case want.Kind() == reflect.String:
		ok = got == want.String()
	case want.Kind() == reflect.Slice:
		ok = got == nil && want.Len() == 0
	default:
		ok = reflect.DeepEqual(got, want.Interface())
	}
	if !ok {
		t.Errorf("%s has the default %v in the schema, WithDefaults makes it %v", name, got, want)
	}
}

func schemaLeaves(root, n schemaNode, path string) (leaves []string) {
	n = root.resolve(n)
	below := map[string]any{}
	if properties, ok := n["properties"].(map[string]any); ok {
		maps.Copy(below, properties)
	}
	if entries, ok := n["additionalProperties"].(map[string]any); ok {
		below["*"] = entries
	}
	if len(below) == 0 {
		return []string{path}
	}
	if _, open := below["*"]; !open && n["additionalProperties"] != false {
		leaves = append(leaves, path+" (open to any key)")
	}
	for key, value := range below {
		leaves = append(leaves, schemaLeaves(root, value.(map[string]any), strings.TrimPrefix(path+"."+key, "."))...)
	}
	return leaves
}

// What the schema says of the bounds, the parser says too.
func TestSchemaBounds(t *testing.T) {
	schema, root := compiledSchema(t), parsedSchema(t)
	walkConfig(reflect.TypeFor[connector.Config](), nil, func(path []string, leaf reflect.Type) {
		name := strings.ReplaceAll(strings.Join(path, "."), "*", "main")
		n, err := root.at(path)
		if err != nil {
			t.Fatal(err)
		}
		high, bounded := n["maximum"].(float64)
		if !bounded {
			if kind := schemaType(leaf); kind == "integer" || kind == "number" {
				t.Errorf("%s has no maximum in the schema", name)
			}
			return
		}
		for value, want := range map[float64]bool{high: true, high + 1: false, n["minimum"].(float64): true, -1: false} {
			doc := setIn(t, configFile(t, "full.yaml"), path, value)
			refused := schema.Validate(asJSON(t, doc)) != nil
			_, err := connector.ParseConfig(doc, fullSecrets)
			unwanted := err != nil && slices.ContainsFunc(violations(t, err), func(v connector.Violation) bool { return v.Path == name })
			if refused == want || unwanted == want {
				t.Errorf("%s of %v: the schema refuses it: %v, ParseConfig: %v, want both %v", name, value, refused, unwanted, !want)
			}
		}
	})
}

// setIn returns the document with another value at path.
func setIn(t testing.TB, doc []byte, path []string, value float64) []byte {
	t.Helper()
	var top map[string]any
	if err := yaml.Unmarshal(doc, &top); err != nil {
		t.Fatal(err)
	}
	n := top
	for _, key := range path[:len(path)-1] {
		if key == "*" {
			key = "main"
		}
		n = n[key].(map[string]any)
	}
	n[path[len(path)-1]] = value
	if whole := int64(value); float64(whole) == value {
		n[path[len(path)-1]] = whole
	}
	out, err := yaml.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func asJSON(t testing.TB, doc []byte) any {
	t.Helper()
	if !json.Valid(doc) {
		var value any
		err := yaml.Unmarshal(doc, &value)
		if err != nil {
			t.Fatal(err)
		}
		if doc, err = json.Marshal(value); err != nil {
			t.Fatal(err)
		}
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSchemaJudgesDocuments(t *testing.T) {
	schema := compiledSchema(t)
	for _, name := range []string{"minimal.yaml", "full.yaml", "full.json"} {
		if err := schema.Validate(asJSON(t, configFile(t, name))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"keys", "types", "values", "placeholders", "list", "empty"} {
		doc := configFile(t, "faults/"+name+".yaml")
		if name == "keys" { // yaml.Unmarshal refuses its double key, and JSON has no list as a key
			doc = []byte(strings.Replace(string(doc), "? [a, b]\n  : c", "d: e", 1))
			doc = []byte(strings.Replace(string(doc), "  main:\n    account_sid", "  second:\n    account_sid", 1))
		}
		if name == "types" {
			doc = []byte(strings.Replace(string(doc), ".nan", "text", 1))
		}
		if schema.Validate(asJSON(t, doc)) == nil {
			t.Errorf("%s.yaml is accepted", name)
		}
	}
}

func TestSchemaIsACopy(t *testing.T) {
	clear(connector.ConfigSchema())
	if !json.Valid(connector.ConfigSchema()) {
		t.Error("a caller's change of the schema is seen by the next one")
	}
}
