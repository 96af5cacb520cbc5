package plugin_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is also every other process of these tests: what it is says
// modeEnv, which a Spec passes to a plugin like any other variable.
const (
	modeEnv     = "COUNTERSIGN_TEST_MODE"
	observerEnv = "COUNTERSIGN_TEST_OBSERVER" // socket of the test's observer
	tempEnv     = "COUNTERSIGN_TEST_TEMP"     // a host's Spec.TempDir
)

// promptExit keeps the race detector from sleeping at the end of each process.
const promptExit = "GORACE=atexit_sleep_ms=0"

// modes are the other processes. Each ends by itself.
var modes = map[string]func(){
	"plugin":  servePlugin,  // a plugin that does what the observer says
	"host":    runHost,      // a host of such a plugin, until SIGINT or SIGTERM
	"version": serveVersion, // a plugin of another protocol version
	"noise":   printNoise,   // prints something that is no handshake
	"silent":  func() {},    // ends without a word
	"example": ExampleServe, // a plugin without an observer
	"holder":  holdPipes,    // a grandchild that keeps the plugin's pipes open
}

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		run, ok := modes[mode]
		if !ok {
			fmt.Fprintln(os.Stderr, "unknown mode", mode)
			os.Exit(2)
		}
		run()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
