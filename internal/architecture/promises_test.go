package architecture_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testFiles parses every test file of the repository.
func testFiles(t *testing.T) (*token.FileSet, []*ast.File) {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return set, files
}

// TestPromisesNameRealTests: a promise in the documents is only worth the test
// that it names.
func TestPromisesNameRealTests(t *testing.T) {
	_, files := testFiles(t)
	exists := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				exists[fn.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")
	for _, doc := range []string{"README.md", "docs/DESIGN.md", "docs/operations.md", "docs/security.md", "docs/metrics.md", "docs/emulator.md", "docs/challenge-api.md", "docs/wire-parity.md", "docs/audit.md", "docs/report-signature.md", "schemas/README.md"} {
		text, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "@@") {
			t.Errorf("%s has a place that is still to be filled", doc)
		}
		names := named.FindAllStringSubmatch(string(text), -1)
		if doc == "README.md" && len(names) < 10 {
			t.Errorf("%s names %d tests: the pattern or the document is wrong", doc, len(names))
		}
		for _, m := range names {
			if !exists[m[1]] {
				t.Errorf("%s names %s, which does not exist", doc, m[1])
			}
		}
	}
}

// maxExampleLines is what fits into a reader's eye: how to embed the connector
// and how to host the plugin must stay that simple.
const maxExampleLines = 20

func TestExamplesAreShort(t *testing.T) {
	set, files := testFiles(t)
	found := 0
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Example") {
				continue
			}
			found++
			if n := set.Position(fn.Body.Rbrace).Line - set.Position(fn.Body.Lbrace).Line - 1; n > maxExampleLines {
				t.Errorf("%s has %d lines, at most %d", fn.Name.Name, n, maxExampleLines)
			}
		}
	}
	if found < 5 {
		t.Errorf("%d examples found: the search is wrong", found)
	}
}
