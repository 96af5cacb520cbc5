package connector

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/countersign/countersign/connector/challenge"
	"github.com/countersign/countersign/connector/challenge/read"
	"github.com/countersign/countersign/schemas"
)

// WithTracerProvider makes the Connector trace each request record: a span for
// its way through, one for each call, one for its result, in the trace that the
// record's W3C headers name; the result carries the trace on. No span holds an
// identity, a key, a SID or a payload, and nothing of the trace is sent to the
// Challenge API. Without it nothing is traced, and trace headers pass from
// request to result as they came.
//
// Whether a trace is recorded is the provider's sampler to say. Whoever made the
// provider shuts it down after Run.
func WithTracerProvider(p oteltrace.TracerProvider) Option {
	return func(c *Connector) {
		c.tracer = p.Tracer("github.com/countersign/countersign/connector", oteltrace.WithInstrumentationVersion(BuildVersion()))
	}
}

// Attributes by OpenTelemetry's conventions for messaging, HTTP and errors.
const (
	attrSystem        = attribute.Key("messaging.system")
	attrMessaging     = attribute.Key("messaging.operation.type")
	attrDestination   = attribute.Key("messaging.destination.name")
	attrPartition     = attribute.Key("messaging.destination.partition.id")
	attrOffset        = attribute.Key("messaging.kafka.offset")
	attrConsumerGroup = attribute.Key("messaging.consumer.group.name")
	attrBatch         = attribute.Key("messaging.batch.message_count")
	attrMethod        = attribute.Key("http.request.method")
	attrStatus        = attribute.Key("http.response.status_code")
	attrErrorType     = attribute.Key("error.type")
)

// Attributes of our own.
const (
	attrOperation = attribute.Key("countersign.operation")
	attrAccount   = attribute.Key("countersign.account")
	attrOutcome   = attribute.Key("countersign.outcome")
	attrClass     = attribute.Key("countersign.class")
	attrAPICode   = attribute.Key("countersign.api_code")
	attrAttempts  = attribute.Key("countersign.attempts")
	attrUncertain = attribute.Key("countersign.uncertain")
	attrDelay     = attribute.Key("countersign.delay_seconds")
)

// tracing begins the spans of one lane. Nil: nothing is traced, and every method
// does nothing.
type tracing struct {
	tracer oteltrace.Tracer
	topics TopicsConfig
	group  string
	// below is the lane's context with a span context in it; with an invalid one
	// it is in no trace.
	below func(oteltrace.SpanContext) context.Context
}

func newTracing(ctx context.Context, tracer oteltrace.Tracer, ev events) *tracing {
	if tracer == nil {
		return nil
	}
	return &tracing{
		tracer: tracer, topics: ev.topics, group: ev.group,
		below: func(parent oteltrace.SpanContext) context.Context {
			return oteltrace.ContextWithSpanContext(ctx, parent)
		},
	}
}

// start begins a span below parent, or a trace where parent is not valid.
func (t *tracing) start(parent oteltrace.SpanContext, name string, options ...oteltrace.SpanStartOption) oteltrace.Span {
	_, span := t.tracer.Start(t.below(parent), name, options...)
	return span
}

// spans are those of one record. Nil: it is not traced. The lane's goroutine
// owns them; attempts begin spans below process.
type spans struct {
	tracing *tracing
	process oteltrace.Span
	publish oteltrace.Span // nil until a result is made
}

// taken begins the span of a record that was taken in and decoded. Here and
// below, attributes are made only for spans that are recorded: most may not be.
func (t *tracing) taken(e *entry) {
	if t == nil {
		return
	}
	span := t.start(t.parent(e.rec.Headers), "process "+t.topics.Requests,
		oteltrace.WithSpanKind(oteltrace.SpanKindConsumer), oteltrace.WithTimestamp(e.received))
	e.spans = &spans{tracing: t, process: span}
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attrSystem.String("kafka"), attrMessaging.String("process"), attrDestination.String(e.rec.Topic),
		attrPartition.String(strconv.Itoa(e.rec.Partition)), attrOffset.Int64(e.rec.Offset), attrConsumerGroup.String(t.group))
	if e.req != nil {
		span.SetAttributes(attrOperation.String(string(e.req.Operation)))
	}
	if e.acct != nil {
		span.SetAttributes(attrAccount.String(e.acct.name))
	}
}

// callSpan is one call's. Its zero value does nothing.
type callSpan struct{ span oteltrace.Span }

