package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

const (
	testTraceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
	testParentID = "00f067aa0ba902b7"
)

// traced makes the rig trace into what it returns. With ratio zero only traces
// are recorded that were before.
func (r *rig) traced(ratio float64) *tracetest.InMemoryExporter {
	r.t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))))
	r.t.Cleanup(func() { _ = provider.Shutdown(context.WithoutCancel(r.t.Context())) })
	r.cfg.tracer = provider.Tracer("test")
	return exporter
}

// addTraced adds a record that belongs to a trace.
func (m *modelLog) addTraced(key string, value []byte, flags string) {
	m.add(key, value, 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[len(m.records)-1].Headers = []schemas.Header{
		{Key: "tenant", Value: []byte("blue")},
		{Key: "traceparent", Value: []byte("00-" + testTraceID + "-" + testParentID + "-" + flags)},
		{Key: "tracestate", Value: []byte("vendor=state")},
	}
}

func (m *modelLog) messages(topic string) []kafka.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.published), func(msg kafka.Message) bool { return msg.Topic != topic })
}

func headerOf(msg kafka.Message, key string) (values []string) {
	for _, h := range msg.Headers {
		if h.Key == key {
			values = append(values, string(h.Value))
		}
	}
	return values
}

func named(spans tracetest.SpanStubs, name string) (out tracetest.SpanStubs) {
	for _, s := range spans {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

func attr(t *testing.T, s tracetest.SpanStub, key attribute.Key) string {
	t.Helper()
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// One trace leads from the request through its calls, retries included, to its
// result, which carries it on; the commit links to it.
func TestTraceFromRequestToResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		exporter := r.traced(0)
		r.api.answer = func(_ context.Context, _ *schemas.Request, n int) (answer, error) {
			if n == 1 {
				return answer{}, apiErr(429, 20429)
			}
			return okAnswer(), nil
		}
		r.log.addTraced("k", createEvent(t, "r0", "identity-1"), "01")
		r.start()
		pass(time.Minute)
		r.mustEnd()
		spans := exporter.GetSpans()
		process, calls, send := named(spans, "process requests"), named(spans, "create challenge"), named(spans, "send results")
		if len(process) != 1 || len(calls) != 2 || len(send) != 1 || len(spans) != 4 {
			t.Fatalf("%d spans: %v", len(spans), spans)
		}
		p := process[0]
		if p.SpanContext.TraceID().String() != testTraceID || p.Parent.SpanID().String() != testParentID || !p.Parent.IsRemote() {
			t.Errorf("process has the parent %v", p.Parent)
		}
		for _, s := range append(calls, send...) {
			if s.Parent.SpanID() != p.SpanContext.SpanID() || s.SpanContext.TraceID() != p.SpanContext.TraceID() {
				t.Errorf("%s is not below process", s.Name)
			}
		}
		if p.SpanKind != oteltrace.SpanKindConsumer || calls[0].SpanKind != oteltrace.SpanKindClient || send[0].SpanKind != oteltrace.SpanKindProducer {
			t.Errorf("kinds %v %v %v", p.SpanKind, calls[0].SpanKind, send[0].SpanKind)
		}
		for key, want := range map[attribute.Key]string{
			attrOutcome: "succeeded", attrAttempts: "2", attrOperation: "create", attrAccount: "main", attrOffset: "0", attrPartition: "0",
			attrDestination: "requests", attrConsumerGroup: "g", attrSystem: "kafka",
		} {
			if got := attr(t, p, key); got != want {
				t.Errorf("process has %s %q, want %q", key, got, want)
			}
		}
		if attr(t, calls[0], attrClass) != "throttled" || attr(t, calls[0], attrStatus) != "429" || attr(t, calls[0], attrAPICode) != "20429" ||
			calls[0].Status.Code != codes.Error || attr(t, calls[1], attrClass) != "ok" || attr(t, calls[1], attrMethod) != "POST" {
			t.Errorf("calls: %v, %v", calls[0].Attributes, calls[1].Attributes)
		}
		if len(p.Events) != 1 || p.Events[0].Name != "retry" {
			t.Errorf("events %v", p.Events)
		}
		results := r.log.messages("results")
		want := "00-" + testTraceID + "-" + send[0].SpanContext.SpanID().String() + "-01"
		if got := headerOf(results[0], "traceparent"); len(got) != 1 || got[0] != want {
			t.Errorf("the result's traceparent is %v, want %s", got, want)
		}
		if got := headerOf(results[0], "tracestate"); len(got) != 1 || got[0] != "vendor=state" {
			t.Errorf("the result's tracestate is %v", got)
		}
		if got := headerOf(results[0], "tenant"); len(got) != 1 || got[0] != "blue" {
			t.Errorf("the result's other headers are %v", results[0].Headers)
		}
	})
}

