package ratelimit_test

import (
	"sync"
	"testing"

	"github.com/countersign/countersign/ratelimit"
)

func BenchmarkAcquire(b *testing.B) {
	for name, cfg := range map[string]ratelimit.Config{
		"limited":   {PerSecond: 1e9, Burst: ratelimit.MaxBurst, Concurrency: 64},
		"unlimited": {Concurrency: 64},
	} {
		b.Run(name, func(b *testing.B) {
			l := limiter(b, cfg)
			b.ReportAllocs()
			for b.Loop() {
				acquire(b, b.Context(), l)()
			}
		})
	}
}

// Thousands of callers share a few slots: the cost of a hand-over must not grow
// with the number of those who wait.
func BenchmarkHandOver(b *testing.B) {
	for name, callers := range map[string]int{"10 callers": 10, "10000 callers": 10_000} {
		b.Run(name, func(b *testing.B) {
			l := limiter(b, ratelimit.Config{Concurrency: 4})
			b.ReportAllocs()
			var all sync.WaitGroup
			turns := make(chan struct{}, callers)
			for range callers {
				all.Go(func() {
					for range turns {
						acquire(b, b.Context(), l)()
					}
				})
			}
			for b.Loop() {
				turns <- struct{}{}
			}
			close(turns)
			all.Wait()
		})
	}
}
