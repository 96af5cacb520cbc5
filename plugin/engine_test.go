package plugin

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/countersign/countersign/connector"
)

func started(t *testing.T, s *stub) *Engine {
	t.Helper()
	e := s.engine()
	if err := e.Configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEngineDrains(t *testing.T) {
	s := newStub()
	e := started(t, s)
	var first Progress
	seen := make(chan struct{})
	drained := make(chan error, 1)
	go func() {
		drained <- e.Drain(t.Context(), func(p Progress) {
			if first == (Progress{}) {
				first = p
				close(seen)
			}
		})
	}()
	within(t, seen, "progress")
	s.finish <- nil
	if err := within(t, drained, "the end of the drain"); err != nil {
		t.Error(err)
	}
	if want := (Progress{InFlight: 2, Held: 5}); first != want {
		t.Errorf("progress %+v, want %+v", first, want)
	}
	if e.Err() != nil {
		t.Errorf("a drained engine has failed: %v", e.Err())
	}
}

// A drain that runs out of time aborts and says what is left.
func TestEngineDrainTimesOut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if e := isCode(t, started(t, newStub()).Drain(ctx, func(Progress) {}), CodeAbandoned); e.Abandoned != 5 {
		t.Errorf("%d abandoned, want 5", e.Abandoned)
	}
	// An engine that does not even give up is left after a moment.
	synctest.Test(t, func(t *testing.T) {
		s := newStub()
		s.deaf = true
		e := started(t, s)
		isCode(t, e.Drain(ctx, func(Progress) {}), CodeAbandoned)
		stopCtx, cancel := context.WithTimeout(t.Context(), stopBudget)
		defer cancel()
		isCode(t, e.Stop(stopCtx), CodeTimeout)
		s.finish <- nil
	})
}

// Only what nobody asked for is a failure.
func TestEngineFails(t *testing.T) {
	for name, err := range map[string]error{"with an error": errStub, "without one": nil} {
		t.Run(name, func(t *testing.T) {
			s := newStub()
			e := started(t, s)
			for e.Err() == nil {
				changes := e.Changes()
				if len(s.fail) == 0 {
					s.fail <- err
				}
				if e.Err() == nil {
					within(t, changes, "a change")
				}
			}
			isCode(t, e.Err(), CodeInternal)
			isCode(t, e.Drain(t.Context(), func(Progress) {}), CodeOf(err))
		})
	}
}

func TestEngineRefuses(t *testing.T) {
	s := newStub()
	e := s.engine()
	isCode(t, e.Start(t.Context()), CodeState)
	isCode(t, e.Drain(t.Context(), func(Progress) {}), CodeState)
	if st := e.Status(); st.State != connector.StateNew {
		t.Errorf("state %s before Configure", st.State)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Errorf("Stop before everything: %v", err)
	}
	if err := e.Configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	isCode(t, e.Start(t.Context()), CodeState) // it was stopped

	e = started(t, s)
	isCode(t, e.Start(t.Context()), CodeState)
	for range 2 {
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	var metrics strings.Builder
	if err := e.WriteMetrics(&metrics); err != nil || metrics.String() != "stub 1\n" {
		t.Errorf("%q, %v", metrics.String(), err)
	}
}

// The product's engine takes a good document and lists the faults of a bad one.
func TestCountersign(t *testing.T) {
	const good = `{"kafka":{"brokers":["127.0.0.1:1"]},"accounts":{"main":{"account_sid":"AC00000000000000000000000000000001","auth_token":"${env:TOKEN}"}}}`
	c := Countersign(nil)
	if err := c.Configure(t.Context(), []byte(good), map[string]string{"env:TOKEN": "x"}); err != nil {
		t.Error(err)
	}
	if st := c.Status(); st.State != connector.StateConfigured {
		t.Errorf("state %s", st.State)
	}
	if err := isCode(t, Countersign(nil).Configure(t.Context(), []byte("[]"), nil), CodeConfig); len(err.Violations) == 0 {
		t.Errorf("%+v", err)
	}
	faults, err := c.Validate(t.Context(), []byte(good), nil, false)
	if err != nil || len(faults) != 1 {
		t.Errorf("%+v, %v", faults, err)
	}
	if n, ok := abandoned(&connector.DrainError{Abandoned: 4}); n != 4 || !ok {
		t.Errorf("abandoned: %d, %v", n, ok)
	}
	if _, ok := abandoned(errStub); ok {
		t.Error("any error counts as abandoned work")
	}
}
