package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/plugin/plugintest"
)

// The test binary is also the plugin: modeEnv says which one.
const modeEnv = "COUNTERSIGN_DEMO_TEST_PLUGIN"

const (
	modeReal   = "real"   // the connector
	modeIdle   = "idle"   // ready, and does nothing
	modeMute   = "mute"   // no plugin at all
	modePicky  = "picky"  // refuses its configuration
	modeFailed = "failed" // starts, and never becomes ready: it fails for good
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		servePlugin(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

// testPlugin names this binary as the plugin of a mode.
func testPlugin(t *testing.T, mode string) Plugin {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Plugin{Path: self, Env: []string{modeEnv + "=" + mode}}
}

func servePlugin(mode string) {
	ctx := context.Background()
	fake := &plugintest.Fake{}
	switch mode {
	case modeReal:
		plugin.Serve(ctx, plugin.ServeConfig{New: plugin.Countersign})
	case modeMute:
		return
	case modeIdle:
	case modePicky:
		fake.OnCall = func(call string) error {
			if call == "Configure" {
				return &plugin.Error{Code: plugin.CodeConfig, Violations: []connector.Violation{{Path: "kafka", Message: "is refused"}}}
			}
			return nil
		}
	case modeFailed:
		never := false
		fake.OnCall = func(call string) error {
			if call == "Start" {
				return &plugin.Error{Code: plugin.CodeInternal, Message: "it does not start", Retry: &never}
			}
			return nil
		}
	default:
		fmt.Fprintln(os.Stderr, "unknown mode", mode)
		os.Exit(2)
	}
	plugin.Serve(ctx, plugin.ServeConfig{New: func(*slog.Logger) plugin.Connector { return fake }})
}
