package tracing_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/internal/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Without an endpoint there is no provider, and what would use one does nothing.
// What a provider sends is tested where a program runs, in cmd/countersign.
func TestNoEndpointNoProvider(t *testing.T) {
	p, err := tracing.Start(connector.TracingConfig{SampleRatio: 1}, slog.New(slog.DiscardHandler))
	if err != nil || p != nil {
		t.Fatalf("%v, %v", p, err)
	}
	p.Open(t.Context())
	p.Option()(&connector.Connector{})
	p.Close(t.Context())
}

// A provider that was never used ends, and leaves nothing running; one that was
// not opened has nothing to end.
func TestUnusedProviderEnds(t *testing.T) {
	for _, endpoint := range []string{"http://127.0.0.1:1", "https://collector.example/own/path"} {
		p, err := tracing.Start(connector.TracingConfig{Endpoint: endpoint, SampleRatio: 0.5}, slog.New(slog.DiscardHandler))
		if err != nil || p == nil {
			t.Fatalf("%s: %v", endpoint, err)
		}
		p.Open(t.Context())
		p.Close(t.Context())
		if _, err := tracing.Start(connector.TracingConfig{Endpoint: endpoint, SampleRatio: 0.5}, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
}
