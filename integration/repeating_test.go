package integration

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// repeating is a test that says at its end once more what it failed of: of a run
// of minutes, what is at hand is often the last page only.
type repeating struct {
	testing.TB

	mu     sync.Mutex
	failed []string
}

func (r *repeating) Error(args ...any) {
	r.Helper()
	r.TB.Error(args...)
	r.keep(fmt.Sprintln(args...))
}

func (r *repeating) Errorf(format string, args ...any) {
	r.Helper()
	r.TB.Errorf(format, args...)
	r.keep(fmt.Sprintf(format, args...))
}

func (r *repeating) keep(text string) {
	first, _, _ := strings.Cut(text, "\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, first)
}

// repeat logs every failure by its first line.
func (r *repeating) repeat() {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.failed {
		r.Logf("failed: %s", text)
	}
}
