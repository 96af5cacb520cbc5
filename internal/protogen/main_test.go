package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The committed code is what the .proto and the pinned generators give, and a
// second run gives the same bytes.
func TestGeneratedCodeIsFresh(t *testing.T) {
	root := filepath.Join("..", "..")
	first, err := generate(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"plugin/pluginpb/connector.pb.go", "plugin/pluginpb/connector_grpc.pb.go"}
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
		t.Fatalf("generated files %q, want %q", got, want)
	}
	second, err := generate(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range first {
		if !bytes.Equal(content, second[name]) {
			t.Errorf("%s differs between two runs", name)
		}
		committed, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content, committed) {
			t.Errorf("%s is stale: run go generate ./plugin/...", name)
		}
	}
}

// Files land below the root that was given; a broken .proto is an error.
func TestRunWritesBelowRoot(t *testing.T) {
	root := t.TempDir()
	source, err := os.ReadFile(filepath.Join("..", "..", protoRoot, protoFile))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, protoRoot, protoFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, source, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "plugin", "pluginpb", "connector.pb.go")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, append(source, "message Broken {"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), root); err == nil {
		t.Error("a broken .proto was accepted")
	}
}
