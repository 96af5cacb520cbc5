package architecture_test

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tableSides are the folders that the columns of docs/challenge-api.md cite tests of.
var tableSides = [][]string{
	{"schemas"},
	{"connector/challenge", "connector/challenge/read", "connector/challenge/internal/wire"},
	{"internal/emulator"},
}

// tableLines are what the API's reference has, by chapter. Each has a row or more.
var tableLines = map[string][]string{
	"Paths":  {"ServiceSid", "Identity", "Sid"},
	"Create": {"FactorSid", "ExpirationDate", "Details.Message", "Details.Fields", "HiddenDetails", "AuthPayload"},
	"List":   {"FactorSid", "Status", "Order", "PageSize", "Page", "PageToken", "Limit"},
	"Update": {"AuthPayload", "Metadata"},
	"Properties": {
		"sid", "account_sid", "service_sid", "entity_sid", "identity", "factor_sid", "date_created", "date_updated", "date_responded",
		"expiration_date", "status", "responded_reason", "details", "hidden_details", "metadata", "factor_type", "url", "links",
	},
	"Operations": nil,
}

// cases returns the test functions below the folders with the texts that stand in
// them: the names of their cases are among these.
func cases(t *testing.T, folders []string) map[string]map[string]bool {
	t.Helper()
	out := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if !s.isTest() || !slices.Contains(folders, path.Dir(s.path)) {
			continue
		}
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			texts := map[string]bool{}
			ast.Inspect(fn, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					if text, err := strconv.Unquote(literal.Value); err == nil {
						texts[text] = true
					}
				}
				return true
			})
			out[fn.Name.Name] = texts
		}
	}
	return out
}

// cited returns the tests that a cell names, with the case of each or none. A case
// without a test is one of the test before it.
func cited(cell string) (all [][2]string) {
	last := ""
	for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)?(?:/([^`]+))?`").FindAllStringSubmatch(cell, -1) {
		if m[1] == "" && m[2] == "" {
			continue
		}
		if m[1] != "" {
			last = m[1]
		}
		all = append(all, [2]string{last, m[2]})
	}
	return all
}

// TestTableOfTheAPI: docs/challenge-api.md has a row for each line of the API's
// reference, and each test and each case that it names exists where it says.
func TestTableOfTheAPI(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "challenge-api.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := make([]map[string]map[string]bool, len(tableSides))
	for i, folders := range tableSides {
		tests[i] = cases(t, folders)
	}
	rows := map[string][]string{}
	chapter, citations := "", 0
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			chapter = strings.TrimSpace(title)
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if chapter == "" || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| line ") || strings.HasPrefix(line, "| ---") {
			continue
		}
		if len(cells) != 1+len(tableSides) {
			t.Errorf("%q has %d cells", line, len(cells))
			continue
		}
		if name := regexp.MustCompile("^`([A-Za-z_.]+)`").FindStringSubmatch(strings.TrimSpace(cells[0])); name != nil {
			rows[chapter] = append(rows[chapter], name[1])
		}
		sides := 0
		for i, cell := range cells[1:] {
			found := cited(cell)
			for _, c := range found {
				citations++
				switch texts, ok := tests[i][c[0]]; {
				case !ok:
					t.Errorf("%s: there is no %s in %q", cells[0], c[0], tableSides[i])
				case c[1] != "" && !texts[c[1]]:
					t.Errorf("%s: %s has no case %q", cells[0], c[0], c[1])
				}
			}
			if len(found) > 0 {
				sides++
			} else if strings.TrimSpace(cell) == "" {
				t.Errorf("%s: an empty cell", cells[0])
			}
		}
		if sides < 2 {
			t.Errorf("%s: held on %d sides only", cells[0], sides)
		}
	}
	for chapter, want := range tableLines {
		for _, name := range want {
			if !slices.Contains(rows[chapter], name) {
				t.Errorf("%s: no row for %s", chapter, name)
			}
		}
		for _, name := range rows[chapter] {
			if !slices.Contains(want, name) {
				t.Errorf("%s: the reference has no %s", chapter, name)
			}
		}
	}
	if citations < 100 {
		t.Errorf("%d citations in %v: the search is wrong", citations, slices.Sorted(maps.Keys(rows)))
	}
}

// The check would pass if it found everything.
func TestTheTableCanFail(t *testing.T) {
	tests := cases(t, tableSides[0])
	if tests["TestRequestBounds"]["no such case"] || !tests["TestRequestBounds"]["list order"] || tests["TestAPIBounds"] != nil {
		t.Errorf("%d tests found", len(tests))
	}
	got := cited("words: `TestA/x y`, `/z`; `TestB`, `code`")
	if want := [][2]string{{"TestA", "x y"}, {"TestA", "z"}, {"TestB", ""}}; !slices.Equal(got, want) {
		t.Errorf("cited %v, want %v", got, want)
	}
}
