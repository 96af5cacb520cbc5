package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Encode returns the report as indented JSON with one line feed at its end, the
// same bytes for the same report. Decode takes those of every report that Run
// made. An error is one of CodeInvalid: a time beyond the year 9999.
func (r *Report) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, invalid("the report can't be written: %w", err)
	}
	return append(data, '\n'), nil
}

// Decode reads a report that Encode wrote, or another release of the same major
// version: fields that this one does not know are ignored. Anything else that is
// not as a report has it is an error of CodeInvalid that names the field. It does
// not compare the digest with anything.
func Decode(data []byte) (*Report, error) {
	if err := ofThisMajor(data); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := new(Report)
	if err := (reading{d}).value("the report", reflect.ValueOf(r).Elem()); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("the report is followed by something else")
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

var versions = regexp.MustCompile(`^([1-9][0-9]{0,8})\.[0-9]{1,9}$`)

// ofThisMajor refuses another major version before anything else is said of it.
func ofThisMajor(data []byte) error {
	var head map[string]json.RawMessage
	if err := json.Unmarshal(data, &head); err != nil {
		return invalid("the report is no JSON object: %w", err)
	}
	var version string
	if json.Unmarshal(head["version"], &version) != nil {
		return invalid("version must be a text like %q", ReportVersion)
	}
	ours := versions.FindStringSubmatch(ReportVersion)
	switch said := versions.FindStringSubmatch(version); {
	case said == nil:
		return invalid("version must be a text like %q, not %q", ReportVersion, printable(version))
	case said[1] != ours[1]:
		return invalid("version %s is of another major version than %s, which this release reads", version, ReportVersion)
	}
	return nil
}

// reading takes a report from its tokens, since encoding/json lets pass what must
// not: names in another case or twice, null for anything, fields that are missing.
type reading struct{ *json.Decoder }

var (
	hashType     = reflect.TypeFor[Hash]()
	durationType = reflect.TypeFor[Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

func (d reading) value(path string, v reflect.Value) error {
	token, err := d.Token()
	if err != nil {
		return invalid("%s: %w", path, err)
	}
	if v.Kind() == reflect.Pointer {
		if token == nil && v.Type().Elem() == timeType {
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case v.Type() == hashType || v.Type() == timeType || v.Kind() == reflect.String:
		text, ok := token.(string)
		if !ok {
			return invalid("%s must be a text", path)
		}
		return setText(path, v, text)
	case v.Type() == durationType:
		number, ok := token.(json.Number)
		if !ok {
			return invalid("%s must be a number of seconds", path)
		}
		took, ok := secondsOf(string(number))
		if !ok {
			return invalid("%s must be from 0 to 292 years in seconds, not %s", path, number)
		}
		v.SetInt(int64(took))
		return nil
	case v.Kind() == reflect.Int || v.Kind() == reflect.Int64:
		number, _ := token.(json.Number)
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || n < 0 || v.OverflowInt(n) {
			return invalid("%s must be a whole number from 0 to %d", path, int64(math.MaxInt64))
		}
		v.SetInt(n)
		return nil
	case v.Kind() == reflect.Bool:
		is, ok := token.(bool)
		if !ok {
			return invalid("%s must be true or false", path)
		}
		v.SetBool(is)
		return nil
	case v.Kind() == reflect.Slice:
		return d.list(path, token, v)
	case v.Kind() == reflect.Map:
		return d.counts(path, token, v)
	default:
		return d.object(path, token, v)
	}
}

// times are those of the schema; time.Parse lets more pass.
var times = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

func setText(path string, v reflect.Value, text string) error {
	switch v.Type() {
	case hashType:
		var h Hash
		if err := h.UnmarshalText([]byte(text)); err != nil {
			return invalid("%s: %w", path, err)
		}
		v.Set(reflect.ValueOf(h))
	case timeType:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || !times.MatchString(text) {
			return invalid("%s must be a time like 2026-01-02T15:04:05Z, not %q", path, cut(printable(text), textColumns))
		}
		v.Set(reflect.ValueOf(t))
	default:
		v.SetString(text)
	}
	return nil
}

// secondsOf reads a duration to the nearest nanosecond.
func secondsOf(text string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f >= float64(math.MaxInt64)/1e9 {
		return 0, false
	}
	// Multiplied by a billion, a number of nine decimals is not always whole.
	whole, part, _ := strings.Cut(strconv.FormatFloat(f, 'f', 9, 64), ".")
	n, err := strconv.ParseInt(whole+part, 10, 64)
	return time.Duration(n), err == nil
}

func (d reading) list(path string, token json.Token, v reflect.Value) error {
	if token != json.Delim('[') {
		return invalid("%s must be a list", path)
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for i := 0; d.More(); i++ {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(fmt.Sprintf("%s[%d]", path, i), item); err != nil {
			return err
		}
		v.Set(reflect.Append(v, item))
	}
	return d.end(path)
}

func (d reading) counts(path string, token json.Token, v reflect.Value) error {
	v.Set(reflect.MakeMap(v.Type()))
	return d.members(path, token, func(name string) error {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(path+"."+printable(name), item); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), item)
		return nil
	})
}

// member is a field of a JSON object, and what Go has for it.
type member struct {
	value    reflect.Value
	optional bool
}

func membersOf(v reflect.Value, into map[string]member) {
	for field, value := range v.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous {
			membersOf(value, into)
			continue
		}
		into[name] = member{value, options == "omitempty"}
	}
}

func (d reading) object(path string, token json.Token, v reflect.Value) error {
	known := map[string]member{}
	membersOf(v, known)
	seen := map[string]bool{}
	inside := func(name string) string {
		if path == "the report" {
			return name
		}
		return path + "." + name
	}
	err := d.members(path, token, func(name string) error {
		m, ok := known[name]
		if !ok {
			var ignored json.RawMessage
			if err := d.Decode(&ignored); err != nil {
				return invalid("%s: %w", inside(printable(name)), err)
			}
			return nil
		}
		seen[name] = true
		return d.value(inside(name), m.value)
	})
	if err != nil {
		return err
	}
	for field := range v.Type().Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.Anonymous && options != "omitempty" && !seen[name] {
			return invalid("%s is missing", inside(name))
		}
	}
	return nil
}

// members calls read for each member of an object, which has to take its value.
func (d reading) members(path string, token json.Token, read func(name string) error) error {
	if token != json.Delim('{') {
		return invalid("%s must be an object", path)
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return invalid("%s: %w", path, err)
		}
		name, _ := token.(string)
		if seen[name] {
			return invalid("%s has %q twice", path, printable(name))
		}
		seen[name] = true
		if err := read(name); err != nil {
			return err
		}
	}
	return d.end(path)
}

func (d reading) end(path string) error {
	if _, err := d.Token(); err != nil {
		return invalid("%s: %w", path, err)
	}
	return nil
}
