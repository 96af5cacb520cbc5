package emulator_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/emulator"
)

func newEmulator(t *testing.T, cfg emulator.Config) *emulator.Emulator {
	t.Helper()
	e, err := emulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestStartAndClose(t *testing.T) {
	e := newEmulator(t, emulator.Config{})
	if e.Addr() != nil || e.URL() != "" {
		t.Errorf("before Start: %v %q", e.Addr(), e.URL())
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "second Start", e.Start(t.Context()), emulator.CodeState)
	if want := "http://" + e.Addr().String(); e.URL() != want || !strings.HasPrefix(want, "http://127.0.0.1:") {
		t.Errorf("URL %q at %v", e.URL(), e.Addr())
	}
	taken := newEmulator(t, emulator.Config{Addr: e.Addr().String()})
	wantCode(t, "taken address", taken.Start(t.Context()), emulator.CodeListen)
	closeIt(t, taken)
	// A connection that never says anything must not hold Close up.
	silent, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	begin := time.Now()
	closeIt(t, e)
	if took := time.Since(begin); took > 4*time.Second { // net/http's own patience is 5 s
		t.Errorf("Close took %v", took)
	}
	closeIt(t, e)
	wantCode(t, "Start after Close", e.Start(t.Context()), emulator.CodeState)
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the silent connection: %v", err)
	}
}

func TestCloseAnswersWhatIsInProgress(t *testing.T) {
	entered := make(chan struct{})
	a := started(t, emulator.Config{
		Faults:     emulator.Faults{Latency: emulator.Latency{Fixed: time.Hour, AfterShare: 1}},
		BeforeWork: func(emulator.Operation, *http.Request) { entered <- struct{}{} },
	})
	f, _ := a.pushFactor()
	done := make(chan string)
	go func() { done <- fate(a, f.SID) }()
	<-entered
	closeIt(t, a.e)
	if got := <-done; got != "Created" {
		t.Error(got)
	}
}

func TestCloseThatRunsOutOfTime(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	a := started(t, emulator.Config{BeforeWork: func(emulator.Operation, *http.Request) { close(entered); <-leave }})
	a.pushFactor()
	failed := make(chan error)
	go func() {
		_, err := a.try(a.request(http.MethodGet, challenges(identity), nil))
		failed <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan error)
	go func() { closed <- a.e.Close(ctx) }()
	if err := <-failed; err == nil {
		t.Error("an answer after the connections were dropped")
	}
	select {
	case <-closed:
		t.Error("Close did not wait for the handler")
	default:
	}
	close(leave)
	if err := <-closed; !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
}

func TestTheContextOfStartEndsServing(t *testing.T) {
	e := newEmulator(t, emulator.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	silent, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	cancel()
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("the connection stands")
	}
	closeIt(t, e)
}

func TestCloseDuringAnOutage(t *testing.T) {
	for name, begin := range map[string]func(*emulator.Emulator) error{
		"graceful": func(e *emulator.Emulator) error { return e.Outage(time.Hour) },
		"hard":     func(e *emulator.Emulator) error { return e.OutageHard(time.Hour) },
		"503":      func(e *emulator.Emulator) error { return e.OutageUnavailable(time.Hour) },
	} {
		e := newEmulator(t, emulator.Config{})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := begin(e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		closeIt(t, e)
	}
}

func TestURLsFollowTheCallerOnEveryInterface(t *testing.T) {
	a := started(t, emulator.Config{Addr: "0.0.0.0:0"})
	if !strings.HasPrefix(a.e.URL(), "http://127.0.0.1:") {
		t.Fatalf("URL %q", a.e.URL())
	}
	f, _ := a.pushFactor()
	r := a.request(http.MethodPost, challenges(identity), pushForm(f.SID))
	r.Host = "emulator:8080"
	got, err := a.try(r)
	if err != nil || !strings.HasPrefix(got.text("url"), "http://emulator:8080/v2/") {
		t.Errorf("%v %s", err, got.raw)
	}
}

// A reset through another server, and where there is no connection at all.
func TestResetsBehindAnotherServer(t *testing.T) {
	e := newEmulator(t, emulator.Config{Faults: emulator.Faults{ResetBeforeRate: 1}})
	server := httptest.NewServer(e.Handler())
	defer server.Close()
	a := &api{t: t, e: e, user: emulator.DefaultAccountSID, pass: emulator.DefaultAuthToken, base: server.URL, do: server.Client().Do}
	f, _ := a.pushFactor()
	if got := fate(a, f.SID); got != "reset" {
		t.Error(got)
	}
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // a panic value
			t.Error("the handler was not aborted")
		}
		closeIt(t, e)
	}()
	e.ServeHTTP(httptest.NewRecorder(), a.request(http.MethodPost, challenges(identity), pushForm(f.SID)))
}
