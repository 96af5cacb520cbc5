package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/schemas"
)

// A status tells what waits, why, and for how much longer it may.
func TestLaneStatusTellsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cfg.window.Span = 8
		release := make(chan struct{})
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			<-release
			return okAnswer(), nil
		}
		for i := range 12 {
			r.log.add(fmt.Sprintf("key-%d", i%2), createEvent(t, fmt.Sprintf("r%d", i), "identity-1"), 0)
		}
		r.start()
		pass(2 * time.Second)
		s, ok := r.lane.snapshot()
		if !ok || s.ExpiresIn == nil {
			t.Fatalf("%+v, %v", s, ok)
		}
		if left := *s.ExpiresIn; left < 290 || left > 300 {
			t.Errorf("%v s left of five minutes", left)
		}
		if s.Window != 8 || s.Span != 8 || s.Lag != 12 || s.OldestAge != 2 || len(s.StuckKeys) != 0 {
			t.Errorf("%+v", s)
		}
		if !slices.Equal(s.Paused, []Pause{PauseWindow}) {
			t.Errorf("paused by %v", s.Paused)
		}
		pass(10 * time.Second)
		s, _ = r.lane.snapshot()
		if len(s.StuckKeys) != 2 || s.StuckKeys[0].Offset != 0 || s.StuckKeys[1].Offset != 1 || s.StuckKeys[0].Key == s.StuckKeys[1].Key ||
			s.StuckKeys[0] != *s.Stuck || s.Stuck.Why != "its call" {
			t.Errorf("stuck: %+v", s.StuckKeys)
		}
		close(release)
		pass(2 * time.Second)
		s, _ = r.lane.snapshot()
		if s.ExpiresIn != nil || s.Lag != 0 || s.Span != 0 || s.OldestAge != 0 || s.Stuck != nil || s.Paused != nil {
			t.Errorf("after the work: %+v", s)
		}
		r.mustEnd()
	})
}

// While a lane's intake is paused the end of the log is asked for, and only then.
func TestEndsAreAskedForWhileIntakeIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Kafka.Brokers = []string{"127.0.0.1:9092"}
		account := cfg.Accounts["main"]
		account.AuthToken = "token"
		cfg.Accounts["main"] = account
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t)
		r.cfg.window.Span = 8
		release := make(chan struct{})
		r.api.answer = func(context.Context, *schemas.Request, int) (answer, error) {
			<-release
			return okAnswer(), nil
		}
		for i := range 12 {
			r.log.add("key", createEvent(t, fmt.Sprintf("r%d", i), "identity-1"), 0)
		}
		r.start()
		c.lanes[r.lane] = struct{}{}
		asked := 0
		ctx, stop := context.WithCancel(t.Context())
		var watcher sync.WaitGroup
		watcher.Go(func() {
			c.watchEnds(ctx, func(context.Context) ([]kafka.Range, error) {
				if asked++; asked == 1 {
					return nil, &kafka.Error{Code: kafka.CodeUnavailable, Op: "offsets", Err: context.DeadlineExceeded}
				}
				return []kafka.Range{{End: 20}}, nil
			})
		})
		pass(15 * time.Second)
		if lag := c.Status().Lanes[0].Lag; lag != 12 {
			t.Errorf("lag %d before the end is known, want 12", lag)
		}
		pass(10 * time.Second)
		if lag := c.Status().Lanes[0].Lag; lag != 20 {
			t.Errorf("lag %d, want 20", lag)
		}
		close(release)
		pass(time.Second)
		before := asked
		pass(time.Minute)
		if asked != before || before != 2 {
			t.Errorf("asked %d times, %d of them while nothing was paused", asked, asked-before)
		}
		var text strings.Builder
		if err := c.WriteMetrics(&text); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			`countersign_kafka_errors_total{code="unavailable",operation="offsets"} 1`, `countersign_lag_records{partition="0"} 0`,
			`countersign_ready 0`,
		} {
			if !strings.Contains(text.String(), line+"\n") {
				t.Errorf("no %s in\n%s", line, text.String())
			}
		}
		stop()
		watcher.Wait()
		r.mustEnd()
	})
}

// The end of the log that was asked for counts only where the lane does not
// fetch.
func TestEndsRaiseTheLagOfPausedLanes(t *testing.T) {
	var e ends
	e.set([]kafka.Range{{End: 5}, {Start: 3, End: 100}})
	for _, tc := range []struct {
		lane LaneStatus
		lag  int64
	}{
		{LaneStatus{Partition: 1, End: 40, Lag: 10, Paused: []Pause{PauseLedger}}, 70},
		{LaneStatus{Partition: 1, End: 40, Lag: 10, Paused: []Pause{PauseLease}}, 10},
		{LaneStatus{Partition: 1, End: 40, Lag: 10}, 10},
		{LaneStatus{Partition: 0, End: 40, Lag: 10, Paused: []Pause{PauseWindow}}, 10},
		{LaneStatus{Partition: 7, End: 40, Lag: 10, Paused: []Pause{PauseWindow}}, 10},
	} {
		if e.raise(&tc.lane); tc.lane.Lag != tc.lag {
			t.Errorf("lag %d, want %d: %+v", tc.lane.Lag, tc.lag, tc.lane)
		}
	}
}
