package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// What the list cuts out is there, once, and so is each test that it names. To take
// them all out takes minutes; that the list is out of date shows at once.
func TestListIsUpToDate(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(filepath.Join("..", ".."))
	for i, g := range guards {
		if _, err := g.takeOut(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		if !declared(t, g.pkg, g.test) {
			t.Errorf("%s: there is no %s in %s", g.name, g.test, g.pkg)
		}
	}
}

func declared(t *testing.T, pkg, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", pkg, err)
	}
	want := regexp.MustCompile(`(?m)^func ` + test + `\(t \*testing\.T\)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want.Match(text) {
			return true
		}
	}
	return false
}
