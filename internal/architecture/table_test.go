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

// tableLines are what the API's reference has, by chapter: each name as often as the
// table has a row for it.
var tableLines = map[string][]string{
	"Operations": {
		"create", "fetch", "list", "update", "Authorization", "Content-Type", "Accept", "stream", "factor_type",
	},
	"Paths": {"ServiceSid", "Identity", "Sid", "Sid"}, // of a fetch, and of an update
	"Create": {
		"FactorSid", "ExpirationDate", "ExpirationDate", "ExpirationDate", "Details.Message", "Details.Message",
		"Details.Fields", "Details.Fields", "Details.Fields", "Details.Fields", "Details.Fields", "HiddenDetails", "HiddenDetails", "AuthPayload", "AuthPayload",
	},
	"List":   {"FactorSid", "Status", "Order", "Order", "PageSize", "PageSize", "Page", "PageToken", "Limit"},
	"Update": {"AuthPayload", "AuthPayload", "AuthPayload", "Metadata", "Metadata"},
	"Properties": {
		"sid", "account_sid", "service_sid", "entity_sid", "identity", "factor_sid", "date_created", "date_updated", "date_responded",
		"expiration_date", "expiration_date", "expiration_date", "status", "responded_reason",
		"details", "details.message", "details.date", "details.fields", "hidden_details", "metadata", "metadata", "factor_type", "url", "links",
	},
	"The answer to a list": {
		"challenges", "meta.page", "meta.page_size", "meta.first_page_url", "meta.previous_page_url", "meta.url", "meta.next_page_url", "meta.key",
	},
}

// notInEvents is the cell of a line that has no counterpart in events, and
// linesNotInEvents are all that may have it.
const notInEvents = "not in events"

var linesNotInEvents = []string{
	"Accept", "Content-Type",
	"meta.first_page_url", "meta.key", "meta.next_page_url", "meta.page", "meta.page_size", "meta.previous_page_url", "meta.url",
}

// cases returns the test functions below the folders, each with the names that it
// gives to its cases.
func cases(t *testing.T, folders []string) map[string]map[string]bool {
	t.Helper()
	out := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if !s.isTest() || !slices.Contains(folders, path.Dir(s.path)) {
			continue
		}
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			if out[fn.Name.Name] == nil { // packages of one side may share a name
				out[fn.Name.Name] = map[string]bool{}
			}
			for _, name := range casesOf(fn) {
				out[fn.Name.Name][name] = true
			}
		}
	}
	return out
}

// casesOf returns what a test passes to t.Run as a name: texts, and those of the
// table that it ranges over.
func casesOf(fn *ast.FuncDecl) (names []string) {
	local := map[string]ast.Expr{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if name, ok := left.(*ast.Ident); ok && n.Tok == token.DEFINE && len(n.Lhs) == len(n.Rhs) {
					local[name.Name] = n.Rhs[i]
				}
			}
		case *ast.CallExpr:
			if text, ok := stringOf(nameOfRun(n)); ok {
				names = append(names, text)
			}
		case *ast.RangeStmt:
			table := n.X
			if name, ok := table.(*ast.Ident); ok {
				table = local[name.Name]
			}
			if literal, ok := table.(*ast.CompositeLit); ok {
				names = append(names, casesOfTable(n, literal)...)
			}
		}
		return true
	})
	return names
}

// nameOfRun is the name's expression in a call of t.Run; nil: another call.
func nameOfRun(call *ast.CallExpr) ast.Expr {
	if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Run" && len(call.Args) == 2 {
		return call.Args[0]
	}
	return nil
}

