package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/demo"
)

// TestDemoJSON: one JSON object on stdout, the progress on stderr, and nothing
// lost. The plugin is this test's own binary.
func TestDemoJSON(t *testing.T) {
	e := cli(t, "", "demo", "--json", "--requests", "30", "--rate", "300", "--seed", "9").want(t, exitOK)
	var sum demo.Summary
	if err := json.Unmarshal([]byte(e.out), &sum); err != nil {
		t.Fatalf("%v in %s", err, e.out)
	}
	if sum.Requests != 30 || sum.Lost != 0 || sum.Duplicates != 0 || sum.Seed != 9 {
		t.Errorf("%+v", sum)
	}
	if sum.PID != os.Getpid() || sum.PluginPID <= 0 || sum.PluginPID == sum.PID {
		t.Errorf("host %d, plugin %d", sum.PID, sum.PluginPID)
	}
	if !strings.Contains(e.err, "sent 30/30") {
		t.Errorf("no progress on stderr: %s", e.err)
	}
}

func TestDemoText(t *testing.T) {
	e := cli(t, "", "demo", "--requests", "10", "--rate", "300").want(t, exitOK)
	for _, want := range []string{"broker 127.0.0.1:", "sent 10/10", "Summary", "lost          0"} {
		if !strings.Contains(e.out, want) {
			t.Errorf("no %q in %s", want, e.out)
		}
	}
	if e.err != "" {
		t.Errorf("stderr: %s", e.err)
	}
}

func TestDemoUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--requests", "0"}, {"--rate", "0"}, {"--rate", "-1"}, {"--rate", "NaN"}, {"--outage", "-1s"}, {"--outage", "48h"}, {"now"}, {"--seed", "-1"},
	} {
		e := cli(t, "", append([]string{"demo"}, args...)...).want(t, exitUsage)
		if e.out != "" || !strings.Contains(e.err, "countersign:") {
			t.Errorf("%q: %q, %q", args, e.out, e.err)
		}
	}
}
