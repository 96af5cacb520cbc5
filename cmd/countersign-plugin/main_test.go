package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/plugin"
)

func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "countersign-plugin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// TestAHostCanLoadIt starts the real binary and asks what it is.
func TestAHostCanLoadIt(t *testing.T) {
	path := build(t)
	digest, err := plugin.SHA256File(path)
	if err != nil {
		t.Fatal(err)
	}
	temp, err := os.MkdirTemp("", "cs") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	info, err := plugin.Describe(t.Context(), plugin.Spec{Path: path, SHA256: digest, TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != "countersign" || len(info.ConfigSchema) == 0 {
		t.Errorf("it says that it is %q with a schema of %d bytes", info.Name, len(info.ConfigSchema))
	}
}

// TestByHandItExplainsItself and leaves stdout, which is for the handshake, alone.
func TestByHandItExplainsItself(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), build(t))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit code 1", err)
	}
	if stdout.Len() > 0 || !strings.Contains(stderr.String(), "plugin") {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}
