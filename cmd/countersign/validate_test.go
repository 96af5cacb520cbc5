package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

func TestValidate(t *testing.T) {
	t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
	good := writeFile(t, "good.jsonl", fetchEvent("a", testIdentity)+"\n"+fetchEvent("b", testIdentity)+"\n")
	warned := writeFile(t, "warned.json", strings.Replace(fetchEvent("a", testIdentity), "{", `{"identty":1,`, 1))
	bad := writeFile(t, "bad.jsonl", fetchEvent("a", testIdentity)+"\n\n"+
		`{"version":"1.0","id":"x","operation":"create","service_sid":"VA","identity":"no","create":{"auth_payload":"9","expiration_date":"2001-01-01T00:00:00Z"}}`+"\nhello\n")
	late := writeFile(t, "late.jsonl", `{"version":"1.0","id":"x","operation":"create","service_sid":"`+someService+`","identity":"`+testIdentity+
		`","create":{"factor_sid":"`+someFactor+`","expiration_date":"2001-01-01T00:00:00Z"}}`)
	results := writeFile(t, "results.jsonl", string(resultEvent(t, "a", schemas.OutcomeSucceeded))+"\n"+`{"version":"1.0"}`)
	config := writeFile(t, "config.yaml", "kafka: {brokers: [x]}\naccounts: {main: {account_sid: AC1, auth_token: "+testToken+", api_key: SK1}}\n")
	for name, c := range map[string]struct {
		args []string
		code int
		says []string // on stdout, but for the last, which is on stderr
	}{
		"configuration":  {[]string{"--config", configPath}, exitOK, []string{"configuration accepted; events: 0, with faults: 0; faults: 0, warnings: 0"}},
		"good events":    {[]string{"--requests", good, "--requests", good}, exitOK, []string{"events: 4, with faults: 0"}},
		"warnings":       {[]string{"--requests", warned}, exitOK, []string{warned + ":1: warning: $.identty", "did you mean identity?", "warnings: 1"}},
		"too late":       {[]string{"--requests", late}, exitFailed, []string{late + ":1: $.create.expiration_date must be ahead", "faults: 1,"}},
		"stdin":          {[]string{"--requests", "-"}, exitFailed, []string{"stdin:1: $ ", "events: 1, with faults: 1"}},
		"all of it":      {[]string{"--config", configPath, "--requests", good, "--results", results}, exitFailed, []string{results + ":2: $.id ", "accepted; events: 4, with faults: 1"}},
		"bad events":     {[]string{"--requests", bad}, exitFailed, []string{bad + ":3: $.service_sid ", bad + ":3: $.identity ", bad + ":3: $.create.factor_sid ", bad + ":3: $.create.auth_payload ", bad + ":4: $ ", "events: 3, with faults: 2"}},
		"bad config":     {[]string{"--config", config}, exitFailed, []string{config + ": kafka.brokers[0]: ", config + ": accounts.main.account_sid: ", config + ": accounts.main", "configuration refused"}},
		"missing file":   {[]string{"--requests", "nowhere.jsonl"}, exitFailed, []string{"nowhere.jsonl"}},
		"missing config": {[]string{"--config", "nowhere.yaml"}, exitFailed, []string{"nowhere.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := cli(t, "hello", append([]string{"validate"}, c.args...)...).want(t, c.code)
			for i, text := range c.says {
				from := e.out
				if i == len(c.says)-1 {
					from = e.err
				}
				if !strings.Contains(from, text) {
					t.Errorf("no %q\nstdout: %s\nstderr: %s", text, e.out, e.err)
				}
			}
			if strings.Contains(e.out+e.err, testToken) {
				t.Error("it shows a secret")
			}
		})
	}
}

func TestValidatePrintsSchemas(t *testing.T) {
	for _, name := range schemaNames {
		e := cli(t, "", "validate", "--schema", name).want(t, exitOK)
		var schema struct {
			Schema string `json:"$schema"`
		}
		if err := json.Unmarshal([]byte(e.out), &schema); err != nil || schema.Schema == "" {
			t.Errorf("%s: %v, %.80s", name, err, e.out)
		}
	}
}

func TestValidatePrintsAnExampleThatIsValid(t *testing.T) {
	t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
	e := cli(t, "", "validate", "--example").want(t, exitOK)
	cli(t, "", "validate", "--config", writeFile(t, "c.yaml", e.out)).want(t, exitOK)
}

func TestValidateRefuses(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--schema", "event"},
		{"--schema", "request", "--example"},
		{"--schema", "request", "--requests", "-"},
		{"--example", "--config", configPath},
		{"--requests", "-", "--results", "-"},
		{"file"},
	} {
		cli(t, "", append([]string{"validate"}, args...)...).want(t, exitUsage)
	}
}