// A commit serves many traces, so it has its own and links to them.
func TestTraceOfACommitLinksToItsRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		exporter := r.traced(1)
		r.log.hold = make(chan struct{})
		for i := range 5 {
			r.log.add(fmt.Sprint("k", i), createEvent(t, fmt.Sprint("r", i), "identity-1"), 0)
		}
		r.start()
		pass(time.Second)
		close(r.log.hold)
		pass(time.Minute)
		r.mustEnd()
		linked := map[oteltrace.SpanID]bool{}
		for _, s := range named(exporter.GetSpans(), "commit") {
			if s.Parent.IsValid() {
				t.Errorf("a commit below %v", s.Parent)
			}
			for _, l := range s.Links {
				linked[l.SpanContext.SpanID()] = true
			}
		}
		process := named(exporter.GetSpans(), "process requests")
		traces := map[oteltrace.TraceID]bool{}
		for _, s := range process {
			traces[s.SpanContext.TraceID()] = true
			if !linked[s.SpanContext.SpanID()] {
				t.Errorf("no commit links to %v", s.SpanContext.SpanID())
			}
		}
		if len(process) != 5 || len(traces) != 5 {
			t.Errorf("%d spans in %d traces", len(process), len(traces))
		}
	})
}

// A call without an answer, the look for what it has left, and the adoption.
func TestTraceOfAnAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		exporter := r.traced(1)
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			return answer{}, &read.CallError{Code: read.CodeTimeout, Sent: true, Err: fmt.Errorf("no answer for identity-1")}
		}
		value := createEvent(t, "r0", "identity-1")
		r.api.seen = func(context.Context, query) (sighting, error) {
			return sighting{complete: true, challenges: []read.Challenge{madeFor(t, value, nil)}}, nil
		}
		r.log.add("k", value, 0)
		r.start()
		pass(5 * time.Minute)
		r.mustEnd()
		spans := exporter.GetSpans()
		create, look, process := named(spans, "create challenge"), named(spans, "look for a challenge"), named(spans, "process requests")
		if len(create) != 1 || len(look) == 0 || len(process) != 1 {
			t.Fatalf("%d spans", len(spans))
		}
		if attr(t, create[0], attrClass) != "ambiguous" || attr(t, look[0], attrUncertain) != "true" || attr(t, look[0], attrMethod) != "GET" ||
			attr(t, process[0], attrOutcome) != "adopted" {
			t.Errorf("%v\n%v\n%v", create[0].Attributes, look[0].Attributes, process[0].Attributes)
		}
		if text := fmt.Sprint(spans); strings.Contains(text, "identity-1") || strings.Contains(text, testSID) {
			t.Errorf("a span shows whom it is about: %s", text)
		}
	})
}

// A trace that was not recorded before is not recorded here, and goes on all
// the same.
func TestTraceNotSampledStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		exporter := r.traced(1)
		r.log.addTraced("k", createEvent(t, "r0", "identity-1"), "00")
		r.start()
		pass(time.Minute)
		r.mustEnd()
		if spans := exporter.GetSpans(); len(spans) != 0 {
			t.Errorf("%d spans", len(spans))
		}
		got := headerOf(r.log.messages("results")[0], "traceparent")
		if len(got) != 1 || !strings.HasPrefix(got[0], "00-"+testTraceID+"-") || !strings.HasSuffix(got[0], "-00") {
			t.Errorf("the result's traceparent is %v", got)
		}
	})
}

// Without tracing, headers pass as they came: order, trace context and all.
func TestHeadersPassUntouchedWithoutTracing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.log.addTraced("k", createEvent(t, "r0", "identity-1"), "01")
		want := slices.Clone(r.log.records[0].Headers)
		r.start()
		pass(time.Minute)
		r.mustEnd()
		if got := r.log.messages("results")[0].Headers; !slices.EqualFunc(got, want, func(a, b schemas.Header) bool {
			return a.Key == b.Key && string(a.Value) == string(b.Value)
		}) {
			t.Errorf("headers %v, want %v", got, want)
		}
	})
}

// What a lane leaves to the next owner ends its spans, too.
func TestTraceOfWhatIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		exporter := r.traced(1)
		r.api.answer = func(ctx context.Context, _ *schemas.Request, _ int) (answer, error) {
			<-ctx.Done()
			return answer{}, ctx.Err()
		}
		r.log.add("k", createEvent(t, "r0", "identity-1"), 0)
		r.start()
		pass(time.Second)
		r.abort()
		_ = r.end()
		process := named(exporter.GetSpans(), "process requests")
		if len(process) != 1 || attr(t, process[0], attrErrorType) != "abandoned" || process[0].Status.Code != codes.Error {
			t.Errorf("%v", process)
		}
	})
}
