package main

import (
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/plugin"
)

// child reads /status of a host.
func child(t *testing.T, url string) hostStatus {
	t.Helper()
	var status hostStatus
	_, body := get(t, url+"/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatalf("/status: %v: %s", err, body)
	}
	return status
}

// gone checks that no process is left.
func gone(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the plugin's process %d is still there: %v", pid, err)
	}
}

// The same as TestRunEndToEnd, with the connector in a child process.
func TestHostEndToEnd(t *testing.T) {
	s := newStack(t, nil)
	host := start(t, "host", "--config", configPath, "--listen", "127.0.0.1:0", "--log-level", "debug")
	url := host.listening(t)
	host.err.line(t, "ready=true")

	sent := cli(t, "", s.create("--wait", "--id", "hosted")...).want(t, exitOK)
	if !strings.Contains(sent.out, " succeeded create hosted YC") {
		t.Errorf("send printed %q", sent.out)
	}
	status := child(t, url)
	pid := status.Plugin.PID
	if pid <= 0 || pid == os.Getpid() || status.Plugin.Restarts != 0 || len(status.Plugin.SHA256) != 64 {
		t.Errorf("/status: %+v", status.Plugin)
	}
	if !status.Ready {
		t.Errorf("/status: %+v", status.Status)
	}
	if code, body := get(t, url+"/readyz"); code != 200 {
		t.Errorf("/readyz: %d %s", code, body)
	}
	_, metrics := get(t, url+"/metrics")
	for _, line := range []string{"countersign_plugin_up 1\n", "countersign_plugin_restarts_total 0\n", "countersign_requests_total 1\n"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %q in /metrics:\n%s", line, metrics)
		}
	}
	if runtime.GOOS == "linux" {
		for _, file := range []string{"environ", "cmdline"} {
			text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), testToken) {
				t.Errorf("the secret is in the plugin's %s", file)
			}
		}
	}
	host.end()
	e := host.wait(t).want(t, exitOK)
	if strings.Contains(e.err, testToken) {
		t.Error("the secret is in the log")
	}
	gone(t, pid)
}

// A host binary drains its plugin on the first signal and leaves nothing behind.
func TestHostDrainsOnSignal(t *testing.T) {
	h := newHold()
	s := newStack(t, func(c *emulator.Config) { c.BeforeWork = h.work })
	host, process := spawn(t, "host", "--config", configPath, "--listen", "127.0.0.1:0")
	url := host.listening(t)
	host.joined(t)
	cli(t, "", s.create("--id", "held")...).want(t, exitOK)
	h.wait(t)
	pid := child(t, url).Plugin.PID
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	host.err.line(t, "a second signal gives up")
	close(h.release)
	host.wait(t).want(t, exitOK)
	gone(t, pid)
	if results := s.records(t, resultsTopic); len(results) != 1 {
		t.Errorf("%d results", len(results))
	}
}

func TestHostKillsOnTheSecondSignal(t *testing.T) {
	h := newHold()
	s := newStack(t, func(c *emulator.Config) { c.BeforeWork = h.work })
	t.Cleanup(func() { close(h.release) })
	host, process := spawn(t, "host", "--config", configPath, "--listen", "127.0.0.1:0")
	url := host.listening(t)
	host.joined(t)
	cli(t, "", s.create()...).want(t, exitOK)
	h.wait(t)
	pid := child(t, url).Plugin.PID
	for _, said := range []string{"a second signal gives up", "giving up what is unfinished"} {
		if err := process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		host.err.line(t, said)
	}
	host.wait(t).want(t, exitFailed)
	gone(t, pid)
}

func TestHostRefuses(t *testing.T) {
	sum, err := plugin.SHA256File(binary)
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no checksum":        {[]string{"--plugin", binary}, exitUsage, "needs --sha256"},
		"checksum of itself": {[]string{"--sha256", sum}, exitUsage, "belongs to a --plugin PATH"},
		"short checksum":     {[]string{"--plugin", binary, "--sha256", "abc"}, exitFailed, "64 hexadecimal digits"},
		"wrong checksum":     {[]string{"--plugin", binary, "--sha256", wrong}, exitFailed, "checksum"},
		"no plugin":          {[]string{"--plugin", binary, "--sha256", sum}, exitFailed, "handshake"},
		"unset environment":  {[]string{"--env", "COUNTERSIGN_TEST_UNSET"}, exitUsage, "not set here"},
		"no configuration":   {[]string{"--config", "nowhere.yaml"}, exitFailed, "nowhere.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CHALLENGE_AUTH_TOKEN", testToken)
			e := cli(t, "", append([]string{"host", "--config", configPath}, c.args...)...).want(t, c.code)
			if !strings.Contains(e.err, c.says) {
				t.Errorf("no %q in %q", c.says, e.err)
			}
		})
	}
}

func TestPluginByHandGivesAHint(t *testing.T) {
	p, _ := spawn(t, "plugin")
	e := p.wait(t).want(t, exitFailed)
	if e.out != "" || !strings.Contains(e.err, "countersign host") {
		t.Errorf("out %q\nerr %q", e.out, e.err)
	}
}
