// Command guards takes out, one at a time, the guards that keep a request from
// being called twice, lost or called too late, and runs the test that is there
// for each. A guard whose test passes without it is not held by anything, and
// the command fails. It works on an overlay: no file of the tree is changed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// cut replaces a text, which stands in the file exactly once.
type cut struct{ file, old, new string }

// guard is something that the code looks at before it acts.
type guard struct {
	name string
	cuts []cut // that take it out
	pkg  string
	test string // that fails without it
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "guards:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "countersign-guards-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "GUARD TAKEN OUT\tTEST\tFAILS")
	var bad []error
	for i, g := range guards {
		err := g.missed(ctx, filepath.Join(dir, fmt.Sprint(i)))
		word := "yes"
		if err != nil {
			word = "NO"
			bad = append(bad, fmt.Errorf("%s: %w", g.name, err))
		}
		fmt.Fprintf(out, "%s\t%s\t%s\n", g.name, g.test, word)
	}
	return errors.Join(out.Flush(), errors.Join(bad...))
}

// missTries is how often a test may pass without its guard: on a busy machine what
// the guard is for may not come about in time.
const missTries = 3

// missed returns nil where g's test fails without g, and passes with it.
func (g guard) missed(ctx context.Context, dir string) error {
	if out, err := test(ctx, g, ""); err != nil {
		return fmt.Errorf("its test fails with the guard in place: %w\n%s", err, out)
	}
	overlay, err := g.takeOut(dir)
	if err != nil {
		return err
	}
	out, err := test(ctx, g, overlay)
	for tries := 1; err == nil && tries < missTries; tries++ {
		out, err = test(ctx, g, overlay)
	}
	switch {
	case err == nil:
		return errors.New("its test passes without it")
	case !strings.Contains(out, "--- FAIL: "+g.test+" "):
		return fmt.Errorf("its test did not get to fail: %w\n%s", err, out)
	default:
		return nil
	}
}

func test(ctx context.Context, g guard, overlay string) (string, error) {
	args := []string{"test", "-vet=off", "-count=1", "-timeout=3m", "-run", "^" + g.test + "$", "-overlay", overlay, "./" + g.pkg}
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput() //nolint:gosec // what it runs is in the list
	return string(out), err
}

// takeOut writes the files without the guard and returns the overlay's name.
func (g guard) takeOut(dir string) (string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, c := range g.cuts {
		path := filepath.Join(g.pkg, c.file)
		from := path
		if replace[path] != "" {
			from = replace[path]
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(text), c.old); n != 1 {
			return "", fmt.Errorf("%s has %q %d times: the list of guards is out of date", path, c.old, n)
		}
		replace[path] = filepath.Join(dir, c.file)
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(text), c.old, c.new, 1)), 0o600); err != nil {
			return "", err
		}
	}
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, text, 0o600)
}
