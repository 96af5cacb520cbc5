package architecture_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is where a file probably has two subjects.
const maxLines = 400

// longFiles may be longer, each for its reason.
var longFiles = map[string]string{}

// source is one Go file that somebody wrote.
type source struct {
	path  string // inside the repository, with slashes
	lines int
	set   *token.FileSet
	file  *ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(n.Pos()).Line)
}

// sources parses every Go file of the repository but the generated ones.
func sources(t *testing.T) (all []source) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{path: filepath.ToSlash(inside), lines: strings.Count(string(text), "\n"), set: token.NewFileSet()}
		if s.file, err = parser.ParseFile(s.set, path, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		if !ast.IsGenerated(s.file) {
			all = append(all, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d Go files found below %s", len(all), root)
	}
	return all
}

func TestFilesHaveOneSubject(t *testing.T) {
	long := map[string]bool{}
	for _, s := range sources(t) {
		if s.lines <= maxLines || s.isTest() {
			continue
		}
		long[s.path] = true
		if longFiles[s.path] == "" {
			t.Errorf("%s has %d lines, more than %d: two subjects are two files", s.path, s.lines, maxLines)
		}
	}
	for path := range longFiles {
		if !long[path] {
			t.Errorf("%s needs no exception any more", path)
		}
	}
}

func TestNoUnfinishedWords(t *testing.T) {
	unfinished := regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			for _, comment := range group.List {
				if word := unfinished.FindString(comment.Text); word != "" {
					t.Errorf("%s: %s in a comment: what is left to do is an issue", s.at(comment), word)
				}
			}
		}
	}
}

// call names a call of a package's function or of a method: time.Sleep, t.Skip.
func call(n ast.Node) (name string, args []ast.Expr) {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return "", nil
	}
	selector, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", nil
	}
	if x, ok := selector.X.(*ast.Ident); ok {
		return x.Name + "." + selector.Sel.Name, c.Args
	}
	return "." + selector.Sel.Name, c.Args
}

// fault says what is wrong with a node, or nothing.
func fault(s source, n ast.Node) string {
	name, args := call(n)
	_, method, _ := strings.Cut(name, ".")
	switch {
	case s.isTest() && name == "time.Sleep":
		return "a test that sleeps: use testing/synctest or wait for the condition"
	case s.isTest() && (method == "SkipNow" || (method == "Skip" || method == "Skipf") && (len(args) == 0 || emptyText(args[0]))):
		return "a test that is skipped without a reason"
	case (name == "context.Background" || name == "context.TODO") && derivesContexts(s):
		return "a context out of nowhere: derive it from the caller's, with context.WithoutCancel where it must outlive that"
	case !s.isTest() && comparesTexts.MatchString(name) && slices.ContainsFunc(args, isErrorText):
		return "errors told apart by their text: compare codes"
	default:
		return ""
	}
}

// derivesContexts reports whether the file belongs to the libraries, in which
// every context comes from the caller.
func derivesContexts(s source) bool {
	return !s.isTest() && slices.ContainsFunc([]string{"connector", "plugin", "ratelimit", "schemas"}, func(dir string) bool {
		return under(s.path, dir)
	})
}

// comparesTexts matches the functions that decide by a text. Trimming one for a
// person's eyes is fine, and a test may look for what must not be shown.
var comparesTexts = regexp.MustCompile(`^(strings\.(Contains|HasPrefix|HasSuffix|EqualFold|Index|Cut)|regexp\.MatchString)`)

// isErrorText reports whether the expression is err.Error().
func isErrorText(e ast.Expr) bool {
	name, args := call(e)
	return strings.HasSuffix(name, ".Error") && len(args) == 0
}

func emptyText(e ast.Expr) bool {
	literal, ok := e.(*ast.BasicLit)
	return ok && strings.Trim(literal.Value, "\"` ") == ""
}

func faults(s source) (found []string) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		if n != nil {
			if what := fault(s, n); what != "" {
				found = append(found, s.at(n)+": "+what)
			}
		}
		return true
	})
	return found
}

func TestForbiddenCalls(t *testing.T) {
	for _, s := range sources(t) {
		for _, what := range faults(s) {
			t.Error(what)
		}
	}
}

// Each of these lines must be found, and nothing else.
func TestForbiddenCallsAreFound(t *testing.T) {
	const text = `package p
func f() {
	time.Sleep(1)           // 3
	t.Skip()                // 4
	t.SkipNow()             // 5
	b.Skipf("")             // 6
	t.Skip("no Docker here")
	strings.Contains(err.Error(), "refused") // 8
	strings.Contains(text, "refused")
	strings.HasPrefix(e.cause().Error(), "x") // 10
	context.Background()    // 11, outside of tests
	context.WithoutCancel(ctx)
}`
	for path, want := range map[string][]int{
		"connector/a_test.go": {3, 4, 5, 6},
		"connector/a.go":      {8, 10, 11},
		"cmd/a.go":            {8, 10},
		"connectors/a.go":     {8, 10},
	} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, what := range faults(source{path: path, set: set, file: file}) {
			at, _, _ := strings.Cut(what, ": ")
			got = append(got, at)
		}
		var lines []string
		for _, line := range want {
			lines = append(lines, fmt.Sprintf("%s:%d", path, line))
		}
		if !slices.Equal(got, lines) {
			t.Errorf("found %q, want %q", got, lines)
		}
	}
}
