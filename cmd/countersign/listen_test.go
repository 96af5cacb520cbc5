package main

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector"
)

func TestListenRefusesWhatOthersCanReach(t *testing.T) {
	for addr, fine := range map[string]bool{
		"": true, "127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:8080": true, "localhost:8080": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "192.0.2.1:8080": false, "example.org:80": false, "8080": false,
	} {
		err := listenFlags{addr: addr}.check()
		var usage *usageError
		if fine != (err == nil) || err != nil && !errors.As(err, &usage) {
			t.Errorf("%q: %v", addr, err)
		}
		if strings.Contains(addr, ":") && (listenFlags{addr: addr, anywhere: true}).check() != nil {
			t.Errorf("%q is refused though it is meant", addr)
		}
	}
}

func TestListenerAnswers(t *testing.T) {
	status := connector.Status{State: connector.StateRunning, Ready: true}
	var broken error
	handler := observed{
		status:   func() connector.Status { return status },
		document: func() any { return status },
		metrics: func(_ context.Context, w io.Writer) error {
			_, _ = io.WriteString(w, "metric 1\n")
			return broken
		},
	}.handler()
	ask := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	check := func(method, path string, code int, says string) {
		t.Helper()
		if got, body := ask(method, path); got != code || !strings.Contains(body, says) {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, got, body, code, says)
		}
	}
	check("GET", "/healthz", 200, "alive")
	check("GET", "/readyz", 200, "ready")
	check("GET", "/status", 200, `"state": "running"`)
	check("GET", "/metrics", 200, "metric 1")
	check("POST", "/status", 405, "")
	check("GET", "/", 404, "")

	status = connector.Status{State: connector.StateRunning, Reason: "joining the consumer group"}
	check("GET", "/readyz", 503, "not ready: running: joining the consumer group")
	status = connector.Status{State: connector.StateDraining}
	check("GET", "/readyz", 503, "not ready: draining")
	check("GET", "/healthz", 200, "alive")
	broken = errors.New("no plugin")
	if code, body := ask("GET", "/metrics"); code != 503 || strings.Contains(body, "metric") {
		t.Errorf("half a scrape: %d %q", code, body)
	}
}
