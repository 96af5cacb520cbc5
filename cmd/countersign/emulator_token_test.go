package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestEmulatorTokenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	made, err := emulatorFlags{tokenFile: path}.account()
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(made.AuthToken) {
		t.Fatalf("%q %v", made.AuthToken, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if again, err := (emulatorFlags{tokenFile: path}).account(); err != nil || again.AuthToken != made.AuthToken {
		t.Errorf("another token the second time: %v", err)
	}
	if other, err := (emulatorFlags{tokenFile: filepath.Join(dir, "other")}).account(); err != nil || other.AuthToken == made.AuthToken {
		t.Errorf("the same token in another file: %v", err)
	}

	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var usage *usageError
	if _, err := (emulatorFlags{tokenFile: empty}).account(); !errors.As(err, &usage) {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := (emulatorFlags{tokenFile: path, token: "x"}).account(); !errors.As(err, &usage) {
		t.Errorf("a file and a token: %v", err)
	}
	if _, err := (emulatorFlags{tokenFile: filepath.Join(dir, "no", "folder")}).account(); err == nil || errors.As(err, &usage) {
		t.Errorf("no such folder: %v", err)
	}
}
