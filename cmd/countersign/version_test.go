package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/schemas"
)

func TestVersion(t *testing.T) {
	var b buildInfo
	e := cli(t, "", "version", "--json").want(t, exitOK)
	if err := json.Unmarshal([]byte(e.out), &b); err != nil {
		t.Fatal(err)
	}
	if b.Version == "" || b.Go != runtime.Version() || b.Protocol != plugin.ProtocolVersion || b.Events != schemas.Version {
		t.Errorf("%+v", b)
	}
	line := cli(t, "", "version").want(t, exitOK).out
	if !strings.HasPrefix(line, "countersign "+b.Version) || !strings.Contains(line, "plugin protocol 1, events 1.0") {
		t.Errorf("%q", line)
	}
	if flagged := cli(t, "", "--version").want(t, exitOK).out; flagged != line {
		t.Errorf("--version prints %q, version %q", flagged, line)
	}
	cli(t, "", "version", "now").want(t, exitUsage)
}

func TestVersionLine(t *testing.T) {
	b := buildInfo{Version: "v1.2.3", Commit: "abc", Modified: true, Go: "go1", Platform: "a/b", Protocol: 1, Events: "1.0"}
	if got := b.line(); got != "countersign v1.2.3, commit abc with changes, go1 a/b, plugin protocol 1, events 1.0" {
		t.Errorf("%q", got)
	}
}
