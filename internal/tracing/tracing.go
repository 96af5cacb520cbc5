// Package tracing makes the tracer provider that a program's configuration asks
// for: spans go to a collector over OTLP/HTTP, in batches, off the way of the
// work. A collector that is away or slow costs spans, never requests.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/countersign/countersign/connector"
)

const (
	// tracesPath is where collectors take traces (OTLP specification).
	tracesPath = "/v1/traces"
	// lastSpans is how long the last batch may take when a program ends. A
	// drain must not wait long for a collector that is away.
	lastSpans = 2 * time.Second
)

// Provider exports spans. Close it after the work has ended.
type Provider struct {
	*sdktrace.TracerProvider
	exporter *otlptrace.Exporter
	log      *slog.Logger
}

// Start makes the provider that cfg asks for; nil where it asks for none. It
// connects to nothing and runs nothing, so one that is never opened needs no end;
// Open comes before the work. Failures to export are logged, by the last provider
// that was started: OpenTelemetry has one place for them in a process.
func Start(cfg connector.TracingConfig, log *slog.Logger) (*Provider, error) {
	if !cfg.Enabled() {
		return nil, nil //nolint:nilnil // no provider is what was asked for
	}
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		endpoint.Path = tracesPath
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(endpoint.String()),
		// Its retries would hold the end of a program up for a minute.
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}),
	}
	if !cfg.Authorization.IsZero() {
		options = append(options, otlptracehttp.WithHeaders(map[string]string{"Authorization": cfg.Authorization.Reveal()}))
	}
	exporter := otlptracehttp.NewUnstarted(options...)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("cannot export spans: they are lost", "error", err) }))
	return &Provider{log: log, exporter: exporter, TracerProvider: sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", cfg.ServiceName),
			attribute.String("service.version", connector.BuildVersion()),
			attribute.Int("process.pid", os.Getpid()),
		)),
	)}, nil
}

// Open lets spans be exported, until Close. It may be called on nil. That they
// cannot be is logged: it is no reason not to work.
func (p *Provider) Open(ctx context.Context) {
	if p == nil {
		return
	}
	if err := p.exporter.Start(ctx); err != nil {
		p.log.Warn("spans are not exported", "error", err)
		return
	}
	p.RegisterSpanProcessor(sdktrace.NewBatchSpanProcessor(p.exporter))
}

// Close exports what is left, within two seconds. It may be called on nil.
func (p *Provider) Close(ctx context.Context) {
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSpans)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		p.log.Warn("the last spans are lost", "error", err)
	}
}

// Option lets a Connector use the provider; nil: it traces nothing.
func (p *Provider) Option() connector.Option {
	if p == nil {
		return func(*connector.Connector) {}
	}
	return connector.WithTracerProvider(p)
}
