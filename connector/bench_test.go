package connector

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/connector/kafka"
)

// benchLog hands out prepared records as fast as they are asked for and counts
// what is committed.
type benchLog struct {
	records []kafka.Record
	all     sync.Once // a lane commits once more when it leaves
	done    chan struct{}
}

func (b *benchLog) Position(context.Context) (kafka.Position, error) {
	return kafka.Position{Offset: 0}, nil
}

func (b *benchLog) Range(context.Context) (kafka.Range, error) {
	return kafka.Range{End: int64(len(b.records))}, nil
}

func (b *benchLog) fence(context.Context) error                  { return nil }
func (b *benchLog) anchor(context.Context, kafka.Position) error { return nil }

func (b *benchLog) Fetch(ctx context.Context, offset int64, _ int, _ time.Duration) (kafka.Fetched, error) {
	if offset >= int64(len(b.records)) {
		<-ctx.Done()
		return kafka.Fetched{}, ctx.Err()
	}
	end := min(int(offset)+500, len(b.records))
	return kafka.Fetched{Records: b.records[offset:end], Next: int64(end), LastStable: int64(len(b.records))}, nil
}

func (b *benchLog) commit(_ context.Context, g group) error {
	if g.position.frontier == int64(len(b.records)) {
		b.all.Do(func() { close(b.done) })
	}
	return nil
}

// BenchmarkLane measures a lane alone: decode, key order, dispatch, limiter,
// breaker, result encoding and group commit, with an API that answers at once.
func BenchmarkLane(b *testing.B) {
	r := newRig(b)
	r.cfg.window.Span = maxSpan
	r.cfg.maxBatch = maxBatch
	log := &benchLog{done: make(chan struct{})}
	now := time.Now()
	for i := range b.N {
		identity := fmt.Sprintf("identity-%04d", i%1000)
		log.records = append(log.records, kafka.Record{
			Topic: "requests", Offset: int64(i), Timestamp: now, Key: []byte(identity),
			Value: createEvent(b, fmt.Sprintf("r%d", i), identity),
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	l := newLane(r.cfg, 0, laneDeps{
		source: log, delivery: log, memory: r.log.memory(), lease: freeLease{}, ledger: newLedger(2*time.Hour, newLedgerRoom(b.N)),
	})
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx, nil) }()
	<-log.done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkWindowPosition measures what a commit asks of a full window of
// which every second record is done.
func BenchmarkWindowPosition(b *testing.B) {
	w := newWindow(0, maxSpan)
	for i := range int64(maxSpan) {
		e := windowEntry(i)
		w.add(e)
		if i%2 == 1 {
			w.settle(e)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		p, _ := w.position()
		if len(p.metadata()) == 0 {
			b.Fatal("no metadata")
		}
	}
}
