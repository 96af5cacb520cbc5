package connector

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ParseConfig reads a document, YAML or JSON, and returns the Config that it
// makes, defaults filled in. secrets holds what the document's placeholders
// stand for, by their names (see SecretNames); nothing else is looked up. The
// error is a *ConfigError with every fault of the document and, as far as it
// can be read, of the Config. It shows no text of the document but its keys,
// and no secret.
func ParseConfig(doc []byte, secrets map[string]string) (Config, error) {
	root, faults := loadDocument(doc)
	if len(faults) > 0 {
		return Config{}, &ConfigError{Violations: faults}
	}
	var cfg Config
	d := decoder{secrets: secrets}
	if root != nil {
		d.value("", root, reflect.ValueOf(&cfg).Elem())
	}
	found := d.violations
	for _, v := range cfg.Validate() {
		if !explained(v.Path, found[:len(d.violations)]) {
			found = append(found, v)
		}
	}
	if len(found) > 0 {
		return Config{}, &ConfigError{Violations: found}
	}
	return cfg.WithDefaults(), nil
}

// explained reports whether a fault at path only follows from one that is in
// the list: of the same value, of something in it or of what it is in.
func explained(path string, by []Violation) bool {
	for _, v := range by {
		if within(path, v.Path) || within(v.Path, path) {
			return true
		}
	}
	return false
}

func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// decoder turns nodes into a Config and collects every fault on its way.
type decoder struct {
	configCheck
	secrets map[string]string
}

func (d *decoder) value(path string, n *yaml.Node, into reflect.Value) {
	if isNull(n) {
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.entries(path, n, into, func(key string) (reflect.Type, string) {
			if field, ok := configField(into.Type(), key); ok {
				return field.Type, ""
			}
			return nil, "is not a key that is known here" + keyHint(key, configKeys(into.Type()))
		}, func(key string, v reflect.Value) {
			field, _ := configField(into.Type(), key)
			into.FieldByIndex(field.Index).Set(v)
		})
	case reflect.Map:
		into.Set(reflect.MakeMap(into.Type()))
		d.entries(path, n, into, func(string) (reflect.Type, string) {
			return into.Type().Elem(), ""
		}, func(key string, v reflect.Value) {
			into.SetMapIndex(reflect.ValueOf(key), v)
		})
	case reflect.Slice:
		d.list(path, n, into)
	default:
		d.scalar(path, n, into)
	}
}

// entries decodes a mapping. known returns the type of a key's value, or what
// is wrong with the key.
func (d *decoder) entries(path string, n *yaml.Node, into reflect.Value,
	known func(key string) (reflect.Type, string), set func(key string, v reflect.Value),
) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(path, n, into.Type())
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := childPath(path, key.Value)
		if key.Kind != yaml.ScalarNode {
			d.add(path, "line %d: a key must be a text", key.Line)
			continue
		}
		if line, twice := lines[key.Value]; twice {
			d.add(at, "is written twice, on the lines %d and %d", line, key.Line)
			continue
		}
		lines[key.Value] = key.Line
		t, fault := known(key.Value)
		if fault != "" {
			d.add(at, "%s", fault)
			continue
		}
		v := reflect.New(t).Elem()
		d.value(at, value, v)
		set(key.Value, v)
	}
}

func (d *decoder) list(path string, n *yaml.Node, into reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.wrongType(path, n, into.Type())
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.scalar(fmt.Sprintf("%s[%d]", path, i), item, into.Index(i))
	}
}

// scalar decodes one value. A text whose placeholders were replaced is read as
// what the field is; otherwise a quoted number is a text and no number.
func (d *decoder) scalar(path string, n *yaml.Node, into reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.wrongType(path, n, into.Type())
		return
	}
	text, tag := n.Value, n.ShortTag()
	if tag == "!!str" {
		expanded, faults := expand(text, d.secret)
		for _, fault := range faults {
			d.add(path, "%s", fault)
		}
		if len(faults) > 0 {
			return
		}
		if expanded != text && into.Kind() != reflect.String {
			tag = (&yaml.Node{Kind: yaml.ScalarNode, Value: strings.TrimSpace(expanded)}).ShortTag()
			expanded = strings.TrimSpace(expanded)
		}
		text = expanded
	}
	if !setScalar(into, tag, text) {
		d.wrongType(path, n, into.Type())
	}
}

func (d *decoder) secret(name string) (value, fault string) {
	value, ok := d.secrets[name]
	if !ok {
		return "", "${" + name + "}: no such secret was given"
	}
	return value, ""
}

// setScalar sets into to the text of a node with that tag, if it is one of into's.
func setScalar(into reflect.Value, tag, text string) bool {
	switch {
	case into.Type() == durationType:
		d, err := time.ParseDuration(text)
		into.SetInt(int64(d))
		return err == nil && tag == "!!str"
	case into.Kind() == reflect.String:
		// A token or a name of digits alone is a number to YAML.
		into.SetString(text)
		return tag == "!!str" || tag == "!!int" || tag == "!!float" || tag == "!!timestamp"
	case into.Kind() == reflect.Bool:
		into.SetBool(text == "true")
		return tag == "!!bool" && (text == "true" || text == "false")
	case into.Kind() == reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		into.SetFloat(f)
		return err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) && (tag == "!!int" || tag == "!!float")
	default:
		i, err := strconv.ParseInt(text, 10, 64)
		into.SetInt(i)
		return err == nil && tag == "!!int"
	}
}

// wrongType says what a value must be and, where it is of another kind, what it is.
func (d *decoder) wrongType(path string, n *yaml.Node, want reflect.Type) {
	is := describeNode(n)
	if want == durationType && is == "a text" || want.Kind() != reflect.String && want != durationType && is == "a number" {
		d.add(path, "must be %s", describeType(want))
		return
	}
	d.add(path, "must be %s, is %s", describeType(want), is)
}
