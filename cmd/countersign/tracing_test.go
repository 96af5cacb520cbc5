package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/emulator"
	"github.com/countersign/countersign/schemas"
)

// collector takes spans over OTLP/HTTP.
type collector struct {
	mu       sync.Mutex
	requests []*collectorpb.ExportTraceServiceRequest
	headers  []http.Header
	paths    []string
}

// newCollector starts one and points the configuration at it.
func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c, ReadHeaderTimeout: patience}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Shutdown(context.WithoutCancel(t.Context()))
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Setenv("COUNTERSIGN_TRACING__ENDPOINT", "http://"+listener.Addr().String())
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collectorpb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests, c.headers, c.paths = append(c.requests, &req), append(c.headers, r.Header), append(c.paths, r.URL.Path)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// spans are all that have come, by the names of theirs.
func (c *collector) spans() map[string][]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]*tracepb.Span{}
	for _, req := range c.requests {
		for _, r := range req.GetResourceSpans() {
			for _, s := range r.GetScopeSpans() {
				for _, span := range s.GetSpans() {
					out[span.GetName()] = append(out[span.GetName()], span)
				}
			}
		}
	}
	return out
}

// text is everything that has come, as a reader would see it.
func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for i, req := range c.requests {
		b.WriteString(req.String())
		_ = c.headers[i].Write(&b)
	}
	return b.String()
}

// sendWith produces a create of the stack's factor with headers of its own.
func (s *stack) sendWith(t *testing.T, id, key string, create schemas.Create, headers ...schemas.Header) {
	t.Helper()
	create.FactorSID = s.factor.SID
	req := schemas.Request{
		ID: id, Operation: schemas.OperationCreate, ServiceSID: s.factor.ServiceSID, Identity: s.factor.Identity, Create: &create,
	}
	value, err := req.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.produce(t, kafka.Message{Topic: requestsTopic, Key: []byte(key), Value: value, Headers: headers})
}

func (s *stack) produce(t *testing.T, msgs ...kafka.Message) {
	t.Helper()
	if err := s.client.Produce(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
}

// awaitResults waits until so many results and dead letters stand in their topics.
func (s *stack) awaitResults(t *testing.T, results, deadLetters int) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		if len(s.records(t, resultsTopic)) >= results && len(s.records(t, deadLettersTopic)) >= deadLetters {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the results do not come")
		}
	}
}

// One trace leads from the sender's span to the result, over real OTLP: from a
// connector in this process, and from a plugin behind its host.
func TestTracesReachACollector(t *testing.T) {
	const traceID, parentID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, name := range []string{"run", "host"} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, nil)
			into := newCollector(t)
			t.Setenv("COUNTERSIGN_TRACING__AUTHORIZATION", "Bearer of-the-collector")
			c := start(t, name, "--config", configPath)
			c.joined(t)
			s.sendWith(t, "traced", "k", schemas.Create{Details: &schemas.Details{Message: "Sign in?"}},
				schemas.Header{Key: "traceparent", Value: []byte("00-" + traceID + "-" + parentID + "-01")})
			s.awaitResults(t, 1, 0)
			c.end()
			c.wait(t).want(t, exitOK)

			spans := into.spans()
			for _, want := range []string{"process " + requestsTopic, "create challenge", "send " + resultsTopic, "commit"} {
				if len(spans[want]) != 1 {
					t.Fatalf("%d spans %q: %v", len(spans[want]), want, into.text())
				}
			}
			process, call, send := spans["process "+requestsTopic][0], spans["create challenge"][0], spans["send "+resultsTopic][0]
			for _, span := range []*tracepb.Span{process, call, send} {
				if got := hexOf(span.GetTraceId()); got != traceID {
					t.Errorf("%s is in the trace %s", span.GetName(), got)
				}
			}
			if hexOf(process.GetParentSpanId()) != parentID || string(call.GetParentSpanId()) != string(process.GetSpanId()) {
				t.Error("the spans are not below each other")
			}
			result := s.records(t, resultsTopic)[0]
			if want := "00-" + traceID + "-" + hexOf(send.GetSpanId()) + "-01"; len(result.Headers) != 1 || string(result.Headers[0].Value) != want {
				t.Errorf("the result has the headers %q, want the traceparent %s", result.Headers, want)
			}
			if into.paths[0] != "/v1/traces" || into.headers[0].Get("Authorization") != "Bearer of-the-collector" {
				t.Errorf("sent to %s with %v", into.paths[0], into.headers[0])
			}
			if text := into.text(); !strings.Contains(text, `"countersign"`) {
				t.Errorf("no service.name: %s", text)
			}
		})
	}
}

