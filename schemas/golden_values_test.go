package schemas_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// propertyRow is a line of docs/challenge-api.md on a property: what values it may
// have, as far as the line says so.
type propertyRow struct {
	values  []string
	pattern *regexp.Regexp
	isDate  bool
}

// documentedProperties reads the lines of the chapter Properties that cite
// TestGoldenResultsShowEveryProperty.
func documentedProperties(t *testing.T) map[string]propertyRow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "challenge-api.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(text), "\n## Properties\n")
	body, _, _ = strings.Cut(body, "\n## ")
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := map[string]propertyRow{}
	for line := range strings.Lines(body) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || !strings.Contains(cells[1], "`TestGoldenResultsShowEveryProperty`") {
			continue
		}
		name, rest, _ := strings.Cut(cells[0], ":")
		name = quoted.FindStringSubmatch(name)[1]
		row := propertyRow{isDate: strings.HasPrefix(rest, " ISO 8601")}
		for _, m := range quoted.FindAllStringSubmatch(rest, -1) {
			if strings.HasPrefix(m[1], "^") {
				row.pattern = regexp.MustCompile(m[1])
			} else if !strings.HasPrefix(name, "details.") { // whose lines quote what is inside
				row.values = append(row.values, m[1])
			}
		}
		rows[name] = row
	}
	return rows
}

// shownProperties are the values of a challenge that are neither null nor empty, by
// the names of the table.
func shownProperties(t *testing.T, raw json.RawMessage, prefix string, into map[string][]json.RawMessage) {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	for key, value := range object {
		if slices.Contains([]string{"null", `""`, "{}", "[]"}, string(value)) {
			continue
		}
		into[prefix+key] = append(into[prefix+key], value)
		if prefix == "" && key == "details" {
			shownProperties(t, value, "details.", into)
		}
	}
}

// TestGoldenResultsShowEveryProperty: between them, the golden results hold each
// property of a challenge that docs/challenge-api.md names, with a value, and each
// value of the enumerations; and nothing else, but for what the API may add.
func TestGoldenResultsShowEveryProperty(t *testing.T) {
	shown := map[string][]json.RawMessage{}
	for name, data := range goldenFiles(t, "result") {
		r, _, err := schemas.DecodeResult(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, raw := range append(slices.Clone(r.Challenges), r.Challenge) {
			if raw != nil {
				shownProperties(t, raw, "", shown)
			}
		}
	}
	for _, more := range []string{"future", "options"} { // unknown here, and of passkeys
		if shown[more] == nil {
			t.Errorf("no golden result has %s", more)
		}
		delete(shown, more)
	}
	rows := documentedProperties(t)
	if got, want := slices.Sorted(maps.Keys(shown)), slices.Sorted(maps.Keys(rows)); !slices.Equal(got, want) {
		t.Errorf("the golden results show\n%q, the document has\n%q", got, want)
	}
	enumerations := 0
	for name, row := range rows {
		var values []string
		for _, raw := range shown[name] {
			var text string
			if err := json.Unmarshal(raw, &text); err != nil && (row.isDate || row.pattern != nil || row.values != nil) {
				t.Errorf("%s: %s", name, raw)
			}
			if _, err := time.Parse(time.RFC3339, text); row.isDate && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if row.pattern != nil && !row.pattern.MatchString(text) {
				t.Errorf("%s: %s", name, text)
			}
			values = append(values, text)
		}
		if row.values == nil {
			continue
		}
		enumerations++
		slices.Sort(values)
		if want := slices.Sorted(slices.Values(row.values)); !slices.Equal(slices.Compact(values), want) {
			t.Errorf("%s is shown as %q, the document has %q", name, slices.Compact(values), want)
		}
	}
	if enumerations != 3 {
		t.Errorf("the document has %d enumerations", enumerations)
	}
}

// TestResultsKeepWhatIsBounded: a result takes what the reference bounds as it came,
// at the bound and beyond.
func TestResultsKeepWhatIsBounded(t *testing.T) {
	metadata := func(n int) string { return `{"k":"` + strings.Repeat("日", n-len(`{"k":""}`)) + `"}` }
	expires := func(life time.Duration) string { return `"` + record.Add(life).Format(time.RFC3339) + `"` }
	for name, tc := range map[string]struct {
		from, to string
		values   []string
	}{
		"metadata":                    {`"metadata":`, `,"factor_type"`, []string{metadata(1024), metadata(1025)}},
		"expiration date left out":    {`"expiration_date":`, `,"status"`, []string{expires(5 * time.Minute)}},
		"expiration date at the most": {`"expiration_date":`, `,"status"`, []string{expires(60 * time.Minute), expires(61 * time.Minute)}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, value := range tc.values {
				head, tail, ok := bytes.Cut(resource("pending"), []byte(tc.from))
				_, tail, also := bytes.Cut(tail, []byte(tc.to))
				if !ok || !also {
					t.Fatal("the resource has another form")
				}
				want := string(head) + tc.from + value + tc.to + string(tail)
				r := result(schemas.OperationFetch, schemas.OutcomeSucceeded, func(r *schemas.Result) { r.Challenge = json.RawMessage(want) })
				data, err := r.Encode()
				if err != nil {
					t.Fatal(err)
				}
				back, warnings, err := schemas.DecodeResult(data)
				if err != nil || len(warnings) > 0 {
					t.Fatalf("%v, %v", err, warnings)
				}
				if string(back.Challenge) != want {
					t.Errorf("%s becomes %s", want, back.Challenge)
				}
			}
		})
	}
}
