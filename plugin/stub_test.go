package plugin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/connector"
)

const patience = 30 * time.Second

// stub is a Runner whose end and errors the test decides. With it an Engine is
// the Connector of the tests in this package.
type stub struct {
	configErr error
	finish    chan error // what Run returns after its context has ended
	fail      chan error // what Run returns by itself
	deaf      bool       // ignores Abort
	changes   chan struct{}

	once    sync.Once
	aborted chan struct{}
	mu      sync.Mutex
	status  connector.Status
}

var errStub = errors.New("stub")

func newStub() *stub {
	return &stub{
		finish: make(chan error, 1), fail: make(chan error, 1),
		changes: make(chan struct{}, 1), aborted: make(chan struct{}),
		status: connector.Status{State: connector.StateRunning, InFlight: 2, Lanes: []connector.LaneStatus{{Window: 3}, {Window: 2}}},
	}
}

func (s *stub) Run(ctx context.Context) error {
	select {
	case err := <-s.fail:
		return err
	case <-ctx.Done():
	}
	aborted := s.aborted
	if s.deaf {
		aborted = nil
	}
	select {
	case err := <-s.finish:
		return err
	case <-aborted:
		return &leftBehind{5}
	}
}

func (s *stub) Abort() { s.once.Do(func() { close(s.aborted) }) }

func (s *stub) Changes() <-chan struct{} { return s.changes }

func (s *stub) Status() connector.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *stub) set(edit func(*connector.Status)) {
	s.mu.Lock()
	edit(&s.status)
	s.mu.Unlock()
	s.changes <- struct{}{}
}

func (s *stub) WriteMetrics(w io.Writer) error {
	_, err := io.WriteString(w, "stub 1\n")
	return err
}

// leftBehind is the stub's drain error.
type leftBehind struct{ n int }

func (l *leftBehind) Error() string { return "left behind" }

func (s *stub) engine() *Engine {
	return NewEngine(EngineConfig{
		Info: Info{Name: "stub", Version: "1", Capabilities: []Capability{CapabilitySelfDriven}, Secrets: []string{"env:A"}},
		New: func([]byte, map[string]string, *slog.Logger) (Runner, error) {
			if s.configErr != nil {
				return nil, s.configErr
			}
			return s, nil
		},
		Validate: func(_ context.Context, doc []byte, _ map[string]string, probe bool) ([]connector.Violation, error) {
			if probe {
				return nil, errStub
			}
			return []connector.Violation{{Path: string(doc), Message: "no"}}, nil
		},
		Abandoned: func(err error) (int, bool) {
			var l *leftBehind
			if !errors.As(err, &l) {
				return 0, false
			}
			return l.n, true
		},
	})
}

// within fails the test where c is not closed or sent to in time.
func within[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

func isCode(t *testing.T, err error, code Code) *Error {
	t.Helper()
	if CodeOf(err) != code {
		t.Fatalf("error %v, want code %q", err, code)
	}
	return asError(err)
}
