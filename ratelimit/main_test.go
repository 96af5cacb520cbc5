package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign/countersign/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limiter returns a Limiter that owns everything.
func limiter(t testing.TB, cfg ratelimit.Config) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.SetShare(1, 1)
	return l
}

// acquire fails the test if the call's turn does not come.
func acquire(t testing.TB, ctx context.Context, l *ratelimit.Limiter) func() {
	t.Helper()
	release, err := l.Acquire(ctx)
	if err != nil {
		t.Error(err)
		return func() {}
	}
	return release
}

// calls makes n calls one after the other and returns when each was made,
// counted from the start.
func calls(t testing.TB, ctx context.Context, l *ratelimit.Limiter, n int) []time.Duration {
	t.Helper()
	start := time.Now()
	at := make([]time.Duration, n)
	for i := range at {
		acquire(t, ctx, l)()
		at[i] = time.Since(start)
	}
	return at
}

// advance lets the virtual time of the bubble pass.
func advance(d time.Duration) { <-time.After(d) }