func hexOf(id []byte) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range id {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// A collector that is away costs spans, no requests, and the end of the program
// does not wait for it.
func TestACollectorThatIsAwayCostsNothing(t *testing.T) {
	s := newStack(t, nil)
	t.Setenv("COUNTERSIGN_TRACING__ENDPOINT", "http://127.0.0.1:1")
	c := start(t, "run", "--config", configPath)
	c.joined(t)
	cli(t, "", s.create("--wait", "--id", "first")...).want(t, exitOK)
	c.end()
	if e := c.wait(t).want(t, exitOK); !strings.Contains(e.err, "cannot export spans") && !strings.Contains(e.err, "the last spans are lost") {
		t.Errorf("nothing is said of the lost spans: %s", e.err)
	}
}

// Whatever happens to a request, nothing that an operator looks at tells whom
// it was about or what it said: not the logs, at their most talkative, not the
// metrics, the status or the spans.
func TestNothingObservedTellsWho(t *testing.T) {
	for _, name := range []string{"run", "host"} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t, nil)
			into := newCollector(t)
			t.Setenv("COUNTERSIGN_TRACING__AUTHORIZATION", "Bearer of-the-collector")
			c := start(t, name, "--config", configPath, "--listen", "127.0.0.1:0", "--log-level", "debug")
			url := c.listening(t)
			c.joined(t)
			var seen strings.Builder
			look := func() {
				for _, path := range []string{"/status", "/metrics", "/readyz"} {
					_, body := get(t, url+path)
					seen.WriteString(body)
				}
			}

			const key, message, hidden, label = "KeyOfSomebody", "MessageToSomebody", "HiddenFromSomebody", "LabelOfSomebody"
			create := schemas.Create{
				Details:       &schemas.Details{Message: message, Fields: []schemas.Field{{Label: label, Value: message}}},
				HiddenDetails: map[string]string{"note": hidden},
			}
			script := func(kinds ...emulator.FaultKind) {
				t.Helper()
				if err := s.api.Script(emulator.OperationCreate, kinds...); err != nil {
					t.Fatal(err)
				}
			}
			// One that succeeds, and one for each way in which a call goes wrong.
			s.sendWith(t, "IdOfSomebody-0", key, create)
			s.awaitResults(t, 1, 0)
			script(emulator.FaultThrottle, emulator.FaultResetAfter)
			s.sendWith(t, "IdOfSomebody-1", key, create)
			s.awaitResults(t, 2, 0)
			script(emulator.FaultGarbled)
			s.sendWith(t, "IdOfSomebody-2", key, create)
			s.awaitResults(t, 3, 0)
			// A repeated id, an id with another body, events that are wrong, one that is no event.
			s.sendWith(t, "IdOfSomebody-0", key, create)
			s.sendWith(t, "IdOfSomebody-1", key, schemas.Create{Details: &schemas.Details{Message: "Another" + message}})
			bad := `{"version":"1.0","id":"IdOfSomebody-3","operation":"create","service_sid":"SidOfSomebody","identity":"IdentityOfSomebody!","create":{"factor_sid":"` + hidden + `"},"colour_of_it":1}`
			s.produce(t, kafka.Message{Topic: requestsTopic, Key: []byte(key), Value: []byte(bad)},
				kafka.Message{Topic: requestsTopic, Key: []byte(key), Value: []byte("MessageToSomebody, not JSON")})
			s.awaitResults(t, 6, 1)
			// Calls that are never sent, and records that wait.
			if err := s.api.OutageHard(time.Hour); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"4", "5", "6", "7", "8", "9"} {
				s.sendWith(t, "IdOfSomebody-"+id, key+id, create)
			}
			c.err.line(t, "circuit breaker opened")
			look()
			s.api.EndOutage()
			s.awaitResults(t, 12, 1)
			look()
			c.end()
			seen.WriteString(c.wait(t).want(t, exitOK).err)
			spans := into.text()
			if !strings.Contains(spans, "ambiguous") || !strings.Contains(spans, "adopted") || !strings.Contains(spans, "duplicate") {
				t.Errorf("the spans tell less than what was done: %s", spans)
			}
			text := seen.String() + spans
			needles := []string{
				s.factor.Identity, s.factor.SID, s.factor.EntitySID, testToken, "Somebody",
			}
			for _, made := range s.api.Created() {
				needles = append(needles, made.SID)
			}
			for _, needle := range needles {
				if i := strings.Index(text, needle); i >= 0 && needle != "" {
					t.Errorf("%s is shown: %s", needle, text[max(0, i-300):min(len(text), i+100)])
				}
			}
			if i := strings.Index(seen.String(), "of-the-collector"); i >= 0 {
				t.Error("the collector's secret is shown")
			}
		})
	}
}
