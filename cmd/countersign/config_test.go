package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadTakesFileEnvironmentAndSecrets(t *testing.T) {
	t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
	t.Setenv("COUNTERSIGN_KAFKA__GROUP", "another")
	doc, cfg, err := configFlag{path: configPath}.load()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Kafka.Group != "another" || cfg.Accounts["main"].AuthToken.Reveal() != testToken {
		t.Errorf("%+v", cfg)
	}
	if strings.Contains(string(doc.data), testToken) || !strings.Contains(string(doc.data), "${env:CHALLENGE_AUTH_TOKEN}") {
		t.Errorf("the document has lost its placeholder:\n%s", doc.data)
	}
	secrets, err := doc.secrets()
	if err != nil || secrets["env:CHALLENGE_AUTH_TOKEN"] != testToken {
		t.Errorf("secrets: %v", err)
	}
}

func TestLoadFindsItsFileByTheEnvironment(t *testing.T) {
	t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
	t.Setenv("COUNTERSIGN_CONFIG", configPath)
	if _, cfg, err := (configFlag{}).load(); err != nil || cfg.Kafka.Group != "countersign" {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// A secret in the environment alone reaches the document as a placeholder.
func TestLoadWithoutAFile(t *testing.T) {
	t.Setenv("COUNTERSIGN_KAFKA__BROKERS", "127.0.0.1:9092")
	t.Setenv("COUNTERSIGN_ACCOUNTS__MAIN__ACCOUNT_SID", "AC00000000000000000000000000000001")
	t.Setenv("COUNTERSIGN_ACCOUNTS__MAIN__AUTH_TOKEN", testToken)
	doc, cfg, err := configFlag{}.load()
	if err != nil || cfg.Accounts["main"].AuthToken.Reveal() != testToken {
		t.Fatalf("%+v, %v", cfg, err)
	}
	if strings.Contains(string(doc.data), testToken) {
		t.Errorf("the secret is in the document:\n%s", doc.data)
	}
}

// Faults of variables, missing secrets and faults of the document come at once.
func TestLoadReportsEverything(t *testing.T) {
	path := writeFile(t, "c.yaml", `
kafka:
  brokers: [127.0.0.1:9092]
  group: ${env:GROUP_THAT_IS_SET}
  partitions: -1
accounts:
  main:
    account_sid: ${file:/nowhere/at/all}
    auth_token: ${env:TOKEN_THAT_IS_NOT_SET}
    unknown: 1
`)
	t.Setenv("GROUP_THAT_IS_SET", "mine")
	t.Setenv("COUNTERSIGN_KAFKA__GRUOP", "typo")
	_, _, err := configFlag{path: path}.load()
	got := paths(t, err)
	want := []string{
		"COUNTERSIGN_KAFKA__GRUOP", "accounts.main.account_sid", "accounts.main.auth_token", "accounts.main.unknown", "kafka.partitions",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q\n%v", got, want, err)
	}
	if !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("the file is not named: %v", err)
	}
}

func TestLoadOfWhatIsNoYAML(t *testing.T) {
	_, _, err := configFlag{path: writeFile(t, "c.yaml", "a: [b\n")}.load()
	var faulty *connector.ConfigError
	if !errors.As(err, &faulty) || len(faulty.Violations) != 1 {
		t.Errorf("%v", err)
	}
}

// paths lists where the violations of an error are.
func paths(t *testing.T, err error) []string {
	t.Helper()
	var faulty *connector.ConfigError
	if !errors.As(err, &faulty) {
		t.Fatalf("no configuration error: %v", err)
	}
	var all []string
	for _, v := range faulty.Violations {
		all = append(all, v.Path)
	}
	slices.Sort(all)
	return all
}

// One cause, one fault: nothing is reported that only follows from another.
func TestLoadReportsNothingElse(t *testing.T) {
	if _, _, err := (configFlag{path: configPath}).load(); !slices.Equal(paths(t, err), []string{"accounts.main.auth_token"}) {
		t.Errorf("a missing secret: %v", err)
	}
	t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
	t.Setenv("COUNTERSIGN_KAFKA__GRUOP", "typo")
	t.Setenv("COUNTERSIGN_KAFKA__BROKERS", "127.0.0.1:9092")
	path := writeFile(t, "c.yaml", "accounts: {main: {account_sid: AC00000000000000000000000000000001, auth_token: \"${env:CHALLENGE_AUTH_TOKEN}\"}}\n")
	if _, _, err := (configFlag{path: path}).load(); !slices.Equal(paths(t, err), []string{"COUNTERSIGN_KAFKA__GRUOP"}) {
		t.Errorf("a wrong variable: %v", err)
	}
}
