package ratelimit_test

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/ratelimit"
)

// One member of a group owns two of six partitions, and so a third of the rate.
func ExampleLimiter() {
	limiter, err := ratelimit.New(ratelimit.Config{PerSecond: 300, Burst: 60, Concurrency: 16})
	if err != nil {
		fmt.Println(err)
		return
	}
	limiter.SetShare(2, 6)

	release, err := limiter.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	// The call is made here. Its answer was 429 with Retry-After: 30.
	limiter.Penalize(30 * time.Second)
	release()

	now := limiter.Snapshot()
	fmt.Println(now.PerSecond, now.InFlight, now.PenaltyLeft > 29*time.Second)
	// Output: 100 0 true
}
