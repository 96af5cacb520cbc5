package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

const configPath = "testdata/config.yaml"

// The whole way, in one process: a request goes in, a challenge is made, its
// result comes out, and the connector ends in order.
func TestRunEndToEnd(t *testing.T) {
	s := newStack(t, nil)
	run := start(t, "run", "--config", configPath, "--listen", "127.0.0.1:0")
	url := run.listening(t)
	run.joined(t)

	sent := cli(t, "", s.create("--wait", "--id", "first", "--field", "From=Browser", "--hidden", "session=42")...).want(t, exitOK)
	if !strings.HasPrefix(sent.out, "sent first\n") || !strings.Contains(sent.out, " succeeded create first YC") {
		t.Errorf("send printed %q", sent.out)
	}
	if made := s.api.Created(); len(made) != 1 || made[0].HiddenDetails["session"] != "42" {
		t.Errorf("the API made %+v", made)
	}
	if status, body := get(t, url+"/healthz"); status != 200 || body != "alive\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if status, body := get(t, url+"/readyz"); status != 200 {
		t.Errorf("/readyz: %d %q", status, body)
	}
	var status connector.Status
	if _, body := get(t, url+"/status"); json.Unmarshal([]byte(body), &status) != nil || status.Counters.Outcomes["succeeded"] != 1 {
		t.Errorf("/status: %s", body)
	}
	if _, body := get(t, url+"/metrics"); !strings.Contains(body, `countersign_results_total{outcome="succeeded"} 1`) {
		t.Errorf("/metrics: %s", body)
	}
	run.end()
	if e := run.wait(t).want(t, exitOK); !strings.Contains(e.err, "ended in order") {
		t.Errorf("run logged %s", e.err)
	}
}

func TestSendWaitTellsFailureByItsExitCode(t *testing.T) {
	s := newStack(t, nil)
	run := start(t, "run", "--config", configPath)
	run.joined(t)

	missing := strings.Replace(s.factor.SID, s.factor.SID[2:6], "0000", 1)
	e := cli(t, "", "send", "--wait", "--operation", "create", "--service-sid", s.factor.ServiceSID, "--identity", testIdentity,
		"--factor-sid", missing, "--message", "Sign in?").want(t, exitFailed)
	if !strings.Contains(e.out, " rejected ") || !strings.Contains(e.err, "1 of 1 requests did not succeed") {
		t.Errorf("out %q\nerr %q", e.out, e.err)
	}

	bad := `{"version":"1.0","id":"bad","operation":"create","service_sid":"no"}`
	e = cli(t, bad, "send", "--wait", "--no-validate", "-").want(t, exitFailed)
	if !strings.Contains(e.out, "$.service_sid") || !strings.Contains(e.out, "$.identity") {
		t.Errorf("the faults are missing: %q", e.out)
	}

	e = cli(t, "not json\n", "send", "--wait", "--no-validate", "-").want(t, exitFailed)
	if !strings.Contains(e.err, "no usable id") {
		t.Errorf("err %q", e.err)
	}
	if made := s.api.Created(); len(made) != 0 {
		t.Errorf("the API made %+v", made)
	}
}

// A signal lets the call under way finish and its result be committed, for
// either signal.
func TestRunDrainsOnSignal(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(signal.String(), func(t *testing.T) {
			h := newHold()
			s := newStack(t, func(c *emulator.Config) { c.BeforeWork = h.work })
			run, process := spawn(t, "run", "--config", configPath)
			run.joined(t)
			cli(t, "", s.create("--id", "held")...).want(t, exitOK)
			h.wait(t)
			if err := process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			run.err.line(t, "a second signal gives up")
			close(h.release)
			run.wait(t).want(t, exitOK)
			results := s.records(t, resultsTopic)
			if len(results) != 1 {
				t.Fatalf("%d results", len(results))
			}
			if res, _, err := schemas.DecodeResult(results[0].Value); err != nil || res.RequestID != "held" || res.Outcome != schemas.OutcomeSucceeded {
				t.Errorf("result %s, %v", results[0].Value, err)
			}
		})
	}
}

func TestRunGivesUpOnTheSecondSignal(t *testing.T) {
	h := newHold()
	s := newStack(t, func(c *emulator.Config) { c.BeforeWork = h.work })
	t.Cleanup(func() { close(h.release) })
	run, process := spawn(t, "run", "--config", configPath)
	run.joined(t)
	cli(t, "", s.create()...).want(t, exitOK)
	h.wait(t)
	for _, said := range []string{"a second signal gives up", "giving up what is unfinished"} {
		if err := process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		run.err.line(t, said)
	}
	e := run.wait(t).want(t, exitFailed)
	if strings.Count(e.err, "countersign: ") != 1 {
		t.Errorf("the error is not printed once: %s", e.err)
	}
	if results := s.records(t, resultsTopic); len(results) != 0 {
		t.Errorf("a result of a call that was given up: %s", results[0].Value)
	}
}

func TestRunRefuses(t *testing.T) {
	faulty := filepath.Join(t.TempDir(), "faulty.yaml")
	if err := os.WriteFile(faulty, []byte("kafka:\n  brokers: [nowhere]\naccounts:\n  main:\n    account_sid: ${env:NOT_SET}\n    tiemout: 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"arguments":         {[]string{"run", "now"}, exitUsage, []string{`takes no arguments`, "countersign run --help"}},
		"unknown flag":      {[]string{"run", "--confg", "x"}, exitUsage, []string{"unknown flag: --confg"}},
		"log level":         {[]string{"run", "--log-level", "loud"}, exitUsage, []string{"debug, info, warn or error"}},
		"log format":        {[]string{"run", "--log-format", "xml"}, exitUsage, []string{"text or json"}},
		"public listener":   {[]string{"run", "--config", configPath, "--listen", "0.0.0.0:0"}, exitUsage, []string{"--listen-any"}},
		"bad listener":      {[]string{"run", "--config", configPath, "--listen", "8080"}, exitUsage, []string{"host:port"}},
		"no such file":      {[]string{"run", "--config", "nowhere.yaml"}, exitFailed, []string{"nowhere.yaml"}},
		"no configuration":  {[]string{"run"}, exitFailed, []string{"the environment", "kafka.brokers", "accounts"}},
		"every fault":       {[]string{"run", "--config", faulty}, exitFailed, []string{"kafka.brokers[0]", "NOT_SET", "tiemout"}},
		"port that is used": {[]string{"run", "--config", configPath, "--listen", "127.0.0.1:1x"}, exitFailed, []string{"--listen"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
			e := cli(t, "", c.args...).want(t, c.code)
			for _, text := range c.says {
				if !strings.Contains(e.err, text) {
					t.Errorf("no %q in %q", text, e.err)
				}
			}
			if e.out != "" || strings.Contains(e.err, "Flags:") {
				t.Errorf("more than the error: %q %q", e.out, e.err)
			}
		})
	}
}