// call begins the span of a call that goes out now.
func (s *spans) call(t task) callSpan {
	if s == nil {
		return callSpan{}
	}
	operation := string(t.entry.req.Operation)
	name, method := operation+" challenge", "GET"
	if t.writes() {
		method = "POST"
	}
	if t.look {
		name, operation = "look for a challenge", lookOperation
	}
	span := s.tracing.start(s.process.SpanContext(), name, oteltrace.WithSpanKind(oteltrace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(attrOperation.String(operation), attrAccount.String(t.entry.acct.name), attrMethod.String(method),
			attrUncertain.Bool(t.entry.uncertain))
	}
	return callSpan{span}
}

// ended ends it with what the answer means. Of an error only numbers are shown.
func (c callSpan) ended(kind endKind, class challenge.Class, err error) {
	if c.span == nil || !c.span.IsRecording() {
		return
	}
	defer c.span.End()
	if kind != endCalled {
		c.span.SetAttributes(attrErrorType.String("stopped")) // between two pages of a list
		return
	}
	c.span.SetAttributes(attrClass.String(string(class)))
	if err != nil {
		spanFailed(c.span, string(class), class != challenge.ClassRejected)
	}
	if api, ok := errors.AsType[*read.APIError](err); ok {
		c.span.SetAttributes(attrStatus.Int(api.Status), attrAPICode.Int(api.Code))
	}
}

// spanFailed marks a span; only what is no proper answer is an error.
func spanFailed(span oteltrace.Span, class string, isError bool) {
	span.SetAttributes(attrErrorType.String(class))
	if isError {
		span.SetStatus(codes.Error, class)
	}
}

// again notes that the record will be tried again.
func (s *spans) again(class challenge.Class, delay time.Duration) {
	if s == nil || !s.process.IsRecording() {
		return
	}
	s.process.AddEvent("retry", oteltrace.WithAttributes(attrClass.String(string(class)), attrDelay.Float64(delay.Seconds())))
}

// headers are those of a result: the request's, in which the trace context is
// that of the span that publishes it.
func (s *spans) headers(from []schemas.Header) []schemas.Header {
	if s == nil {
		return from
	}
	if s.publish == nil {
		s.publish = s.tracing.start(s.process.SpanContext(), "send "+s.tracing.topics.Results,
			oteltrace.WithSpanKind(oteltrace.SpanKindProducer))
		if s.publish.IsRecording() {
			s.publish.SetAttributes(attrSystem.String("kafka"), attrMessaging.String("send"), attrDestination.String(s.tracing.topics.Results))
		}
	}
	out := make([]schemas.Header, 0, len(from)+2)
	for _, h := range from {
		if !isTraceHeader(h.Key) {
			out = append(out, h)
		}
	}
	carrier := headerCarrier{out}
	propagation.TraceContext{}.Inject(s.tracing.below(s.publish.SpanContext()), &carrier)
	return carrier.headers
}

// ended ends the spans of a record whose outcome is committed.
func (s *spans) ended(o *outcome) {
	if s == nil {
		return
	}
	if s.process.IsRecording() {
		what := string(o.outcome)
		switch {
		case o.suppressed:
			what = "suppressed"
		case what == "":
			what = "none"
		}
		s.process.SetAttributes(attrOutcome.String(what), attrAttempts.Int(o.entry.attempts))
		if o.err != nil {
			spanFailed(s.process, string(o.err.Class), o.outcome == schemas.OutcomeFailed || o.outcome == "")
		}
	}
	s.end()
}

// abandoned ends the spans of a record that is left to the next owner.
func (s *spans) abandoned() {
	if s == nil {
		return
	}
	spanFailed(s.process, "abandoned", true)
	s.end()
}

func (s *spans) end() {
	if s.publish != nil {
		s.publish.End()
	}
	s.process.End()
}

// maxLinks is as many links as the SDK keeps of one span unless told otherwise.
const maxLinks = 128

// commit begins the span of a commit, which serves many traces and so belongs to
// none: it links to them. Nil where no trace of the group is recorded.
func (t *tracing) commit(group []outcome) oteltrace.Span {
	if t == nil {
		return nil
	}
	var links []oteltrace.Link
	for i := range group {
		if s := group[i].entry.spans; s != nil && s.process.SpanContext().IsSampled() && len(links) < maxLinks {
			links = append(links, oteltrace.Link{SpanContext: s.process.SpanContext()})
		}
	}
	if len(links) == 0 {
		return nil
	}
	return t.start(oteltrace.SpanContext{}, "commit", oteltrace.WithSpanKind(oteltrace.SpanKindInternal), oteltrace.WithLinks(links...),
		oteltrace.WithAttributes(attrSystem.String("kafka"), attrMessaging.String("settle"), attrDestination.String(t.topics.Requests),
			attrConsumerGroup.String(t.group), attrBatch.Int(len(group))))
}

// commitTraced ends the spans of a commit and, where it is durable, of its
// records. It must come before they are settled.
func (l *lane) commitTraced(err error) {
	if l.commitSpan != nil {
		if err != nil {
			spanFailed(l.commitSpan, "kafka", true)
		}
		l.commitSpan.End()
		l.commitSpan = nil
	}
	if l.tracing == nil || err != nil {
		return
	}
	for i := range l.committing {
		l.committing[i].entry.spans.ended(&l.committing[i])
	}
}

const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

func isTraceHeader(key string) bool {
	return strings.EqualFold(key, headerTraceParent) || strings.EqualFold(key, headerTraceState)
}

// parent is the span context that a record's headers name; not valid: none.
func (t *tracing) parent(headers []schemas.Header) oteltrace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(t.below(oteltrace.SpanContext{}), &headerCarrier{headers})
	return oteltrace.SpanContextFromContext(ctx)
}

// headerCarrier lets the W3C propagator read and write record headers.
type headerCarrier struct{ headers []schemas.Header }

// Get implements propagation.TextMapCarrier.
func (c *headerCarrier) Get(key string) string {
	for _, h := range c.headers {
		if strings.EqualFold(h.Key, key) {
			return string(h.Value)
		}
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c *headerCarrier) Set(key, value string) {
	c.headers = append(c.headers, schemas.Header{Key: key, Value: []byte(value)})
}

// Keys implements propagation.TextMapCarrier.
func (c *headerCarrier) Keys() []string { return []string{headerTraceParent, headerTraceState} }
