package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/plugin"
)

// What cannot get better is not tried twice, and says by its code what it is.
func TestStartsThatFailForGood(t *testing.T) {
	tests := map[string]struct {
		edit func(s *plugin.Spec)
		code plugin.Code
		says string
	}{
		"bad configuration": {func(s *plugin.Spec) { s.Config = []byte("bad") }, plugin.CodeConfig, "a.b: is bad (and 1 more)"},
		"missing secret":    {func(s *plugin.Spec) { s.Config = []byte("needs a secret") }, plugin.CodeConfig, "env:TOKEN"},
		"other binary":      {func(s *plugin.Spec) { s.SHA256 = strings.Repeat("0", 64) }, plugin.CodeChecksum, "SHA-256"},
		"no binary":         {func(s *plugin.Spec) { s.Path += ".gone" }, plugin.CodeChecksum, "cannot be read"},
		"other version":     {mode("version"), plugin.CodeVersion, "protocol version 9, this host 1"},
		"no plugin":         {mode("noise"), plugin.CodeHandshake, "did not announce itself"},
		"silent":            {mode("silent"), plugin.CodeHandshake, "did not announce itself"},
		"secrets fail": {func(s *plugin.Spec) {
			s.Secrets = func(context.Context) (map[string]string, error) { return nil, errors.New("sealed") }
		}, plugin.CodeSecrets, "sealed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newObserver(t)
			spec := o.spec()
			tt.edit(&spec)
			h := host(t, spec)
			err := h.end()
			wantCode(t, err, tt.code)
			if text := fmt.Sprint(err); !strings.Contains(text, tt.says) {
				t.Errorf("%q does not say %q", text, tt.says)
			}
			if h.Restarts() != 0 {
				t.Errorf("%d restarts", h.Restarts())
			}
			o.noSocketLeft()
		})
	}
}

func mode(name string) func(*plugin.Spec) {
	return func(s *plugin.Spec) { s.Env = []string{modeEnv + "=" + name, promptExit} }
}

// A file that cannot be executed fails like one that is no plugin.
func TestNotExecutable(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	spec.Path = filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(spec.Path, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if spec.SHA256, err = plugin.SHA256File(spec.Path); err != nil {
		t.Fatal(err)
	}
	wantCode(t, host(t, spec).end(), plugin.CodeHandshake)
	o.noSocketLeft()
}

// A binary that is replaced under a running host is not started.
func TestBinaryReplacedWhileRunning(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	own := filepath.Join(t.TempDir(), "plugin")
	copyFile(t, own, spec.Path)
	spec.Path = own
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.send("crash", message{})
	wantCode(t, h.end(), plugin.CodeChecksum)
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o700); err != nil {
		t.Fatal(err)
	}
}

// A host that ends before its plugin has begun abandons nothing.
func TestCancelledBeforeStart(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	asked := make(chan struct{})
	spec.Secrets = func(ctx context.Context) (map[string]string, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	h := host(t, spec)
	p := o.next()
	<-asked
	h.cancel()
	if err := h.end(); err != nil {
		t.Error(err)
	}
	for _, event := range p.gone() {
		if event == "call:Start" {
			t.Error("started")
		}
	}
	o.noSocketLeft()
}

// A host that ends while the plugin is down has work that nobody took up.
func TestCancelledWhileDown(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	calls := 0
	down := make(chan struct{})
	spec.Secrets = func(ctx context.Context) (map[string]string, error) {
		if calls++; calls == 1 {
			return nil, nil
		}
		close(down)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	h := host(t, spec)
	p := o.next()
	p.wait("call:Start")
	p.send("crash", message{})
	<-down
	h.cancel()
	wantCode(t, h.end(), plugin.CodeCrashed)
}

// A person who starts the binary is told what it is, on stderr, and nothing is
// on stdout.
func TestStartedByHand(t *testing.T) {
	hs := plugin.Handshake()
	for name, env := range map[string][]string{
		"no cookie":     nil,
		"wrong cookie":  {hs.MagicCookieKey + "=x", "PLUGIN_CLIENT_CERT=x"},
		"no mutual TLS": {hs.MagicCookieKey + "=" + hs.MagicCookieValue},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObserver(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append([]string{modeEnv + "=plugin", observerEnv + "=" + o.path}, env...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.Output()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("ended with %v", err)
			}
			if len(stdout) > 0 || !strings.Contains(stderr.String(), "countersign host ") {
				t.Errorf("stdout %q, stderr %q", stdout, stderr.String())
			}
		})
	}
}

// A plugin that cannot serve says why in a line that its host can read, and
// fails.
func TestNoPlaceForTheSocket(t *testing.T) {
	hs := plugin.Handshake()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{
		modeEnv + "=example", hs.MagicCookieKey + "=" + hs.MagicCookieValue, "PLUGIN_CLIENT_CERT=x",
		"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR=" + filepath.Join(t.TempDir(), "none"), promptExit,
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || len(stdout) > 0 {
		t.Errorf("ended with %v, stdout %q", err, stdout)
	}
	if !strings.HasPrefix(stderr.String(), `{"@level":"error"`) {
		t.Errorf("stderr %q", stderr.String())
	}
}

// Describe and Check ask a plugin without setting it to work.
func TestDescribeAndCheck(t *testing.T) {
	o := newObserver(t)
	spec := o.spec()
	spec.Config = []byte("bad")
	info, err := plugin.Describe(t.Context(), spec)
	if err != nil || info.Name != "fake" || len(info.Capabilities) != 1 || string(info.ConfigSchema) != "{}" {
		t.Errorf("%+v, %v", info, err)
	}
	o.next().gone()
	faults, err := plugin.Check(t.Context(), spec, false)
	if err != nil || len(faults) != 2 || faults[0].Path != "a.b" {
		t.Errorf("%+v, %v", faults, err)
	}
	spec.SHA256 = ""
	_, err = plugin.Describe(t.Context(), spec)
	wantCode(t, err, plugin.CodeConfig)
	o.noSocketLeft()
}
