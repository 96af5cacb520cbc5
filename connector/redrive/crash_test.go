package redrive

import (
	"context"
	"fmt"
	"testing"

	"github.com/countersign/countersign/connector/kafka"
	"github.com/countersign/countersign/internal/broker/brokertest"
)

// A run that dies at any message that it sends, or right behind it, and the run
// after it: together they redrive every dead letter once, as a reader sees it.
func TestCrashAnywhereSendsOnce(t *testing.T) {
	const letters = 6
	finished, died := 0, 0
	for last := 1; last <= 400 && finished < 2; last++ {
		behind := last%2 == 0
		t.Run(fmt.Sprintf("message %d, behind %v", last, behind), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.dead(many(letters)...)
				m := brokertest.NewMortal(w.net.DialContext, last, behind)
				doomed, err := kafka.NewClient(kafka.Config{Brokers: w.addrs, Dial: m.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = doomed.Close() }()
				cfg := config()
				cfg.Rate = 20 // batches of two
				gone, err := m.Run(t.Context(), func(ctx context.Context) error {
					_, err := Run(ctx, doomed, cfg)
					return err
				}, func() { _ = doomed.Close() })
				if err != nil {
					t.Error(err)
				}
				if gone {
					died++
				} else {
					finished++
				}
				cfg.Rate = 0
				if _, err := w.run(t.Context(), cfg); err != nil {
					t.Error(err)
				}
				wantOnce(t, w.ids(topics.Requests), letters)
				if n := len(w.all(topics.Journal)); n != letters {
					t.Errorf("%d marks", n)
				}
			})
		})
	}
	if died < 30 || finished < 2 {
		t.Errorf("it died at %d messages, and lived %d times: the count is wrong", died, finished)
	}
}
