package schemas_test

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/countersign/countersign/schemas"
)

var update = flag.Bool("update", false, "write the golden events instead of comparing with them")

// golden compares data with a file of testdata, or writes it there. A file holds
// the event and a line feed.
func golden(t *testing.T, kind, name string, data []byte) {
	t.Helper()
	path := filepath.Join("testdata", kind, name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(slices.Clone(data), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, bytes.TrimSuffix(want, []byte("\n"))) {
		t.Errorf("%s:\n got %s\nwant %s", path, data, want)
	}
}

// goldenFiles returns the events of one kind in testdata, by name.
func goldenFiles(t testing.TB, kind string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", kind, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files of kind %s: %v", kind, err)
	}
	files := make(map[string][]byte)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		files[name[:len(name)-len(".json")]] = bytes.TrimSuffix(data, []byte("\n"))
	}
	return files
}

func TestGoldenRequests(t *testing.T) {
	for name, r := range goldenRequests {
		data, err := r.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden(t, "request", name, data)
		back, warnings, err := schemas.DecodeRequest(data)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: decode: %v, %v", name, err, warnings)
		}
		if !reflect.DeepEqual(back, r) {
			t.Errorf("%s: decoded\n%#v, want\n%#v", name, back, r)
		}
		if faults := back.Check(record); len(faults) > 0 {
			t.Errorf("%s: check: %v", name, faults)
		}
	}
}

func TestGoldenResults(t *testing.T) {
	for name, r := range goldenResults {
		data, err := r.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden(t, "result", name, data)
		back, warnings, err := schemas.DecodeResult(data)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: decode: %v, %v", name, err, warnings)
		}
		if !reflect.DeepEqual(back, r) {
			t.Errorf("%s: decoded\n%+v, want\n%+v", name, back, r)
		}
	}
}

func TestGoldenDeadLetters(t *testing.T) {
	for name, d := range goldenDeadLetters {
		data := encodeHeaders(d.Headers())
		golden(t, "deadletter", name, data)
		back, warnings, err := schemas.DecodeDeadLetter(headersOf(t, data))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: decode: %v, %v", name, err, warnings)
		}
		if !reflect.DeepEqual(back, d) {
			t.Errorf("%s: decoded\n%+v, want\n%+v", name, back, d)
		}
	}
}

// A file without a fixture would be checked by nobody.
func TestGoldenFilesAreComplete(t *testing.T) {
	same := func(kind string, want []string) {
		got := slices.Sorted(maps.Keys(goldenFiles(t, kind)))
		if !slices.Equal(got, want) {
			t.Errorf("testdata/%s holds %v, the fixtures are %v", kind, got, want)
		}
	}
	same("request", slices.Sorted(maps.Keys(goldenRequests)))
	same("result", slices.Sorted(maps.Keys(goldenResults)))
	same("deadletter", slices.Sorted(maps.Keys(goldenDeadLetters)))
	same("redrive", slices.Sorted(maps.Keys(goldenRedrives)))
	same("ledger", slices.Sorted(maps.Keys(goldenLedger)))
	same("position", slices.Sorted(maps.Keys(goldenPositions)))
}

// Every outcome appears with every operation that can have it.
func TestGoldenResultsCoverOutcomes(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range goldenResults {
		seen[string(r.Operation)+" "+string(r.Outcome)] = true
	}
	for _, op := range []schemas.Operation{schemas.OperationCreate, schemas.OperationFetch, schemas.OperationList, schemas.OperationUpdate} {
		for _, outcome := range []schemas.Outcome{
			schemas.OutcomeSucceeded, schemas.OutcomeDuplicate, schemas.OutcomeRejected, schemas.OutcomeExpired, schemas.OutcomeFailed,
		} {
			if !seen[string(op)+" "+string(outcome)] {
				t.Errorf("no golden result: %s %s", op, outcome)
			}
		}
	}
	for _, op := range []string{"create adopted", "update adopted"} {
		if !seen[op] {
			t.Errorf("no golden result: %s", op)
		}
	}
}
