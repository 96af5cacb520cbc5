package connector

import (
	"context"
	"fmt"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/countersign/countersign/connector/kafka"
)

// BenchmarkLaneTracing measures what tracing costs a lane for each record: off,
// which is the default; on, with traces that are not recorded; on, with every
// trace recorded and thrown away instead of exported.
func BenchmarkLaneTracing(b *testing.B) {
	for _, tc := range []struct {
		name    string
		sampler sdktrace.Sampler // nil: off
	}{{"off", nil}, {"unsampled", sdktrace.NeverSample()}, {"sampled", sdktrace.AlwaysSample()}} {
		b.Run(tc.name, func(b *testing.B) {
			r := newRig(b)
			r.cfg.window.Span, r.cfg.maxBatch = maxSpan, maxBatch
			if tc.sampler != nil {
				provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(tc.sampler), sdktrace.WithSyncer(tracetest.NewNoopExporter()))
				r.cfg.tracer = provider.Tracer("bench")
			}
			log := &benchLog{done: make(chan struct{})}
			now := time.Now()
			for i := range b.N {
				identity := fmt.Sprintf("identity-%04d", i%1000)
				log.records = append(log.records, kafka.Record{
					Topic: "requests", Offset: int64(i), Timestamp: now, Key: []byte(identity),
					Value: createEvent(b, fmt.Sprintf("r%d", i), identity),
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			l := newLane(r.cfg, 0, laneDeps{
				source: log, delivery: log, memory: r.log.memory(), lease: freeLease{}, ledger: newLedger(2*time.Hour, newLedgerRoom(b.N)),
			})
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- l.run(ctx, nil) }()
			<-log.done
			b.StopTimer()
			stop()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}
