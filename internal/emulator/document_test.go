package emulator_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/emulator"
)

// chapter returns the names in the first column of a chapter's table in
// docs/emulator.md, in order.
func chapter(t *testing.T, title string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "emulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("docs/emulator.md has no chapter %s", title)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	name := regexp.MustCompile("`([^`]+)`")
	var names []string
	for line := range strings.Lines(body) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

func TestDocumentHasEveryRule(t *testing.T) {
	if got, want := chapter(t, "Rules"), emulator.RuleNames(); !slices.Equal(got, want) {
		t.Errorf("documented %q\nthe rules %q", got, want)
	}
}

func TestDocumentHasEveryFault(t *testing.T) {
	var want []string
	for field := range reflect.TypeFor[emulator.Faults]().Fields() {
		want = append(want, strings.ToLower(regexp.MustCompile("([a-z])([A-Z])").ReplaceAllString(field.Name, "${1}_$2")))
	}
	slices.Sort(want)
	got := chapter(t, "Faults")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("documented %q\nthe faults %q", got, want)
	}
}

// Each documented administration call is taken. That no other is can't be seen
// from outside; doc.go lists the same.
func TestDocumentHasRealAdministration(t *testing.T) {
	a := handled(t, emulator.Config{})
	taken := map[string]bool{}
	for _, call := range chapter(t, "Administration") {
		method, path, _ := strings.Cut(call, " ")
		status, body := a.admin(method, path, "{}")
		if status == 404 {
			t.Errorf("%s: %d %v", call, status, body)
		}
		taken[call] = true
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	inDoc := map[string]bool{}
	for _, m := range regexp.MustCompile(`(GET|POST|DELETE) +/_emulator/([a-z]+)`).FindAllStringSubmatch(string(doc), -1) {
		inDoc[m[1]+" "+m[2]] = true
	}
	if !maps.Equal(taken, inDoc) || len(taken) != 7 {
		t.Errorf("docs/emulator.md has %v, doc.go has %v", taken, inDoc)
	}
}
