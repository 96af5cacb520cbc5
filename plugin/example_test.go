package plugin_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/plugin"
	"github.com/countersign/countersign/plugin/plugintest"
)

// A whole host: it runs the plugin until it is interrupted, and then drains it.
// In this example the plugin is a fake one, and the interrupt comes as soon as
// it is ready.
func ExampleRun() {
	path, digest := examplePlugin() // of a release: "./countersign-plugin" and its published SHA-256

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := plugin.Run(ctx, plugin.Spec{
		Path:   path,
		SHA256: digest,
		Config: []byte(`accounts: {main: {auth_token: "${env:TOKEN}"}}`),
		Secrets: func(context.Context) (map[string]string, error) {
			return map[string]string{"env:TOKEN": "from the vault"}, nil
		},
		Logger:   slog.New(slog.DiscardHandler),
		OnStatus: onceReady(stop),                // a real host shows the status here
		Env:      []string{modeEnv + "=example"}, // makes the test binary the plugin
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("drained, nothing was abandoned")
	// Output: drained, nothing was abandoned
}

func onceReady(do func()) func(connector.Status) {
	return func(st connector.Status) {
		if st.Ready {
			do()
		}
	}
}

// examplePlugin names the test binary.
func examplePlugin() (path, digest string) {
	path, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	if digest, err = plugin.SHA256File(path); err != nil {
		log.Fatal(err)
	}
	return path, digest
}

// ExampleServe is the whole main of a plugin; here it serves a fake connector.
func ExampleServe() {
	plugin.Serve(context.Background(), plugin.ServeConfig{
		New: func(*slog.Logger) plugin.Connector { return new(plugintest.Fake) },
	})
}

// The same Connector in the host's own process, without a child.
func ExampleEmbed() {
	ctx, stop := context.WithCancel(context.Background())
	err := plugin.Embed(ctx, new(plugintest.Fake), plugin.Spec{
		OnStatus: func(st connector.Status) {
			if st.Ready {
				stop()
			}
		},
	})
	fmt.Println(err)
	// Output: <nil>
}
