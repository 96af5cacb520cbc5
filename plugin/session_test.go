package plugin

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector"
)

func sessionOf(t *testing.T, s *stub) *session {
	return newSession(context.WithoutCancel(t.Context()), s.engine(), slog.New(slog.DiscardHandler))
}

// Every call in every state: either it is legal, or it is a CodeState error
// that changes nothing.
func TestLegalCalls(t *testing.T) {
	calls := map[string]func(*session) error{
		"configure": func(s *session) error { return s.configure(t.Context(), nil, nil) },
		"start":     func(s *session) error { return s.start(t.Context()) },
		"drain": func(s *session) error {
			d, err := s.startDrain(time.Minute)
			if err == nil {
				<-d.done
			}
			return err
		},
		"stop": func(s *session) error { return s.stop(t.Context()) },
	}
	// ways lead from New to each state.
	ways := map[connector.State][]string{
		connector.StateNew:        {},
		connector.StateConfigured: {"configure"},
		connector.StateRunning:    {"configure", "start"},
		connector.StateDraining:   {"configure", "start", "drain"},
		connector.StateStopped:    {"stop"},
		connector.StateFailed:     {"configure", "start"},
	}
	legal := map[string][]connector.State{
		"configure": {connector.StateNew},
		"start":     {connector.StateConfigured},
		"drain":     {connector.StateRunning, connector.StateDraining},
		"stop": {
			connector.StateNew, connector.StateConfigured, connector.StateRunning,
			connector.StateDraining, connector.StateStopped, connector.StateFailed,
		},
	}
	for state, way := range ways {
		for name, call := range calls {
			t.Run(string(state)+"/"+name, func(t *testing.T) {
				st := newStub()
				s := sessionOf(t, st)
				for _, step := range way {
					if step == "drain" {
						if _, err := s.startDrain(time.Minute); err != nil {
							t.Fatal(err)
						}
						continue
					}
					if err := calls[step](s); err != nil {
						t.Fatal(err)
					}
				}
				if state == connector.StateFailed {
					changes := s.c.Changes()
					st.fail <- errStub
					if s.c.Err() == nil {
						within(t, changes, "the failure")
					}
				}
				if got, _, _ := s.status(); got.State != state {
					t.Fatalf("state %s, want %s", got.State, state)
				}
				if name == "drain" {
					st.finish <- nil
				}
				err := call(s)
				want := CodeState
				for _, l := range legal[name] {
					if l == state {
						want = ""
					}
				}
				isCode(t, err, want)
				if got, _, _ := s.status(); want != "" && got.State != state {
					t.Errorf("a refused call changed the state to %s", got.State)
				}
				if err := s.stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Ready is the engine's word, and counts while the session runs only.
func TestReady(t *testing.T) {
	st := newStub()
	st.status.Ready = true
	s := sessionOf(t, st)
	ready := func() bool {
		got, _, _ := s.status()
		return got.Ready
	}
	if err := s.configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if ready() {
		t.Error("ready before Start")
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !ready() {
		t.Error("not ready")
	}
	if err := s.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ready() {
		t.Error("ready after Stop")
	}
}

// A refused document leaves everything open; a failed Start does not.
func TestConfigureMayBeRepeated(t *testing.T) {
	st := newStub()
	st.configErr = &Error{Code: CodeConfig}
	s := sessionOf(t, st)
	isCode(t, s.configure(t.Context(), nil, nil), CodeConfig)
	st.configErr = nil
	if err := s.configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.c.Stop(t.Context()); err != nil { // behind the session's back
		t.Fatal(err)
	}
	isCode(t, s.start(t.Context()), CodeState)
	got, _, failure := s.status()
	if got.State != connector.StateFailed || got.Ready || got.Reason == "" || failure == nil {
		t.Errorf("%+v, %v", got, failure)
	}
}

// Two drains are one, and Stop ends it.
func TestDrainIsShared(t *testing.T) {
	st := newStub()
	s := sessionOf(t, st)
	if err := s.configure(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, err := s.startDrain(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.startDrain(time.Hour)
	if err != nil || first != second {
		t.Fatalf("%p and %p, %v", first, second, err)
	}
	if err := s.stop(t.Context()); err != nil {
		t.Error(err)
	}
	within(t, first.done, "the end of the drain")
	if e := isCode(t, first.err, CodeAbandoned); e.Abandoned != 5 {
		t.Errorf("%d abandoned", e.Abandoned)
	}
}

// leave is what an orphan does: it takes as long as its work, at most as long
// as the grace, and no time where there is no work.
func TestLeave(t *testing.T) {
	const grace = 20 * time.Second
	run := func(s *session) {
		_ = s.configure(t.Context(), nil, nil)
		_ = s.start(t.Context())
	}
	tests := map[string]struct {
		before func(st *stub, s *session)
		code   Code
		took   time.Duration
	}{
		"new":        {func(*stub, *session) {}, "", 0},
		"finishes":   {func(st *stub, s *session) { run(s); time.AfterFunc(5*time.Second, func() { st.finish <- nil }) }, "", 5 * time.Second},
		"too long":   {func(_ *stub, s *session) { run(s) }, CodeAbandoned, grace},
		"deaf":       {func(st *stub, s *session) { st.deaf = true; run(s) }, CodeAbandoned, grace + stopBudget},
		"has failed": {func(st *stub, s *session) { run(s); st.fail <- errStub; synctest.Wait() }, "", 0},
		"draining for long": {func(_ *stub, s *session) {
			run(s)
			_, _ = s.startDrain(time.Hour)
		}, CodeAbandoned, grace},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := newStub()
				s := sessionOf(t, st)
				tt.before(st, s)
				began := time.Now()
				err := s.leave(grace, "test")
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				isCode(t, err, tt.code)
				if got, _, _ := s.status(); got.State != connector.StateStopped {
					t.Errorf("state %s", got.State)
				}
				select {
				case st.finish <- nil: // so that a deaf stub ends too
				default:
				}
			})
		})
	}
}
