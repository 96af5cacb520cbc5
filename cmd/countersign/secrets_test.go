package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// Nothing that a command prints or logs holds a secret: neither what the
// configuration refers to, nor an auth payload, good or bad, whatever is wrong
// with either.
func TestNoCommandPrintsSecrets(t *testing.T) {
	s := newStack(t, nil)
	const payload, badPayload = "80412697", "8041269735"
	secrets := []string{testToken, payload, badPayload}
	var all []ended
	call := func(stdin string, args ...string) { t.Helper(); all = append(all, cli(t, stdin, args...)) }
	misplaced := writeFile(t, "misplaced.yaml", "kafka:\n  brokers: [\"${env:CHALLENGE_AUTH_TOKEN}\"]\n  group: "+testToken+
		"\n  partitions: "+testToken+"\naccounts:\n  main:\n    account_sid: "+testToken+"\n    base_url: "+testToken+"\n    region: "+testToken+"\n")
	broken := writeFile(t, "broken.yaml", "accounts: {main: {auth_token: "+testToken)

	for _, name := range []string{"run", "host"} {
		c := start(t, name, "--config", configPath, "--log-level", "debug", "--listen", "127.0.0.1:0")
		url := c.listening(t)
		c.joined(t)
		call("", s.create("--wait", "--auth-payload", payload, "--id", name)...)
		call("", s.create("--auth-payload", badPayload)...)
		call(`{"version":"1.0","id":"raw-`+name+`","operation":"create","service_sid":"`+s.factor.ServiceSID+`","identity":"`+testIdentity+
			`","create":{"factor_sid":"`+s.factor.SID+`","auth_payload":"`+badPayload+`"}}`, "send", "--wait", "--no-validate", "-")
		for _, path := range []string{"/status", "/metrics", "/readyz"} {
			_, body := get(t, url+path)
			all = append(all, ended{out: body})
		}
		c.end()
		all = append(all, c.wait(t))
		call("", name, "--config", misplaced)
		call("", name, "--config", broken)
	}
	call(`{"id":"a","update":{"auth_payload":"`+payload+`"},`, "send", "--no-validate", "--topic", deadLettersTopic, "-")
	for _, topic := range []string{"requests", "results", "deadletters"} {
		call("", "tail", "--topic", topic, "--since", "beginning")
		call("", "tail", "--topic", topic, "--since", "beginning", "--json")
	}
	call(`{"auth_payload":"`+payload+`"}`, "validate", "--config", misplaced, "--requests", "-")
	call(`{"create":{"auth_payload":"`+badPayload+`"},"auth_payload":"`+payload+`"}`, "validate", "--results", "-")
	call("", "version", "--json")
	e := start(t, "emulator", "--listen", "127.0.0.1:0", "--auth-token", testToken)
	e.field(t, "auth_token")
	e.end()
	all = append(all, e.wait(t))

	if sum := len(all); sum < 25 {
		t.Errorf("only %d outputs", sum)
	}
	for _, output := range all {
		for _, secret := range secrets {
			if strings.Contains(output.out, secret) || strings.Contains(output.err, secret) {
				t.Errorf("the secret %s is shown:\n%s\n%s", secret, output.out, output.err)
			}
		}
	}
	// The check itself must be able to see one.
	var out bytes.Buffer
	if execute(context.WithoutCancel(t.Context()), []string{"rnu" + payload}, strings.NewReader(""), &out, &out); !strings.Contains(out.String(), payload) {
		t.Error("an unknown command is no longer echoed; find another proof")
	}
}
