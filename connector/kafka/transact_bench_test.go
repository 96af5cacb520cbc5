package kafka

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkDelivery is what a batch costs each way of delivery, on the embedded
// broker, whose answers take microseconds: it shows the requests and the work
// around them, not what replication costs.
func BenchmarkDelivery(b *testing.B) {
	for _, size := range []int{1, 20, 200} {
		b.Run(fmt.Sprint(size, " a batch"), func(b *testing.B) {
			w := newWorld(b, map[string]int32{"t": 1, "out": 6, "ledger": 1})
			s := w.member(b)
			if err := s.Fence(b.Context()); err != nil {
				b.Fatal(err)
			}
			var msgs []Message
			for i := range size {
				msgs = append(msgs, Message{Topic: "out", Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte("x"), benchValue)})
			}
			msgs = append(msgs, Message{Topic: "ledger", Value: bytes.Repeat([]byte("x"), benchValue)})
			var exactly, atLeast time.Duration
			n := 0
			for b.Loop() {
				// In turns, so that both see the same machine.
				n++
				pos := Position{Offset: int64(n)}
				start := time.Now()
				if err := s.Transact(b.Context(), msgs, pos); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if err := s.Produce(b.Context(), msgs); err != nil {
					b.Fatal(err)
				}
				if err := s.Commit(b.Context(), pos); err != nil {
					b.Fatal(err)
				}
				exactly += middle.Sub(start)
				atLeast += time.Since(middle)
			}
			b.ReportMetric(float64(exactly.Microseconds())/float64(n), "µs/transact")
			b.ReportMetric(float64(atLeast.Microseconds())/float64(n), "µs/produce+commit")
			b.ReportMetric(float64(exactly)/float64(atLeast), "ratio")
		})
	}
}

// member joins a group over TCP and returns its first session.
func (w *world) member(b *testing.B) *Session {
	b.Helper()
	sessions := make(chan *Session, 1)
	w.join(&journal{}, "bench", GroupConfig{}, func(ctx context.Context, s *Session) error {
		sessions <- s
		<-ctx.Done()
		return nil
	})
	return <-sessions
}
