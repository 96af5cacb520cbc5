package connector

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The Config struct is the only list of the document's keys: the decoder, the
// environment and the hints all walk it by its yaml tags.

var (
	configType   = reflect.TypeFor[Config]()
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
)

// anyName stands, in a configPath, for the name that a map's entry has.
const anyName = "*"

// configPath leads from the top of the document to one value: keys and names.
type configPath []string

func (p configPath) String() string { return strings.Join(p, ".") }

// configLeaf is a value that can be set as a whole: a scalar or a list.
type configLeaf struct {
	path configPath
	kind reflect.Type
}

// configLeaves lists everything below t that can be set, in the order of the fields.
func configLeaves(t reflect.Type, above configPath) []configLeaf {
	switch {
	case t.Kind() == reflect.Struct:
		var all []configLeaf
		for _, key := range configKeys(t) {
			field, _ := configField(t, key)
			all = append(all, configLeaves(field.Type, append(slices.Clip(above), key))...)
		}
		return all
	case t.Kind() == reflect.Map:
		return configLeaves(t.Elem(), append(slices.Clip(above), anyName))
	default:
		return []configLeaf{{path: above, kind: t}}
	}
}

// configKeys lists the keys of the struct t, in the order of its fields.
func configKeys(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}

func configField(t reflect.Type, key string) (reflect.StructField, bool) {
	i := slices.Index(configKeys(t), key)
	if i < 0 {
		return reflect.StructField{}, false
	}
	return t.Field(i), true
}

func accountPath(name string) string { return childPath("accounts", name) }

// childPath writes a path so that no name, however odd, is mistaken for more
// than one step of it.
func childPath(path, name string) string {
	const longest = 64
	plain := name != "" && len(name) <= longest && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	switch {
	case !plain && len(name) > longest:
		return path + "[" + strconv.Quote(name[:longest]+"…") + "]"
	case !plain:
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	default:
		return path + "." + name
	}
}
