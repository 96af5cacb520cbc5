package plugin_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
)

// document is a configuration of the real engine. Nobody listens on its broker.
const document = `
kafka: {brokers: ["127.0.0.1:1"]}
accounts:
  main: {account_sid: AC00000000000000000000000000000001, auth_token: "${env:TOKEN}"}
`

// realPlugin builds cmd/countersign-plugin and returns a Spec for it.
func realPlugin(t *testing.T) plugin.Spec {
	t.Helper()
	o := newObserver(t)
	spec := o.spec()
	spec.Path = filepath.Join(t.TempDir(), "countersign-plugin")
	build := exec.Command("go", "build", "-o", spec.Path, "../cmd/countersign-plugin")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var err error
	if spec.SHA256, err = plugin.SHA256File(spec.Path); err != nil {
		t.Fatal(err)
	}
	spec.Env = nil
	spec.Config = []byte(document)
	t.Cleanup(o.noSocketLeft)
	return spec
}

// The binary that is shipped: what it says, what it judges, what it refuses,
// and one life.
func TestRealPlugin(t *testing.T) {
	spec := realPlugin(t)
	t.Run("Describe", func(t *testing.T) {
		info, err := plugin.Describe(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if info.Name != "countersign" || info.Version == "" || !json.Valid(info.ConfigSchema) {
			t.Errorf("%+v", info)
		}
	})
	t.Run("Check", func(t *testing.T) {
		faults, err := plugin.Check(t.Context(), spec, false)
		if err != nil || len(faults) == 0 || !strings.Contains(faults[0].Message, "TOKEN") {
			t.Errorf("without the secret: %+v, %v", faults, err)
		}
		spec := withToken(spec)
		if faults, err := plugin.Check(t.Context(), spec, false); err != nil || len(faults) > 0 {
			t.Errorf("with the secret: %+v, %v", faults, err)
		}
		faults, err = plugin.Check(t.Context(), spec, true)
		if err != nil || len(faults) != 1 || faults[0].Path != "kafka.brokers" {
			t.Errorf("probing nobody: %+v, %v", faults, err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		spec := spec
		spec.Config = []byte("kafka: {brokers: []}\nacounts: {}\n")
		e := wantCode(t, host(t, spec).end(), plugin.CodeConfig)
		if len(e.Violations) < 2 {
			t.Errorf("%+v", e.Violations)
		}
	})
	t.Run("life", func(t *testing.T) {
		spec := withToken(spec)
		states := make(chan connector.State, 1024)
		spec.OnStatus = func(st connector.Status) { states <- st.State }
		h := host(t, spec)
		for st := range states {
			if st == connector.StateRunning {
				break
			}
		}
		var metrics strings.Builder
		if err := h.WriteMetrics(t.Context(), &metrics); err != nil || !strings.Contains(metrics.String(), "countersign_") {
			t.Errorf("%q, %v", metrics.String(), err)
		}
		h.cancel()
		if err := h.end(); err != nil {
			t.Error(err)
		}
		if h.Restarts() != 0 {
			t.Error("the plugin was replaced")
		}
	})
	t.Run("stdout begins with the handshake", func(t *testing.T) {
		hs := plugin.Handshake()
		cmd := exec.Command(spec.Path)
		cmd.Env = []string{
			hs.MagicCookieKey + "=" + hs.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
			"PLUGIN_CLIENT_CERT=none", "PLUGIN_UNIX_SOCKET_DIR=" + spec.TempDir,
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "1|1|unix|") {
			t.Errorf("%q, %v", line, err)
		}
		// No host holds a lease: an interrupt ends it, and it cleans up.
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if err := os.Mkdir(spec.TempDir, 0o700); err != nil {
			t.Errorf("the folder of the socket is still there: %v", err)
		}
	})
}

func withToken(spec plugin.Spec) plugin.Spec {
	spec.Secrets = secretToken
	return spec
}