func stringOf(e ast.Expr) (string, bool) {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

// casesOfTable returns a map's keys where the loop runs a case under its key, and a
// field of each element where it runs one under that field.
func casesOfTable(loop *ast.RangeStmt, table *ast.CompositeLit) (names []string) {
	byKey, field := false, ""
	ast.Inspect(loop.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch name := nameOfRun(call).(type) {
		case *ast.Ident:
			byKey = byKey || isIdent(loop.Key, name.Name)
		case *ast.SelectorExpr:
			if of, ok := name.X.(*ast.Ident); ok && isIdent(loop.Value, of.Name) {
				field = name.Sel.Name
			}
		}
		return true
	})
	for _, element := range table.Elts {
		pair, isPair := element.(*ast.KeyValueExpr)
		var name ast.Expr
		switch literal, isLiteral := element.(*ast.CompositeLit); {
		case byKey && isPair:
			name = pair.Key
		case field != "" && isLiteral:
			name = fieldOf(table.Type, literal, field)
		}
		if text, ok := stringOf(name); ok {
			names = append(names, text)
		}
	}
	return names
}

func isIdent(e ast.Expr, name string) bool {
	ident, ok := e.(*ast.Ident)
	return ok && ident.Name == name
}

// fieldOf returns a field's value in an element of a list of structs; nil where
// their type is not written beside them and the fields are not named.
func fieldOf(list ast.Expr, element *ast.CompositeLit, field string) ast.Expr {
	at := -1
	if array, ok := list.(*ast.ArrayType); ok {
		if of, ok := array.Elt.(*ast.StructType); ok {
			n := 0
			for _, f := range of.Fields.List {
				for _, name := range f.Names {
					if name.Name == field {
						at = n
					}
					n++
				}
			}
		}
	}
	for i, value := range element.Elts {
		if pair, ok := value.(*ast.KeyValueExpr); ok {
			if isIdent(pair.Key, field) {
				return pair.Value
			}
		} else if i == at {
			return value
		}
	}
	return nil
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
	var absent []string
	named := regexp.MustCompile("^`([A-Za-z_.-]+)`")
	chapter, citations := "", 0
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			chapter = strings.TrimSpace(title)
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if chapter == "" || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| line ") || strings.HasPrefix(line, "| ---") {
			continue
		}
		name := named.FindStringSubmatch(strings.TrimSpace(cells[0]))
		if len(cells) != 1+len(tableSides) || name == nil {
			t.Errorf("%q has %d cells and the name %q", line, len(cells), name)
			continue
		}
		rows[chapter] = append(rows[chapter], name[1])
		for i, cell := range cells[1:] {
			if i == 0 && cell == notInEvents {
				absent = append(absent, name[1])
				continue
			}
			found := cited(cell)
			for _, c := range found {
				citations++
				switch names, ok := tests[i][c[0]]; {
				case !ok:
					t.Errorf("%s: there is no %s in %q", cells[0], c[0], tableSides[i])
				case c[1] != "" && !names[c[1]]:
					t.Errorf("%s: %s has no case %q", cells[0], c[0], c[1])
				}
			}
			if len(found) == 0 {
				t.Errorf("%s: %q names no test", cells[0], cell)
			}
		}
	}
	for _, chapter := range slices.Sorted(maps.Keys(rows)) {
		if tableLines[chapter] == nil {
			t.Errorf("the reference has no chapter %q", chapter)
		}
	}
	for chapter, want := range tableLines {
		if got, want := slices.Sorted(slices.Values(rows[chapter])), slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
			t.Errorf("%s has rows for\n%q, the reference for\n%q", chapter, got, want)
		}
	}
	if slices.Sort(absent); !slices.Equal(absent, linesNotInEvents) {
		t.Errorf("%q are said to be %s, want %q", absent, notInEvents, linesNotInEvents)
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
	if tests["TestRequestBounds"]["list.order"] || tests["TestRequestBounds"]["asc"] {
		t.Error("any text in a test is taken for a case")
	}
	read := cases(t, tableSides[1])
	if !read["TestChallengeProperties"]["details"] || !read["TestPropertyBounds"]["metadata"] || read["TestChallengeProperties"]["approved_push.json"] {
		t.Errorf("cases %v", read["TestChallengeProperties"])
	}
	got := cited("words: `TestA/x y`, `/z`; `TestB`, `code`")
	if want := [][2]string{{"TestA", "x y"}, {"TestA", "z"}, {"TestB", ""}}; !slices.Equal(got, want) {
		t.Errorf("cited %v, want %v", got, want)
	}
}
